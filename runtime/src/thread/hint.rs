//! What a thread is for: hints and priorities.

use super::{SpawnError, current_ptr};
use crate::sync::there_is_batch;
use crate::worker::Worker;
use isochron_core::layers::Rank;
use isochron_kernel::irq;

/// The highest real-time priority.
pub const MAX_PRIORITY: u32 = 255;

/// What a thread is for. It decides who goes first when several wait for a CPU, not how much time each gets: whoever waits
/// below others has its turn after being passed over 19 times.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Hint {
    /// Runs when nobody else wants to.
    Batch,
    /// Nothing special.
    #[default]
    Normal,
    /// Woken by the network: goes before normal threads.
    Network,
    /// Short work that somebody waits for: goes before all but real-time threads.
    Latency,
}

/// A hint or a priority as it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sort {
    Hint(Hint),
    RealTime(u32),
    /// Of another thread.
    Rank(Rank),
}

impl Sort {
    pub(super) fn rank(self) -> Result<Rank, SpawnError> {
        match self {
            Self::Hint(Hint::Batch) => {
                there_is_batch();
                Ok(Rank::BATCH)
            }
            Self::Hint(Hint::Normal) => Ok(Rank::NORMAL),
            Self::Hint(Hint::Network) => Ok(Rank::NETWORK),
            Self::Hint(Hint::Latency) => Ok(Rank::LATENCY),
            Self::Rank(rank) => Ok(rank),
            Self::RealTime(priority) => match u8::try_from(priority) {
                Ok(priority) => Ok(Rank::real_time(priority)),
                Err(_) => Err(SpawnError::Priority(priority)),
            },
        }
    }
}

/// Changes what the running thread is for. If it now comes after one that waits, that one runs.
#[track_caller]
pub fn set_hint(hint: Hint) {
    let Ok(()) = set(Sort::Hint(hint)) else { unreachable!("every hint is a rank") };
}

/// Makes the running thread a real-time thread of this priority. If it now comes after one that waits, that one runs.
///
/// # Errors
/// [`SpawnError::Priority`] if it is above [`MAX_PRIORITY`].
#[track_caller]
pub fn set_priority(priority: u32) -> Result<(), SpawnError> {
    set(Sort::RealTime(priority))
}

#[track_caller]
fn set(sort: Sort) -> Result<(), SpawnError> {
    let rank = sort.rank()?;
    // SAFETY: the running thread's block is alive.
    irq::without(|| unsafe { current_ptr().as_ref() }.set_base_rank(rank));
    Worker::yield_current();
    Ok(())
}
