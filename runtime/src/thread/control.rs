//! The control block of a thread, and who keeps it alive.
//!
//! One allocation holds the block, the closure before the thread runs, and the result after it. It is counted by
//! references: one for the thread itself, given back when it has left its stack for good, and one for each handle.
//! The stack is not part of it, but for packed threads: it goes back to its CPU's pool the moment the thread is gone, however
//! long the result waits to be fetched.
//!
//! A million threads are a million of these blocks, and each is written by the CPU that makes the thread, by the one that runs
//! it and by the one that joins it. So the block is small, 104 bytes: with a closure and a result of up to 24 bytes it is two
//! cache lines. What few threads have (a name, a group, a boost) is in a block of its own, see [`Extras`].

use super::Death;
use super::extras::Extras;
use super::home::Home;
use super::packed;
use super::packet::{CLOSURE, Calls, DEATH_SHIFT, NOTHING, RESULT, WHAT};
use super::traits::Traits;
use crate::fork::{Pending, ScopeState, stack_is_lent};
use crate::group::Membership;
use crate::kernel;
use core::cell::{Cell, UnsafeCell};
use core::fmt::{self, Write};
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU16, Ordering};
use isochron_core::completion::Completion;
use isochron_core::layers::Rank;
use isochron_core::link::{Link, Linked};
use isochron_core::references::References;
use isochron_core::thread_state::ThreadState;
use isochron_kernel::arch::context::Context;
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::memory::sanitizer;
use isochron_kernel::memory::stack::{self, USUAL_SIZE};
use isochron_kernel::memory::{OutOfMemory, Stack};

/// What queues hold.
pub(crate) type ThreadPtr = NonNull<Thread>;

/// A cache line, in bytes.
const LINE: usize = 64;

/// In [`Thread::pinned_raw`]: any CPU may run it.
pub(crate) const ANY_CPU: u16 = u16::MAX >> 1;

/// In [`Thread::pinned_raw`], beside the CPU: it is not of normal rank, see [`Thread::rank`], or is in a group or about to
/// be. Then it waits outside of the run queue. One word tells both, so that the paths of normal threads ask once.
const RANKED: u16 = 1 << 15;

/// The part of a thread's block that does not depend on what it runs.
///
/// Fields without an atomic belong to the CPU that holds the thread (runs it, or has just taken it from a queue); they
/// change hands with it, ordered by the queue. What a switch and a wake-up touch is in the first cache line.
#[repr(C)]
pub(crate) struct Thread {
    /// Where it goes on.
    pub context: UnsafeCell<Context>,
    /// Running, parked, exited; permits.
    pub state: ThreadState,
    /// The CPU it is bound to, or [`ANY_CPU`]; and [`RANKED`].
    pinned: AtomicU16,
    /// Preemption is held off while this is not 0.
    pub preempt_depth: Cell<u16>,
    /// Where it belongs.
    pub(super) home: Home,
    /// [`Rank`], as a number.
    rank: AtomicU16,
    /// For the one list it may be in.
    link: Link<Self>,
    /// Where its stack begins, at the top; 0 for none, because it has not begun or is at its end.
    pub(super) stack_top: Cell<usize>,
    /// Bytes of its stack; while it has none, how many are wanted. And [`GROWN`].
    pub(super) stack_size: Cell<u32>,
    /// A timer on its stack may be in a CPU's queue; its own.
    pub has_timer: Cell<bool>,
    /// A place on its stack may be in a channel's queue, or it is about to be woken that way; its own.
    pub is_queued: Cell<bool>,
    /// While it is in a list of ranked threads: no other CPU may take it.
    pub stays_listed: Cell<bool>,
    /// What its body holds, and why there is no result if there is none: see `packet.rs`. Its own until it completes.
    pub(super) holds: Cell<u8>,
    /// Who waits for its end.
    pub completion: Completion<Self>,
    references: References,
    pub(super) calls: &'static Calls,
    /// Given before anybody else knows the thread.
    id: Cell<u64>,
    /// What other threads may hold of its stack; its own.
    pub forks: Cell<*const Pending>,
    /// What few threads have. Never null.
    pub(super) extras: AtomicPtr<Extras>,
    /// Where it is among all threads.
    #[cfg(feature = "listed")]
    pub(super) place: super::listed::Place,
    /// Since when it waits for a CPU.
    #[cfg(feature = "trace")]
    pub waits_since: crate::trace::Stamp,
}

