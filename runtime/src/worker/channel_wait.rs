//! One thread's wait at a channel, or at several: as `waiting.rs`, but the waker unparks first and publishes second.
//!
//! So the waiter is alive for as long as the waker uses its block, and a message to a waiting thread counts no references.
//! In return, a waiter that is up for another reason just then waits for the publication, which is a few instructions
//! away: the waker keeps its interrupts masked from the claim on.

use super::door::Next;
use super::{Worker, block_until, may_block, task_wait};
use crate::Instant;
use crate::thread::control::{Thread, ThreadPtr};
use crate::thread::packed::is_packed;
use crate::thread::{current_ptr, is_doomed};
use crate::worker::wake::enqueue_woken_with;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use isochron_core::channel::blocks::Memory;
use isochron_core::channel::{AtDoor, Named, Standing};
use isochron_core::thread_state::{CommitPark, Unpark};
use isochron_core::wait_queue::{WaitNode, WaitToken, Wake};
use isochron_kernel::arch;
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::irq::{IrqGuard, Masked, UnmaskGuard};

/// The tag of a time-out.
const TIMED_OUT: u32 = 1 << 29;

/// A wait that is about to begin or under way. While a node of it is queued, [`Wait::block`] and the like must be called
/// until the wait is over.
///
/// As long as it lives, the thread is known to have something in queues.
pub struct Wait {
    token: WaitToken,
    thread: ThreadPtr,
}

impl Drop for Wait {
    #[inline(always)]
    fn drop(&mut self) {
        self.say(false);
    }
}

/// Where a thread has waited.
pub(crate) enum Stood {
    /// In the door: it has its gift, or is to wait on in the queue.
    InDoor,
    /// In the queue; true if a waker has ended the wait, which is over then. Otherwise as after [`Wait::park`].
    InQueue(bool),
}

/// Until this is dropped the thread is known to have something in queues.
pub(crate) struct Said<'w>(&'w Wait);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        self.0.say(false);
    }
}

