//! The control block of a thread, and who keeps it alive.
//!
//! It is counted by references: one for the thread itself, given back when it has left its stack for good, and one for each
//! handle. The stack is not part of it, but for packed threads: it goes back to its CPU's pool the moment the thread is gone,
//! however long the result waits to be fetched.

use super::Death;
use super::home::Home;
use super::packed;
use super::packet::{BodyAccess, Calls};
use super::traits::Traits;
use crate::fork::{Pending, ScopeState, stack_is_lent};
use crate::group::Membership;
use crate::kernel;
use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::fmt::{self, Write};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicUsize, Ordering, fence};
use isochron_core::completion::Completion;
use isochron_core::last_of_two::LastOfTwo;
use isochron_core::layers::Rank;
use isochron_core::link::{Link, Linked};
use isochron_core::thread_state::ThreadState;
use isochron_kernel::arch::context::Context;
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::memory::{OutOfMemory, Stack};

/// What queues hold.
pub(crate) type ThreadPtr = NonNull<Thread>;

/// Stacks up to this size are taken when their threads first run: so a million threads that wait for their first turn have
/// none. Larger ones are taken at once, so that whoever makes the thread is told if there is no memory.
pub(crate) const LATE_STACK: usize = 64 * 1024;

/// In [`Thread::pinned_raw`]: any CPU may run it.
pub(crate) const ANY_CPU: u32 = u32::MAX >> 1;

/// In [`Thread::pinned_raw`], beside the CPU: it is not of normal rank, see [`Thread::rank`], or is in a group or about to
/// be. Then it waits outside of the run queue. One word tells both, so that the paths of normal threads ask once.
const RANKED: u32 = 1 << 31;

/// What a reference counts that a wait holds: see [`WaitRef`]. A thread has few at a time: one for itself, and one for each
/// CPU that is about to give back that of an earlier wait.
const WAIT: usize = 1;
/// What any other reference counts.
const REFERENCE: usize = 1 << 12;

/// The part of a thread's block that does not depend on what it runs.
///
/// Fields without an atomic belong to the CPU that holds the thread (runs it, or has just taken it from a queue); they
/// change hands with it, ordered by the queue.
#[repr(C, align(64))]
pub(crate) struct Thread {
    /// Where it goes on.
    pub context: UnsafeCell<Context>,
    /// Running, parked, exited; permits.
    pub state: ThreadState,
    /// Preemption is held off while this is not 0; and [`packed::PACKED`].
    pub preempt_depth: Cell<u32>,
    /// The CPU it is bound to, or [`ANY_CPU`]; and [`RANKED`].
    pinned: AtomicU32,
    /// [`Rank`], as a number.
    rank: AtomicU16,
    /// Where it belongs.
    pub(super) home: Home,
    /// Its rank without a boost, while it has one.
    pub(super) base: Cell<Rank>,
    /// When its boost ends, in ticks; 0 for none.
    pub(super) boost_end: Cell<u64>,
    /// For the one list it may be in.
    link: Link<Self>,
    /// Its group.
    pub membership: Membership,
    /// What other threads may hold of its stack; its own.
    pub forks: Cell<*const Pending>,
    /// A timer on its stack may be in a CPU's queue; its own.
    pub has_timer: Cell<bool>,
    /// A place on its stack may be in a channel's queue; its own.
    pub is_queued: Cell<bool>,
    /// The scope that waits for its end; null for none. Fixed.
    scope: *const ScopeState,
    /// Who waits for its end.
    pub completion: Completion<Self>,
    /// Thread and join handle: the last to leave drops the result.
    sides: LastOfTwo,
    /// Why it ended without a result, if it did. Written by itself, at its end; read by its handle, after `completion`.
    death: Cell<Death>,
    references: AtomicUsize,
    calls: &'static Calls,
    stack: UnsafeCell<Place>,
    id: u64,
    name: Option<Box<str>>,
    /// Since when it waits for a CPU.
    #[cfg(feature = "trace")]
    pub waits_since: crate::trace::Stamp,
}

// SAFETY: atomics may be shared; the other fields change hands with the thread itself (see above), and the closure and
// result inside the packet are `Send`, by the bounds of `Packet::allocate`.
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

/// Where it runs.
enum Place {
    /// Nowhere yet, or no longer: so many bytes are wanted when it begins.
    Wanted(usize),
    /// On its own stack.
    Taken(Stack),
}

/// Whether [`Thread::pinned_raw`] says that the thread is not of normal rank, or has to do with a group.
#[inline(always)]
pub(crate) const fn is_ranked(pinned_raw: u32) -> bool {
    pinned_raw & RANKED != 0
}

fn binding(cpu: Option<CpuId>) -> u32 {
    cpu.map_or(ANY_CPU, |cpu| cpu.index() as u32)
}

