//! Waiting with a bound for what other threads do.
//!
//! The bound says "this will never happen", not "this took too long": it is far above what a slow host needs.

use crate::{Failure, Outcome};
use alloc::format;
use isochron::{Duration, Instant, thread};

const PATIENCE: Duration = Duration::from_secs(10);

/// Spins until `done`, without giving the CPU to any other thread by itself.
///
/// # Errors
/// A failure that says what never happened.
pub fn spin(what: &str, mut done: impl FnMut() -> bool) -> Outcome {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return Err(Failure::Failed(format!("waited in vain (spinning) until {what}")));
        }
        core::hint::spin_loop();
    }
    Ok(())
}

/// Asks again and again whether it is `done`, with naps in between.
///
/// # Errors
/// A failure that says what never happened.
pub fn poll(what: &str, mut done: impl FnMut() -> bool) -> Outcome {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > PATIENCE {
            return Err(Failure::Failed(format!("waited in vain until {what}")));
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}
