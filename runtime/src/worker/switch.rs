//! From one thread to the next.
//!
//! Every function here runs with interrupts masked.

use super::grouped::Rest;
use super::{IDLE, Worker};
use crate::kernel::arch;
use crate::kernel::arch::context::Context;
use crate::sync::settle_boost;
use crate::thread::control::{self, ANY_CPU, Thread, ThreadPtr, ThreadRef, is_ranked};
use crate::thread::packed::{self, is_packed};
use crate::trace::{Origin, Queue, points};
use core::ptr::NonNull;
use isochron_core::idle_set::Claimed;
use isochron_core::layers::Rank;
use isochron_core::thread_state::{CommitPark, ParkDecision};
use isochron_kernel::irq;

/// What is to become of a thread once its context is saved: one of the low bits of the message that goes through the switch
/// with its address (aligned to 64). A message of 0: nothing.
const REQUEUE: usize = 1;
pub(super) const COMMIT_PARK: usize = 2;
pub(super) const REAP: usize = 4;
/// With the address of a place in a door (aligned to 16), not that of a thread: so it is to be asked for before `SHARE`.
pub(super) const STAND_IN_DOOR: usize = 8;
pub(super) const SHARE: usize = 16;
const TAG: usize = 63;

/// What a thread that comes back from a switch was at, which says what is likely, and so which ways are short: a yield.
const AFTER_YIELD: u8 = 0;
/// A wait.
pub(super) const AFTER_PARK: u8 = 1;
/// A wait for the end of a thread, which may not have begun.
pub(super) const AFTER_JOIN: u8 = 2;
/// A wait in a door.
pub(super) const AFTER_DOOR: u8 = 3;

/// A CPU whose queue is never empty takes something from the injector once in so many switches.
pub(super) const INJECTOR_PERIOD: u32 = 64;

/// Where [`Worker::enqueue`] puts a thread: last.
const LAST: u8 = 0;
/// The same: into the next slot.
pub(super) const FIRST: u8 = 1;
/// The same: it has never run, and goes before those that were made before it: `young.rs`.
pub(super) const NEW: u8 = 2;

