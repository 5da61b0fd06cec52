//! Making a thread runnable again: where it goes, and who is told.

use super::placement::by_policy;
use super::switch::{FIRST, NEW};
use super::{Counters, IDLE, Worker};
use crate::policy;
use crate::sync::any_boosts;
use crate::thread::control::{self, ThreadPtr};
use crate::thread::{is_doomed, may_end, somebody_is_doomed};
use crate::trace::{Queue, points};
use isochron_core::idle_set::Claimed;
use isochron_core::thread_state::Unpark;
use isochron_kernel::arch;
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::irq::{self, Ipi};

/// Ends a thread's park, or makes its next one return at once. From threads and interrupt handlers, on any CPU.
#[inline]
pub(crate) fn wake(thread: ThreadPtr) {
    // SAFETY: the caller keeps the thread alive, by a reference or because it cannot end before this wake-up.
    if unsafe { thread.as_ref() }.state.unpark() == Unpark::Enqueue {
        enqueue_woken(thread);
    }
}

/// As [`wake`], and leaves the user's permit for `thread::park`.
#[inline]
pub(crate) fn unpark(thread: ThreadPtr) {
    // SAFETY: the caller's handle keeps the thread alive.
    if unsafe { thread.as_ref() }.state.give_permit() == Unpark::Enqueue {
        enqueue_woken(thread);
    }
}

/// For whoever ended the park: the thread goes into a queue.
#[inline]
pub(crate) fn enqueue_woken(thread: ThreadPtr) {
    let irq = irq::IrqGuard::new();
    enqueue_woken_with(thread, irq);
}

/// As [`enqueue_woken`], for a caller that has masked interrupts, and is done with that.
#[inline(always)]
pub(crate) fn enqueue_woken_with(thread: ThreadPtr, irq: impl irq::Masked) {
    points::woken(thread);
    let worker = Worker::this();
    if !worker.put_bound_next(thread) {
        if policy::any() && !irq.were_masked() {
            drop(irq);
            return enqueue_woken_by_policy(thread);
        }
        worker.put_woken_slow(thread);
        let due = worker.preempt_due.get();
        drop(irq);
        if due {
            Worker::preempt_if_due();
        }
    }
}

/// The same where there are policies, with interrupts on: hooks are the program's.
#[cold]
#[inline(never)]
fn enqueue_woken_by_policy(thread: ThreadPtr) {
    if !by_policy::<true>(thread) {
        irq::without(|| Worker::this().put_woken_slow(thread));
        Worker::preempt_if_due();
    }
}

/// Makes every CPU look whether the thread that it runs is to die.
pub(crate) fn poke_all() {
    irq::without(|| {
        let worker = Worker::this();
        worker.on_wake();
        for other in cpu::online() {
            worker.poke(other.id);
        }
    });
}

/// Gives a new thread that any CPU may run its number and puts it into a queue.
pub(crate) fn start_anywhere(thread: ThreadPtr) {
    let irq = irq::IrqGuard::new();
    let worker = Worker::this();
    worker.number(thread);
    if policy::any() && !irq.were_masked() {
        drop(irq);
        if by_policy::<false>(thread) {
            return;
        }
        start_slow(thread, irq::IrqGuard::new());
    } else {
        start_slow(thread, irq);
    }
}

/// Gives a new thread that is bound to a CPU its number and puts it into a queue.
#[inline(always)]
pub(crate) fn start_bound(thread: ThreadPtr) {
    let irq = irq::IrqGuard::new();
    let worker = Worker::this();
    worker.number(thread);
    if worker.put_bound_last(thread) {
        points::spawned(thread);
        points::queued(thread, Queue::Own, worker.id);
    } else {
        start_slow(thread, irq);
    }
}

#[inline(never)]
fn start_slow(thread: ThreadPtr, irq: irq::IrqGuard) {
    points::spawned(thread);
    let worker = Worker::this();
    worker.enqueue::<NEW>(thread);
    let due = worker.preempt_due.get();
    drop(irq);
    if due {
        Worker::preempt_if_due();
    }
}

impl Worker {
    /// The short way of `put_woken`, for what needs no more: a thread that is bound to this CPU, whose next slot is
    /// free and whose quantum runs already or need not run. False: nothing is done.
    #[inline(always)]
    fn put_bound_next(&self, thread: ThreadPtr) -> bool {
        // SAFETY: a runnable thread is alive.
        let here = usize::from(unsafe { thread.as_ref() }.pinned_raw()) == self.id.index();
        let short = here && !self.alarm.must_start_quantum() && self.queue().try_push_next(thread);
        if short {
            points::queued(thread, Queue::Next, self.id);
        }
        short
    }

