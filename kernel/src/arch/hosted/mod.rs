//! The hosted port: a Linux process whose threads are the CPUs.
//!
//! It is a port like the others, not a mock: the scheduler above it, the allocator and the switch are the same code (the
//! switch is the x86-64 port's file), so that what is measured here is native, and the host's debuggers and profilers
//! work. What stands for what:
//!
//! | machine | here |
//! | --- | --- |
//! | CPU | a thread of the host's, bound to a core of its own where there are enough |
//! | the per-CPU register | `gs`, which Linux leaves to the program: the C library's thread-local storage is in `fs` |
//! | masking | a word in the CPU's block, no system call (`irq.rs`) |
//! | interrupt | a bit in the CPU's pending word, and a signal if the CPU runs (`signals.rs`) |
//! | timer | `timer_create`, one for each thread (`timer.rs`) |
//! | sleeping | spin, then a futex on the pending word (`cpu.rs`) |
//! | exception | `SIGSEGV` and its like |
//! | exception stack | the alternate signal stack |
//!
//! The C library is not reentrant and not made for stacks that move between threads. Therefore it is called with
//! interrupts masked and by this folder (and `memory/hosted.rs`) alone: what a signal preempts is always our own code, and
//! no call into it is ever switched away from.

/// What reports call the architecture.
pub const NAME: &str = "x86_64";

pub mod clock;
// One switch for both: what is measured here is what runs on bare metal.
#[path = "../x86_64/context.rs"]
pub mod context;
pub mod cpu;
pub mod interrupts;
pub mod ipi;
pub mod irq;
pub mod platform;
pub mod power;
pub mod serial;
pub mod smp;
pub mod timer;
pub mod trap;

mod entry;
#[path = "../x86_64/frame_pointer.rs"]
mod frame_pointer;
mod preemption;
#[cfg(isochron_asan)]
mod sanitizer;
mod signals;
mod topology;

pub use cpu::PerCpuArch;

#[cfg(target_feature = "avx")]
compile_error!("preemption saves the SSE registers: build the hosted port without AVX");
