//! Green threads on a bare machine: spawn, park, sleep, pass messages, measure.
//!
//! A program linked with this crate runs without an operating system. Each CPU has a *worker* that runs *threads* from
//! its own run queue; a thread switches to the next one directly, in a few dozen instructions, and is taken off its CPU
//! against its will only at one place, the end of an interrupt ([`worker`] says how it all fits together).
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! use isochron::prelude::*;
//!
//! #[isochron::main]
//! fn main() {
//!     let (tx, rx) = channel::bounded(4);
//!     for part in 0..4 {
//!         let tx = tx.clone();
//!         spawn(move || tx.send(part * part).unwrap());
//!     }
//!     println!("sum {}", rx.iter().take(4).sum::<u64>());
//! }
//! ```
#![cfg_attr(not(test), no_std)]
#![cfg(any(isochron_bare, isochron_hosted))]

extern crate alloc;

pub mod channel;
pub mod embedded;
pub mod entry;
pub mod fork;
pub mod future;
pub mod group;
mod hooks;
pub mod policy;
pub mod probe;
pub mod sync;
pub mod thread;
pub mod time;
pub mod trace;
pub mod worker;

pub use isochron_core as core_algorithms;
pub use isochron_kernel as kernel;
pub use isochron_kernel::clock::{Duration, Instant};
pub use isochron_kernel::cpu::CpuId;
pub use isochron_kernel::{print, println};
pub use isochron_macros::main;
pub use log;

pub use entry::args;

/// Ends the program and the machine with `code` (0: passed).
///
/// Codes above 111 reach the host exactly, and the machine's exit device as 111.
pub fn exit(code: u8) -> ! {
    kernel::exit::exit(code)
}

/// What nearly every program uses.
pub mod prelude {
    pub use crate::channel;
    pub use crate::fork;
    pub use crate::future::{self, block_on, spawn_async};
    pub use crate::select;
    pub use crate::sync::{Barrier, Condvar, Mutex, Once, OnceLock, RwLock, Semaphore, WaitGroup};
    pub use crate::thread::{self, JoinHandle, park, sleep, sleep_until, spawn, yield_now};
    pub use crate::{CpuId, Duration, Instant, print, println};
    pub use alloc::boxed::Box;
    pub use alloc::string::{String, ToString};
    pub use alloc::sync::Arc;
    pub use alloc::vec::Vec;
    pub use alloc::{format, vec};
}
