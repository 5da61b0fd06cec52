//! Mechanism: what turns a bare machine into one that can run green threads.
//!
//! In order of the boot (see `init.rs`, the whole order on one page): what machine this is, its memory, a console,
//! the heap, interrupts and clocks, the other CPUs. Scheduling policy is not here: the runtime defines the few
//! functions of [`hooks`] and everything above them.
//!
//! Ranked principles: correct under concurrency; no jitter that the hardware does not force; small and legible; then
//! fast. `unsafe` stands only where hardware or lock-free code needs it, with the argument beside it.
//!
//! On the host only the pure parts exist ([`cmdline`], [`clock::scale`], page-table and allocator logic), for tests.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(isochron_asan, feature(sanitize))]

#[cfg(any(isochron_bare, isochron_hosted))]
extern crate alloc;

pub mod acpi;
pub mod clock;
pub mod cmdline;
pub mod lock_rank;
pub mod machine;
pub mod memory;

#[cfg(any(isochron_bare, isochron_hosted))]
pub mod arch;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod areas;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod backtrace;
pub mod board;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod console;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod cpu;
pub mod death_reports;
#[cfg(any(not(isochron_bare), target_arch = "aarch64"))]
pub mod devicetree;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod exit;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod hooks;
#[cfg(any(isochron_bare, isochron_hosted))]
mod init;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use init::{arguments, trace_asked};
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod irq;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod logger;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod panic;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod report;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod smp;
pub mod topology;
#[cfg(any(isochron_bare, isochron_hosted))]
pub mod trap;

pub use isochron_boot as boot;
pub use isochron_wire as wire;
