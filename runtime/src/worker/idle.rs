//! The worker loop: what a CPU does when it has no thread of its own.
//!
//! A thread that parks with nobody else to run first stays on its CPU for half the watch length and spins: if its wake-up
//! comes by then, there was no switch and no queue, and the waker has only set a bit. Some ports prolong that as long as no other
//! CPU has threads to spare. Otherwise the CPU says that it is
//! idle, looks at everything once more, and waits in three tiers: it spins on its word in the idle set, watches that word
//! (`WFE` where there is one), and at last sleeps until an interrupt. In the first two a claim is one store of the
//! claimer's; how long they last follows from how the last idle periods went (`runtime/core/src/idle_tiers.rs` has the
//! rule).
//!
//! Interrupts are masked in all three. The last tier takes what is pending; the second is bounded, and a deadline of this
//! CPU's ends the first two.

use super::{Counters, IDLE, Worker};
use crate::thread::control::{ANY_CPU, ThreadPtr};
use crate::thread::somebody_is_doomed;
use crate::trace::{Origin, points};
use isochron_core::idle_set::{IdleSet, Woke};
use isochron_core::idle_tiers::Limits;
use isochron_kernel::arch;
use isochron_kernel::clock::ns_to_ticks;

/// How long the first tier lasts.
const SPIN_NS: u64 = 100;
/// How long the first two last at most, together.
const WATCH_NS: u64 = 1_000;
/// A CPU that has slept and is idle again within this time is one that would rather have watched.
const NEAR_NS: u64 = 20_000;

/// The tiers' limits by this machine's clock.
pub(super) fn limits() -> Limits {
    if arch::cpu::has_own_core() {
        Limits { spin: ns_to_ticks(SPIN_NS), watch: ns_to_ticks(WATCH_NS), near: ns_to_ticks(NEAR_NS) }
    } else {
        Limits::OFF
    }
}

impl Worker {
    /// The running thread is about to park, and there is nobody else to run: waits for its wake-up for a moment before it is
    /// switched away from. True if the wake-up came, and the thread goes on.
    ///
    /// The CPU does not count as idle meanwhile: it has a thread, as it seems to others, and looks at all queues when that
    /// is gone.
    #[cold]
    #[inline(never)]
    pub(super) fn stay(&self, me: ThreadPtr) -> bool {
        // SAFETY: the running thread's block is alive.
        let thread = unsafe { me.as_ref() };
        let state = &thread.state;
        if thread.membership().is_member() {
            // Its run as a member is over.
            return false;
        }
        let mut now = arch::clock::ticks_unordered();
        let length = self.length_of_stay();
        let mut end = self.alarm.armed().min(now + length);
        let mut longer = arch::cpu::LONGER_STAYS;
        loop {
            while now < end && self.inbox.is_empty() {
                if state.has_permit() {
                    Counters::bump(&self.counters.woken_spinning);
                    points::stayed(me);
                    return state.cancel_park();
                }
                arch::cpu::spin_hint();
                now = arch::clock::ticks_unordered();
            }
            let is_wanted = || now < end || now >= self.alarm.armed() || self.somebody_has_to_spare();
            if longer == 0 || is_wanted() {
                break;
            }
            longer -= 1;
            end = self.alarm.armed().min(now + length);
        }
        // The last look is worth its while: an emulator may have run other CPUs since the one before.
        state.cancel_park()
    }

    /// How long a thread that parks alone waits for its wake-up here before it looks around, in ticks.
    pub(super) fn length_of_stay(&self) -> u64 {
        self.watch_length.get().ticks() / 2
    }

    /// The running thread waits until `is_over`, and there is nobody else to run: for as long as it would [stay](Self::stay), by
    /// its [`length_of_stay`](Self::length_of_stay), but with interrupts on, so that it may be preempted, and be on another CPU afterwards.
    pub(super) fn look_out(&self, length: u64, is_over: impl Fn() -> bool) {
        for _ in 0..=arch::cpu::LONGER_STAYS {
            let end = arch::clock::ticks_unordered() + length;
            while arch::clock::ticks_unordered() < end {
                if self.is_wanted() || is_over() {
                    return;
                }
                arch::cpu::spin_hint();
            }
            if self.somebody_has_to_spare() {
                return;
            }
        }
    }

    /// The loop. On the CPU's worker stack, interrupts masked, for ever.
    pub fn run(&self) -> ! {
        self.open();
        loop {
            self.preempt_due.set(false);
            match self.pop() {
                Some(thread) => self.run_thread(thread),
                None => self.idle(),
            }
        }
    }

    /// Waits until there is something to do, and looks for it where it may be.
    fn idle(&self) {
        points::idle();
        self.look_after_owner();
        // Nobody waits: so that one wake-up in so many is not later than the others.
        self.queue().end_streak();
        let me = self.id.index();
        IDLE.prepare(me, self.limits.watch > 0);
        // The last look, after the sleeper's fence: who pushes from here on sees this CPU idle.
        let mut search = false;
        if self.inbox.is_empty() && self.queue.len_hint() == 0 {
            search = self.anything_to_steal_or_ask_for();
            if !search {
                self.wait();
            }
        }
        points::busy();
        match IDLE.cancel_sleep(me) {
            Woke::Claimed => self.run_mail(),
            Woke::ClaimedToSearch => self.search(true),
            Woke::ByItself if search => self.search(false),
            Woke::ByItself => {}
        }
    }

