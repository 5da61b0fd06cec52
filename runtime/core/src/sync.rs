//! The one door to atomics, cells and fences: the machine's own, the model checker's, or the simulation's.
//!
//! Under `cfg(loom)` constructors cannot be `const`; `const_unless_loom!` writes both forms. Under `cfg(isochron_sim)` each
//! operation is a point at which the simulated machine may go on with another CPU (`sync/simulated.rs`).

#[cfg(loom)]
mod imp {
    pub use loom::cell::{MutPtr, UnsafeCell};
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

#[cfg(isochron_sim)]
#[path = "sync/simulated.rs"]
mod imp;

#[cfg(not(any(loom, isochron_sim)))]
mod imp {
    #[cfg(not(isochron_bare))]
    pub use core::hint::spin_loop;

    /// As `core::hint::spin_loop`; but where a CPU that waits for another can hand its turn on, it does. Which hint does that is
    /// for the kernel to say.
    #[cfg(isochron_bare)]
    #[inline]
    pub fn spin_loop() {
        unsafe extern "Rust" {
            safe fn isochron_spin_hint();
        }
        isochron_spin_hint();
    }

    pub use core::sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };

    /// `core::cell::UnsafeCell` with the interface that a model checker can watch: every access is a closure.
    #[derive(Debug)]
    #[repr(transparent)]
    pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        #[inline(always)]
        pub const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        /// Calls `f` with a pointer that it may read through.
        #[inline(always)]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer that it may write through.
        #[inline(always)]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }

        /// As `with_mut`, for as long as the pointer lives.
        #[inline(always)]
        pub fn get_mut(&self) -> MutPtr<T> {
            MutPtr(self.0.get())
        }
    }

    /// Exclusive access to what is in an [`UnsafeCell`].
    #[derive(Debug)]
    pub struct MutPtr<T: ?Sized>(*mut T);

    impl<T: ?Sized> MutPtr<T> {
        /// The value.
        ///
        /// # Safety
        /// Nobody else uses it while the reference lives.
        #[inline(always)]
        #[allow(clippy::mut_from_ref)]
        pub unsafe fn deref(&self) -> &mut T {
            // SAFETY: the pointer is a cell's; the rest is the caller's promise.
            unsafe { &mut *self.0 }
        }
    }
}

pub use imp::*;

/// What the simulation is told of a thread, so that it can see one that waits for a CPU in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// It waits for a CPU from now on.
    Runnable,
    /// It is on a CPU.
    Running,
    /// It is in no queue, although it could run: whoever set it aside will bring it back.
    Aside,
}

/// Tells the simulation; elsewhere it is nothing.
#[cfg(not(isochron_sim))]
#[inline(always)]
pub(crate) fn note<T>(_thread: &T, _note: Note) {}

/// Keeps a hot word on cache lines of its own.
///
/// 128 bytes and not 64: x86-64 prefetches lines in pairs, and some ARM64 cores have 128-byte lines.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Aligned<T>(pub T);

impl<T> core::ops::Deref for Aligned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Fails unless what begins at each of these offsets, in something aligned to `align`, has cache lines of its own.
#[cfg(all(test, not(loom)))]
pub(crate) fn assert_apart(align: usize, offsets: &[usize]) {
    const LINES: usize = 128;
    assert!(align >= LINES, "aligned to {align} bytes only");
    for (index, offset) in offsets.iter().enumerate() {
        assert_eq!(offset % LINES, 0, "number {index} begins in the middle of a line, at {offset}");
        assert!(!offsets[..index].contains(offset), "number {index} shares a line with another, at {offset}");
    }
}

/// A function that is `const`, except under the model checker, whose atomics have no `const` constructor.
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $vis:vis const fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block) => {
        #[cfg(not(loom))]
        $(#[$meta])*
        $vis const fn $name($($arg: $ty),*) -> $ret $body
        #[cfg(loom)]
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) -> $ret $body
    };
}

/// An array of `N` values of an expression, in a `const` context too (see `const_unless_loom!`).
macro_rules! sync_array {
    ($value:expr) => {{
        #[cfg(not(loom))]
        let array = [const { $value }; _];
        #[cfg(loom)]
        let array = core::array::from_fn(|_| $value);
        array
    }};
}

pub(crate) use {const_unless_loom, sync_array};
