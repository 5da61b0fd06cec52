//! A short lock for the slow paths of this crate, through the shim so that the model checker sees it.
//!
//! Callers mask interrupts. In what order such locks may be taken says [`crate::lock_rank`]. The critical sections are a few dozen instructions, and nothing in them can block.
//!
//! Test-and-test-and-set, and not a ticket lock: on a machine whose CPUs can lose their own CPU (a guest, or the hosted
//! port), a ticket holder that is not running stops all behind it.
//!
//! Who finds it taken keeps off for a while rather than watch it. Each look takes the line from the holder, who wants it back to
//! open the lock, and mostly to take it again: a CPU that does so a dozen times in a row does as much in the time that the line
//! takes to go to and fro once. The price: a CPU may be up to [`LONGEST_PAUSE`] late.

use core::ops::{Deref, DerefMut};

use crate::lock_rank::{LockRank, Ranked, opened};
use crate::sync::{AtomicU32, MutPtr, Ordering, UnsafeCell, const_unless_loom, spin_loop};

/// The longest pause between two looks at a lock that is taken, in spin hints: a microsecond or so. One where each is a step of
/// a model.
pub(crate) const LONGEST_PAUSE: u32 = if cfg!(any(loom, isochron_sim)) { 1 } else { 32 };

/// A value that one CPU at a time may use, for a short while.
#[derive(Debug)]
pub struct SpinLock<T> {
    locked: AtomicU32,
    rank: Ranked,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives the value to one CPU at a time, which is the same as sending it there.
unsafe impl<T: Send> Sync for SpinLock<T> {}
// SAFETY: a lock that moves takes its value along.
unsafe impl<T: Send> Send for SpinLock<T> {}

/// Opens the lock at the end of the scope, a panic included.
struct Held<'l>(&'l AtomicU32);

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        opened(core::ptr::from_ref(self.0).addr());
        // Release: partner is the compare-and-swap in `take`.
        self.0.store(0, Ordering::Release);
    }
}

/// The value of a lock that is held until this is dropped.
#[must_use = "the lock is opened again when the guard is dropped"]
pub struct SpinGuard<'l, T> {
    // In the order of dropping.
    value: MutPtr<T>,
    _held: Held<'l>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, so this is the only access.
        unsafe { self.value.deref() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.value.deref() }
    }
}

impl<T> SpinLock<T> {
    const_unless_loom! {
        /// An open lock around `value`, of this rank.
        pub const fn new(rank: LockRank, value: T) -> Self {
            Self { locked: AtomicU32::new(0), rank: Ranked::new(rank), value: UnsafeCell::new(value) }
        }
    }

    /// Calls `f` with the value, alone. Not to be nested: a CPU that holds the lock and asks for it again hangs.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.lock();
        let _held = Held(&self.locked);
        // SAFETY: the lock is held, so this is the only access, until `_held` is dropped.
        unsafe { self.with_locked(f) }
    }

    /// As `with`, for paths where a closure would not be inlined.
    #[inline(always)]
    pub fn guard(&self) -> SpinGuard<'_, T> {
        self.lock();
        SpinGuard { value: self.value.get_mut(), _held: Held(&self.locked) }
    }

    /// Takes the lock, for callers that hold a number of them at a time. [`unlock`](Self::unlock) must follow.
    #[inline(always)]
    pub fn lock(&self) {
        // Before it is waited for: so a circle is told, not entered.
        self.rank.taken(core::ptr::from_ref(&self.locked).addr());
        if !self.take() {
            self.wait();
        }
    }

    #[inline(always)]
    fn take(&self) -> bool {
        // Acquire: partner is the store in `Held::drop`.
        self.locked.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Another CPU has it: looks again after a pause, which doubles each time.
    #[cold]
    #[inline(never)]
    fn wait(&self) {
        let mut pause = 1;
        loop {
            (0..pause).for_each(|_| spin_loop());
            if self.locked.load(Ordering::Relaxed) == 0 && self.take() {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Safety
    /// The caller took the lock by [`lock`](Self::lock), or nobody else has a reference to it; and no other such call is under
    /// way.
    #[inline(always)]
    pub unsafe fn with_locked<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the lock is held, so this is the only access (caller).
        self.value.with_mut(|value| f(unsafe { &mut *value }))
    }

    /// Opens the lock.
    ///
    /// # Safety
    /// The caller took it by [`lock`](Self::lock), and uses the value no more.
    #[inline(always)]
    pub unsafe fn unlock(&self) {
        drop(Held(&self.locked));
    }
}