impl Worker {
    /// Lets the next thread run; the running one goes to the end of the queue.
    #[inline(always)]
    pub fn yield_current() {
        // A glance, with interrupts on: a thread that is moved to another CPU in the middle of it looks at the queue of
        // the CPU it has left, and yields for nothing or not at all, which is what it would have seen a moment earlier.
        let worker = Self::this();
        if worker.queue.has_items_hint() || worker.somebody_waits_elsewhere() {
            match irq::IrqGuard::new().until_unmasked() {
                Ok(_irq) => Self::yield_irqoff(),
                Err(_irq) => Self::yield_irqoff_cold(),
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn yield_irqoff_cold() {
        Self::yield_irqoff();
    }

    /// As `yield_current`, for certain, with interrupts masked.
    ///
    /// Inlined, although it is not short: the switch loses every register, and a loop that yields then saves what it must
    /// once, around the loop, and not on every turn.
    #[inline(always)]
    pub(super) fn yield_irqoff() {
        let worker = Self::this();
        let me = crate::thread::current_ptr();
        if is_packed(me) {
            packed::check(me);
        }
        // SAFETY: the running thread's block is alive.
        let pinned = unsafe { me.as_ref() }.pinned_raw();
        let mut message = 0;
        if usize::from(pinned) != worker.id.index() {
            if is_ranked(pinned) {
                return worker.yield_by_rule(me);
            }
            // Free to go elsewhere: somebody may wait for it. Not before its context is saved.
            message = worker.offers;
        }
        match worker.queue().rotate_private(me) {
            Ok(Some(next)) => {
                // SAFETY: the running thread's block is alive.
                unsafe { me.as_ref() }.state.set_runnable();
                worker.leave_to(me, message, next);
            }
            Ok(None) | Err(_) => worker.yield_by_rule(me),
        }
    }

    /// As `yield_irqoff`, where there is more to choose from than the private ring.
    #[cold]
    #[inline(never)]
    fn yield_by_rule(&self, me: ThreadPtr) {
        self.settle_young();
        self.look_elsewhere();
        self.stop_member(Rest::Kept);
        // SAFETY: the running thread's block is alive; this CPU holds it, and its run as a member is over.
        unsafe { me.as_ref().change_group() };
        // SAFETY: as above.
        settle_boost(unsafe { me.as_ref() });
        // SAFETY: as above.
        let running = unsafe { me.as_ref() }.rank();
        let next = match running {
            Rank::NORMAL => self.queue().pop_plain().unwrap_or_else(|_| self.pop_by_rule(Some(running))),
            _ => self.pop_by_rule(Some(running)),
        };
        match next {
            Some(next) => self.leave_to(me, Self::message(me, REQUEUE), next),
            None if self.resume(me) => {
                if self.queue.has_items_hint() {
                    // It goes on before those that wait, for one more quantum: the last one may have been given up for this
                    // switch.
                    self.alarm.goes_on(self);
                    self.share();
                }
            }
            // Its group has no time. It is set aside when its context is saved.
            None => self.leave::<AFTER_PARK>(me, REQUEUE),
        }
    }

    /// Puts the running thread through the queue step whether or not another waits: it may be bound elsewhere now.
    pub fn requeue_current() {
        let _irq = irq::IrqGuard::new();
        let me = crate::thread::current_ptr();
        if is_packed(me) {
            packed::check(me);
        }
        Self::this().leave::<AFTER_PARK>(me, REQUEUE);
    }

    /// Parks the running thread, unless a wake-up is there already.
    #[inline(always)]
    pub fn park(me: ThreadPtr) {
        // SAFETY: the running thread's block is alive.
        match unsafe { me.as_ref() }.state.begin_park() {
            ParkDecision::PermitTaken => {}
            ParkDecision::Park => Self::this().leave::<AFTER_PARK>(me, COMMIT_PARK),
        }
    }

    /// As [`park`](Self::park), where nobody was in the queue a moment ago, with interrupts masked since. `stays`: it may wait for its
    /// wake-up on this CPU first.
    #[inline(always)]
    pub fn park_alone(&self, me: ThreadPtr, stays: bool) {
        // SAFETY: the running thread's block is alive.
        match unsafe { me.as_ref() }.state.begin_park() {
            ParkDecision::PermitTaken => {}
            ParkDecision::Park => {
                points::leaving(self, me, true);
                let next = if self.somebody_waits_elsewhere() { self.pop_elsewhere() } else { None };
                self.leave_to_popped::<AFTER_PARK>(me, COMMIT_PARK, next, stays);
            }
        }
    }

    /// The running thread is at its end.
    #[inline(always)]
    pub fn leave_for_ever(me: ThreadPtr) -> ! {
        let worker = Self::this();
        points::exited(worker, me);
        let to = worker.next_context();
        // SAFETY: the context is saved (see `next_context`), nobody comes back here, and interrupts are masked.
        unsafe { arch::context::jump(to, Self::message(me, REAP)) }
    }

    /// Leaves the running thread for the next one, or for the worker loop if there is none.
    #[inline(always)]
    pub(super) fn leave<const AFTER: u8>(&self, me: ThreadPtr, tag: usize) {
        #[cfg(debug_assertions)]
        assert!(isochron_kernel::lock_rank::none_held(), "a thread is left with a spin lock held");
        if AFTER == AFTER_JOIN {
            points::joins(self, me);
        } else {
            points::leaving(self, me, tag == COMMIT_PARK);
        }
        self.leave_to_popped::<AFTER>(me, tag, self.pop(), true);
    }

    /// As `leave`, for `next`, which has come out of the queue. `stays`: see `park_alone`.
    #[inline(always)]
    fn leave_to_popped<const AFTER: u8>(&self, me: ThreadPtr, tag: usize, next: Option<ThreadPtr>, stays: bool) {
        let to = match next {
            Some(next) => self.context_of::<AFTER>(next),
            None if tag == COMMIT_PARK && stays && self.stay(me) => return,
            None => self.context_of_loop(),
        };
        // SAFETY: the running thread's context is its own; the other is saved (see `next_context`). Interrupts are masked.
        let message = unsafe { arch::context::switch(me.as_ref().context.get(), to, Self::message(me, tag)) };
        // Here again, perhaps long after and on another CPU.
        Self::finish::<AFTER>(message);
    }

    /// Where this CPU goes on: with a thread, or with the worker loop. It counts as running from here on.
    ///
    /// A thread that comes out of a queue has its context saved (`finish` queues only then), and no other CPU has it. The
    /// worker loop saved its own when it last switched to a thread, and is not running now.
    #[inline(always)]
    fn next_context(&self) -> *const Context {
        match self.pop() {
            Some(next) => self.context_of::<AFTER_PARK>(next),
            None => self.context_of_loop(),
        }
    }

    #[inline(always)]
    pub(super) fn context_of<const AFTER: u8>(&self, next: ThreadPtr) -> *const Context {
        self.about_to_run::<AFTER>(next);
        // SAFETY: a queued thread is alive.
        unsafe { next.as_ref() }.context.get()
    }

    #[inline(always)]
    fn context_of_loop(&self) -> *const Context {
        // SAFETY: no thread runs on this CPU from here on.
        unsafe { arch::cpu::set_current_thread(core::ptr::null_mut()) };
        self.context.get()
    }

    /// Leaves the running thread for `next`.
    #[inline(always)]
    fn leave_to(&self, me: ThreadPtr, message: usize, next: ThreadPtr) {
        points::yielded_to(self, me, next);
        self.about_to_run::<AFTER_YIELD>(next);
        // SAFETY: as in `leave`.
        let message = unsafe { arch::context::switch(me.as_ref().context.get(), next.as_ref().context.get(), message) };
        Self::finish::<AFTER_YIELD>(message);
    }

    /// From the worker loop to a thread; returns when this CPU has nothing to run.
    pub(super) fn run_thread(&self, next: ThreadPtr) {
        self.about_to_run::<AFTER_PARK>(next);
        if self.queue.has_items_hint() && self.somebody_waits() {
            self.alarm.somebody_waits(self);
            // What a steal brought beyond the first thread lies in the private part, and the CPUs that went to sleep before
            // it came have not seen it there.
            self.share();
        }
        // SAFETY: this is the worker loop, whose context is saved here; `next` came out of a queue, as in `leave_to`.
        let message = unsafe { arch::context::switch(self.context.get(), next.as_ref().context.get(), 0) };
        Self::finish::<AFTER_PARK>(message);
    }

    #[inline(always)]
    fn about_to_run<const AFTER: u8>(&self, next: ThreadPtr) {
        if AFTER != AFTER_YIELD {
            points::switched_in(self, next);
        }
        // SAFETY: a queued thread is alive: it holds a reference to itself until it is reaped.
        let thread = unsafe { next.as_ref() };
        if !thread.state.set_running() {
            let begun = AFTER == AFTER_JOIN && Self::begin_quickly(next);
            if !begun {
                self.begin(next);
            }
        }
        let switches = self.switches.get().wrapping_add(1);
        self.switches.set(switches);
        if switches.is_multiple_of(INJECTOR_PERIOD) {
            self.look_at_injector();
        }
        // SAFETY: `next` runs on this CPU from the coming switch on; interrupts are masked until then.
        unsafe { arch::cpu::set_current_thread(next.as_ptr().cast()) };
    }

    /// What goes through the switch for the thread that is left.
    #[inline(always)]
    pub(super) fn message(me: ThreadPtr, tag: usize) -> usize {
        me.as_ptr().expose_provenance() | tag
    }

    /// The first thing on a new stack: what was to become of the thread that was left, by the message that came through the
    /// switch.
    ///
    /// `AFTER` says what is likely, not what is possible: a thread that comes back from a yield mostly follows one that has
    /// yielded too.
    #[inline(always)]
    pub(super) fn finish<const AFTER: u8>(message: usize) {
        points::arrived();
        // The most frequent first; the rest is kept out of the way of code that blocks.
        if AFTER == AFTER_YIELD && message == 0 || AFTER == AFTER_JOIN && Self::reap_quickly(message) {
            return;
        }
        if AFTER == AFTER_DOOR && message & STAND_IN_DOOR != 0 {
            return Self::let_stand(message);
        }
        if message & COMMIT_PARK != 0 {
            // SAFETY: a tag is set.
            let left = unsafe { Self::left(message) };
            // SAFETY: it is alive: nobody could have reaped it before this.
            if unsafe { left.as_ref() }.state.commit_park() == CommitPark::WokenMeanwhile {
                Self::this().make_runnable_cold(left);
            }
        } else if message & STAND_IN_DOOR != 0 {
            Self::let_stand(message);
        } else if AFTER == AFTER_YIELD && message & SHARE != 0 {
            Self::this().share();
        } else if message != 0 {
            Self::finish_rarely(message);
        }
    }

    /// The thread in a message.
    ///
    /// # Safety
    /// A tag is set: then there is a thread's address with it, whose CPU this is.
    #[inline(always)]
    unsafe fn left(message: usize) -> ThreadPtr {
        let left = core::ptr::with_exposed_provenance_mut::<Thread>(message & !TAG);
        // SAFETY: the caller's.
        unsafe { NonNull::new_unchecked(left) }
    }

    #[cold]
    #[inline(never)]
    fn finish_rarely(message: usize) {
        if message & SHARE != 0 {
            Self::this().share();
            return;
        }
        // SAFETY: a tag is set.
        let left = unsafe { Self::left(message) };
        if message & REQUEUE != 0 {
            // SAFETY: it is alive, as in `finish`.
            unsafe { left.as_ref() }.state.set_runnable();
            Self::this().accept(left);
        } else if !Self::reap_quickly(message) {
            // SAFETY: the thread has left its stack for ever; then its own reference goes.
            unsafe {
                left.as_ref().release_stack();
                drop(ThreadRef::from_counted(left));
            }
        }
    }

    /// Ends what is left of a thread that has left its stack for ever, if its message says that, and the stack is what the next
    /// thread here will begin on. False: nothing is done.
    #[inline(always)]
    fn reap_quickly(message: usize) -> bool {
        if message & REAP == 0 {
            return false;
        }
        // SAFETY: a tag is set. The thread has left its stack for ever, and this, or else `finish_rarely`, is the one place that
        // says so; then its own reference goes.
        unsafe {
            let left = Self::left(message);
            let left_stack = left.as_ref().leave_stack();
            if left_stack {
                drop(ThreadRef::from_counted(left));
            }
            left_stack
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn make_runnable_cold(&self, thread: ThreadPtr) {
        self.make_runnable(thread);
    }

    /// The next thread of this CPU's own: from the queue, or else from where one may wait outside of it.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<ThreadPtr> {
        match self.queue().pop_plain() {
            Ok(Some(next)) => Some(next),
            Ok(None) if !self.somebody_waits_elsewhere() => None,
            _ => self.pop_elsewhere(),
        }
    }

    #[cold]
    #[inline(never)]
    fn pop_elsewhere(&self) -> Option<ThreadPtr> {
        self.look_elsewhere();
        match self.queue().pop_plain() {
            Ok(next) => next,
            Err(_) => self.pop_by_rule(None),
        }
    }

    /// Whether there is something in the inbox or the injector: what [`look_elsewhere`](Self::look_elsewhere) moves.
    #[inline(always)]
    fn somebody_waits_elsewhere(&self) -> bool {
        !self.inbox.is_empty() || self.injector.len_hint() > 0
    }

    /// Into the queue with what waits outside of it: all of the inbox, and of the injector this CPU's share if the queue is
    /// empty. (While there is something in the queue, who handed a thread over has sent an interrupt, which does the same, and
    /// `look_at_injector` does the other.)
    fn look_elsewhere(&self) {
        if self.somebody_waits_elsewhere() {
            self.take_inbox();
            if self.queue.len_hint() == 0 {
                self.take_share_of_injectors();
            }
        }
    }

    /// In every [`INJECTOR_PERIOD`]th switch: something of the injector goes into the queue, so that busy queues do not starve
    /// what lies there.
    #[cold]
    #[inline(never)]
    fn look_at_injector(&self) {
        if self.injector.len_hint() > 0 && !self.is_reserved() {
            self.take_from_injector(self.injector, 1);
        }
    }

    /// Moves what other CPUs handed over into the queue.
    pub(super) fn take_inbox(&self) {
        for thread in self.inbox.drain() {
            points::taken(thread, Origin::Inbox, self.id);
            self.accept(thread);
        }
    }

    /// As `make_runnable`, for a thread that has run here or was sent here: whatever it prefers, it has its place.
    pub(super) fn accept(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        let known = unsafe { thread.as_ref() };
        if !known.is_pinned() && known.home() == self.id && !self.is_reserved() {
            self.keep::<false>(thread);
        } else {
            self.make_runnable(thread);
        }
    }

    /// Puts a thread that this CPU may run last into its queue, and sees to it that somebody runs it.
    ///
    /// A thread that is bound to another CPU goes there.
    #[inline(always)]
    pub fn make_runnable(&self, thread: ThreadPtr) {
        self.enqueue::<LAST>(thread);
    }

    /// The one way into the queues: [`LAST`], [`FIRST`], or [`NEW`].
    #[inline(always)]
    pub(super) fn enqueue<const PLACE: u8>(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        let pinned = unsafe { thread.as_ref() }.pinned_raw();
        if usize::from(pinned) == self.id.index() {
            if PLACE == FIRST {
                self.put_next(thread);
            } else {
                self.put_pinned(thread);
            }
            self.alarm.somebody_waits(self);
        // SAFETY: as above.
        } else if pinned == ANY_CPU && unsafe { thread.as_ref() }.home_raw() == self.keeps.get() {
            self.keep_normal::<PLACE>(thread);
        } else if PLACE == FIRST {
            self.enqueue_elsewhere::<true>(thread);
        } else {
            self.enqueue_elsewhere::<false>(thread);
        }
    }

    /// Into this CPU's queue, for whoever comes first.
    #[inline(always)]
    fn keep_normal<const PLACE: u8>(&self, thread: ThreadPtr) {
        // With nothing else to do, this CPU takes it itself in a moment: nobody need be woken for it.
        let runs_it = control::current_ptr().is_none() && self.queue.len_hint() == 0;
        match PLACE {
            FIRST => self.put_next(thread),
            // In an empty queue it is the first as it is the last.
            NEW if self.queue.has_items_hint() => self.put_young(thread),
            _ => self.put_unpinned(thread),
        }
        if !runs_it {
            self.share();
        }
        self.alarm.somebody_waits(self);
    }

    /// A thread that is bound to another CPU, is not of normal rank, or is not at home here.
    #[cold]
    #[inline(never)]
    fn enqueue_elsewhere<const FIRST: bool>(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        let (pinned, home) = unsafe { (thread.as_ref().pinned(), thread.as_ref().home_raw()) };
        match pinned {
            Some(cpu) if cpu != self.id => self.hand_over(thread, cpu),
            None if home != self.keeps.get() => self.place::<FIRST>(thread),
            _ => self.keep::<FIRST>(thread),
        }
    }

    /// Into this CPU's queue or lists, whatever its rank; it is bound here, or at home here.
    pub(super) fn keep<const FIRST: bool>(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        let (stays, ranked) = unsafe { (thread.as_ref().stays(), thread.as_ref().is_ranked()) };
        match (ranked, stays) {
            (false, false) if FIRST => return self.keep_normal::<{ self::FIRST }>(thread),
            (false, false) => return self.keep_normal::<LAST>(thread),
            (false, true) if FIRST => self.put_next(thread),
            (false, true) => self.put_pinned(thread),
            (true, _) => self.put_layered(thread),
        }
        if !stays {
            self.share();
        }
        self.alarm.somebody_waits(self);
    }

    /// Last into the queue.
    #[inline]
    pub(super) fn put(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        if unsafe { thread.as_ref() }.is_ranked() {
            self.put_layered(thread);
        // SAFETY: as above.
        } else if unsafe { thread.as_ref() }.stays() {
            self.put_pinned(thread);
        } else {
            self.put_unpinned(thread);
        }
    }

    #[inline(always)]
    fn put_unpinned(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Own, self.id);
        if self.queue().push(thread).is_err() {
            self.overflow(thread);
        }
    }

    #[inline(always)]
    fn put_pinned(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Own, self.id);
        // Behind those that had no room before.
        if !self.overflow.is_empty() || self.queue().push_pinned(thread).is_err() {
            self.put_aside(thread);
        }
    }

    /// The queue is full: half of what may be stolen goes to the node's injector, for everybody, and then the newcomer.
    #[cold]
    fn overflow(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Injector, self.id);
        self.injector.push_with(|injector| {
            // SAFETY: queued threads are alive, and those handed out here are in no list.
            self.queue().take_half_for_overflow(|thread| unsafe { injector.push(thread) });
            // SAFETY: a runnable thread is alive, and in no list now.
            unsafe { injector.push(thread) };
        });
    }

    /// After a push that any CPU could take: if one sleeps or searches, makes the private part of the queue stealable
    /// and wakes one sleeper.
    #[inline]
    pub(super) fn share(&self) {
        if self.offers == 0 {
            return;
        }
        let claimed = self.pick_idle();
        if claimed.is_some() || IDLE.searching() > 0 {
            self.share_with(claimed);
        }
    }

    #[inline]
    fn share_with(&self, claimed: Option<Claimed>) {
        self.expose();
        if let Some(claimed) = claimed {
            self.notify(claimed);
        }
        // Whoever looked while this CPU moved its threads to where they can be taken may have found them in neither place,
        // and sleep by now; or run what it was up for, also the one that was claimed. Who looks from here on, after the fence,
        // finds them.
        if let Some(asleep) = self.pick_idle() {
            self.notify(asleep);
        }
    }

    /// Makes stealable all but the threads that are bound to this CPU. How many others could take then.
    pub(super) fn expose(&self) -> usize {
        // SAFETY: queued threads are alive.
        self.queue().expose(usize::MAX, |thread| unsafe { thread.as_ref() }.stays())
    }
}
