//! Atomics of the simulated machine (`kernel/src/arch/sim`): the machine's own, with a word to the simulation before each.
//!
//! The simulation runs all its CPUs on one thread of the host's. At each operation here it may go on with another CPU, and
//! it may keep a store back, as a CPU's store buffer does: then the storing CPU alone sees it until it is let go.

use super::Note;
use core::sync::atomic as machine;

pub use machine::Ordering;

unsafe extern "Rust" {
    /// A point at which another CPU may go on, or an interrupt come.
    safe fn isochron_sim_point();
    /// What this CPU has stored there and keeps back, if it does.
    safe fn isochron_sim_load(at: usize) -> Option<u64>;
    /// A store of so many bytes. True: it is kept back, and the simulation does it later.
    safe fn isochron_sim_store(at: usize, bytes: usize, value: u64, order: Ordering) -> bool;
    /// A read-modify-write comes: what is kept back and must come before it is let go.
    safe fn isochron_sim_update(at: usize, order: Ordering);
    /// A fence.
    safe fn isochron_sim_order(order: Ordering);
    /// All that this CPU keeps back is let go.
    safe fn isochron_sim_settle();
    /// Whether a compare-and-swap of the weak kind fails for no reason.
    safe fn isochron_sim_weak_fails() -> bool;
    /// The CPU waits for another: that one had better go on.
    safe fn isochron_sim_spin();
    /// See [`Note`].
    safe fn isochron_sim_thread(thread: usize, note: u8);
}

/// As `core::hint::spin_loop`.
#[inline]
pub fn spin_loop() {
    isochron_sim_spin();
}

/// As `core::sync::atomic::fence`.
#[inline]
pub fn barrier(order: Ordering) {
    isochron_sim_point();
    isochron_sim_order(order);
}

pub use barrier as fence;

#[inline]
pub(crate) fn note<T>(thread: &T, note: Note) {
    isochron_sim_thread(core::ptr::from_ref(thread).addr(), note as u8);
}

/// What all of them have: `$to` and `$from` turn a value into a number and back.
macro_rules! common {
    ($value:ty, $to:expr, $from:expr) => {
        fn at(&self) -> usize {
            core::ptr::from_ref(self).expose_provenance()
        }

        fn update(&self, order: Ordering) {
            isochron_sim_point();
            isochron_sim_update(self.at(), order);
        }

        /// As the machine's.
        #[inline]
        pub fn load(&self, order: Ordering) -> $value {
            isochron_sim_point();
            match isochron_sim_load(self.at()) {
                Some(value) => $from(value),
                None => self.0.load(order),
            }
        }

        /// As the machine's.
        #[inline]
        pub fn store(&self, value: $value, order: Ordering) {
            isochron_sim_point();
            if !isochron_sim_store(self.at(), size_of::<Self>(), $to(value), order) {
                self.0.store(value, order);
            }
        }

        /// As the machine's.
        #[inline]
        pub fn swap(&self, value: $value, order: Ordering) -> $value {
            self.update(order);
            self.0.swap(value, order)
        }

        /// As the machine's.
        ///
        /// # Errors
        /// What is there, if it is not `current`.
        #[inline]
        pub fn compare_exchange(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            self.update(success);
            self.0.compare_exchange(current, new, success, failure)
        }

        /// As the machine's; it fails for no reason now and then.
        ///
        /// # Errors
        /// What is there.
        #[inline]
        pub fn compare_exchange_weak(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            self.update(success);
            if isochron_sim_weak_fails() {
                return Err(self.0.load(failure));
            }
            self.0.compare_exchange(current, new, success, failure)
        }

        /// As the machine's: what this CPU keeps back is let go first.
        #[inline]
        pub fn as_ptr(&self) -> *mut $value {
            isochron_sim_settle();
            self.0.as_ptr()
        }

        /// As the machine's: what this CPU keeps back is let go first.
        #[inline]
        pub fn get_mut(&mut self) -> &mut $value {
            isochron_sim_settle();
            self.0.get_mut()
        }
    };
}

/// A number as a word; its upper half is of no interest where the number has none.
macro_rules! to_word {
    ($number:ident, $value:ty) => {{
        #[allow(clippy::cast_lossless, reason = "for some of the types it is one")]
        let word = $number as u64;
        word
    }};
}

macro_rules! integer {
    ($($name:ident $value:ty),*) => { $(
        /// The simulated machine's: see the module.
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(machine::$name);

        impl $name {
            /// As the machine's.
            #[inline]
            pub const fn new(value: $value) -> Self {
                Self(machine::$name::new(value))
            }

            common!($value, |value| to_word!(value, $value), |value| value as $value);

            /// As the machine's.
            #[inline]
            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                self.update(order);
                self.0.fetch_add(value, order)
            }

            /// As the machine's.
            #[inline]
            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.update(order);
                self.0.fetch_sub(value, order)
            }

            /// As the machine's.
            #[inline]
            pub fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                self.update(order);
                self.0.fetch_and(value, order)
            }

            /// As the machine's.
            #[inline]
            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                self.update(order);
                self.0.fetch_or(value, order)
            }

            /// As the machine's.
            #[inline]
            pub fn fetch_xor(&self, value: $value, order: Ordering) -> $value {
                self.update(order);
                self.0.fetch_xor(value, order)
            }

            /// As the machine's.
            #[inline]
            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                self.update(order);
                self.0.fetch_max(value, order)
            }
        }
    )* };
}

integer!(AtomicI32 i32, AtomicU32 u32, AtomicU64 u64, AtomicUsize usize);

/// For the ports, which are given the machine's own.
impl core::ops::Deref for AtomicU32 {
    type Target = machine::AtomicU32;

    fn deref(&self) -> &machine::AtomicU32 {
        &self.0
    }
}

/// The simulated machine's: see the module.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct AtomicBool(machine::AtomicBool);

impl AtomicBool {
    /// As the machine's.
    #[inline]
    pub const fn new(value: bool) -> Self {
        Self(machine::AtomicBool::new(value))
    }

    common!(bool, u64::from, |value| value != 0);
}

/// The simulated machine's: see the module.
#[derive(Debug)]
#[repr(transparent)]
pub struct AtomicPtr<T>(machine::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    /// As the machine's.
    #[inline]
    pub const fn new(value: *mut T) -> Self {
        Self(machine::AtomicPtr::new(value))
    }

    common!(*mut T, |value: *mut T| value.expose_provenance() as u64, |value: u64| {
        core::ptr::with_exposed_provenance_mut(value as usize)
    });
}

/// As the machine's form: every access is a closure, and a point.
#[derive(Debug)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }
}

impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `f` with a pointer that it may read through.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        isochron_sim_point();
        f(self.0.get())
    }

    /// Calls `f` with a pointer that it may write through.
    #[inline]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        isochron_sim_point();
        f(self.0.get())
    }

    /// As `with_mut`, for as long as the pointer lives.
    #[inline]
    pub fn get_mut(&self) -> MutPtr<T> {
        isochron_sim_point();
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
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "the interface is the model checker's")]
    pub unsafe fn deref(&self) -> &mut T {
        // SAFETY: the pointer is a cell's; the rest is the caller's promise.
        unsafe { &mut *self.0 }
    }
}
