//! Tests that run inside the machine: cases, checks, a watchdog.
//!
//! A *test kernel* is a program in `src/bin` that ends by itself: with code 0 if all its cases passed, with 1 if one
//! failed. It lists its cases in one table, so that the host knows their names before the kernel runs:
//!
//! ```ignore
//! //! What this kernel is about.
//! //@ machines: virt, q35
//! //@ cpus: 1, 4
//! #![no_std]
//! #![no_main]
//! use isochron_guest_tests::prelude::*;
//!
//! #[isochron::main]
//! fn main() -> u8 {
//!     run(cases![two_and_two])
//! }
//!
//! fn two_and_two() -> Outcome {
//!     check_eq!(2 + 2, 4);
//!     Ok(())
//! }
//! ```
//!
//! What the host should do with a kernel stands in its `//@` lines: on which machines it boots, with how many CPUs, how
//! it should end. `qemu/src/testing/directives.rs` lists them.
//!
//! A case that does not come to its end is failed by a watchdog thread that sleeps beside it, so that the report names
//! the case; only if that cannot run either, the host's time-out ends the machine.
#![no_std]
#![cfg(any(isochron_bare, isochron_hosted))]

extern crate alloc;

pub mod census;
mod check;
pub mod deep;
pub mod dying;
mod harness;
pub mod in_turn;
pub mod random;
pub mod registers;
#[cfg(isochron_bare)]
pub mod shortage;
pub mod wait;

pub use check::{Failure, Outcome};
#[doc(hidden)]
pub use check::{differ, failed, ignored};
pub use harness::{CASE_LIMIT, Case, run};

/// Waits for a thread that does not die, and returns its result.
///
/// # Panics
/// If it died all the same.
#[track_caller]
pub fn joined<T>(thread: isochron::thread::JoinHandle<T>) -> T {
    thread.join().unwrap()
}

/// What nearly every test kernel uses.
pub mod prelude {
    pub use crate::random::Random;
    pub use crate::wait::{poll, spin};
    pub use crate::{Case, Failure, Outcome, cases, check, check_eq, ignore, joined, run};
    pub use alloc::boxed::Box;
    pub use alloc::format;
    pub use alloc::string::{String, ToString};
    pub use alloc::sync::Arc;
    pub use alloc::vec;
    pub use alloc::vec::Vec;
    pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub use isochron::thread::{self, Builder, JoinHandle, PreemptGuard, SpawnError, spawn, yield_now};
    pub use isochron::worker::statistics;
    pub use isochron::{CpuId, Duration, Instant, println, select};
}
