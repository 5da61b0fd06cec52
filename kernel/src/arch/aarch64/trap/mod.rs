//! Exceptions: vectors, what they save, and what a syndrome means.

mod fault;
mod frame;
mod vectors;

pub use frame::TrapFrame;
pub(super) use vectors::{early_exception_stack_top, first_stack_pointer, step_over_vectors, vectors};
