//! More threads bound to one CPU than its run queue holds.
//!
//! They wait in a list behind the queue, first come, first served, and move into it in batches, whenever half of it is free.
//! While anybody waits here, who comes later goes behind, so the order is that of one long queue. The flag in the run queue
//! that says "there are others to choose from" brings every pop through `pop_by_rule`, which refills; without overflow
//! nothing is paid.
//!
//! The list is only this CPU's, but for its lock, which nobody else asks for; it is one that was there already.

use super::{QUEUE_SIZE, Worker};
use crate::thread::control::ThreadPtr;

impl Worker {
    /// Puts a bound thread last in the list.
    #[cold]
    #[inline(never)]
    pub(super) fn put_aside(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive, and in no list now.
        unsafe { self.overflow.push(thread) };
        self.queue().set_outside(true);
    }

    /// Moves threads into the queue if it is at least half empty. Whether some are left.
    pub(super) fn refill(&self) -> bool {
        if self.overflow.len_hint() > 0 {
            let room = QUEUE_SIZE.saturating_sub(self.queue.private_hint());
            if room >= QUEUE_SIZE / 2 {
                self.overflow.pop_batch(room, |thread| {
                    if self.queue().push_pinned(thread).is_err() {
                        // What was shared took the room meanwhile.
                        // SAFETY: just taken out of the list.
                        unsafe { self.overflow.push(thread) };
                    }
                });
            }
        }
        self.overflow.len_hint() > 0
    }
}