impl Thread {
    /// A new thread's.
    #[inline(always)]
    pub(super) fn new(traits: Traits, calls: &'static Calls, preempt_depth: u32) -> Self {
        let Traits { id, name, pinned, rank, scope, stack_size } = traits;
        Self {
            context: UnsafeCell::new(Context::default()),
            state: ThreadState::unbegun(),
            preempt_depth: Cell::new(preempt_depth),
            pinned: AtomicU32::new(binding(pinned) | if rank == Rank::NORMAL { 0 } else { RANKED }),
            rank: AtomicU16::new(rank.to_bits()),
            home: Home::of_new(id),
            base: Cell::new(Rank::NORMAL),
            boost_end: Cell::new(0),
            link: Link::new(),
            membership: Membership::new(),
            forks: Cell::new(ptr::null()),
            has_timer: Cell::new(false),
            is_queued: Cell::new(false),
            scope,
            completion: Completion::new(),
            sides: LastOfTwo::new(),
            death: Cell::new(Death::Panicked),
            references: AtomicUsize::new(2 * REFERENCE),
            calls,
            stack: UnsafeCell::new(Place::Wanted(stack_size)),
            id,
            name,
            #[cfg(feature = "trace")]
            waits_since: crate::trace::Stamp::default(),
        }
    }

    /// A new thread has its stack before it runs. For who makes it.
    pub(super) fn set_stack(&self, stack: Stack) {
        // SAFETY: nobody else knows the thread; what is overwritten is a number.
        unsafe { self.stack.get().write(Place::Taken(stack)) };
    }

    /// The thread, or its handle, has left the result; whether the other had before.
    #[inline(always)]
    pub(super) fn leaves_last(&self) -> bool {
        self.sides.leave()
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
        // SAFETY: alive, and its stack and context are the caller's alone.
        let (place, context) = unsafe { (&mut *thread.as_ref().stack.get(), thread.as_ref().context.get()) };
        let top = match place {
            Place::Taken(stack) => stack.top(),
            Place::Wanted(size) if packed::is_packed(thread) => {
                VirtAddr::new(thread.as_ptr().expose_provenance() + *size)
            }
            Place::Wanted(size) => {
                let stack = Stack::new(*size)?;
                let top = stack.top();
                // SAFETY: a number is overwritten, nothing that would have to be dropped.
                unsafe { (&raw mut *place).write(Place::Taken(stack)) };
                top
            }
        };
        // SAFETY: as above; the stack is the thread's own.
        unsafe { *context = kernel::arch::context::prepare(top, entry, thread.as_ptr().cast()) };
        Ok(())
    }

    /// The thread will never run: there is no stack for it.
    ///
    /// # Safety
    /// It has never run, and its CPU does this instead.
    pub unsafe fn give_up(thread: ThreadPtr) {
        // SAFETY: alive; the rest is the caller's promise.
        unsafe {
            thread.as_ref().death.set(Death::OutOfMemory);
            (thread.as_ref().calls.give_up)(thread);
        }
    }

    /// Gives the thread's stack back to the pool, unless others may hold references into it.
    ///
    /// # Safety
    /// The thread has left its stack for ever; called once.
    pub unsafe fn release_stack(&self) {
        // SAFETY: nobody uses the stack or the field any more, by the caller's promise.
        let place = unsafe { self.stack.get().replace(Place::Wanted(0)) };
        if stack_is_lent(self.forks.get()) {
            core::mem::forget(place);
            if packed::is_packed(NonNull::from(self)) {
                // The slot holds the block too: a reference that nobody gives back keeps both.
                self.references.fetch_add(REFERENCE, Ordering::Relaxed);
            }
        }
    }

