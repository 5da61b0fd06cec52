//! Labels on CPUs and threads.

use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::topology;

/// The highest number of a region.
pub const MAX_REGION: u8 = 61;

/// A label that CPUs and threads may share: a NUMA node, or whatever a program makes of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Region(u8);

/// A number above [`MAX_REGION`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRegion(
    /// What was asked for.
    pub u8,
);

impl fmt::Display for BadRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region {} is above {MAX_REGION}", self.0)
    }
}

impl core::error::Error for BadRegion {}

impl Region {
    /// The region of that number.
    ///
    /// # Errors
    /// [`BadRegion`] above [`MAX_REGION`].
    pub const fn new(number: u8) -> Result<Self, BadRegion> {
        if number > MAX_REGION { Err(BadRegion(number)) } else { Ok(Self(number)) }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// As threads keep it: 0 means none.
    pub(crate) fn to_bits(of: Option<Self>) -> u16 {
        of.map_or(0, |region| u16::from(region.0) + 1)
    }

    /// Back.
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        bits.checked_sub(1).map(|number| Self(number as u8))
    }
}

/// Labels that were set, plus one. Relaxed: plain settings.
static LABELS: [AtomicU8; MAX_CPUS] = [const { AtomicU8::new(0) }; MAX_CPUS];

/// The label of `cpu`: its NUMA node, unless [`set_region`] has said otherwise.
#[must_use]
pub fn region_of(cpu: CpuId) -> Region {
    match LABELS[cpu.index()].load(Ordering::Relaxed) {
        0 => Region((topology::place(cpu).node as u8).min(MAX_REGION)),
        label => Region(label - 1),
    }
}

/// Labels `cpu`; threads that are there stay.
pub fn set_region(cpu: CpuId, region: Region) {
    LABELS[cpu.index()].store(region.0 + 1, Ordering::Relaxed);
}
