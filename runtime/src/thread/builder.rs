//! Making a thread with a name, a stack size, a CPU.

use super::control::{self, ThreadPtr};
use super::extras::Extras;
use super::hint::{Hint, MAX_PRIORITY, Sort};
use super::join::JoinHandle;
use super::packet::{self, Fetch};
use super::traits::Traits;
use crate::fork::ScopeState;
use crate::group::{self, Group, Inner};
use crate::policy::{PolicyId, Region};
use crate::worker::{self, NotBindable};
use alloc::boxed::Box;
use core::fmt;
use isochron_core::layers::Rank;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::irq;
use isochron_kernel::memory::OutOfMemory;
use isochron_kernel::memory::stack::{self, USUAL_SIZE};

/// Bytes that a thread's stack may grow to, unless [`Builder::stack_size`] says otherwise. 8 KiB of them are memory from the
/// beginning.
pub const DEFAULT_STACK_SIZE: usize = USUAL_SIZE;

/// The smallest stack that may be asked for: an interrupt that preempts puts about 1 KiB on it.
pub const MIN_STACK_SIZE: usize = 4 * 1024;

/// The largest stack that may be asked for.
pub const MAX_STACK_SIZE: usize = 1 << 30;

/// Why a thread was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// There is no memory for its block, or for a stack above 64 KiB. (Smaller ones are taken when the thread first runs; it
    /// dies by [`Death::OutOfMemory`](super::Death::OutOfMemory) if there is none then.) Or its group has no room for both.
    OutOfMemory,
    /// The group that it would be in was ended: see [`MemoryUse::over`](crate::group::MemoryUse::over).
    GroupOver,
    /// The CPU it was to be bound to does not run.
    NoSuchCpu(CpuId),
    /// The CPU it was to be bound to is given to one thread alone: see [`reserve_cpu`](super::reserve_cpu).
    Reserved(CpuId),
    /// The stack would be below [`MIN_STACK_SIZE`] or above [`MAX_STACK_SIZE`].
    StackSize(usize),
    /// The closure and its result leave too little of a packed slot of so many bytes for the stack: see [`Builder::spawn_packed`].
    Slot(usize),
    /// A real-time priority above [`MAX_PRIORITY`].
    Priority(u32),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::GroupOver => f.write_str("the group was ended"),
            Self::NoSuchCpu(cpu) => write!(f, "there is no CPU {cpu}"),
            Self::Reserved(cpu) => write!(f, "CPU {cpu} is given to one thread alone"),
            Self::StackSize(size) => {
                write!(f, "a stack of {size} bytes is not between {MIN_STACK_SIZE} and {MAX_STACK_SIZE}")
            }
            Self::Slot(size) => write!(f, "closure and result are too large for a packed slot of {size} bytes"),
            Self::Priority(priority) => write!(f, "priority {priority} is above {MAX_PRIORITY}"),
        }
    }
}

impl core::error::Error for SpawnError {}

impl From<OutOfMemory> for SpawnError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Says how a thread is to be made.
#[derive(Clone, Debug)]
#[must_use = "nothing runs until `spawn`"]
pub struct Builder<'a> {
    name: Option<&'a str>,
    stack_size: usize,
    cpu: Option<CpuId>,
    /// That CPU is reserved for it.
    claimed: bool,
    region: Option<Region>,
    policy: Option<PolicyId>,
    sort: Sort,
    group: Choice<'a>,
}

/// The group of a new thread.
#[derive(Clone, Copy, Debug)]
enum Choice<'a> {
    /// That of the one that makes it.
    Inherited,
    None,
    This(&'a Group),
}

