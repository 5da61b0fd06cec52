//! Being told while it happens: a function of the program's on the scheduler's own path, and alarms when threads starve.
//!
//! Both are there in programs that are built with the feature `trace` (see [`trace`](crate::trace)); elsewhere they are
//! refused with [`ProbeError::NotBuiltIn`] and cost nothing. Built in and not set, they cost what trace points do.
//!
//! * [`set`]: a function that is called with each [`Entry`] of the classes it wants, on the CPU where it happens, at that
//!   moment. [`queue_length`] tells it how many threads wait where.
//! * [`watch`]: looks at all CPUs a few times in the shortest of its bounds, from a timer's interrupt, and raises an
//!   [`Alarm`] with the evidence when a CPU idles while threads wait elsewhere, when too many wait for one CPU, or one waits too
//!   long.
//! * [`map_delays`]: counts how long preemption takes on each CPU, and keeps the call paths of the worst cases.

mod alarm;
#[cfg(feature = "trace")]
mod delay;
#[cfg(feature = "trace")]
mod evidence;
mod heat;
#[cfg(feature = "trace")]
mod monitor;

pub use alarm::{Alarm, Bounds, Cause, Name, Waiting, report};
#[cfg(feature = "trace")]
pub(crate) use delay::Delay;
#[cfg(feature = "trace")]
pub(crate) use evidence::answer_if_asked;
pub use heat::{BINS, CallPath, DEEPEST, Heat, HeatMap, HeatSettings, map_delays};

use crate::time::Timer;
use crate::trace::{Classes, Entry};
use crate::worker;
use core::fmt;
use isochron_kernel::cpu::CpuId;

/// Why there is no probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeError {
    /// The program was built without the feature `trace`.
    NotBuiltIn,
    /// Somebody does it already.
    Busy,
    /// A bound is zero.
    Bounds(Bounds),
    /// A bin without width, or a depth above [`DEEPEST`].
    Heat(HeatSettings),
    /// There is no memory.
    OutOfMemory,
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => f.write_str("this program was built without probes: it needs a line `//@ trace: yes`"),
            Self::Busy => f.write_str("somebody does it already"),
            Self::Bounds(bounds) => write!(f, "{bounds:?}: no bound can be zero"),
            Self::Heat(settings) => write!(f, "{settings:?}: a bin has a width, and paths have up to {DEEPEST} calls"),
            Self::OutOfMemory => f.write_str("there is no memory for it"),
        }
    }
}

impl core::error::Error for ProbeError {}

/// Has `call` called with each entry of `classes`, in place of what was set before. [`Classes::NONE`] for no more calls.
///
/// It is called with interrupts masked, in the middle of a switch or of a wake-up. It must be short, must not block, allocate,
/// print or panic; it may use atomics and [`queue_length`]. What it brings about itself is recorded, and not told.
///
/// # Errors
/// [`ProbeError::NotBuiltIn`].
pub fn set(classes: Classes, call: fn(&Entry)) -> Result<(), ProbeError> {
    #[cfg(feature = "trace")]
    {
        crate::trace::tell(classes, call);
        Ok(())
    }
    #[cfg(not(feature = "trace"))]
    {
        let _ = (classes, call);
        Err(ProbeError::NotBuiltIn)
    }
}

/// How many threads wait for `cpu` in its own queue and lists, as far as another CPU can tell; `None` if it does not run.
#[must_use]
pub fn queue_length(cpu: CpuId) -> Option<usize> {
    worker::waiting_at(cpu)
}

/// Raises alarms until it is dropped.
#[must_use = "it watches until it is dropped"]
pub struct Watch {
    /// Its interrupt looks.
    _timer: Timer,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Calls `raise` with each alarm, from an interrupt of the CPU that it is about.
///
/// The timer is set on the CPU that this is called on, which is interrupted a few times in the shortest bound, at most a
/// thousand times a second. `raise` must not block; [`report`] prints. An alarm is raised once, and again when its cause has
/// gone and come back.
///
/// # Errors
/// [`ProbeError`].
pub fn watch(bounds: Bounds, raise: fn(&Alarm)) -> Result<Watch, ProbeError> {
    if bounds.idle.as_nanos() == 0 || bounds.runnable.as_nanos() == 0 || bounds.queue == 0 {
        return Err(ProbeError::Bounds(bounds));
    }
    #[cfg(feature = "trace")]
    {
        monitor::start(bounds, raise).map(|timer| Watch { _timer: timer })
    }
    #[cfg(not(feature = "trace"))]
    {
        let _ = raise;
        Err(ProbeError::NotBuiltIn)
    }
}

#[cfg(feature = "trace")]
impl Drop for Watch {
    fn drop(&mut self) {
        self._timer.cancel();
        monitor::end();
    }
}
