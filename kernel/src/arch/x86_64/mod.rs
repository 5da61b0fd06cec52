//! The x86-64 port: q35, microvm, and PCs in general.
//!
//! Ring 0 only; `gs` holds the CPU's block from the first instruction on, so there is no `swapgs` anywhere. Every vector
//! has a stack of its own kind (IST), because threads use a red zone and may be out of stack.

/// What reports call the architecture.
pub const NAME: &str = "x86_64";

pub mod clock;
pub mod context;
pub mod cpu;
pub mod interrupts;
pub mod ipi;
pub mod irq;
pub mod paging;
pub mod platform;
pub mod power;
pub mod serial;
pub mod smp;
pub mod timer;
pub mod trap;

mod agreement;
mod apic;
mod calibrate;
mod descriptors;
mod entry;
mod frame_pointer;
mod io;
mod reference;
mod trampoline;

pub use cpu::PerCpuArch;
