//! Threads with a hint or a priority: where they wait, and when their turn comes.
//!
//! The rule stands in `runtime/core/src/layers.rs`. Here is what a CPU does with it: a thread that is made runnable and
//! goes before the one that runs has it preempted at once; an idle CPU takes the highest that waits anywhere.

use super::Worker;
use crate::sync::{any_boosts, apply_boost, settle_boost};
use crate::thread::control::{self, ThreadPtr};
use crate::thread::somebody_is_doomed;
use isochron_core::layers::{Pick, Rank};

fn is_bound(thread: ThreadPtr) -> bool {
    // SAFETY: queued threads are alive.
    unsafe { thread.as_ref() }.stays()
}

impl Worker {
    /// Puts a thread that is not of normal rank last among its like. The caller shares.
    pub(super) fn put_layered(&self, thread: ThreadPtr) {
        if any_boosts() {
            apply_boost(thread);
        }
        // SAFETY: a runnable thread is alive.
        let known = unsafe { thread.as_ref() };
        if known.boost_end().is_some() {
            settle_boost(known);
            if !known.is_ranked() {
                return self.put(thread);
            }
        }
        // SAFETY: a runnable thread is alive.
        let (rank, bound) = unsafe { (thread.as_ref().rank(), thread.as_ref().stays()) };
        // SAFETY: as above, and in no list now.
        unsafe { self.layers.push(thread, rank, bound) };
        self.queue().set_outside(true);
        // SAFETY: the running thread's block is alive.
        if control::current_ptr().is_some_and(|running| unsafe { running.as_ref() }.rank() < rank) {
            self.ask_for_preemption();
        }
    }

    /// Whose turn it is, where there are others than the run queue's. `running`: the rank of the thread that runs and could
    /// go on; `None` is returned if it should.
    #[cold]
    #[inline(never)]
    pub(super) fn pop_by_rule(&self, running: Option<Rank>) -> Option<ThreadPtr> {
        if any_boosts() {
            // One that was parked with a lock that others wait for may have come back in between.
            self.apply_boosts();
        }
        let (next, more) = loop {
            // Mostly nobody is in the lists, and what is outside are only bound threads that the queue has no room for.
            let only_normal = self.layers.is_empty_hint() && running.is_none_or(|running| running == Rank::NORMAL);
            let (pick, more) = if only_normal {
                (Pick::Normal, false)
            } else {
                self.layers.pick(!self.queue().is_empty(), running, is_bound)
            };
            let next = match pick {
                Pick::Stored(thread) => Some(thread),
                Pick::Normal => match self.queue().pop() {
                    // A thief was faster. Whoever waits here must not be forgotten over that: this CPU may be about to sleep.
                    None if !only_normal => continue,
                    next => next,
                },
                Pick::Running | Pick::Nothing => None,
            };
            break (next, more);
        };
        let overflow = self.refill();
        let doomed = somebody_is_doomed();
        self.queue().set_outside(more || overflow || doomed);
        if doomed && let Some(next) = next {
            self.look_at_next(next);
        }
        next
    }

    /// Threads are to be boosted: the running one, or some that wait here, which move to where their new rank has its place.
    #[cold]
    pub(super) fn apply_boosts(&self) {
        self.take_inbox();
        let running = control::current_ptr();
        if let Some(running) = running {
            apply_boost(running);
        }
        for _ in 0..self.queue.len_hint() {
            let Some(thread) = self.queue().pop() else { break };
            apply_boost(thread);
            self.put(thread);
        }
        let highest = self.layers.rerank(|thread| {
            apply_boost(thread);
            // SAFETY: queued threads are alive.
            unsafe { thread.as_ref() }.rank()
        });
        // SAFETY: the running thread's block is alive.
        if running.is_some_and(|running| Some(unsafe { running.as_ref() }.rank()) < highest) {
            self.ask_for_preemption();
        }
    }

    /// For another CPU that has nothing to do: the highest of this one's that any CPU may run.
    pub(super) fn steal_layered(&self) -> Option<ThreadPtr> {
        self.layers.steal(is_bound)
    }
}
