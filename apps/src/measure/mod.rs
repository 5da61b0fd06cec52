//! Measuring short things with a coarse clock, honestly.
//!
//! * Short things are timed in **batches**: a sample is the mean of so many in a row ([`Plan::batch`]), because the
//!   counter may tick only every 16 ns. What is left of the tick is 16 ns divided by the batch.
//! * The suite's **own cost is kept out**: reading the clock once, and going round a loop, are measured at the start
//!   ([`Overhead`]) and taken off every batch.
//! * Every measure **warms up** first: those batches are run and forgotten.
//! * Samples go into a [`Recorder`]: exact count, minimum, mean and maximum, and percentiles, exact up to 8192 samples and beyond to less than 1 %.

mod recorder;
pub use recorder::Recorder;

#[cfg(any(isochron_bare, isochron_hosted))]
mod batch;
#[cfg(any(isochron_bare, isochron_hosted))]
mod line;
#[cfg(any(isochron_bare, isochron_hosted))]
mod overhead;
#[cfg(any(isochron_bare, isochron_hosted))]
mod threads;

#[cfg(any(isochron_bare, isochron_hosted))]
pub use batch::{Plan, batches};
#[cfg(any(isochron_bare, isochron_hosted))]
pub use line::{Line, pause, spin_until};
#[cfg(any(isochron_bare, isochron_hosted))]
pub use overhead::Overhead;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use threads::on;

/// Ticks of the clock in thousandths of a nanosecond.
#[cfg(any(isochron_bare, isochron_hosted))]
#[inline]
#[must_use]
pub fn picoseconds(ticks: u64) -> u64 {
    // 2^64 ps are 213 days; no measure is near that.
    isochron::kernel::clock::ticks_to_ns(ticks.saturating_mul(1000))
}