// SAFETY: atomics may be shared; the other fields change hands with the thread itself (see above), and the closure and
// result inside the packet are `Send`, by the bounds of `allocate`.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Thread {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (the trait's contract), so the field's address is in bounds.
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

/// The stack with that top, if there is one.
fn give_stack_back(top: usize, size: usize) -> Option<Stack> {
    // SAFETY: `top` came from `into_top`, of a stack that was made for so many bytes, and is used once.
    (top != 0).then(|| unsafe { Stack::from_top(top, size) })
}

/// Whether [`Thread::pinned_raw`] says that the thread is not of normal rank, or has to do with a group.
#[inline(always)]
pub(crate) const fn is_ranked(pinned_raw: u16) -> bool {
    pinned_raw & RANKED != 0
}

/// In [`Thread::stack_size`], beside the bytes: its stack has grown, or had when it began, and says whose it is
/// (`isochron_kernel::memory::stack`). So it is not of the size that the short ways out are for.
pub(super) const GROWN: u32 = 1 << 0;

fn binding(cpu: Option<CpuId>) -> u16 {
    cpu.map_or(ANY_CPU, |cpu| cpu.index() as u16)
}

impl Thread {
    /// One that has not begun, for the head of a packet.
    #[inline(always)]
    pub(super) fn new(traits: Traits, calls: &'static Calls) -> Self {
        let Traits { pinned, rank, extras, stack_size } = traits;
        Self {
            context: UnsafeCell::new(Context::default()),
            state: ThreadState::unbegun(),
            pinned: AtomicU16::new(binding(pinned) | if rank == Rank::NORMAL { 0 } else { RANKED }),
            home: Home::new(),
            rank: AtomicU16::new(rank.to_bits()),
            preempt_depth: Cell::new(0),
            link: Link::new(),
            stack_top: Cell::new(0),
            stack_size: Cell::new(stack_size as u32),
            has_timer: Cell::new(false),
            is_queued: Cell::new(false),
            stays_listed: Cell::new(false),
            holds: Cell::new(CLOSURE),
            completion: Completion::new(),
            references: References::two(),
            calls,
            id: Cell::new(0),
            forks: Cell::new(ptr::null()),
            extras: AtomicPtr::new(Extras::into_raw(extras)),
            #[cfg(feature = "listed")]
            place: super::listed::Place::new(),
            #[cfg(feature = "trace")]
            waits_since: crate::trace::Stamp::default(),
        }
    }

    /// Gives a thread that has not begun its stack.
    pub(super) fn set_stack(&self, stack: Stack) {
        self.stack_size.set(stack.size() as u32);
        self.stack_top.set(stack.into_top());
    }

    /// Runs what the thread was made for. On its own stack, once.
    ///
    /// # Safety
    /// Called by the thread's entry alone.
    pub unsafe fn run(thread: ThreadPtr) {
        // SAFETY: `calls` belongs to the packet's true type; the rest is the caller's promise.
        unsafe { (thread.as_ref().calls.run)(thread) }
    }

    /// Gives a thread that has never run its stack, if it has none yet, and makes its context: it will begin with `entry`.
    ///
    /// # Errors
    /// [`OutOfMemory`]: it still has none.
    ///
    /// # Safety
    /// The caller's CPU holds the thread, which has never run.
    pub unsafe fn take_stack(thread: ThreadPtr, entry: extern "C" fn(*mut (), usize) -> !) -> Result<(), OutOfMemory> {
        // SAFETY: alive, and its stack is the caller's alone.
        let it = unsafe { thread.as_ref() };
        if it.stack_top.get() == 0 {
            if packed::is_packed(thread) {
                it.stack_top.set(thread.as_ptr().expose_provenance() + it.stack_size());
            } else {
                it.set_stack(Stack::new(it.stack_size())?);
            }
        }
        // SAFETY: the caller's promise; the stack is the thread's own.
        unsafe { Self::begin_on_another(thread, it.stack_top(), entry) };
        // SAFETY: as above.
        if !packed::is_packed(thread) && unsafe { stack::has_grown(it.stack_top.get()) } {
            Self::take_grown_stack(thread);
        }
        Ok(())
    }

