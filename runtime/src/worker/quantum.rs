//! How long a thread may run while another one waits for its CPU.

use crate::Duration;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_kernel::clock::ns_to_ticks;

/// The quantum, unless [`set_quantum`] has changed it.
pub const DEFAULT_QUANTUM: Duration = Duration::from_millis(1);

/// The shortest quantum: with less, a CPU would do little else than switch where an interrupt costs a microsecond.
pub const SHORTEST_QUANTUM: Duration = Duration::from_micros(5);

/// The longest quantum.
pub const LONGEST_QUANTUM: Duration = Duration::from_secs(10);

static NANOSECONDS: AtomicU64 = AtomicU64::new(DEFAULT_QUANTUM.as_nanos());

/// The quantum asked for is below [`SHORTEST_QUANTUM`] or above [`LONGEST_QUANTUM`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadQuantum(
    /// What was asked for.
    pub Duration,
);

impl fmt::Display for BadQuantum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a quantum of {} is not between {SHORTEST_QUANTUM} and {LONGEST_QUANTUM}", self.0)
    }
}

impl core::error::Error for BadQuantum {}

/// How long a thread may run while another one waits for its CPU.
///
/// It is exact for a thread that follows one whose own quantum has ended: then the timer is set anew at the switch. One that
/// follows a thread which blocked or yielded may have up to twice as long, because a switch reads no clock. With nobody
/// waiting there is no quantum, and no interrupt.
#[must_use]
pub fn quantum() -> Duration {
    Duration::from_nanos(NANOSECONDS.load(Ordering::Relaxed))
}

/// Sets the quantum of all CPUs; those that are under way end as they would have.
///
/// # Errors
/// [`BadQuantum`]; then nothing is changed.
pub fn set_quantum(quantum: Duration) -> Result<(), BadQuantum> {
    if !(SHORTEST_QUANTUM..=LONGEST_QUANTUM).contains(&quantum) {
        return Err(BadQuantum(quantum));
    }
    // Relaxed: a plain number; each CPU takes note when it next begins a quantum.
    NANOSECONDS.store(quantum.as_nanos(), Ordering::Relaxed);
    Ok(())
}

pub(super) fn in_ticks() -> u64 {
    ns_to_ticks(NANOSECONDS.load(Ordering::Relaxed))
}