impl Default for Builder<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Builder<'a> {
    /// No name, the default stack, any CPU.
    pub const fn new() -> Self {
        Self {
            name: None,
            stack_size: DEFAULT_STACK_SIZE,
            cpu: None,
            claimed: false,
            region: None,
            policy: None,
            sort: Sort::Hint(Hint::Normal),
            group: Choice::Inherited,
        }
    }

    /// The name that panics and traces show.
    pub const fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Bytes of its stack; rounded up to what the stack pool has.
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Binds it to one CPU: it runs there and nowhere else.
    pub const fn pinned(mut self, cpu: CpuId) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// Labels it, for policies that look at regions. Without effect on a thread that is bound to a CPU.
    pub const fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// Gives it a policy of its own: see [`crate::policy`]. Without effect on a thread that is bound to a CPU.
    pub const fn policy(mut self, policy: PolicyId) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Binds it to a CPU, whether or not that is given to one thread alone.
    pub(crate) const fn bound_even_if_reserved(mut self, cpu: CpuId) -> Self {
        self.cpu = Some(cpu);
        self.claimed = true;
        self
    }

    /// What the thread is for: see [`Hint`]. Takes the place of a priority.
    pub const fn hint(mut self, hint: Hint) -> Self {
        self.sort = Sort::Hint(hint);
        self
    }

    /// Makes it a real-time thread of this priority, 0 to [`MAX_PRIORITY`], which goes before all that are not, and before
    /// those of a lower one. Takes the place of a hint.
    pub const fn priority(mut self, priority: u32) -> Self {
        self.sort = Sort::RealTime(priority);
        self
    }

    /// Puts it in a group; otherwise it is in that of the thread that makes it.
    pub const fn group(mut self, group: &'a Group) -> Self {
        self.group = Choice::This(group);
        self
    }

    /// Puts it in no group, whatever group the thread that makes it is in.
    pub const fn ungrouped(mut self) -> Self {
        self.group = Choice::None;
        self
    }

    /// A rank that another thread has.
    pub(crate) const fn same_rank(mut self, rank: Rank) -> Self {
        self.sort = Sort::Rank(rank);
        self
    }

    /// Makes the thread and puts it in a run queue.
    ///
    /// # Errors
    /// See [`SpawnError`]; the closure is dropped then.
    pub fn spawn<F, T>(self, closure: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_in(core::ptr::null(), closure)
    }

    /// As `spawn`; the thread's end is told to a scope, which waits for it (null for none).
    pub(crate) fn spawn_in<F, T>(self, scope: *const ScopeState, closure: F) -> Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if !(MIN_STACK_SIZE..=MAX_STACK_SIZE).contains(&self.stack_size) {
            return Err(SpawnError::StackSize(self.stack_size));
        }
        let traits = self.traits(scope, packet::block_size::<F, T>(), true)?;
        let has_extras = traits.extras.is_some();
        let thread = packet::allocate(closure, traits)?;
        // SAFETY: just made, of this closure.
        Ok(unsafe { self.start(thread, has_extras) })
    }

    /// What a thread is made with; what is asked for is looked at, but for the stack's size. `block` bytes are what
    /// it will take beside a stack, if that is not in them.
    #[inline(always)]
    pub(super) fn traits(&self, scope: *const ScopeState, block: usize, has_stack: bool) -> Result<Traits, SpawnError> {
        if let Some(cpu) = self.cpu
            && !self.claimed
        {
            check_cpu(cpu)?;
        }
        let rank = self.sort.rank()?;
        let is_plain = self.name.is_none() && scope.is_null() && !self.group.is_some();
        let extras = if is_plain {
            None
        } else {
            Some(extras(self.name, self.group, scope, block, if has_stack { self.stack_size } else { 0 })?)
        };
        Ok(Traits { pinned: self.cpu, rank, extras, stack_size: self.stack_size })
    }

    /// Puts a new thread, as it was made by `traits`, in its group and in a run queue.
    ///
    /// # Safety
    /// It was just made, by one of `packet`'s functions, and its closure returns a `T`.
    #[inline(always)]
    pub(super) unsafe fn start<T>(&self, thread: ThreadPtr, has_extras: bool) -> JoinHandle<T> {
        if has_extras {
            // SAFETY: it was just made.
            self.group.enroll(unsafe { thread.as_ref() });
        }
        if let Some(cpu) = self.cpu {
            if self.claimed {
                start_claimed(cpu, thread);
            } else {
                worker::start_bound(thread);
            }
        } else {
            if self.region.is_some() || self.policy.is_some() {
                // SAFETY: it is new, and not started.
                unsafe { thread.as_ref() }.set_preferences(self.region, self.policy);
            }
            worker::start_anywhere(thread);
        }
        // SAFETY: two references were counted: the thread's own, and this one; the closure returns a `T`.
        JoinHandle::new(unsafe { Fetch::new(thread) })
    }
}