    /// Gives a thread that has never run `stack`, which is as large as it wants, and makes its context: it will begin with `entry`.
    ///
    /// # Safety
    /// The caller's CPU holds the thread, which has no stack.
    #[inline(always)]
    pub unsafe fn begin_on(thread: ThreadPtr, stack: Stack, entry: extern "C" fn(*mut (), usize) -> !) {
        let top = stack.into_top();
        // SAFETY: the caller's promise; the stack is the thread's own.
        unsafe {
            thread.as_ref().stack_top.set(top);
            Self::begin_on_another(thread, VirtAddr::new(top), entry);
        }
    }

    /// Makes the context of a thread that has never run on a stack that stays another's.
    ///
    /// # Safety
    /// The caller's CPU holds the thread, which has never run; nobody uses that stack for as long as it does.
    #[inline(always)]
    pub unsafe fn begin_on_another(thread: ThreadPtr, top: VirtAddr, entry: extern "C" fn(*mut (), usize) -> !) {
        // SAFETY: the caller's promise.
        unsafe {
            sanitizer::stack_begins(top.as_usize(), thread.as_ref().stack_size());
            *thread.as_ref().context.get() = kernel::arch::context::prepare(top, entry, thread.as_ptr().cast());
        }
    }

    /// Leaves the thread's stack to the next that begins on this CPU. False: nothing is done, because one lies there already, it is
    /// not of the usual size, or others may hold references into it. Interrupts are masked.
    ///
    /// # Safety
    /// As for [`release_stack`](Self::release_stack), in place of which this is.
    #[inline(always)]
    #[must_use]
    pub unsafe fn leave_stack(&self) -> bool {
        // Packed threads have none of this size, nor has one whose stack has grown.
        let left = self.stack_size.get() as usize == USUAL_SIZE
            && !stack_is_lent(self.forks.get())
            // SAFETY: the caller's promise; 0 if it never ran.
            && unsafe { Stack::leave_irqoff(self.stack_top.get()) };
        if left {
            self.stack_top.set(0);
        }
        left
    }

    /// Has what it will touch first when it runs fetched, beyond the head of its block: it comes from a queue so long that nothing
    /// of it is in a cache.
    ///
    /// # Safety
    /// The caller's CPU holds the thread, which does not run.
    #[inline]
    pub unsafe fn prefetch(thread: ThreadPtr) {
        let at = thread.as_ptr().addr();
        let fetch = |range: core::ops::Range<usize>| range.step_by(LINE).for_each(kernel::arch::cpu::prefetch);
        // SAFETY: alive, and its context is the caller's.
        let stack = unsafe { (*thread.as_ref().context.get()).stack_end() };
        let mut block = at + LINE..at + size_of::<Self>();
        if packed::is_packed(thread) {
            // The red zone is looked at when it leaves its CPU.
            block.end = at + packed::ZONE_OFFSET + packed::ZONE;
        }
        if stack != 0 {
            fetch(stack..stack + 4 * LINE);
        }
        fetch(block);
    }

    /// Gives the thread's stack back to the pool, unless others may hold references into it.
    ///
    /// # Safety
    /// The thread has left its stack for ever; called once.
    pub unsafe fn release_stack(&self) {
        let top = self.stack_top.replace(0);
        let lent = stack_is_lent(self.forks.get());
        if packed::is_packed(NonNull::from(self)) {
            if lent {
                // The slot holds the block too: a reference that nobody gives back keeps both.
                self.references.count();
            }
            return;
        }
        if self.stack_size.get() & GROWN != 0 {
            // SAFETY: it was taken, and is left for ever.
            unsafe { stack::left(top, lent) };
        }
        let stack = give_stack_back(top, self.stack_size());
        if lent {
            core::mem::forget(stack);
        }
    }

    /// Whether somebody holds its preemption off. For the thread itself.
    #[inline(always)]
    pub fn is_held_off(&self) -> bool {
        self.preempt_depth.get() != 0
    }

    /// The number of the CPU it is bound to, [`ANY_CPU`] for none, if it is of normal rank and in no group; something else
    /// if it is not: for the paths where every instruction counts.
    #[inline(always)]
    pub fn pinned_raw(&self) -> u16 {
        self.pinned.load(Ordering::Relaxed)
    }

    /// The CPU that alone may run it.
    #[inline(always)]
    pub fn pinned(&self) -> Option<CpuId> {
        let cpu = self.pinned.load(Ordering::Relaxed) & !RANKED;
        (cpu != ANY_CPU).then(|| CpuId::new(cpu as usize))
    }

