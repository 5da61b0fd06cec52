//! Whether two CPUs' TSCs agree: each looks whether it is ever behind what the other has published.
//!
//! The primary and a CPU that comes up run this at the same time, for a bounded number of rounds. A difference that is
//! larger than the time a cache line takes from one to the other is seen; a smaller one does no harm, because no thread
//! can carry a time stamp over faster. CPUs that an emulator runs in turns see nothing of each other, which proves
//! nothing, but then they have one clock.

use super::clock::ticks;
use core::sync::atomic::{AtomicU64, Ordering};

/// Readings that each side takes.
const ROUNDS: u32 = 100;

/// The latest reading that anybody has published.
static LATEST: AtomicU64 = AtomicU64::new(0);
/// The most that anybody was ever behind it.
static WORST: AtomicU64 = AtomicU64::new(0);

/// One side of the comparison. The answer is how far this CPU's clock was behind the other's.
pub fn compare() -> u64 {
    let mut worst = 0;
    for _ in 0..ROUNDS {
        // Acquire and release: partners of each other on the two sides; the reading comes after the load (`ticks` is
        // ordered), so that a published time that is later than it is a difference of clocks.
        let published = LATEST.load(Ordering::Acquire);
        let now = ticks();
        worst = worst.max(published.saturating_sub(now));
        LATEST.fetch_max(now, Ordering::AcqRel);
    }
    // Relaxed: a figure.
    WORST.fetch_max(worst, Ordering::Relaxed);
    worst
}

/// The largest difference that was seen between any two CPUs, in ticks. 0: they agree as far as can be seen.
pub fn worst_ticks() -> u64 {
    WORST.load(Ordering::Relaxed)
}
