//! What the run queue's source asks of `crate::sync`, with one difference: nothing is kept on cache lines of its own.

pub use isochron_core::sync::{AtomicU32, AtomicU64, Ordering, UnsafeCell};

/// In place of the one in `isochron_core::sync`, which is aligned to 128 bytes.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Aligned<T>(pub T);

impl<T> core::ops::Deref for Aligned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

macro_rules! const_unless_loom {
    ($($function:tt)*) => { $($function)* };
}

macro_rules! sync_array {
    ($value:expr) => {
        [const { $value }; _]
    };
}

pub(crate) use {const_unless_loom, sync_array};
