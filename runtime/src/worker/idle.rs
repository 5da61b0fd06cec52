//! The worker loop: what a CPU does when it has no thread of its own.

use super::{Counters, IDLE, INJECTOR, WORKER_COUNT, Worker};
use crate::thread::control::ThreadPtr;
use core::sync::atomic::Ordering;
use isochron_core::idle_set::Woke;
use isochron_core::run_queue::Steal;
use isochron_kernel::arch;
use isochron_kernel::cpu::{self, CpuId};

/// Rounds over all victims before a search gives up.
const SEARCH_ROUNDS: usize = 2;

impl Worker {
    /// The loop. On the CPU's worker stack, interrupts masked, for ever.
    pub fn run(&self) -> ! {
        loop {
            self.preempt_due.set(false);
            if let Some(thread) = self.pop() {
                self.run_thread(thread);
            } else if let Some(thread) = self.search() {
                self.run_thread(thread);
            } else {
                self.sleep();
            }
        }
    }

    /// Looks for work with the others. A search that succeeds passes the torch on.
    fn search(&self) -> Option<ThreadPtr> {
        IDLE.start_search();
        let found = self.look_around();
        let last = IDLE.end_search();
        if found.is_some() && last {
            self.pass_on();
        }
        found
    }

    /// This CPU was the last that searched, and has found something. Pushers woke nobody meanwhile, because it searched:
    /// if there is more than it can run, it wakes another.
    fn pass_on(&self) {
        IDLE.look_again();
        // What others keep to themselves counts too: they expose it only after they saw somebody search, so this look may
        // come in between.
        let left = self.queue.len_hint() > 0
            || INJECTOR.len_hint() > 0
            || self.layers.stealable_hint() > 0
            || self.others().any(|other| other.queue.len_hint() > 0 || other.layers.stealable_hint() > 0);
        if left {
            self.share();
        }
    }

    /// The other CPUs' workers, from number `first` on and round.
    fn others_from(&self, first: usize) -> impl Iterator<Item = &'static Self> {
        // Relaxed: a worker that is missed is one that has just been installed; it looks for work by itself.
        let count = WORKER_COUNT.load(Ordering::Relaxed);
        (0..count)
            .map(move |offset| (first + offset) % count)
            .filter_map(|index| Self::of(CpuId::new(index)))
            .filter(|other| other.id != self.id)
    }

    fn others(&self) -> impl Iterator<Item = &'static Self> {
        self.others_from(0)
    }

    fn look_around(&self) -> Option<ThreadPtr> {
        for _ in 0..SEARCH_ROUNDS {
            if INJECTOR.len_hint() > 0 {
                let share = INJECTOR.len_hint() / cpu::online_count().max(1) + 1;
                self.take_from_injector(share.min(64));
            }
            let own = self.pop();
            if own.is_some() {
                return own;
            }
            if let Some(thread) = self.steal() {
                return Some(thread);
            }
        }
        None
    }

    /// One round over the other CPUs, starting where the last one ended: first for threads with a rank, then for others.
    fn steal(&self) -> Option<ThreadPtr> {
        for victim in self.others_from(self.next_victim.get()) {
            if let Some(thread) = victim.steal_layered() {
                Counters::bump(&self.counters.steals);
                return Some(thread);
            }
        }
        for victim in self.others_from(self.next_victim.get()) {
            if let Steal::Success(thread) = victim.queue.steal_into(&mut self.queue()) {
                self.next_victim.set(victim.id.index());
                Counters::bump(&self.counters.steals);
                return Some(thread);
            }
        }
        self.next_victim.set(self.next_victim.get() + 1);
        None
    }

    /// Sleeps until there is something to do.
    fn sleep(&self) {
        let me = self.id.index();
        IDLE.prepare_sleep(me);
        // The last look, after the sleeper's fence: who pushes from here on sees this CPU asleep.
        if !self.anything_to_do() {
            Counters::bump(&self.counters.sleeps);
            self.alarm.nobody_waits();
            arch::cpu::wait_for_interrupt_irqoff();
        }
        if IDLE.cancel_sleep(me) == Woke::ClaimedToSearch {
            // This CPU counts as a searcher already; `search` counts it again, so that it counts throughout.
            let found = self.search();
            let last = IDLE.end_search();
            if let Some(thread) = found {
                if last {
                    self.pass_on();
                }
                self.run_thread(thread);
            }
        }
    }

    /// Whether this CPU has reason to stay awake. Asks those who keep to themselves what it could take to share.
    fn anything_to_do(&self) -> bool {
        if !self.inbox.is_empty() || self.queue.len_hint() > 0 || INJECTOR.len_hint() > 0 {
            return true;
        }
        for other in self.others() {
            if other.queue.stealable_hint() > 0 || other.layers.stealable_hint() > 0 {
                return true;
            }
            if other.queue.private_hint() > 0 {
                // It answers by sharing and waking a sleeper: this CPU, if nobody is nearer.
                self.poke(other.id);
            }
        }
        false
    }
}
