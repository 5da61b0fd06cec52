//! The order in which the spin locks of this crate and of the runtime are taken: each has a rank, and whoever holds some
//! takes only one of a higher rank. Then no circle of CPUs can wait for each other.
//!
//! In builds with debug assertions every [`SpinLock`](crate::spinlock::SpinLock) tells a watch when it is asked for and
//! when it is opened; the kernel keeps what a CPU holds, and panics at the first lock out of order, naming both, whether or
//! not another CPU is in the way this time. Without debug assertions nothing of all this is there: a lock has no rank.
//!
//! The kernel's own locks come after these: see `kernel/src/lock_rank.rs`, which goes on with the numbers.
//! `docs/architecture.md` has the whole table, which a test compares with these.

/// A lock's place in the order. Locks of higher ranks are taken later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRank {
    /// The place.
    pub order: u8,
    /// What it is called in a panic.
    pub name: &'static str,
    /// A CPU may hold several of this rank, whose order among themselves is kept otherwise.
    pub several: bool,
}

impl LockRank {
    /// The rank of a lock that no other of the same rank is taken with.
    #[must_use]
    pub const fn new(order: u8, name: &'static str) -> Self {
        Self { order, name, several: false }
    }

    /// The rank of locks of which a CPU holds several at a time.
    #[must_use]
    pub const fn several(order: u8, name: &'static str) -> Self {
        Self { order, name, several: true }
    }
}

/// The critical section of drivers, under which they do as they like.
pub const CRITICAL_SECTION: LockRank = LockRank::new(2, "critical section");
/// The timer that wakes those who wait by `embassy-time`.
pub const EMBASSY_ALARM: LockRank = LockRank::new(4, "embassy alarm");
/// Who waits by `embassy-time`.
pub const EMBASSY_WAITING: LockRank = LockRank::new(6, "embassy waiting");
/// The list of policies.
pub const POLICIES: LockRank = LockRank::new(10, "policies");
/// A group's limit.
pub const GROUP_LIMIT: LockRank = LockRank::new(14, "group limit");
/// The list of executor threads.
pub const EXECUTORS: LockRank = LockRank::new(16, "executors");
/// The ends of channels: the receivers' before the senders' of one channel, channels by address.
pub const CHANNEL: LockRank = LockRank::several(20, "channel");
/// Which lock a thread waits for.
pub const WAITS: LockRank = LockRank::new(21, "waits");
/// Who waits for a mutex.
pub const MUTEX_WAITERS: LockRank = LockRank::new(22, "mutex waiters");
/// Who waits for a once.
pub const ONCE_WAITERS: LockRank = LockRank::new(23, "once waiters");
/// Units of a semaphore.
pub const SEMAPHORE: LockRank = LockRank::new(24, "semaphore");
/// Who waits at a gate.
pub const GATE: LockRank = LockRank::new(25, "gate");
/// Who waits to be notified.
pub const NOTIFY: LockRank = LockRank::new(26, "notify");
/// Who has a reader-writer lock, and who waits for it.
pub const RWLOCK: LockRank = LockRank::new(27, "rwlock");
/// The list of CPU groups. After the locks that threads wait under: a group may go where the last thread of it is woken.
pub const GROUPS: LockRank = LockRank::new(36, "groups");
/// The threads of a group that has a limit on its memory.
pub const ROSTER: LockRank = LockRank::new(38, "roster");
/// What a group has left of its quota.
pub const BANDWIDTH: LockRank = LockRank::new(40, "bandwidth");
/// The threads of a CPU that are not of the normal sort.
pub const LAYERS: LockRank = LockRank::new(42, "layers");
/// The threads that no run queue has room for.
pub const INJECTOR: LockRank = LockRank::new(44, "injector");
/// Who is boosted.
pub const BOOSTS: LockRank = LockRank::new(45, "boosts");
/// A CPU's timers.
pub const TIMERS: LockRank = LockRank::new(46, "timers");
/// The list of all threads, where a debugger wants it.
pub const LISTED: LockRank = LockRank::new(48, "listed");

pub use imp::Ranked;
pub(crate) use imp::opened;
#[cfg(all(debug_assertions, not(loom)))]
pub use imp::{Event, watch};

#[cfg(all(debug_assertions, not(loom)))]
mod imp {
    use super::LockRank;
    use core::ptr;
    // Not through the shim: this is no part of an algorithm, and a simulated machine need not stop here.
    use core::sync::atomic::{AtomicPtr, Ordering};

    /// What is told of a lock, by its address.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Event {
        /// It is asked for; whoever returns will have it.
        Taken(LockRank, usize),
        /// It is about to be opened.
        Opened(usize),
    }

    static WATCH: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

    /// From now on `watch` is told.
    pub fn watch(watch: fn(Event)) {
        // Relaxed: there is nothing behind the address of a function that was written.
        WATCH.store(watch as *mut (), Ordering::Relaxed);
    }

    fn tell(event: Event) {
        let watch = WATCH.load(Ordering::Relaxed);
        if !watch.is_null() {
            // SAFETY: nobody but `watch` writes it, and it writes a function of this type.
            let watch = unsafe { core::mem::transmute::<*mut (), fn(Event)>(watch) };
            watch(event);
        }
    }

    /// What a lock keeps of its rank.
    #[derive(Debug)]
    pub struct Ranked(LockRank);

    impl Ranked {
        #[allow(missing_docs)]
        pub const fn new(rank: LockRank) -> Self {
            Self(rank)
        }

        #[inline]
        pub(crate) fn taken(&self, address: usize) {
            tell(Event::Taken(self.0, address));
        }
    }

    #[inline]
    pub(crate) fn opened(address: usize) {
        tell(Event::Opened(address));
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
mod imp {
    use super::LockRank;

    /// What a lock keeps of its rank: nothing.
    #[derive(Debug)]
    pub struct Ranked;

    impl Ranked {
        #[allow(missing_docs)]
        pub const fn new(_: LockRank) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn taken(&self, _: usize) {}
    }

    #[inline(always)]
    pub(crate) fn opened(_: usize) {}
}