/// Puts a new thread into the queue of a CPU that may be reserved; if its maker has claimed that, the claim is the new one's.
#[cold]
#[inline(never)]
fn start_claimed(cpu: CpuId, thread: ThreadPtr) {
    // Nobody dies in between.
    irq::without(|| {
        if let Some(maker) = control::current_ptr() {
            worker::pass_claim(cpu, maker, thread);
        }
        worker::start_bound(thread);
    });
}

/// What the thread has beyond the usual; what it takes is charged to its group: `block` bytes and the stack, whose size is 0 for none.
///
/// Not by the builder's address: that keeps it in memory, where nobody needs it there.
#[cold]
#[inline(never)]
fn extras(
    name: Option<&str>,
    group: Choice<'_>,
    scope: *const ScopeState,
    block: usize,
    stack_size: usize,
) -> Result<Box<Extras>, SpawnError> {
    let stack = if stack_size == 0 { 0 } else { stack::class_of(stack_size).map_or(0, |(_, size)| size) };
    let account = group.with(|group| group.map_or(Ok(None), Inner::open_account));
    let charge = match account.map_err(|_| SpawnError::GroupOver)? {
        Some(account) => Some(account.charge(block + stack + size_of::<Extras>())?),
        None => None,
    };
    let mut extras = Extras::boxed(name.map(copy_name).transpose()?, scope)?;
    if let Some(charge) = charge {
        extras.set_charge(charge, stack);
    }
    Ok(extras)
}

impl Choice<'_> {
    /// Whether a thread that is made now by this choice may be in a group.
    #[inline(always)]
    fn is_some(self) -> bool {
        match self {
            Self::None => false,
            Self::This(_) => true,
            // SAFETY: the running thread's block is alive.
            Self::Inherited => control::current_ptr().is_some_and(|me| unsafe { me.as_ref() }.membership().is_member()),
        }
    }

    /// Calls `f` with the group.
    fn with<R>(self, f: impl FnOnce(Option<&Inner>) -> R) -> R {
        match self {
            Self::None => f(None),
            Self::This(group) => f(Some(group.inner())),
            Self::Inherited => {
                // SAFETY: as in `enroll`.
                let group = irq::without(|| unsafe { control::current_ptr()?.as_ref().membership().share() });
                f(group.as_deref())
            }
        }
    }

    /// Puts a new thread, which has extras of its own, into its group. Nobody else knows it yet.
    #[cold]
    #[inline(never)]
    fn enroll(self, thread: &control::Thread) {
        let group = match self {
            Self::None => None,
            Self::This(group) => Some(group.inner().clone()),
            // SAFETY: it is the running thread's, and nobody moves that to another group while interrupts are masked.
            Self::Inherited => irq::without(|| unsafe { control::current_ptr()?.as_ref().membership().share() }),
        };
        if group.is_some() {
            thread.membership().want(group);
            // SAFETY: the thread is the caller's, who is about to queue it.
            unsafe { thread.change_group() };
        }
    }
}

fn copy_name(name: &str) -> Result<Box<str>, OutOfMemory> {
    let mut copy = alloc::string::String::new();
    // It is the thread's, whoever makes that.
    group::outside(|| copy.try_reserve_exact(name.len())).map_err(|_| OutOfMemory)?;
    copy.push_str(name);
    Ok(copy.into_boxed_str())
}

/// Whether threads may be bound to `cpu`.
#[inline]
pub(crate) fn check_cpu(cpu: CpuId) -> Result<(), SpawnError> {
    worker::check_bindable(cpu).map_err(|why| match why {
        NotBindable::NoSuchCpu => SpawnError::NoSuchCpu(cpu),
        NotBindable::Reserved => SpawnError::Reserved(cpu),
    })
}
