//! How long preemption takes, by CPU: a heat map, and where the worst cases came from.

use super::ProbeError;
use crate::Duration;
use alloc::vec::Vec;
use isochron_kernel::cpu::CpuId;

/// Bins of each CPU; what is longer than all others is in the last.
pub const BINS: usize = 16;

/// The most calls that are kept of a path.
pub const DEEPEST: usize = 16;

/// What is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeatSettings {
    /// A delay of so much or more has its call path kept.
    pub threshold: Duration,
    /// The width of a bin; the first begins at zero.
    pub bin: Duration,
    /// Calls of a path, from the innermost on.
    pub depth: usize,
}

impl Default for HeatSettings {
    /// From 50 us on, 25 us wide, 8 deep.
    fn default() -> Self {
        Self { threshold: Duration::from_micros(50), bin: Duration::from_micros(25), depth: 8 }
    }
}

/// Where a CPU was when preemption that was due became possible at last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallPath {
    /// The CPU.
    pub cpu: CpuId,
    /// The bin of its delays.
    pub bin: usize,
    /// How many there were.
    pub count: u64,
    /// The longest of them.
    pub longest: Duration,
    /// Return addresses, innermost first, those of the scheduler's own functions included.
    pub frames: Vec<usize>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeatMap {
    /// What was asked for.
    pub settings: HeatSettings,
    /// For each CPU how many delays were in each bin.
    pub counts: Vec<[u64; BINS]>,
    /// The longest delay of all.
    pub longest: Duration,
    /// The call paths of delays above the threshold, the longest first.
    pub paths: Vec<CallPath>,
    /// Delays above the threshold whose paths had no room.
    pub lost: u64,
}

impl HeatMap {
    /// The paths of a CPU's bin, the most frequent first.
    pub fn of(&self, cpu: CpuId, bin: usize) -> Vec<&CallPath> {
        let mut found: Vec<&CallPath> = self.paths.iter().filter(|path| path.cpu == cpu && path.bin == bin).collect();
        found.sort_by_key(|path| core::cmp::Reverse(path.count));
        found
    }
}

/// Counting that is under way. There is one at a time; dropping it ends it.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Heat {
    _private: (),
}

/// Begins to count, on every CPU, how long it takes from the moment at which a thread is to be taken off its CPU until that
/// happens.
///
/// The moment is that for which the timer was set (the end of a quantum, the deadline of a sleeper), or the one at which a
/// thread that goes first became runnable. What lies in between is the interrupt itself, and code that had interrupts masked or
/// held preemption off: the call path that is kept is that of the place where it ended.
///
/// # Errors
/// [`ProbeError`].
pub fn map_delays(settings: HeatSettings) -> Result<Heat, ProbeError> {
    if settings.bin.as_nanos() == 0 || settings.depth > DEEPEST {
        return Err(ProbeError::Heat(settings));
    }
    #[cfg(feature = "trace")]
    return super::delay::start(settings).map(|()| Heat { _private: () });
    #[cfg(not(feature = "trace"))]
    Err(ProbeError::NotBuiltIn)
}

impl Heat {
    /// Ends it, and says what was found.
    #[must_use]
    pub fn finish(self) -> HeatMap {
        #[cfg(feature = "trace")]
        return super::delay::end();
        #[cfg(not(feature = "trace"))]
        unreachable!("it never began")
    }
}

#[cfg(feature = "trace")]
impl Drop for Heat {
    fn drop(&mut self) {
        super::delay::stop();
    }
}
