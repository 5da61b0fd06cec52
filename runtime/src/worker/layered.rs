//! Threads with a hint or a priority: where they wait, and when their turn comes.
//!
//! The rule stands in `runtime/core/src/layers.rs`. Here is what a CPU does with it: a thread that is made runnable and
//! goes before the one that runs has it preempted at once; an idle CPU takes the highest that waits anywhere. Members of a
//! group wait here too, whatever their rank, so that only their ways lead past `grouped.rs`.

use super::Worker;
use super::grouped::Rest;
use crate::sync::{any_boosts, apply_boost, settle_boost};
use crate::thread::control::{self, ThreadPtr};
use crate::thread::somebody_is_doomed;
use crate::trace::{Queue, points};
use isochron_core::layers::{Pick, Queued, Rank};

/// As it was when the thread was put into the list.
fn is_bound(thread: ThreadPtr) -> bool {
    // SAFETY: queued threads are alive.
    unsafe { thread.as_ref() }.stays_listed.get()
}

impl Worker {
    /// Puts a thread that is not of normal rank, or is a member of a group, last among its like; or sets it aside. The caller
    /// shares.
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
        if self.set_aside_if_throttled(thread) {
            return;
        }
        // SAFETY: a runnable thread is alive.
        let it = unsafe { thread.as_ref() };
        let (rank, bound) = (it.waiting_rank(), it.stays() || !Self::may_be_stolen(it));
        it.stays_listed.set(bound);
        points::queued(thread, Queue::Ranked, self.id);
        // SAFETY: as above, and in no list now.
        unsafe { self.layers.push(thread, rank, bound) };
        self.queue().set_outside(true);
        // SAFETY: the running thread's block is alive.
        if control::current_ptr().is_some_and(|running| unsafe { running.as_ref() }.rank() < rank) {
            self.ask_for_preemption();
        }
    }

    /// Whose turn it is, where there are others than the run queue's. `running`: the rank of the thread that runs and could
    /// go on; `None` is returned if it should. A member of a group that is popped has time, and its run begins.
    #[cold]
    #[inline(never)]
    pub(super) fn pop_by_rule(&self, running: Option<Rank>) -> Option<ThreadPtr> {
        if any_boosts() {
            // One that was parked with a lock that others wait for may have come back in between.
            self.apply_boosts();
        }
        if running.is_none() {
            // The thread that ran here, if one did, waits for something or is at its end.
            self.stop_member(Rest::GivenBack);
        }
        // Before the queue is looked at: it may be empty while somebody waits behind it.
        let overflow = self.refill();
        let next = loop {
            // Mostly nobody is in the lists, and what is outside are only bound threads that the queue has no room for.
            let only_normal = self.layers.is_empty_hint() && running.is_none_or(|running| running == Rank::NORMAL);
            let queued = || Queued { count: self.queue().len(), woken: !self.queue().next_is_free() };
            let pick = if only_normal { Pick::Normal } else { self.layers.pick(queued(), running, is_bound).0 };
            break match pick {
                // It was set aside: another, then.
                Pick::Stored(thread) if !self.admit(thread, self.id) => {
                    self.layers.was_not_served();
                    continue;
                }
                Pick::Stored(thread) => Some(thread),
                Pick::Normal => match self.queue().pop() {
                    // A thief was faster. Whoever waits here must not be forgotten over that: this CPU may be about to sleep.
                    None if !only_normal => continue,
                    next => next,
                },
                Pick::Running | Pick::Nothing => None,
            };
        };
        let doomed = somebody_is_doomed();
        // Asked now: admitting one may have brought another back.
        let layered = !self.layers.is_empty_hint() || self.grouped.is_running();
        self.queue().set_outside(layered || overflow || doomed);
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
        self.settle_young();
        let mut moved = false;
        for _ in 0..self.queue.len_hint() {
            let Some(thread) = self.queue().pop() else { break };
            apply_boost(thread);
            // SAFETY: a queued thread is alive.
            moved |= !unsafe { thread.as_ref() }.stays();
            self.put(thread);
        }
        if moved {
            // Who looked meanwhile, before it went to sleep, may have found them nowhere. Not for those alone that are bound: who
            // is woken for nothing asks this CPU, which comes here again.
            self.share();
        }
        let highest = self.layers.rerank(|thread| {
            apply_boost(thread);
            // SAFETY: queued threads are alive.
            unsafe { thread.as_ref() }.waiting_rank()
        });
        // SAFETY: the running thread's block is alive.
        if running.is_some_and(|running| Some(unsafe { running.as_ref() }.rank()) < highest) {
            self.ask_for_preemption();
        }
    }

    /// For another CPU that has nothing to do: the highest of this one's that any CPU may run. It runs at once.
    pub(super) fn steal_layered(&self) -> Option<ThreadPtr> {
        let thief = Self::this();
        loop {
            let thread = self.layers.steal(is_bound)?;
            if thief.admit(thread, self.id) {
                return Some(thread);
            }
            // It was set aside. That may have put another into the thief's own lists, at which it does not look again before
            // it sleeps.
            let own = thief.pop();
            if own.is_some() {
                return own;
            }
        }
    }
}