    /// The number of the CPU it is bound to, [`ANY_CPU`] for none, if it is of normal rank and in no group; something else
    /// if it is not: for the paths where every instruction counts.
    #[inline(always)]
    pub fn pinned_raw(&self) -> u32 {
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

    /// Sets its rank, from the next time on that it is queued. For the thread itself.
    pub fn set_rank(&self, rank: Rank) {
        self.rank.store(rank.to_bits(), Ordering::Relaxed);
        self.flag_rank();
    }

    /// Notes in the word of the fast paths whether there is more to know.
    fn flag_rank(&self) {
        // Whoever wants to move the thread sets the flag after its wish; if this clears it, it finds the wish afterwards, or
        // the other looks again and sets it once more.
        if self.rank() == Rank::NORMAL && !self.membership.is_member() {
            self.pinned.fetch_and(!RANKED, Ordering::Relaxed);
        }
        if self.rank() != Rank::NORMAL || self.membership.is_member() || self.membership.is_wanted() {
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
        if self.membership.is_wanted() {
            // SAFETY: the caller's promise.
            unsafe { self.membership.change() };
            self.flag_rank();
        }
    }

    /// Says why it ends without a result. For the thread itself.
    pub fn set_death(&self, death: Death) {
        self.death.set(death);
    }

    /// It has died without a result, and what was its body may hold anything, if it is packed.
    ///
    /// # Safety
    /// By the thread itself, before its completion, and its stack does not reach to the body: it runs on a spare stack, or at the
    /// top of its own.
    pub unsafe fn forget_body(&self) {
        let me = NonNull::from(self);
        if packed::is_packed(me) {
            // SAFETY: `calls` belongs to the packet's true type; the rest is the caller's promise.
            unsafe { (self.calls.forget)(me) }
        }
    }

    /// One past the highest byte of its stack.
    pub fn stack_top(&self) -> VirtAddr {
        // SAFETY: the stack is released only after the thread's end, and the thread itself asks.
        match unsafe { &*self.stack.get() } {
            Place::Taken(stack) => stack.top(),
            // Packed: any other has taken one when it first ran.
            Place::Wanted(size) => VirtAddr::new(ptr::from_ref(self).expose_provenance() + size),
        }
    }

    /// The lowest address of its stack. For the thread itself, `me`.
    pub fn stack_limit(&self, me: ThreadPtr) -> usize {
        // SAFETY: as above.
        match unsafe { &*self.stack.get() } {
            Place::Taken(stack) => stack.bottom().as_usize(),
            Place::Wanted(_) => me.as_ptr().addr() + packed::ZONE_OFFSET + packed::ZONE,
        }
    }

    /// Whether there may be something on its stack that is linked elsewhere, or a waker that is about to wake it: it waits
    /// for something, is about to, or has a moment ago. For the thread itself.
    pub fn may_be_linked(&self) -> bool {
        self.has_timer.get() || self.is_queued.get() || self.references.load(Ordering::Relaxed) & (REFERENCE - 1) != 0
    }

    /// Bytes of its stack.
    pub fn stack_size(&self) -> usize {
        // SAFETY: the stack is released only after the thread's end, and the thread itself asks.
        match unsafe { &*self.stack.get() } {
            Place::Taken(stack) => stack.size(),
            Place::Wanted(size) => *size,
        }
    }

    /// The scope that waits for its end, if any.
    #[inline(always)]
    pub fn scope(&self) -> *const ScopeState {
        self.scope
    }

    /// Its number, unique since boot.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The name it was given.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its name, or one made of its number.
    pub fn write_name(&self, out: &mut dyn Write) -> fmt::Result {
        match &self.name {
            Some(name) => out.write_str(name),
            None => write!(out, "thread-{}", self.id),
        }
    }

    /// Why it ended, if it left no result. For its handle, when the completion is done.
    #[cold]
    pub fn death(&self) -> Death {
        self.death.get()
    }

    /// If `addr` is in the guard below the thread's stack: the stack's size.
    pub fn guard_hit(&self, addr: usize) -> Option<usize> {
        // SAFETY: the thread runs (it has just faulted), so its stack is still its own.
        let Place::Taken(stack) = (unsafe { &*self.stack.get() }) else { return None };
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

    /// The join handle is dropped without having fetched the result.
    ///
    /// # Safety
    /// `body` was made with the thread; called once, by the handle, instead of `take_result`.
    pub(super) unsafe fn abandon_result<T>(&self, body: BodyAccess<T>) {
        if self.sides.leave() {
            // SAFETY: the thread has left its body, and the handle's promise.
            drop(unsafe { (body.take)(self.0) });
        }
    }

    /// The result, once.
    ///
    /// # Safety
    /// `body` was made with the thread, its completion is done, and nobody else takes the result.
    pub(super) unsafe fn take_result<T>(&self, body: BodyAccess<T>) -> Option<T> {
        // SAFETY: the caller's promise; `body` was made for the packet's true type.
        unsafe { (body.take)(self.0) }
    }
}

impl Clone for ThreadRef {
    fn clone(&self) -> Self {
        // Relaxed: a new reference comes from one that is alive, as in `Arc`.
        self.references.fetch_add(REFERENCE, Ordering::Relaxed);
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
        // SAFETY: the caller's promise. Relaxed: as in `ThreadRef::clone`.
        unsafe { thread.as_ref() }.references.fetch_add(WAIT, Ordering::Relaxed);
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
        unsafe { give_back(self.0, WAIT) }
    }
}

/// # Safety
/// So many references are the caller's, who does not use the thread any more.
#[inline(always)]
unsafe fn give_back(thread: ThreadPtr, count: usize) {
    // SAFETY: alive until the references are given back.
    // Release: partner is the fence below, in whoever drops the last reference.
    if unsafe { thread.as_ref() }.references.fetch_sub(count, Ordering::Release) == count {
        // Acquire: partner is the release of every other drop: all uses of the block come before its freeing.
        fence(Ordering::Acquire);
        // SAFETY: that was the last reference; `calls` belongs to the packet's true type.
        unsafe { (thread.as_ref().calls.free)(thread) }
    }
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
        // SAFETY: it was counted.
        unsafe { give_back(self.0, REFERENCE) }
    }
}