impl Wait {
    /// The running thread will wait.
    ///
    /// # Panics
    /// If it must not block here: in an interrupt handler, if interrupts were masked before `irq`, or while a
    /// `PreemptGuard` is held.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn new(irq: IrqGuard) -> (Self, UnmaskGuard) {
        let (wait, irq) = Self::unsaid(irq);
        wait.say(true);
        (ManuallyDrop::into_inner(wait), irq)
    }

    /// As `new`, but the thread is not known to have something in queues, nor is dropping this to take that back: for one
    /// that keeps interrupts masked as long as something is there, so that nobody could ask, or calls [`Wait::said`].
    ///
    /// # Panics
    /// As `new`.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn unsaid(irq: IrqGuard) -> (ManuallyDrop<Self>, UnmaskGuard) {
        let thread = current_ptr();
        // Before anything is queued: what panics must leave nothing behind.
        let irq = match irq.until_unmasked() {
            // SAFETY: the running thread's block is alive.
            Ok(irq) if !unsafe { thread.as_ref() }.is_held_off() && !is_packed(thread) => irq,
            irq => may_block(thread, irq),
        };
        (ManuallyDrop::new(Self { token: WaitToken::new(), thread }), irq)
    }

    /// Says so of the thread; from here on, dropping this must take it back.
    #[inline(always)]
    fn say(&self, is_queued: bool) {
        // SAFETY: the running thread's block is alive.
        unsafe { self.thread.as_ref() }.is_queued.set(is_queued);
    }

    /// Parks once. True if a waker has ended the wait, which is over then. Otherwise [`Wait::said`] and
    /// [`Wait::block_again`] come next, with interrupts masked all the while.
    #[inline(always)]
    pub(crate) fn park(&self) -> bool {
        if cfg!(feature = "trace") {
            // So that the trace tells why it leaves its CPU.
            self.say(true);
        }
        Worker::park(self.thread);
        if cfg!(feature = "trace") {
            self.say(false);
        }
        self.token.outcome().is_some()
    }

    /// Waits in the door of a channel's lock, and is away and back then; or in the queue, for a first park.
    ///
    /// # Safety
    /// As for [`AtDoor::stand`] and [`AtDoor::link`]; `me` is [its thread](Self::thread), which the caller has at hand.
    #[inline(always)]
    pub(crate) unsafe fn stand<T, M: Memory<T>>(
        &self,
        me: ThreadPtr,
        at_door: AtDoor<'_, T, ThreadPtr, M>,
        place: NonNull<Standing<T, ThreadPtr>>,
    ) -> Stood {
        let worker = Worker::this();
        let next = worker.next_for_handed(me);
        if cfg!(feature = "trace") {
            self.say(true);
        }
        let stood = match next {
            Next::This(next) => {
                // SAFETY: the caller's promise; this CPU takes no interrupts until the thread has been left.
                unsafe { worker.stand_in_door(me, next, at_door.stand(place)) };
                Stood::InDoor
            }
            Next::Nobody => {
                let has_watched = at_door.poll_from_now();
                // SAFETY: the caller's promise.
                unsafe { at_door.link(place) };
                worker.park_alone(me, !has_watched);
                Stood::InQueue(self.token.outcome().is_some())
            }
            Next::ByRule => {
                // SAFETY: the caller's promise.
                unsafe { at_door.link(place) };
                Worker::park(me);
                Stood::InQueue(self.token.outcome().is_some())
            }
        };
        if cfg!(feature = "trace") {
            self.say(false);
        }
        stood
    }

    /// Who waits.
    #[inline(always)]
    pub(crate) fn thread(&self) -> ThreadPtr {
        self.thread
    }

    /// A place in a door.
    #[inline(always)]
    pub(crate) fn standing<T>(&self) -> Standing<T, ThreadPtr> {
        Standing::new(self.thread, &self.token)
    }

    /// Makes up for it that [`Wait::unsaid`] has not said it.
    pub(crate) fn said(&self) -> Said<'_> {
        self.say(true);
        Said(self)
    }

    /// A place in a queue. `tag`, below 2^29, is the outcome if it is this one that ends the wait.
    #[inline(always)]
    pub(crate) fn node<P>(&self, tag: u32, payload: P) -> WaitNode<ThreadPtr, P> {
        WaitNode::new(self.thread, &self.token, tag, payload)
    }

    /// Parks until a waker has ended the wait; which node it was. `None` if the thread is to die: the caller takes its nodes
    /// out of their queues, and then calls [`die_if_doomed`](crate::thread::die_if_doomed).
    #[inline(always)]
    pub(crate) fn block(&self, irq: UnmaskGuard) -> Option<u32> {
        // Mostly nobody was faster than this park, and it ends once.
        Worker::park(self.thread);
        match self.token.outcome() {
            Some(tag) => {
                drop(irq);
                Some(tag)
            }
            None => self.block_again(irq),
        }
    }

    /// As `block`, after a park that has not ended the wait.
    #[cold]
    #[inline(never)]
    pub(crate) fn block_again(&self, irq: UnmaskGuard) -> Option<u32> {
        while !self.token.is_claimed() {
            if is_doomed(self.thread) && self.token.fire(TIMED_OUT) {
                return None;
            }
            Worker::park(self.thread);
        }
        drop(irq);
        Some(self.claimed())
    }

    /// A waker has claimed the wait, and publishes in a moment.
    fn claimed(&self) -> u32 {
        let mut spins = 0_u32;
        loop {
            if let Some(tag) = self.token.outcome() {
                return tag;
            }
            spins += 1;
            if spins.is_multiple_of(128) {
                // The waker's CPU may have lost its CPU: a guest's, the hosted port's.
                Worker::yield_current();
            }
            isochron_kernel::arch::cpu::spin_hint();
        }
    }

    /// As `block`, until `deadline`; `None` also if that has come.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn block_until(&self, irq: UnmaskGuard, deadline: Instant) -> Option<u32> {
        drop(irq);
        let ended = block_until(deadline, || self.token.is_claimed());
        if !ended && self.token.fire(TIMED_OUT) {
            return None;
        }
        Some(self.claimed())
    }
}

impl Named for Thread {
    #[inline(always)]
    unsafe fn take_over(this: ThreadPtr) -> bool {
        // SAFETY: it waits, and is alive until it has been queued.
        unsafe { this.as_ref() }.state.take_handed()
    }

    #[cold]
    unsafe fn sit_down(this: ThreadPtr) {
        // SAFETY: as above; if somebody else has it, it comes for the lock that the caller has before it goes.
        if unsafe { this.as_ref() }.state.park_handed() == Some(CommitPark::WokenMeanwhile) {
            Worker::this().make_runnable_cold(this);
        }
    }
}

