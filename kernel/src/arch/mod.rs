//! The ports: one folder each, the same names in all of them.
//!
//! What a port offers is listed, and checked by the compiler, in `conformance.rs`. Nothing outside this folder and
//! `boot/src/<arch>` asks which architecture it is. Two ports are of bare metal (`isochron_bare`), one is of Linux
//! (`isochron_hosted`): it is no mock, it shares the switch with the port of its architecture. The fourth simulates
//! (`isochron_sim`, beside `isochron_hosted`): all CPUs take turns on one thread of the host's, by a seed.
//!
//! | module | what |
//! | --- | --- |
//! | `cpu` | the per-CPU register, the current-thread register, waiting, this CPU's set-up |
//! | `irq` | masking |
//! | `context` | the voluntary switch from one stack to another |
//! | `clock` | the counter, and what is known of its frequency |
//! | `timer` | this CPU's one-shot timer |
//! | `ipi` | interrupts from CPU to CPU |
//! | `interrupts` | the interrupt controller's set-up |
//! | `smp` | starting a secondary CPU |
//! | `paging` | page-table entries, the root register, TLB maintenance (bare metal alone) |
//! | `platform` | discovery: fills [`crate::machine::Machine`] |
//! | `serial` | the console's bytes |
//! | `power` | ending the machine with a code |
//! | `trap` | `TrapFrame`: the registers of an interrupted thread |

mod conformance;

#[cfg(all(isochron_bare, target_arch = "aarch64"))]
mod aarch64;
#[cfg(all(isochron_hosted, not(isochron_sim)))]
mod hosted;
#[cfg(isochron_sim)]
mod sim;
#[cfg(all(isochron_bare, target_arch = "x86_64"))]
mod x86_64;

#[cfg(all(isochron_bare, target_arch = "aarch64"))]
pub use aarch64::*;
#[cfg(all(isochron_hosted, not(isochron_sim)))]
pub use hosted::*;
#[cfg(isochron_sim)]
pub use sim::*;
#[cfg(all(isochron_bare, target_arch = "x86_64"))]
pub use x86_64::*;

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
compile_error!("Isochron runs on aarch64 and x86_64");
#[cfg(all(isochron_hosted, not(all(target_arch = "x86_64", target_os = "linux"))))]
compile_error!("the hosted port runs on x86-64 Linux");
#[cfg(all(isochron_hosted, isochron_bare))]
compile_error!("a guest runs on bare metal or on a host, not on both");
#[cfg(all(isochron_sim, not(isochron_hosted)))]
compile_error!("the simulation takes its memory as the hosted port does: it is built with `isochron_hosted` too");
