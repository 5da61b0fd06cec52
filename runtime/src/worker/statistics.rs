//! What each worker did since boot, counted at no cost on the fast paths.

use super::Worker;
use super::neighbours::DISTANCES;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_kernel::cpu::CpuId;

/// Written by the worker's CPU, read by anybody.
#[derive(Default)]
pub(super) struct Counters {
    /// By distance: see `neighbours::index`.
    pub steals: [AtomicU64; DISTANCES],
    /// By distance from the thread's home, the same CPU first.
    pub placed: [AtomicU64; DISTANCES + 1],
    pub notifies: AtomicU64,
    pub preemptions: AtomicU64,
    pub woken_spinning: AtomicU64,
    pub woken_watching: AtomicU64,
    pub sleeps: AtomicU64,
    pub forks: AtomicU64,
}

impl Counters {
    /// Adds one to a counter that only this CPU writes: no read-modify-write is needed.
    #[inline(always)]
    pub fn bump(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// A look at what a CPU's worker did since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Successful steals from another CPU's queue, each of up to half of it.
    pub steals: u64,
    /// The same by distance: from an SMT sibling, from a CPU that shares a cache, from one of the same node, from afar.
    pub steals_by_distance: [u64; DISTANCES],
    /// Threads that this CPU made runnable and gave to another because that is where they ran last or is nearer to it: by the
    /// distance of the two, the very CPU where it ran last first.
    pub placed_by_distance: [u64; DISTANCES + 1],
    /// Sleeping CPUs that this one woke.
    pub notifies: u64,
    /// Threads taken off the CPU against their will.
    pub preemptions: u64,
    /// Idle periods that a claim ended while this CPU spun on its word: the first tier.
    pub woken_spinning: u64,
    /// Idle periods that a claim ended while it watched its word: the second tier.
    pub woken_watching: u64,
    /// Times it went to sleep until an interrupt: the third tier.
    pub sleeps: u64,
    /// Halves of a [`join`](crate::fork::join) that it gave away.
    pub forks: u64,
    /// Interrupts taken, of every kind; exact only when read on that CPU.
    pub interrupts: u64,
}

/// What the worker of `cpu` did; `None` if that CPU does not run.
#[must_use]
pub fn statistics(cpu: CpuId) -> Option<Statistics> {
    let counters = &Worker::of(cpu)?.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let steals = counters.steals.each_ref().map(read);
    Some(Statistics {
        steals: steals.iter().sum(),
        steals_by_distance: steals,
        placed_by_distance: counters.placed.each_ref().map(read),
        notifies: read(&counters.notifies),
        preemptions: read(&counters.preemptions),
        woken_spinning: read(&counters.woken_spinning),
        woken_watching: read(&counters.woken_watching),
        sleeps: read(&counters.sleeps),
        forks: read(&counters.forks),
        interrupts: isochron_kernel::cpu::cpu(cpu)?.interrupts.get(),
    })
}
