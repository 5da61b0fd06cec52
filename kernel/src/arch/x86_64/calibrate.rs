//! How fast the TSC ticks, and how fast the APIC's timer counts against it.
//!
//! A frequency that the hypervisor or the CPU states is taken. Else the TSC is measured against the HPET or the PIT: by
//! the edges of the reference's count, each known to lie between two readings of the TSC: after the reading before the
//! last other count, or one period before the reading before this count, whichever is later, and before the reading
//! after this count. The widths of the two intervals over the time between them bound the error, whatever delays the
//! readings; the window grows until the bound is good or it is long enough.

use super::clock::ticks;
use super::reference::{FS_PER_SECOND, Hpet, Pit, Reference};
use super::{cpu, timer};
use crate::machine::Machine;
use core::arch::x86_64::__cpuid;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where the frequency comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Source {
    /// Nowhere: a guess.
    Nothing = 0,
    /// The hypervisor's timing leaf.
    Hypervisor = 1,
    /// The crystal's frequency and ratio in CPUID leaf 0x15.
    Crystal = 2,
    /// Measured against the HPET.
    Hpet = 3,
    /// Measured against the PIT.
    Pit = 4,
    /// The rated frequency in CPUID leaf 0x16, in whole MHz.
    Base = 5,
}

/// A frequency and how far it may be off.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// Ticks in a second.
    pub hz: u64,
    /// Its error's bound.
    pub error_ppb: u32,
    /// Where it comes from.
    pub source: Source,
}

/// The error's bound that is good enough: 100 ppm, what a crystal itself may be off. It takes 5 ms in an emulator, where
/// reading a reference is slow, and less on hardware.
const GOOD_PPB: u64 = 100_000;
/// The longest window, in milliseconds: booting must not wait longer for a better figure.
const WINDOW_MS: u64 = 10;
/// A crystal's own error: what a stated frequency may be off.
const STATED_PPB: u32 = 100_000;
/// A rated frequency is rounded to a MHz and has been seen off by more.
const BASE_PPB: u32 = 10_000_000;
/// Readings in which a reference that runs must change; a HPET or PIT does so within a microsecond.
const PATIENCE: u32 = 20_000;
/// Edges looked at for the window's start; the narrowest is taken.
const START_EDGES: u32 = 16;
/// No TSC ticks faster: so a reference's period has at most so many ticks.
const FASTEST_HZ: u128 = 6_000_000_000;

/// Counts of the APIC's timer per tick, as a fraction of 2^32. 0: not measured.
static COUNTS_PER_TICK: AtomicU64 = AtomicU64::new(0);

/// What [`run`] measured for the APIC's timer.
///
/// # Panics
/// If it did not: the timer does not count.
pub fn counts_per_tick() -> u64 {
    let ratio = COUNTS_PER_TICK.load(Ordering::Relaxed);
    assert!(ratio != 0, "the local APIC's timer does not count, and there is no TSC deadline");
    ratio
}

/// Finds the TSC's frequency; measures the APIC's timer on the way if it will be needed.
pub fn run(machine: &Machine) -> Estimate {
    let needs_timer = !timer::has_deadline();
    if needs_timer {
        timer::run_free();
    }
    let start = needs_timer.then(TimerSample::take);
    let estimate = stated()
        .or_else(|| Hpet::start(machine).and_then(|hpet| measure(&hpet, Source::Hpet)))
        .or_else(|| measure(&Pit::start(), Source::Pit))
        .or_else(rated)
        .unwrap_or(Estimate { hz: 1_000_000_000, error_ppb: u32::MAX, source: Source::Nothing });
    if let Some(start) = start {
        COUNTS_PER_TICK.store(start.ratio(estimate.hz), Ordering::Relaxed);
    }
    estimate
}

/// What the hypervisor (leaf 0x4000_0010: kHz) or the CPU (leaf 0x15: crystal and ratio; SDM vol. 3, 18.7.3) states.
fn stated() -> Option<Estimate> {
    let sane = |hz: u64| (100_000_000..20_000_000_000).contains(&hz);
    if cpu::has_hypervisor() && (0x4000_0010..0x4001_0000).contains(&__cpuid(0x4000_0000).eax) {
        let hz = u64::from(__cpuid(0x4000_0010).eax) * 1000;
        if sane(hz) {
            return Some(Estimate { hz, error_ppb: STATED_PPB, source: Source::Hypervisor });
        }
    }
    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            let hz = u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax);
            if sane(hz) {
                return Some(Estimate { hz, error_ppb: STATED_PPB, source: Source::Crystal });
            }
        }
    }
    None
}

