//! Groups: threads that share a limit on the CPU time they may have, on the memory, or on both.
//!
//! A group may have a *quota* in each *period*. When its threads have used it up they are *throttled*: set aside, in no run
//! queue, until the next period begins. Their CPUs run other threads meanwhile, at once.
//!
//! ```ignore
//! let batch = group::Builder::new("batch").limit("10000 100000".parse()?).create()?; // 10 ms in 100 ms
//! let part = group::Builder::new("part").parent(&batch).quota(Duration::from_millis(5)).create()?;
//! thread::Builder::new().group(&batch).spawn(compress)?;
//! println!("{:?}", batch.statistics());
//! ```
//!
//! * Groups nest: a child runs on its own quota and on those of all above it.
//! * A new thread is in the group of the one that made it, unless the builder says otherwise.
//! * CPUs take *slices* of the quota ([`Builder::slice`]); what a thread has not used when it blocks goes back at once. So
//!   in `n` periods a group runs for `n` quotas and one more at the most; one period alone may see more than its quota by
//!   what CPUs held of the one before.
//! * A thread that cannot be taken off its CPU when its slice ends (it holds a `PreemptGuard`) runs on, in debt, which the
//!   next periods pay.
//! * A member is woken into the queue like any other thread, but goes last, not first: a limit is for those who can wait.
//! * Threads in no group pay nothing: no clock is read, no word is looked at for them. Those in a group without a limit are
//!   accounted, and never throttled.
//!
//! # A limit on memory
//! A group made with [`Builder::memory_limit`] pays for what its threads take: blocks of the heap, as they take them; the block
//! and the stack of each thread that is made in it, when that is made. It has an arena of its own for this: spans of 16 KiB that
//! small blocks are cut from, and large blocks, which are charged whole. A block stays charged until it is freed, by whomever,
//! wherever it has gone; a thread that comes into the group later brings nothing along, and leaves what it took.
//!
//! ```ignore
//! let cache = group::Builder::new("cache").memory_limit(16 << 20).create()?;
//! cache.on_pressure(&[50, 80, 95], move |pressure| shrink(&entries, pressure.percent))?;
//! thread::Builder::new().group(&cache).spawn(fill)?;
//! println!("{:?}", cache.memory());
//! ```
//!
//! * **Refused by type**: `try_reserve` fails, [`thread::Builder::spawn`](crate::thread::Builder::spawn) returns
//!   [`SpawnError::OutOfMemory`](crate::thread::SpawnError::OutOfMemory). Nothing else happens.
//! * **Told**: [`Group::on_pressure`] has a function called at levels on the way there, in a thread of its own.
//! * **Ended**: a thread that is refused and has no way to tell, as in `Vec::push`, dies by
//!   [`Death::OverLimit`](crate::thread::Death::OverLimit), and so do all of its group, a few at a time, where they wait or run.
//!   The group takes no thread any more. Nobody else is touched.
//! * Groups nest: what a child takes is charged to it and to all above it, and who has no room is the one that is ended, with
//!   those below it. A child without a limit of its own shares the account of the group above.
//! * Threads in no such group pay two instructions for each block that they take and one for each that they free.
//!
//! # What is freed when a group is ended
//! Stacks, the blocks of threads, closures that never began: always. Blocks of the heap: only if the group was made
//! [`confined`](Builder::confined), which is a promise and therefore `unsafe`. No destructor of a thread that dies is run, and
//! what it owned may be referred to by others: a message in a channel, a value under a mutex, an `Arc`. The type system says
//! whose it is, and not that nobody outside has a part of it. So without the promise those blocks stay where they are, charged
//! to the group, until somebody frees them. With it the whole arena goes, once the last thread has left; what is to outlive the
//! group is taken in [`outside`].
//!
//! # A throttled thread that holds a lock
//! Locks inside the runtime and the kernel are held with interrupts masked, where nobody is throttled. A
//! [`Mutex`](crate::sync::Mutex) may be held by a thread that is throttled; those who wait for it then wait for the group's
//! next period. Keep locks that both sides need short, or hold a [`PreemptGuard`](crate::thread::PreemptGuard) with them.
//!
//! # Rejected
//! *Throttled threads that stay in the queue and are passed over*: every pop looks at them again. *Charging at a tick*: a
//! tick, and threads that always run between two of them are charged nothing. *Ending the thread with the most memory*: who it
//! is depends on the moment, and the rest goes on without it.

