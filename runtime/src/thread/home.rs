//! Where a thread belongs: one word, so that one comparison on the fast path tells whether it is at home and there is nothing
//! else to ask.

use super::control::Thread;
use crate::policy::{Candidate, PolicyId, Region};
use core::sync::atomic::{AtomicU16, Ordering};
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;

const CPU: u16 = MAX_CPUS as u16 - 1;
const REGION_SHIFT: u32 = CPU.count_ones();
const REGION: u16 = 63;
const POLICY_SHIFT: u32 = 12;
const _: () = assert!(MAX_CPUS == 64, "six bits for a CPU, six for a region, four for a policy");

/// The CPU in whose queue a thread is, or was last: six bits. Above them its [`Region`] and the number of its policy, both 0
/// for none.
///
/// Belongs to the CPU that holds the thread.
pub(crate) struct Home(AtomicU16);

impl Home {
    /// Of a thread that has none yet.
    #[inline(always)]
    pub fn new() -> Self {
        Self(AtomicU16::new(0))
    }
}

impl Thread {
    /// Its home, for the paths where every instruction counts: compared with what a worker keeps.
    #[inline(always)]
    pub fn home_raw(&self) -> u16 {
        self.home.0.load(Ordering::Relaxed)
    }

    /// The CPU in whose queue it is, or was last.
    #[inline]
    pub fn home(&self) -> CpuId {
        CpuId::new(usize::from(self.home_raw() & CPU))
    }

    /// For the CPU that holds the thread: it goes into that CPU's queue.
    #[inline]
    pub fn set_home(&self, cpu: CpuId) {
        self.home.0.store(self.home_raw() & !CPU | cpu.index() as u16, Ordering::Relaxed);
    }

    /// Its label, if it has one.
    pub fn region(&self) -> Option<Region> {
        Region::from_bits(self.home_raw() >> REGION_SHIFT & REGION)
    }

    /// The number of its own policy; 0 for none.
    #[inline]
    pub fn policy_bits(&self) -> u16 {
        self.home_raw() >> POLICY_SHIFT
    }

    /// For the CPU that holds the thread.
    pub fn set_preferences(&self, region: Option<Region>, policy: Option<PolicyId>) {
        let bits = Region::to_bits(region) << REGION_SHIFT | PolicyId::to_bits(policy) << POLICY_SHIFT;
        self.home.0.store(self.home_raw() & CPU | bits, Ordering::Relaxed);
    }

    /// Whether no thief may take it: it is bound, or has a policy of its own.
    #[inline(always)]
    pub fn stays(&self) -> bool {
        self.is_pinned() || self.policy_bits() != 0
    }

    /// As policies see it.
    pub fn candidate(&self) -> Candidate {
        Candidate { thread: self.id(), home: self.home(), region: self.region(), waker: super::current_cpu() }
    }
}