/// The rated frequency, for want of anything better.
fn rated() -> Option<Estimate> {
    let mhz = if __cpuid(0).eax >= 0x16 { __cpuid(0x16).eax & 0xffff } else { 0 };
    (mhz != 0).then(|| Estimate { hz: u64::from(mhz) * 1_000_000, error_ppb: BASE_PPB, source: Source::Base })
}

/// The moment at which a reference's count became `count`: between two readings of the TSC.
#[derive(Clone, Copy)]
struct Edge {
    count: u64,
    after: u64,
    before: u64,
}

impl Edge {
    fn next(reference: &impl Reference) -> Option<Self> {
        let period = reference.period_as_fs_thousandths() * FASTEST_HZ / (u128::from(FS_PER_SECOND) * 1000) + 1;
        let period = u64::try_from(period).unwrap_or(u64::MAX);
        let mut after = ticks();
        let first = reference.count();
        for _ in 0..PATIENCE {
            let start = ticks();
            let count = reference.count();
            let before = ticks();
            if count != first {
                return Some(Self { count, after: after.max(start.saturating_sub(period)), before });
            }
            after = start;
        }
        None
    }

    fn width(self) -> u64 {
        self.before - self.after
    }

    /// Twice the middle, so that nothing is rounded.
    fn twice_middle(self) -> u64 {
        self.before + self.after
    }
}

fn measure(reference: &impl Reference, source: Source) -> Option<Estimate> {
    let mut start = Edge::next(reference)?;
    for _ in 1..START_EDGES {
        let edge = Edge::next(reference)?;
        if edge.width() < start.width() {
            start = edge;
        }
    }
    let mut best: Option<Estimate> = None;
    loop {
        let edge = Edge::next(reference)?;
        let counts = edge.count.wrapping_sub(start.count) & (reference.modulus() - 1);
        let twice_ticks = edge.twice_middle() - start.twice_middle();
        let femtoseconds = u128::from(counts) * reference.period_as_fs_thousandths() / 1000;
        if twice_ticks == 0 || femtoseconds == 0 {
            continue;
        }
        // Each middle is off by at most half its width.
        let error_ppb = (start.width() + edge.width()) * 1_000_000_000 / twice_ticks;
        if best.is_none_or(|best| error_ppb < u64::from(best.error_ppb)) {
            let hz = u128::from(twice_ticks) * u128::from(FS_PER_SECOND) / (2 * femtoseconds);
            let error_ppb = u32::try_from(error_ppb).unwrap_or(u32::MAX);
            best = Some(Estimate { hz: u64::try_from(hz).ok()?, error_ppb, source });
        }
        if error_ppb <= GOOD_PPB || femtoseconds >= u128::from(FS_PER_SECOND / 1000 * WINDOW_MS) {
            return best;
        }
    }
}

/// The APIC timer's count, between two readings of the TSC.
struct TimerSample {
    count: u32,
    after: u64,
    before: u64,
}

impl TimerSample {
    fn take() -> Self {
        let after = ticks();
        let count = timer::free_count();
        Self { count, after, before: ticks() }
    }

    /// Counts per tick since this sample, rounded up by what two such samples may be off against one another, so that
    /// the timer is rather late than early (the handler puts it right if it is early after all). At least 200 us are
    /// measured.
    fn ratio(&self, hz: u64) -> u64 {
        let mut end = Self::take();
        while end.before - self.before < hz / 5000 {
            spin_loop();
            end = Self::take();
        }
        // The count is read at the same place between the two readings each time: what differs is the width.
        let slack = (end.before - end.after).abs_diff(self.before - self.after);
        let ticks = (end.before + end.after - self.before - self.after) / 2;
        let counts = u128::from(end.count - self.count) + 1;
        u64::try_from((counts << 32) / u128::from(ticks - slack.min(ticks / 1000)) + 1).unwrap_or(u64::MAX)
    }
}
