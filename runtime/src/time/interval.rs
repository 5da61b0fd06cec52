//! Moments at equal distances.

use crate::thread::sleep_until;
use crate::{Duration, Instant};
use core::fmt;
use isochron_kernel::clock::ticks_to_ns;

/// Moments at equal distances, to wait for one after the other.
///
/// It does not drift: the n-th moment is computed from the first, not from the one before, so it is off by less than a tick
/// of the clock however many there were.
///
/// ```ignore
/// let mut samples = Interval::new(Duration::from_micros(250))?;
/// loop {
///     let tick = samples.tick();
///     if tick.missed > 0 { log::warn!("{} samples are lost", tick.missed) }
///     sample();
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Interval {
    start: Instant,
    period: Duration,
    /// The next moment is so many periods after `start`.
    next: u64,
    policy: Missed,
}

/// What becomes of moments that passed before [`Interval::tick`] was called for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missed {
    /// They are left out; the next tick is at the next moment.
    #[default]
    Skip,
    /// They are made up for: ticks come at once until all are done.
    Burst,
    /// They are left out, and the moments count anew from now: the next tick is a whole period away.
    Delay,
}

/// One moment of an [`Interval`], which has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The moment.
    pub deadline: Instant,
    /// How many further moments have come already: left out with [`Missed::Skip`] and [`Missed::Delay`], still to be
    /// returned with [`Missed::Burst`].
    pub missed: u64,
}

/// A period of no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroPeriod;

impl fmt::Display for ZeroPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a period must be longer than nothing")
    }
}

impl core::error::Error for ZeroPeriod {}

impl Interval {
    /// Moments that are `period` apart; the first is one period from now.
    ///
    /// # Errors
    /// If the period is zero.
    pub fn new(period: Duration) -> Result<Self, ZeroPeriod> {
        Self::from(Instant::now(), period)
    }

    /// The same, counted from `start`: the first moment is one period after it.
    ///
    /// # Errors
    /// If the period is zero.
    pub fn from(start: Instant, period: Duration) -> Result<Self, ZeroPeriod> {
        if period == Duration::ZERO {
            return Err(ZeroPeriod);
        }
        Ok(Self { start, period, next: 1, policy: Missed::default() })
    }

    /// With another policy than [`Missed::Skip`].
    #[must_use]
    pub fn missed(mut self, policy: Missed) -> Self {
        self.policy = policy;
        self
    }

    /// The next moment that [`tick`](Self::tick) waits for; it may be past.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.moment(self.next)
    }

    /// Waits for the next moment; not at all if it is past.
    #[track_caller]
    pub fn tick(&mut self) -> Tick {
        sleep_until(self.deadline());
        self.take(Instant::now())
    }

    /// The tick whose moment has come by `now`: for those who wait in some other way.
    pub(crate) fn take(&mut self, now: Instant) -> Tick {
        let deadline = self.deadline();
        let mut missed = 0;
        if now >= self.moment(self.next + 1) {
            let passed = ticks_to_ns(now.ticks() - self.start.ticks()) / self.period.as_nanos();
            missed = passed.saturating_sub(self.next);
        }
        match self.policy {
            Missed::Skip => self.next += 1 + missed,
            Missed::Delay if missed > 0 => (self.start, self.next) = (now, 1),
            Missed::Burst | Missed::Delay => self.next += 1,
        }
        Tick { deadline, missed }
    }

    fn moment(&self, number: u64) -> Instant {
        self.start + Duration::from_nanos(self.period.as_nanos().saturating_mul(number))
    }
}
