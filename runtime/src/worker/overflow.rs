//! More threads bound to one CPU than its run queue holds.
//!
//! They wait in a list behind the queue, first come, first served, and move into it in batches, whenever half of it is free.
//! While anybody waits here, who comes later goes behind, so the order is that of one long queue. The flag in the run queue
//! that says "there are others to choose from" brings every pop through `pop_by_rule`, which refills; without overflow
//! nothing is paid.
//!

use super::{QUEUE_SIZE, Worker};
use crate::thread::control::{Thread, ThreadPtr};
use crate::trace::{Queue, points};
use core::cell::UnsafeCell;
use isochron_core::fifo::Fifo;

/// The list. Its CPU's own, with interrupts masked.
pub(super) struct Overflow(UnsafeCell<Fifo<Thread>>);

impl Overflow {
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Fifo::new()))
    }

    /// Calls `f` with the list. Not to be nested.
    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut Fifo<Thread>) -> R) -> R {
        // SAFETY: only the list's own CPU comes here, with interrupts masked (the contract of `Worker::this`), and what is
        // done in `f` (in this file alone) does not come here again.
        f(unsafe { &mut *self.0.get() })
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.with(|list| list.is_empty())
    }
}

impl Worker {
    /// Puts a bound thread last in the list.
    #[cold]
    #[inline(never)]
    pub(super) fn put_aside(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Behind, self.id);
        // SAFETY: a runnable thread is alive, and in no list now.
        self.overflow.with(|list| unsafe { list.push(thread) });
        self.queue().set_outside(true);
    }

    /// Moves threads into the queue if it is at least half empty. Whether some are left.
    pub(super) fn refill(&self) -> bool {
        let room = QUEUE_SIZE.saturating_sub(self.queue.private_hint());
        if room < QUEUE_SIZE / 2 {
            return !self.overflow.is_empty();
        }
        self.overflow.with(|list| {
            for _ in 0..room {
                let Some(thread) = list.pop() else { break };
                if self.queue().push_pinned(thread).is_err() {
                    // What was shared, and is older, has taken the room.
                    // SAFETY: just taken out of the list.
                    unsafe { list.push_first(thread) };
                    break;
                }
            }
            !list.is_empty()
        })
    }
}