    /// Runs what this CPU was woken for, without a way through the queue; there is nothing older in it.
    fn run_mail(&self) {
        let mut mail = self.inbox.drain();
        let first = mail.next();
        mail.for_each(|thread| {
            points::taken(thread, Origin::Inbox, self.id);
            self.accept(thread);
        });
        if let Some(thread) = first {
            points::taken(thread, Origin::Inbox, self.id);
            if self.is_plain(thread) {
                self.run_thread(thread);
            } else {
                self.accept(thread);
            }
        }
    }

    /// Whether a thread is of normal rank and has its place here.
    #[inline]
    fn is_plain(&self, thread: ThreadPtr) -> bool {
        // SAFETY: a runnable thread is alive.
        let thread = unsafe { thread.as_ref() };
        let pinned = thread.pinned_raw();
        usize::from(pinned) == self.id.index() || pinned == ANY_CPU && thread.home_raw() == self.keeps.get()
    }

    /// The three tiers.
    #[inline]
    fn wait(&self) {
        if self.limits.watch == 0 {
            return self.sleep();
        }
        let begin = arch::clock::ticks_unordered();
        let cycle = begin.wrapping_sub(self.idle_since.replace(begin));
        if self.slept.replace(false) {
            // Looked at now and not when it woke: then there was something to do.
            self.watch_length.set(self.watch_length.get().after_sleep(&self.limits, cycle));
        }
        if !self.watch(begin) && IDLE.deepen(self.id.index()) {
            self.slept.set(true);
            self.sleep();
        }
    }

    /// The first two tiers. True if somebody claimed this CPU meanwhile.
    #[inline]
    fn watch(&self, begin: u64) -> bool {
        let me = self.id.index();
        // An interrupt that comes when its time has come ends neither tier.
        let end = self.alarm.armed().min(begin + self.watch_length.get().ticks());
        let spin_end = begin + self.limits.spin;
        let mut now = begin;
        loop {
            if IDLE.is_claimed(me) {
                let tier = if now < spin_end { &self.counters.woken_spinning } else { &self.counters.woken_watching };
                Counters::bump(tier);
                return true;
            }
            if now >= end {
                return false;
            }
            if now < spin_end || self.alarm.armed() == end {
                arch::cpu::spin_hint();
            } else {
                arch::cpu::wait_for_store(IDLE.watch_word(me), IdleSet::<0>::WATCHED);
            }
            now = arch::clock::ticks_unordered();
        }
    }

    /// The third.
    fn sleep(&self) {
        Counters::bump(&self.counters.sleeps);
        self.alarm.nobody_waits();
        arch::cpu::wait_for_interrupt_irqoff();
    }

    /// Looks for work with the others, and runs what it finds. A search that succeeds passes the torch on. `claimed`: this
    /// CPU was woken to search, and counts as a searcher already.
    fn search(&self, claimed: bool) {
        if !claimed {
            IDLE.start_search();
        }
        let found = self.look_around();
        let last = IDLE.end_search();
        if let Some(thread) = found {
            if last {
                self.pass_on();
            }
            if somebody_is_doomed() {
                self.look_at_next(thread);
            }
            self.run_thread(thread);
        }
    }

    /// This CPU was the last that searched, and has found something. Pushers woke nobody meanwhile, because it searched:
    /// if there is more than it can run, it wakes another.
    fn pass_on(&self) {
        IDLE.look_again();
        // What others keep to themselves counts too: they expose it only after they saw somebody search, so this look may
        // come in between.
        let left = self.queue.len_hint() > 0
            || self.layers.stealable_hint() > 0
            || self.injectors().any(|injector| injector.len_hint() > 0)
            || self.others().any(|other| other.queue.len_hint() > 0 || other.layers.stealable_hint() > 0);
        if left {
            self.share();
        }
    }

    /// The other CPUs' workers, nearest first.
    /// Whether a thread may wait on this CPU for what another does, which takes another, and a core of its own.
    pub(super) fn may_watch(&self) -> bool {
        self.offers != 0 && self.limits.watch > 0
    }

    /// Whether somebody waits for this CPU: a glance.
    pub(super) fn is_wanted(&self) -> bool {
        self.queue.has_items_hint() || !self.inbox.is_empty()
    }

    /// Whether a thread waits at another CPU: a glance.
    fn somebody_has_to_spare(&self) -> bool {
        self.others().any(|other| other.queue.len_hint() > 0)
    }

    fn others(&self) -> impl Iterator<Item = &'static Self> + '_ {
        self.neighbours.all().iter().filter_map(|&(cpu, _)| Self::of(cpu))
    }
}
