//! What all handles to a group and all its threads share.

use super::memory::Memory;
use super::refill::Place;
use super::{Limit, Statistics, registry};
use crate::Duration;
use crate::thread::control::Thread;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use isochron_core::bandwidth::{Bandwidth, Rest};
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::arch;
use isochron_kernel::clock::ticks_to_ns;
use isochron_kernel::cpu::{CpuId, this_cpu};
use isochron_kernel::irq;
use isochron_kernel::memory::OutOfMemory;

/// A group.
pub(crate) struct Inner {
    /// Itself, for those who keep it longer than the thread that they found it by.
    itself: Weak<Self>,
    pub name: Box<str>,
    pub parent: Option<Arc<Self>>,
    pub bandwidth: Bandwidth<Thread>,
    /// If it, or a group above it, has a limit on its memory.
    pub(super) memory: Option<Memory>,
    /// The limit as it was asked for. Interrupts are masked around its lock.
    limit: SpinLock<Limit>,
    /// How much a CPU takes at once, in ticks.
    pub slice: AtomicU64,
    /// The rank of the member that was given time last. A hint.
    pub served: AtomicU16,
    /// Other CPUs may take its threads.
    pub stealing: AtomicBool,
    cpus: Box<[Share]>,
}

/// What a group is made of, where memory was needed for it.
pub(super) struct Kin {
    pub name: Box<str>,
    pub parent: Option<Arc<Inner>>,
    pub memory: Option<Memory>,
    /// The [shares](Inner::shares) of all CPUs.
    pub cpus: Box<[Share]>,
}

/// What one CPU has of a group.
pub(crate) struct Share {
    rest: Rest,
    /// Ticks that its threads and those of groups below ran there. Written by that CPU.
    ran: AtomicU64,
    refill: Place,
}

// SAFETY: the place in a CPU's list is that CPU's alone (see `refill.rs`); the rest is shared by itself.
unsafe impl Sync for Share {}
// SAFETY: as above: a raw pointer to a group, which may be sent.
unsafe impl Send for Share {}

impl Inner {
    /// What `cpus` CPUs have of a group; an error if there is no memory for it.
    pub fn shares(cpus: usize) -> Result<Box<[Share]>, OutOfMemory> {
        let mut shares = Vec::new();
        shares.try_reserve_exact(cpus).map_err(|_| OutOfMemory)?;
        shares.extend((0..cpus).map(|_| Share { rest: Rest::new(), ran: AtomicU64::new(0), refill: Place::new() }));
        Ok(shares.into_boxed_slice())
    }

    /// A group.
    pub(super) fn new(itself: Weak<Self>, kin: Kin, limit: Limit, slice: u64, stealing: bool) -> Self {
        Self {
            itself,
            name: kin.name,
            parent: kin.parent,
            bandwidth: Bandwidth::new(limit.in_ticks()),
            memory: kin.memory,
            limit: SpinLock::new(lock_rank::GROUP_LIMIT, limit),
            slice: AtomicU64::new(slice),
            served: AtomicU16::new(0),
            stealing: AtomicBool::new(stealing),
            cpus: kin.cpus,
        }
    }

    /// Its own limit.
    pub fn limit(&self) -> Limit {
        irq::without(|| self.limit.with(|limit| *limit))
    }

    /// The caller sets that of `bandwidth` too.
    pub fn set_limit(&self, limit: Limit) {
        irq::without(|| self.limit.with(|current| *current = limit));
    }

    /// The group and those above it.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |group| group.parent.as_deref())
    }

    /// A counted reference. `None` once the last one is going.
    pub fn share(&self) -> Option<Arc<Self>> {
        self.itself.upgrade()
    }

    /// Its place in the list of the CPU this runs on. Interrupts are masked.
    pub(super) fn place(&self) -> &Place {
        &self.cpus[this_cpu().id.index()].refill
    }

    /// What is left of a slice on `cpu`.
    #[inline]
    pub fn rest(&self, cpu: CpuId) -> &Rest {
        &self.cpus[cpu.index()].rest
    }

    /// A thread of the group ran on `cpu`, the one this runs on.
    #[inline]
    pub fn count_run(&self, cpu: CpuId, ticks: u64) {
        for group in self.chain() {
            let ran = &group.cpus[cpu.index()].ran;
            // One writer, and interrupts are masked: no read-modify-write is needed.
            ran.store(ran.load(Ordering::Relaxed) + ticks, Ordering::Relaxed);
        }
    }

    /// Whether other CPUs may take its threads: not if a group above says no.
    pub fn may_be_stolen(&self) -> bool {
        self.chain().all(|group| group.stealing.load(Ordering::Relaxed))
    }

    pub fn statistics(&self) -> Statistics {
        let counters = irq::without(|| self.bandwidth.counters(arch::clock::ticks_unordered()));
        let ran = self.cpus.iter().map(|cpu| cpu.ran.load(Ordering::Relaxed)).sum();
        let time = |ticks| Duration::from_nanos(ticks_to_ns(ticks));
        Statistics {
            periods: counters.periods,
            throttled: counters.throttled,
            throttled_time: time(counters.throttled_time),
            run_time: time(ran),
            debt: time(counters.debt),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        registry::remove(self);
    }
}
