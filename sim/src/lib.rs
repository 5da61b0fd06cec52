//! The whole scheduler, simulated: thousands of random programs on machines whose CPUs take turns by a seed.
//!
//! The programs (`sim/programs`) are built with the real runtime and kernel and with the simulated port
//! (`kernel/src/arch/sim`). This crate builds them, runs them on all seeds that are asked for, some processes at a time,
//! and tells which seeds failed. A seed is all it takes to have the same failure again.

pub mod build;
pub mod mutants;
pub mod options;
pub mod run;
