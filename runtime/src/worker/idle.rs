//! The worker loop: what a CPU does when it has no thread of its own.

use super::{Counters, IDLE, INJECTOR, Worker};
use crate::thread::control::ThreadPtr;
use isochron_core::idle_set::Woke;
use isochron_core::run_queue::Steal;
use isochron_kernel::arch;
use isochron_kernel::boot::layout::MAX_CPUS;
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
            // Pushers woke nobody because this CPU was searching: now there may be more work than it can run.
            self.share();
        }
        found
    }

    fn look_around(&self) -> Option<ThreadPtr> {
        for _ in 0..SEARCH_ROUNDS {
            if INJECTOR.len_hint() > 0 {
                let share = INJECTOR.len_hint() / cpu::online_count().max(1) + 1;
                self.take_from_injector(share.min(64));
            }
            let own = self.queue().pop();
            if own.is_some() {
                return own;
            }
            if let Some(thread) = self.steal() {
                return Some(thread);
            }
        }
        None
    }

    /// One round over the other CPUs, starting where the last one ended.
    fn steal(&self) -> Option<ThreadPtr> {
        let first = self.next_victim.get();
        for offset in 0..MAX_CPUS {
            let index = (first + offset) % MAX_CPUS;
            let Some(victim) = Self::of(CpuId::new(index)) else { continue };
            if index == self.id.index() {
                continue;
            }
            if let Steal::Success(thread) = victim.queue.steal_into(&mut self.queue()) {
                self.next_victim.set(index);
                Counters::bump(&self.counters.steals);
                return Some(thread);
            }
        }
        self.next_victim.set((first + 1) % MAX_CPUS);
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
                    self.share();
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
        for index in 0..MAX_CPUS {
            let Some(other) = Self::of(CpuId::new(index)) else { continue };
            if index == self.id.index() {
                continue;
            }
            if other.queue.stealable_hint() > 0 {
                return true;
            }
            if other.queue.private_hint() > 0 {
                // It answers by sharing and waking a sleeper: this CPU, if nobody is nearer.
                self.poke(CpuId::new(index));
            }
        }
        false
    }
}
