//! A thread's rank, lifted for a while: what `crate::sync` does for who holds a mutex.

use super::control::Thread;
use isochron_core::layers::Rank;

impl Thread {
    /// Its rank without a boost. For the CPU that has it, interrupts masked; and so for the following.
    pub fn base_rank(&self) -> Rank {
        if self.boost_end().is_none() { self.rank() } else { self.extras().base.get() }
    }

    /// Sets its rank without a boost.
    pub fn set_base_rank(&self, rank: Rank) {
        if self.boost_end().is_none() {
            self.set_rank(rank);
        } else {
            // It has a boost, so they are its own.
            self.extras().base.set(rank);
            if rank > self.rank() {
                self.end_boost();
            }
        }
    }

    /// Lifts it to `rank` until `end`, in ticks; not if there is no memory to note that.
    pub fn begin_boost(&self, rank: Rank, end: u64) {
        let Ok(extras) = self.extras_of_its_own() else { return };
        extras.base.set(self.base_rank());
        extras.boost_end.set(end.max(1));
        self.set_rank(rank);
    }

    /// Back to its own rank. It has a boost.
    pub fn end_boost(&self) {
        self.extras().boost_end.set(0);
        self.set_rank(self.extras().base.get());
    }

    /// When its boost ends, if it has one.
    pub fn boost_end(&self) -> Option<u64> {
        let end = self.extras().boost_end.get();
        (end != 0).then_some(end)
    }
}
