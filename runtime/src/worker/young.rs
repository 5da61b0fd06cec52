//! New threads: the youngest goes first, when the thread that made it waits or ends. See the run queue.

use super::Worker;
use crate::thread::control::ThreadPtr;
use crate::trace::{Queue, points};
use isochron_core::run_queue::YOUNG;

impl Worker {
    /// Puts a thread that has never run before those that were made before it.
    #[inline(never)]
    pub(super) fn put_young(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Own, self.id);
        if self.queue().push_young(thread).is_err() {
            for _ in 0..YOUNG / 2 {
                let Some(oldest) = self.queue().pop_oldest() else { break };
                self.put(oldest);
            }
            let pushed = self.queue().push_young(thread);
            debug_assert!(pushed.is_ok(), "half of the young have gone");
        }
    }

    /// From here on the young wait in the order in which they came, behind the others.
    #[inline]
    pub(super) fn settle_young(&self) {
        if self.queue().has_young() {
            self.settle_young_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_young_slow(&self) {
        // All at once, mostly: somebody may have been woken, and waits for this.
        self.queue().line_young_up();
        while let Some(oldest) = self.queue().pop_oldest() {
            self.put(oldest);
        }
        // Who looked meanwhile may have found one of them in neither place.
        self.share();
    }
}
