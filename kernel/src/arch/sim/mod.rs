//! The simulated port: all CPUs on one thread of the host's, taking turns by a seed.
//!
//! It is for finding bugs. The scheduler above it, the allocator and the switch are the same code as everywhere; what differs
//! is who decides what happens next. Each CPU is a coroutine. At each *point* (an access through the atomics of
//! `isochron-core`, an unmasking, a look at the clock, an IPI, a spin) the clock goes on a little, an interrupt that is due
//! is taken if the CPU takes any, and a generator of numbers decides which CPU goes on. The same seed gives the same run,
//! to the last instruction.
//!
//! | machine | here |
//! | --- | --- |
//! | CPU | a coroutine (`cpu.rs`), which one runs is said by one word |
//! | time | a number (`clock.rs`) that grows at points, and jumps when all CPUs sleep |
//! | interrupt | a bit and the time from which it can be seen (`interrupt.rs`), taken at a point, on the stack that runs |
//! | store buffer | stores kept back for a while (`buffer.rs`), in an order that ARM64 allows |
//! | chance | `world.rs`: the seed, how often CPUs change, what was seen |
//!
//! It is built with `isochron_hosted` too: memory comes from the host in the same way, and what happens between two points
//! is native code. What it does not show: a load that is done early, and anything that happens between two points.
//!
//! A program boots as on any machine, with everything in order; from [`simulation::begin`] on chance has its way.

/// What reports call the architecture.
pub const NAME: &str = "x86_64";

pub mod clock;
// One switch for all ports of this architecture.
#[path = "../x86_64/context.rs"]
pub mod context;
pub mod cpu;
#[path = "../hosted/interrupts.rs"]
pub mod interrupts;
pub mod ipi;
pub mod irq;
pub mod platform;
pub mod power;
#[path = "../hosted/serial.rs"]
pub mod serial;
pub mod simulation;
pub mod smp;
pub mod timer;
#[path = "../hosted/trap.rs"]
pub mod trap;

mod buffer;
mod entry;
mod faults;
#[path = "../x86_64/frame_pointer.rs"]
mod frame_pointer;
mod hooks;
mod interrupt;
mod preemption;
mod random;
mod threads;
mod trace;
mod world;

pub use cpu::PerCpuArch;
