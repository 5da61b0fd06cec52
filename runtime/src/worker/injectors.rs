//! Where threads go that no queue has room for: one list for each NUMA node.
//!
//! A CPU takes from its node's list now and then, and from all when it has nothing else to run.

use super::Worker;
use crate::thread::control::{Thread, ThreadPtr};
use crate::trace::{Origin, Queue, points};
use core::sync::atomic::{AtomicBool, Ordering};
use isochron_core::injector::Injector;
use isochron_kernel::arch;
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::topology::{self, MAX_NODES};

static INJECTORS: [Injector<Thread>; MAX_NODES] = [const { Injector::new() }; MAX_NODES];

/// Labelled threads go through the injectors alone: see [`set_one_queue`].
static ONE_QUEUE: AtomicBool = AtomicBool::new(false);

/// For comparisons: from now on, threads that have a [`Region`](crate::policy::Region) go through their node's shared queue each
/// time they are made or woken, and CPUs take them from there one by one. This is what schedulers with one queue for all do; by
/// itself, only what no CPU's own queue has room for goes that way.
pub fn set_one_queue(on: bool) {
    // Relaxed: a setting; threads that are under way go the old way.
    ONE_QUEUE.store(on, Ordering::Relaxed);
}

#[inline]
pub(super) fn is_one_queue() -> bool {
    ONE_QUEUE.load(Ordering::Relaxed)
}

/// The most that a CPU takes in one go.
const MOST: usize = 64;

/// With so many in an injector, what the next ones will touch is in no cache.
const COLD: usize = 4096;
/// Of such, so many are taken in one go: what they will touch is all fetched at a time, as much as a CPU can have under way.
const FETCHED: usize = 4;

/// That of a CPU's node.
pub(super) fn of(cpu: CpuId) -> &'static Injector<Thread> {
    &INJECTORS[usize::from(topology::place(cpu).node)]
}

impl Worker {
    /// All of them.
    pub(super) fn injectors(&self) -> impl Iterator<Item = &'static Injector<Thread>> {
        INJECTORS[..self.nodes].iter()
    }

    /// Into the injector, for whoever comes first.
    #[cold]
    pub(super) fn inject(&self, thread: ThreadPtr) {
        points::queued(thread, Queue::Injector, self.id);
        // SAFETY: a runnable thread is alive, and in no list now.
        unsafe { self.injector.push(thread) };
        self.share();
    }

    /// Moves this CPU's share of what waits in the injectors into its queue: of its node's, or else of another's.
    pub(super) fn take_share_of_injectors(&self) {
        if self.is_reserved() {
            return;
        }
        let mut others = self.injectors();
        let filled = |injector: &&'static Injector<Thread>| injector.len_hint() > 0;
        let Some(from) = Some(self.injector).filter(filled).or_else(|| others.find(filled)) else { return };
        if is_one_queue() {
            self.take_from_injector(from, 1);
        } else if from.len_hint() < COLD {
            self.take_from_injector(from, (from.len_hint() / cpu::online_count().max(1) + 1).min(MOST));
        } else {
            self.take_cold(from);
        }
    }

    /// Moves some threads from a long injector into the queue, and has fetched what they will touch soon.
    fn take_cold(&self, injector: &Injector<Thread>) {
        let fetch_head = |thread: ThreadPtr| arch::cpu::prefetch(thread.as_ptr().addr());
        injector.pop_batch_and_peek(FETCHED, fetch_head, |thread| {
            points::taken(thread, Origin::Injector, self.id);
            // SAFETY: a queued thread is alive, and this CPU has just taken it.
            unsafe { Thread::prefetch(thread) };
            self.settle(thread);
            self.put(thread);
        });
    }

    /// Moves up to `most` threads from an injector into the queue.
    pub(super) fn take_from_injector(&self, injector: &Injector<Thread>, most: usize) {
        injector.pop_batch(most, |thread| {
            points::taken(thread, Origin::Injector, self.id);
            self.settle(thread);
            self.put(thread);
        });
    }
}