    /// The same for a new thread that is bound to this CPU: last, where there is nothing but the private ring, with room.
    #[inline(always)]
    fn put_bound_last(&self, thread: ThreadPtr) -> bool {
        // SAFETY: a new thread is alive.
        let here = usize::from(unsafe { thread.as_ref() }.pinned_raw()) == self.id.index();
        here && !self.alarm.must_start_quantum() && self.queue().try_push_private(thread)
    }

    /// Gives a new thread its number, and this CPU as its home.
    #[inline(always)]
    fn number(&self, thread: ThreadPtr) {
        // SAFETY: a new thread is alive, and nobody else knows it.
        unsafe { thread.as_ref() }.set_id(self.next_thread_id(), self.id);
    }

    /// A thread that has just been woken runs next on this CPU, before those that were only waiting their turn: what it
    /// was woken for is still in the cache. If a CPU sleeps, it may take it away.
    #[inline(always)]
    pub(super) fn put_woken(&self, thread: ThreadPtr) {
        if !self.put_bound_next(thread) {
            self.put_woken_slow(thread);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_woken_slow(&self, thread: ThreadPtr) {
        self.enqueue::<FIRST>(thread);
    }

    #[inline]
    pub(super) fn put_next(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Next, self.id);
        if let Some(displaced) = self.queue().push_next(thread) {
            self.put_displaced(displaced);
        }
    }

    #[cold]
    #[inline(never)]
    fn put_displaced(&self, thread: ThreadPtr) {
        self.put(thread);
    }

    /// Gives a thread to the CPU that it is bound to.
    pub(super) fn hand_over(&self, thread: ThreadPtr, cpu: CpuId) {
        let Some(target) = Self::of(cpu) else { unreachable!("a thread is bound to a CPU that does not run") };
        points::queued(thread, Queue::Inbox, cpu);
        // SAFETY: a runnable thread is alive and in no other list.
        let was_empty = unsafe { target.inbox.push(thread) };
        match IDLE.claim(cpu.index()) {
            Some(claimed) => self.notify(claimed),
            // It is awake. It may run one thread for a long time without looking, so tell it, but only once.
            None if was_empty => self.poke(cpu),
            None => {}
        }
    }

    /// Wakes a sleeper that this CPU has claimed.
    pub(super) fn notify(&self, claimed: Claimed) {
        Counters::bump(&self.counters.notifies);
        if claimed.needs_interrupt {
            self.poke(CpuId::new(claimed.cpu));
        }
    }

    /// Sends a CPU the interrupt that makes it look at its inbox and share its queue.
    pub(super) fn poke(&self, cpu: CpuId) {
        if let Some(target) = cpu::cpu(cpu) {
            points::ipi_sent(cpu);
            arch::ipi::send(target, Ipi::Wake);
        }
    }

    /// Threads are to die: the running one, perhaps, or one that waits here.
    #[cold]
    fn look_for_doomed(&self) {
        self.queue().set_outside(true);
        if control::current_ptr().is_some_and(is_doomed) {
            self.ask_for_preemption();
        }
    }

    /// `next`, which this CPU is about to run, may be one that is to die: then the interrupt that this CPU sends to itself
    /// takes it to the preemption boundary. If it may not die yet, that comes a little later: an interrupt each time before it
    /// has done a single step would keep it from ever getting there.
    pub(super) fn look_at_next(&self, next: ThreadPtr) {
        // SAFETY: a queued thread is alive, and this CPU holds it.
        match unsafe { next.as_ref() }.state.is_killed() {
            false => {}
            true if may_end(next) => self.poke(self.id),
            true => self.look_again_soon(self.switches.get().wrapping_add(1)),
        }
    }

    /// Another CPU handed this one a thread, woke it, or wants it to share.
    pub fn on_wake(&self) {
        points::ipi_taken();
        if somebody_is_doomed() {
            self.look_for_doomed();
        }
        if any_boosts() {
            self.apply_boosts();
        }
        if !self.inbox.is_empty() {
            self.take_inbox();
        }
        // Only what others can take is worth waking them for: with nothing but bound threads here, an idle CPU that asks
        // and is woken would ask again for ever.
        if (IDLE.idle_mask() != 0 || IDLE.searching() > 0)
            && self.expose() + self.layers.stealable_hint() > 0
            && let Some(claimed) = self.pick_idle()
        {
            self.notify(claimed);
        }
    }
}
