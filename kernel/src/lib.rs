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

#[cfg(isochron_bare)]
extern crate alloc;

pub mod acpi;
pub mod clock;
pub mod cmdline;
pub mod machine;
pub mod memory;

#[cfg(isochron_bare)]
pub mod arch;
#[cfg(isochron_bare)]
pub mod backtrace;
pub mod board;
#[cfg(isochron_bare)]
pub mod console;
#[cfg(isochron_bare)]
pub mod cpu;
#[cfg(any(not(isochron_bare), target_arch = "aarch64"))]
pub mod devicetree;
#[cfg(isochron_bare)]
pub mod exit;
#[cfg(isochron_bare)]
pub mod hooks;
#[cfg(isochron_bare)]
mod init;
#[cfg(isochron_bare)]
pub use init::arguments;
#[cfg(isochron_bare)]
pub mod irq;
#[cfg(isochron_bare)]
pub mod logger;
#[cfg(isochron_bare)]
mod panic;
#[cfg(isochron_bare)]
pub mod report;
#[cfg(isochron_bare)]
pub mod smp;
#[cfg(isochron_bare)]
pub mod trap;

pub use isochron_boot as boot;
pub use isochron_wire as wire;
