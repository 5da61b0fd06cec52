//! Time: the counter of the CPU, read directly.
//!
//! ARM64 reads `CNTVCT_EL0`, x86-64 the TSC; both are 64 bits wide, never go back, and are the same on all CPUs. An
//! [`Instant`] is such a reading, in *ticks*; it becomes nanoseconds by one multiplication and one shift (see
//! [`scale`]), at the moment somebody wants nanoseconds.

pub mod scale;

#[cfg(any(isochron_bare, isochron_hosted))]
mod instant;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use instant::*;
