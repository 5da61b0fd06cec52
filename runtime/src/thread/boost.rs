//! A thread's rank, lifted for a while: what `crate::sync` does for who holds a mutex.

use super::control::Thread;
use isochron_core::layers::Rank;

impl Thread {
    /// Its rank without a boost. For the CPU that has it, interrupts masked; and so for the following.
    pub fn base_rank(&self) -> Rank {
        if self.boost_end.get() == 0 { self.rank() } else { self.base.get() }
    }

    /// Sets its rank without a boost.
    pub fn set_base_rank(&self, rank: Rank) {
        if self.boost_end.get() == 0 {
            self.set_rank(rank);
        } else {
            self.base.set(rank);
            if rank > self.rank() {
                self.end_boost();
            }
        }
    }

    /// Lifts it to `rank` until `end`, in ticks.
    pub fn begin_boost(&self, rank: Rank, end: u64) {
        self.base.set(self.base_rank());
        self.boost_end.set(end.max(1));
        self.set_rank(rank);
    }

    /// Back to its own rank.
    pub fn end_boost(&self) {
        self.boost_end.set(0);
        self.set_rank(self.base.get());
    }

    /// When its boost ends, if it has one.
    pub fn boost_end(&self) -> Option<u64> {
        (self.boost_end.get() != 0).then_some(self.boost_end.get())
    }
}