    /// Whether only one CPU may run it.
    #[inline(always)]
    pub fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed) & !RANKED != ANY_CPU
    }

    /// Binds it, or sets it free. For the thread itself.
    pub fn set_pinned(&self, cpu: Option<CpuId>) {
        let ranked = self.pinned.load(Ordering::Relaxed) & RANKED;
        self.pinned.store(binding(cpu) | ranked, Ordering::Relaxed);
    }

    /// Whether it waits outside of the run queue: it is of another rank than normal, or has to do with a group.
    #[inline(always)]
    pub fn is_ranked(&self) -> bool {
        self.pinned.load(Ordering::Relaxed) & RANKED != 0
    }

    /// What it goes before, and what goes before it.
    #[inline]
    pub fn rank(&self) -> Rank {
        Rank::from_bits(self.rank.load(Ordering::Relaxed))
    }

    /// The rank that it waits with in the lists: higher than its own, if its group's time is used up by others before each turn.
    pub fn waiting_rank(&self) -> Rank {
        self.rank().max(self.extras().lent_rank.get())
    }

    /// Sets its rank, from the next time on that it is queued. For the thread itself.
    pub fn set_rank(&self, rank: Rank) {
        self.rank.store(rank.to_bits(), Ordering::Relaxed);
        self.flag_rank();
    }

    /// Notes in the word of the fast paths whether there is more to know.
    fn flag_rank(&self) {
        // Whoever wants to move the thread sets the flag after its wish; if this clears it, it finds the wish afterwards, or
        // the other looks again and sets it once more.
        if self.rank() == Rank::NORMAL && !self.membership().is_member() {
            self.pinned.fetch_and(!RANKED, Ordering::Relaxed);
        }
        if self.rank() != Rank::NORMAL || self.membership().is_member() || self.membership().is_wanted() {
            self.has_news();
        }
    }

    /// Somebody wants to move it to another group: the paths of normal threads are not for it now.
    pub fn has_news(&self) {
        self.pinned.fetch_or(RANKED, Ordering::Relaxed);
    }

    /// Moves it to the group that somebody wants it in, if one does.
    ///
    /// # Safety
    /// The caller holds the thread, and nobody uses a reference to its group now.
    #[inline]
    pub unsafe fn change_group(&self) {
        if self.membership().is_wanted() {
            // SAFETY: the caller's promise.
            unsafe { self.membership().change(NonNull::from(self)) };
            self.flag_rank();
        }
    }

    /// Its group.
    #[inline(always)]
    pub fn membership(&self) -> &Membership {
        &self.extras().membership
    }

    /// Says why it ends without a result. For the thread itself.
    pub fn set_death(&self, death: Death) {
        self.holds.set(self.holds.get() & WHAT | death.number() << DEATH_SHIFT);
    }

    /// Why it has left no result, if it has not. For the thread itself, at its end.
    #[cold]
    pub fn death(&self) -> Death {
        Death::numbered(self.holds.get() >> DEATH_SHIFT)
    }

    /// It has died without a result, and what was its body may hold anything, if it is packed.
    pub fn forget_body(&self) {
        if packed::is_packed(NonNull::from(self)) {
            self.holds.set(self.holds.get() & !WHAT | NOTHING);
        }
    }

    /// One past the highest byte of its stack.
    pub fn stack_top(&self) -> VirtAddr {
        VirtAddr::new(self.stack_top.get())
    }

    /// Whether there may be something on its stack that is linked elsewhere, or a waker that is about to wake it: it waits
    /// for something, is about to, or has a moment ago. For the thread itself.
    pub fn may_be_linked(&self) -> bool {
        self.has_timer.get() || self.is_queued.get() || self.references.any_wait()
    }

    /// Bytes of its stack.
    pub fn stack_size(&self) -> usize {
        (self.stack_size.get() & !GROWN) as usize
    }

    /// The scope that waits for its end, if any.
    #[inline(always)]
    pub fn scope(&self) -> *const ScopeState {
        self.extras().scope
    }

    /// Whether dropping what its body holds does anything, as far as it can tell. For who may do that.
    #[inline]
    pub fn has_litter(&self) -> bool {
        match self.holds.get() & WHAT {
            CLOSURE => true,
            RESULT => self.calls.result_drops,
            _ => false,
        }
    }

    /// Whether there is a result. For the thread itself, at its end.
    pub fn has_result(&self) -> bool {
        self.holds.get() & WHAT == RESULT
    }

    /// Whether it stands on a stack that is not its own: there was none for it, and it never ran.
    #[cold]
    pub fn never_ran(&self) -> bool {
        self.stack_top.get() == 0
    }

    /// Drops what its body holds.
    ///
    /// # Safety
    /// The body is the caller's alone: the thread is at its end, or has never run and never will, and its handle is gone or is
    /// the caller.
    pub unsafe fn empty(thread: ThreadPtr) {
        // SAFETY: `calls` belongs to the packet's true type; the rest is the caller's promise.
        unsafe { (thread.as_ref().calls.empty)(thread) }
    }

    /// Its number, unique since boot.
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// Gives a new thread, which nobody else knows, its number and its home.
    #[inline(always)]
    pub fn set_id(&self, id: u64, home: CpuId) {
        self.id.set(id);
        self.set_home(home);
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.extras().name.as_deref()
    }

    /// Its name, or one made of its number.
    pub fn write_name(&self, out: &mut dyn Write) -> fmt::Result {
        match self.name() {
            Some(name) => out.write_str(name),
            None => write!(out, "thread-{}", self.id()),
        }
    }

    /// If `addr` is in the guard below the thread's stack: the stack's size.
    pub fn guard_hit(&self, addr: usize) -> Option<usize> {
        if packed::is_packed(NonNull::from(self)) {
            return None;
        }
        // The thread runs (it has just faulted), so its stack is still its own, and stays so.
        let stack = ManuallyDrop::new(give_stack_back(self.stack_top.get(), self.stack_size())?);
        stack.guard_hit(addr).then(|| stack.size())
    }
}

