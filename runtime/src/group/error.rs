//! What can be wrong with a group.

use super::limit::{LONGEST_PERIOD, SHORTEST_PERIOD, SMALLEST_QUOTA};
use super::memory::SMALLEST_MEMORY_LIMIT;
use crate::Duration;
use core::fmt;

/// Why a group was not made, changed or found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupError {
    /// The quota is zero, or less than what it costs to share it out.
    Quota(Duration),
    /// The period is zero, too short or too long.
    Period(Duration),
    /// More time is asked for than a period has.
    QuotaAbovePeriod(Duration, Duration),
    /// A slice of no length.
    Slice(Duration),
    /// A larger part of the time than a group above it has.
    AboveParent,
    /// A smaller part of the time than a group below it has.
    BelowChild,
    /// There is a group of this name.
    NameTaken,
    /// There is no group of this name.
    Unknown,
    /// The thread has ended.
    Ended,
    /// A limit on memory below [`SMALLEST_MEMORY_LIMIT`].
    MemoryLimit(usize),
    /// The group was made without a limit on its memory.
    NoMemoryLimit,
    /// Levels of memory that are not from 1 to 100 per cent, or more than eight.
    Levels,
    /// Somebody is told of its memory already.
    Watched,
    /// The group, or one above it, was ended: see [`MemoryUse::over`](super::MemoryUse::over).
    Over,
    /// There is no memory for it.
    OutOfMemory,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(quota) => write!(f, "a quota of {quota} is below {SMALLEST_QUOTA}"),
            Self::Period(period) => {
                write!(f, "a period of {period} is not between {SHORTEST_PERIOD} and {LONGEST_PERIOD}")
            }
            Self::QuotaAbovePeriod(quota, period) => write!(f, "a quota of {quota} is above its period of {period}"),
            Self::Slice(slice) => write!(f, "a slice of {slice} is too short"),
            Self::AboveParent => f.write_str("a larger part of the time than the group above has"),
            Self::BelowChild => f.write_str("a smaller part of the time than a group below has"),
            Self::NameTaken => f.write_str("there is a group of this name"),
            Self::Unknown => f.write_str("there is no group of this name"),
            Self::Ended => f.write_str("the thread has ended"),
            Self::MemoryLimit(bytes) => {
                write!(f, "a limit of {bytes} bytes of memory is below {SMALLEST_MEMORY_LIMIT}")
            }
            Self::NoMemoryLimit => f.write_str("the group was made without a limit on its memory"),
            Self::Levels => f.write_str("at most eight levels can be told, from 1 to 100 per cent"),
            Self::Watched => f.write_str("somebody is told of the group's memory already"),
            Self::Over => f.write_str("the group was ended"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl core::error::Error for GroupError {}
