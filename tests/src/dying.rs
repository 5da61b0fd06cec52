//! How threads are made to die.

use crate::{Failure, Outcome, check_eq};
use alloc::format;
use core::fmt::Debug;
use isochron::Duration;
use isochron::thread::{Death, JoinHandle, sleep};

/// Lets a thread get where it should, kills it there, and checks that this is how it ends.
///
/// # Errors
/// A failure that says `what` it was killed in.
pub fn kill_in<T: PartialEq + Debug>(what: &str, thread: JoinHandle<T>) -> Outcome {
    sleep(Duration::from_micros(300));
    thread.thread().kill();
    match thread.join_timeout(Duration::from_secs(20)) {
        Ok(end) => check_eq!(end, Err(Death::Killed), "in {what}"),
        Err(_) => return Err(Failure::Failed(format!("it was not killed in {what}"))),
    }
    Ok(())
}

/// Goes down its stack until that is at its end.
#[inline(never)]
pub fn recurse(depth: u64) -> u64 {
    let mut frame = [depth; 16];
    core::hint::black_box(&mut frame);
    // Never, as far as the compiler knows.
    if depth == u64::MAX { 0 } else { recurse(depth + 1) + frame[3] }
}
