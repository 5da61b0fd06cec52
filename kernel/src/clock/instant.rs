//! [`Instant`] and [`Duration`].

use super::scale::Scale;
use crate::arch;
use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use crate::arch::clock::Facts;

/// A [`Scale`] that is set once, before other CPUs or threads exist, and then read by all without synchronisation.
struct SetOnce {
    multiplier: AtomicU64,
    shift: AtomicU32,
}

impl SetOnce {
    const fn new() -> Self {
        Self { multiplier: AtomicU64::new(0), shift: AtomicU32::new(0) }
    }

    fn set(&self, scale: Scale) {
        let (multiplier, shift) = scale.parts();
        // Relaxed: the start of the other CPUs, and of the first thread, comes after this and orders it.
        self.multiplier.store(multiplier, Ordering::Relaxed);
        self.shift.store(shift, Ordering::Relaxed);
    }

    #[inline(always)]
    fn get(&self) -> Scale {
        Scale::from_parts(self.multiplier.load(Ordering::Relaxed), self.shift.load(Ordering::Relaxed))
    }
}

static TO_NS: SetOnce = SetOnce::new();
static TO_TICKS: SetOnce = SetOnce::new();

/// Takes the frequency that the port found. Called once by the kernel's init.
pub(crate) fn init() {
    let hz = arch::clock::frequency_hz();
    TO_NS.set(Scale::to_ns(hz));
    TO_TICKS.set(Scale::to_ticks(hz));
}

/// Ticks of the clock in a second.
#[must_use]
pub fn frequency_hz() -> u64 {
    arch::clock::frequency_hz()
}

/// What is known of the clock.
#[must_use]
pub fn facts() -> Facts {
    arch::clock::facts()
}

/// A number of ticks in nanoseconds, rounded down.
#[inline]
#[must_use]
pub fn ticks_to_ns(ticks: u64) -> u64 {
    TO_NS.get().apply(ticks)
}

/// A number of nanoseconds in ticks, rounded down.
#[inline]
#[must_use]
pub fn ns_to_ticks(ns: u64) -> u64 {
    TO_TICKS.get().apply(ns)
}

/// Ticks in `ms` milliseconds; before the clock is set up, by the port's own idea of its frequency.
#[must_use]
pub fn ticks_in_ms(ms: u64) -> u64 {
    arch::clock::frequency_hz() / 1000 * ms
}

/// A point in time: a reading of the CPU's counter.
///
/// Monotonic on one CPU and across CPUs, 64 bits wide, and reading it cannot fail. It does not wrap within 100 years
/// on any clock up to 5.8 GHz.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Instant {
    ticks: u64,
}

impl Instant {
    /// Now. The counter is read after every earlier instruction has been done and before a later one is.
    #[inline(always)]
    #[must_use]
    pub fn now() -> Self {
        Self { ticks: arch::clock::ticks() }
    }

    /// Now, give or take what the CPU has in flight: cheaper than [`Instant::now`] by its barriers.
    #[inline(always)]
    #[must_use]
    pub fn now_unordered() -> Self {
        Self { ticks: arch::clock::ticks_unordered() }
    }

    /// The point in time at which the counter shows `ticks`.
    #[inline]
    #[must_use]
    pub const fn from_ticks(ticks: u64) -> Self {
        Self { ticks }
    }

    /// The counter's value at this point.
    #[inline]
    #[must_use]
    pub const fn ticks(self) -> u64 {
        self.ticks
    }

    /// Time since `earlier`; zero if that is later.
    #[inline]
    #[must_use]
    pub fn duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(ticks_to_ns(self.ticks.saturating_sub(earlier.ticks)))
    }

    /// Time since this point.
    #[inline]
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Saturates at the end of time.
    #[inline]
    fn add(self, rhs: Duration) -> Self {
        Self { ticks: self.ticks.saturating_add(ns_to_ticks(rhs.as_nanos())) }
    }
}

impl AddAssign<Duration> for Instant {
    #[inline]
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Instant {
    type Output = Duration;
    #[inline]
    fn sub(self, rhs: Self) -> Duration {
        self.duration_since(rhs)
    }
}

/// A length of time in whole nanoseconds, up to 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Duration {
    ns: u64,
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self { ns: 0 };
    /// The longest there is.
    pub const MAX: Self = Self { ns: u64::MAX };

    /// So many nanoseconds.
    #[must_use]
    pub const fn from_nanos(ns: u64) -> Self {
        Self { ns }
    }

    /// So many microseconds; saturates.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self { ns: us.saturating_mul(1_000) }
    }

    /// So many milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self { ns: ms.saturating_mul(1_000_000) }
    }

    /// So many seconds; saturates.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self { ns: s.saturating_mul(1_000_000_000) }
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.ns
    }

    /// In whole microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.ns / 1_000
    }

    /// In whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.ns / 1_000_000
    }
}

impl From<core::time::Duration> for Duration {
    fn from(value: core::time::Duration) -> Self {
        Self { ns: u64::try_from(value.as_nanos()).unwrap_or(u64::MAX) }
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self { ns: self.ns.saturating_add(rhs.ns) }
    }
}

impl Sub for Duration {
    type Output = Self;
    fn sub(self, rhs: Self) -> Self {
        Self { ns: self.ns.saturating_sub(rhs.ns) }
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Duration {
    /// With the unit that fits: `17 ns`, `3.204 us`, `1.000 ms`, `12.500 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, per) = match self.ns {
            0..1_000 => return write!(f, "{} ns", self.ns),
            1_000..1_000_000 => ("us", 1_000),
            1_000_000..1_000_000_000 => ("ms", 1_000_000),
            _ => ("s", 1_000_000_000),
        };
        write!(f, "{}.{:03} {unit}", self.ns / per, self.ns % per / (per / 1000))
    }
}