/// Where a node is, for a queue; from then on it must not move.
pub(crate) fn pointer<P>(node: &mut WaitNode<ThreadPtr, P>) -> NonNull<WaitNode<ThreadPtr, P>> {
    NonNull::from(node)
}

/// Ends the wait that a channel says must end, and unmasks interrupts.
#[inline(always)]
pub(crate) fn end(wake: Option<Wake<ThreadPtr>>, irq: impl Masked) {
    let Some(wake) = wake else { return };
    let thread = wake.waiter();
    if wake.is_handed_over() {
        return enqueue_woken_with(thread, irq);
    }
    // SAFETY: the waiter stays where it is until the publication.
    let unpark = unsafe { thread.as_ref() }.state.unpark();
    // If it was parked, it is in nobody's hands but these, and so it is alive; if not, it may be gone, or no thread.
    if unpark == Unpark::Enqueue {
        wake.publish();
        enqueue_woken_with(thread, irq);
    } else {
        let (waiter, token, tag) = wake.into_parts();
        end_unparked(waiter, token, tag, irq);
    }
}

/// In parts, so that a wake-up does not lie in memory for the sake of this.
#[cold]
#[inline(never)]
fn end_unparked(waiter: ThreadPtr, token: Option<NonNull<WaitToken>>, tag: u32, irq: impl Masked) {
    // SAFETY: these are its parts.
    let wake = unsafe { Wake::from_parts((waiter, token, tag)) };
    if Some(wake.waiter()) == task_wait::stand_in() {
        // SAFETY: it stands in for nobody but tasks.
        unsafe { task_wait::end(wake, irq) };
    } else {
        wake.publish();
    }
}

/// Waits for `ns`, or until `deadline` if that is sooner, on this CPU, with interrupts on; less if it turns out that there is something
/// else to be done.
///
/// # Errors
/// It has not waited: there is something else to be done, nobody else who could change anything, or no core for it to wait on.
pub(crate) fn pause(irq: IrqGuard, ns: u64, deadline: Option<Instant>) -> Result<IrqGuard, IrqGuard> {
    let worker = may_watch(&irq).ok_or(irq)?;
    let end = arch::clock::ticks_unordered() + ns_to_ticks(ns);
    let end = deadline.map_or(end, |deadline| end.min(deadline.ticks()));
    while arch::clock::ticks_unordered() < end && !worker.is_wanted() {
        arch::cpu::spin_hint();
    }
    Ok(IrqGuard::new())
}

/// Waits until `is_over`, on this CPU and with interrupts on, for as long as a thread that parks alone
/// [stays](super::idle) for its wake-up; less if there is something else to be done.
///
/// # Errors
/// As for [`pause`].
pub(crate) fn watch(irq: IrqGuard, is_over: impl Fn() -> bool) -> Result<IrqGuard, IrqGuard> {
    // The length is this CPU's own, and so to be read while interrupts are masked.
    let (worker, length) = may_watch(&irq).map(|worker| (worker, worker.length_of_stay())).ok_or(irq)?;
    worker.look_out(length, is_over);
    Ok(IrqGuard::new())
}

/// The worker of the CPU that the running thread may wait on without giving it up. With interrupts on, that may come to be another CPU's:
/// it is then for glances.
fn may_watch(_: &IrqGuard) -> Option<&'static Worker> {
    let worker = Worker::this();
    // SAFETY: the running thread's block is alive.
    let is_member = unsafe { current_ptr().as_ref() }.membership().is_member();
    // The time of a group is not for waiting.
    (!is_member && worker.may_watch() && !worker.is_wanted()).then_some(worker)
}

/// One of the members of `set`, each as likely as the others. (Not for secrets.)
///
/// # Panics
/// If there is none.
pub(crate) fn any_of(mut set: u32) -> usize {
    let random = {
        let _irq = IrqGuard::new();
        let worker = Worker::this();
        // A step of Marsaglia's xorshift; never 0.
        let mut random = worker.random.get();
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        worker.random.set(random);
        random
    };
    // The high bits of the product: no division.
    let place = (u64::from(random) * u64::from(set.count_ones())) >> 32;
    for _ in 0..place {
        set &= set - 1;
    }
    assert!(set != 0, "one of none");
    set.trailing_zeros() as usize
}
