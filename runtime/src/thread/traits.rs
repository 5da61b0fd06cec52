//! What a thread is made with.

use super::extras::Extras;
use alloc::boxed::Box;
use isochron_core::layers::Rank;
use isochron_kernel::cpu::CpuId;

/// What a new thread is told about itself.
pub(crate) struct Traits {
    /// The CPU that alone may run it.
    pub pinned: Option<CpuId>,
    pub rank: Rank,
    /// Its name, its scope, its group, if it has any.
    pub extras: Option<Box<Extras>>,
    /// Bytes of its stack.
    pub stack_size: usize,
}
