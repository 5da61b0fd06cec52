//! Sorts of records, which can be left out one by one.

use super::Event;

/// The names of the classes; the bit of each is its place here.
pub const CLASSES: [&str; 10] =
    ["threads", "switches", "arrivals", "wakes", "interrupts", "idle", "locks", "groups", "marks", "memory"];

/// All of them, as bits.
pub const ALL_CLASSES: u16 = (1 << CLASSES.len()) - 1;

/// The bits of a list of names, parted by commas; `all` and `none` are names too.
///
/// # Errors
/// The first name that is none.
///
/// ```
/// use isochron_wire::trace::class_bits;
///
/// assert_eq!(class_bits("threads,wakes"), Ok(0b1001));
/// assert_eq!(class_bits("none"), Ok(0));
/// assert_eq!(class_bits("threads,spam"), Err("spam"));
/// ```
pub fn class_bits(list: &str) -> Result<u16, &str> {
    list.split(',').try_fold(0, |bits, name| match (name, CLASSES.iter().position(|known| *known == name)) {
        ("all", _) => Ok(ALL_CLASSES),
        ("none", _) => Ok(bits),
        (_, Some(at)) => Ok(bits | 1 << at),
        (_, None) => Err(name),
    })
}

impl Event {
    /// The bit of the class that it belongs to.
    #[must_use]
    pub const fn class(self) -> u16 {
        1 << match self {
            Self::Spawned | Self::Began | Self::Named => 0,
            Self::SwitchedOut | Self::SwitchedIn | Self::Preempted | Self::Stayed => 1,
            Self::Running => 2,
            Self::Woken | Self::Queued | Self::Taken => 3,
            Self::IpiSent | Self::IpiTaken | Self::Timer | Self::Interrupt => 4,
            Self::Idle | Self::Busy => 5,
            Self::LockWait | Self::LockHeld | Self::LockEnd => 6,
            Self::Throttled => 7,
            Self::Mark | Self::SpanBegin | Self::SpanEnd | Self::Count => 8,
            Self::PageFault | Self::Refused | Self::Pressure => 9,
        }
    }
}
