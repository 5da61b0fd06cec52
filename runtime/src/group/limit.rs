//! How much time a group may have: quota and period.

use super::GroupError;
use crate::Duration;
use core::fmt;
use core::str::FromStr;
use isochron_core::bandwidth;
use isochron_kernel::clock::ns_to_ticks;

/// The period of a group whose builder does not say otherwise.
pub const DEFAULT_PERIOD: Duration = Duration::from_millis(100);

/// The shortest period: with less, setting threads aside and fetching them would be most of what a CPU does.
pub const SHORTEST_PERIOD: Duration = Duration::from_micros(100);

/// The longest period.
pub const LONGEST_PERIOD: Duration = Duration::from_secs(10);

/// The smallest quota: about what it costs to set a thread aside and to fetch it.
pub const SMALLEST_QUOTA: Duration = Duration::from_micros(1);

/// So much CPU time in each period, or as much as there is.
///
/// It can be read from text, in microseconds: `"10000 100000"` is 10 ms in each 100 ms, `"max 100000"` is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Time in each period; `None` for as much as there is.
    pub quota: Option<Duration>,
    /// How long a period is.
    pub period: Duration,
}

impl Limit {
    /// As much as there is.
    pub const NONE: Self = Self { quota: None, period: DEFAULT_PERIOD };

    /// `quota` in each `period`.
    #[must_use]
    pub const fn new(quota: Duration, period: Duration) -> Self {
        Self { quota: Some(quota), period }
    }

    /// Whether it makes sense.
    pub(super) fn check(self) -> Result<(), GroupError> {
        if !(SHORTEST_PERIOD..=LONGEST_PERIOD).contains(&self.period) {
            return Err(GroupError::Period(self.period));
        }
        match self.quota {
            Some(quota) if quota < SMALLEST_QUOTA => Err(GroupError::Quota(quota)),
            Some(quota) if quota > self.period => Err(GroupError::QuotaAbovePeriod(quota, self.period)),
            _ => Ok(()),
        }
    }

    /// In ticks; `None` for no limit. It makes sense.
    pub(super) fn in_ticks(self) -> Option<bandwidth::Limit> {
        self.in_units(|time| ns_to_ticks(time.as_nanos()).max(1))
    }

    /// Whether it is no larger a part of the time than `above`.
    pub(super) fn is_within(self, above: Self) -> bool {
        // Not in ticks, where both are rounded.
        let part = |limit: Self| limit.in_units(Duration::as_nanos);
        part(above).is_none_or(|above| part(self).is_none_or(|limit| limit.is_within(above)))
    }

    fn in_units(self, units: impl Fn(Duration) -> u64) -> Option<bandwidth::Limit> {
        let period = units(self.period);
        bandwidth::Limit::new(units(self.quota?).min(period), period).ok()
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.quota {
            Some(quota) => write!(f, "{} {}", quota.as_micros(), self.period.as_micros()),
            None => write!(f, "max {}", self.period.as_micros()),
        }
    }
}

/// The text is not two numbers of microseconds, the first of which may be `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadText;

impl fmt::Display for BadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit is two numbers of microseconds, as in `10000 100000` or `max 100000`")
    }
}

impl core::error::Error for BadText {}

impl FromStr for Limit {
    type Err = BadText;

    /// Whether the numbers make sense is asked when a group is made with them.
    fn from_str(text: &str) -> Result<Self, BadText> {
        let mut words = text.split_ascii_whitespace();
        let (Some(quota), Some(period), None) = (words.next(), words.next(), words.next()) else {
            return Err(BadText);
        };
        let number = |word: &str| {
            // More would overflow as nanoseconds.
            word.parse::<u64>().ok().filter(|&us| us <= u64::MAX / 1000).map(Duration::from_micros).ok_or(BadText)
        };
        let quota = if quota == "max" { None } else { Some(number(quota)?) };
        Ok(Self { quota, period: number(period)? })
    }
}