/// The thread that runs on this CPU; none on a worker's own stack.
#[inline(always)]
pub(crate) fn current_ptr() -> Option<ThreadPtr> {
    NonNull::new(kernel::arch::cpu::current_thread().cast())
}

/// A counted reference to a thread.
pub(crate) struct ThreadRef(ThreadPtr);

// SAFETY: it gives access to atomics and immutable fields only; freeing may happen on any CPU.
unsafe impl Send for ThreadRef {}
// SAFETY: as above.
unsafe impl Sync for ThreadRef {}

impl ThreadRef {
    /// Takes over one reference that was counted already.
    ///
    /// # Safety
    /// There is one, and nobody else gives it back.
    pub unsafe fn from_counted(thread: ThreadPtr) -> Self {
        Self(thread)
    }

    /// The address, for queues.
    pub fn as_ptr(&self) -> ThreadPtr {
        self.0
    }
}

impl Clone for ThreadRef {
    fn clone(&self) -> Self {
        self.references.count();
        Self(self.0)
    }
}

/// A counted reference to a thread that waits for something, for whoever ends the wait. Counted apart, so that a thread that
/// is to be ended against its will can be asked whether one is out.
pub(crate) struct WaitRef(ThreadPtr);

impl WaitRef {
    /// Counts one more.
    ///
    /// # Safety
    /// `thread` is alive.
    pub unsafe fn count(thread: ThreadPtr) -> Self {
        // SAFETY: the caller's promise.
        unsafe { thread.as_ref() }.references.count_wait();
        Self(thread)
    }

    /// Takes over one that was counted already.
    ///
    /// # Safety
    /// There is one, and nobody else gives it back.
    pub unsafe fn from_counted(thread: ThreadPtr) -> Self {
        Self(thread)
    }
}

impl Drop for WaitRef {
    fn drop(&mut self) {
        // SAFETY: it was counted.
        if unsafe { self.0.as_ref() }.references.give_back_wait() {
            // SAFETY: it was the last.
            unsafe { free(self.0) }
        }
    }
}

/// # Safety
/// Nobody refers to the thread any more.
#[inline(always)]
unsafe fn free(thread: ThreadPtr) {
    // SAFETY: it has been in the list since it was made.
    #[cfg(feature = "listed")]
    unsafe {
        super::listed::remove(thread);
    }
    // SAFETY: nobody has freed it yet; `calls` belongs to the packet's true type. Its body is empty: the handle or the thread
    // itself has seen to that.
    unsafe { (thread.as_ref().calls.free)(thread) }
}

impl core::ops::Deref for ThreadRef {
    type Target = Thread;
    fn deref(&self) -> &Thread {
        // SAFETY: a counted reference keeps the block alive.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for ThreadRef {
    fn drop(&mut self) {
        if self.references.give_back() {
            // SAFETY: it was the last.
            unsafe { free(self.0) }
        }
    }
}
