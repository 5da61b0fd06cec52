//! What a thread is made with.

use crate::fork::ScopeState;
use alloc::boxed::Box;
use isochron_core::layers::Rank;
use isochron_kernel::cpu::CpuId;

/// What a new thread is told about itself.
pub(crate) struct Traits {
    /// Unique since boot.
    pub id: u64,
    pub name: Option<Box<str>>,
    /// The CPU that alone may run it.
    pub pinned: Option<CpuId>,
    pub rank: Rank,
    /// The scope that waits for its end; null for none.
    pub scope: *const ScopeState,
    /// Bytes of its stack.
    pub stack_size: usize,
}