mod builder;
mod ender;
mod error;
mod inner;
mod limit;
mod membership;
pub(crate) mod memory;
mod moving;
mod pressure;
pub(crate) mod refill;
mod registry;
pub(crate) mod roster;

pub use builder::{Builder, DEFAULT_SLICE, SHORTEST_SLICE};
pub use error::GroupError;
pub(crate) use inner::Inner;
pub use limit::{BadText, DEFAULT_PERIOD, LONGEST_PERIOD, Limit, SHORTEST_PERIOD, SMALLEST_QUOTA};
pub(crate) use membership::Membership;
pub use memory::{MemoryUse, SMALLEST_MEMORY_LIMIT, outside};
pub use moving::leave;
pub use pressure::Pressure;

use crate::Duration;
use crate::kernel::arch;
use crate::worker::Worker;
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::Ordering;
use isochron_kernel::irq;

/// A group of threads; one of any number of handles to it. It lives as long as a handle, a thread or a group below it.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

/// What happened to a group since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Periods in which it ran.
    pub periods: u64,
    /// Periods in which it was throttled.
    pub throttled: u64,
    /// For how long one of its threads at least was set aside.
    pub throttled_time: Duration,
    /// For how long its threads ran, those of the groups below included. What runs now is counted when it stops.
    pub run_time: Duration,
    /// What its threads ran beyond their slices, because they could not be interrupted, and the next periods have to pay.
    pub debt: Duration,
}

/// The group of this name.
///
/// # Errors
/// [`GroupError::Unknown`].
pub fn find(name: &str) -> Result<Group, GroupError> {
    registry::all().find(|group| *group.name == *name).map(|inner| Group { inner }).ok_or(GroupError::Unknown)
}

/// The running thread's group.
#[must_use]
#[track_caller]
pub fn current() -> Option<Group> {
    let me = crate::thread::current_ptr();
    // SAFETY: the running thread's block is alive, and it holds itself; interrupts are masked, so nobody changes its group.
    irq::without(|| unsafe { me.as_ref().membership().share() }).map(|inner| Group { inner })
}

impl Group {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The group above.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.inner.parent.clone().map(|inner| Self { inner })
    }

    /// What happened to it.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.inner.statistics()
    }

    /// Its own limit.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.inner.limit()
    }

    /// Gives it another limit; a new period begins. Every CPU is interrupted for this.
    ///
    /// # Errors
    /// [`GroupError`], as for a new group, or [`GroupError::BelowChild`]. Then nothing is changed.
    pub fn set_limit(&self, limit: Limit) -> Result<(), GroupError> {
        limit.check()?;
        builder::check_parent(self.inner.parent.as_deref(), limit)?;
        let mut below = registry::all().filter(|group| {
            !Arc::ptr_eq(group, &self.inner) && group.chain().any(|above| core::ptr::eq(above, &raw const *self.inner))
        });
        if !below.all(|child| child.limit().is_within(limit)) {
            return Err(GroupError::BelowChild);
        }
        self.inner.set_limit(limit);
        let now = arch::clock::ticks();
        let mut released = irq::without(|| self.inner.bandwidth.set_limit(limit.in_ticks(), now));
        while let Some(thread) = irq::without(|| released.pop()) {
            irq::without(|| Worker::this().fetch_back(thread));
        }
        // Those that run have what the old limit gave them.
        moving::switch_everywhere()
    }

    /// Whether other CPUs may take its threads from the one whose queue they are in. For those in a queue it holds from the
    /// next time on that they are queued.
    pub fn set_stealing(&self, stealing: bool) {
        // Relaxed: a plain setting.
        self.inner.stealing.store(stealing, Ordering::Relaxed);
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Group {}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({})", self.name())
    }
}
