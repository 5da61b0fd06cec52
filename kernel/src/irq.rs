//! Masking interrupts, and the kinds of interrupt that one CPU sends another.

use crate::arch;
use crate::lock_rank::LockRank;
use core::marker::PhantomData;

/// What one CPU tells another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Ipi {
    /// Look at your queues.
    Wake = 0,
    /// Halt for ever: somebody panicked or the program ended.
    Stop = 1,
    /// Answer a latency probe, and pass a barrier (see [`crate::smp::probe`], [`crate::smp::system_wide_barrier`]).
    Probe = 2,
}

/// Interrupts are masked while this lives; then the state before comes back.
///
/// Guards nest. One is bound to the CPU and the stack it was made on, so it is not `Send`.
#[must_use = "interrupts are unmasked again when the guard is dropped"]
pub struct IrqGuard {
    before: arch::irq::State,
    _not_send: PhantomData<*const ()>,
}

impl IrqGuard {
    /// Masks interrupts.
    #[inline(always)]
    pub fn new() -> Self {
        Self { before: arch::irq::mask(), _not_send: PhantomData }
    }

    /// Whether they were masked before.
    #[inline(always)]
    #[must_use]
    pub fn were_masked(&self) -> bool {
        self.before.is_masked()
    }
}

impl IrqGuard {
    /// For who keeps interrupts masked across a switch, and only if they were not masked before: then nothing of the state
    /// before has to be kept.
    ///
    /// # Errors
    /// The guard, if they were.
    #[inline(always)]
    pub fn until_unmasked(self) -> Result<UnmaskGuard, Self> {
        if self.were_masked() {
            return Err(self);
        }
        core::mem::forget(self);
        Ok(UnmaskGuard { _not_send: PhantomData })
    }
}

/// Interrupts are masked while this lives, and were not before: then they are unmasked. See [`IrqGuard::until_unmasked`].
#[must_use = "interrupts are unmasked when the guard is dropped"]
pub struct UnmaskGuard {
    _not_send: PhantomData<*const ()>,
}

impl Drop for UnmaskGuard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: interrupts were on when the `IrqGuard` was made that this comes from; guards nest as scopes do, so no guard
        // made later is still alive.
        unsafe { arch::irq::unmask() }
    }
}

/// One of the guards, for code that is given one and ends it.
pub trait Masked {
    /// Whether interrupts were masked before.
    fn were_masked(&self) -> bool;
}

impl Masked for IrqGuard {
    #[inline(always)]
    fn were_masked(&self) -> bool {
        IrqGuard::were_masked(self)
    }
}

impl Masked for UnmaskGuard {
    #[inline(always)]
    fn were_masked(&self) -> bool {
        false
    }
}

/// In place of a guard, for who has masked interrupts and keeps them so.
#[derive(Debug)]
pub struct KeptMasked;

impl Masked for KeptMasked {
    #[inline(always)]
    fn were_masked(&self) -> bool {
        true
    }
}

impl Default for IrqGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for IrqGuard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this is the state that `mask` returned on this very stack; guards nest as scopes do, so no guard
        // made later is still alive.
        unsafe { arch::irq::restore(self.before) }
    }
}

/// Whether this CPU's interrupts are masked.
#[inline(always)]
#[must_use]
pub fn are_masked() -> bool {
    arch::irq::are_masked()
}

/// Runs `f` with interrupts masked.
#[inline(always)]
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    let _guard = IrqGuard::new();
    f()
}

/// A spin lock that masks interrupts while it is held, so that an interrupt handler may take it too.
///
/// For short sections of the kernel only. Nothing may block or switch while one is held. In what order they may be taken
/// says [`crate::lock_rank`].
pub struct IrqLock<T> {
    inner: spin::mutex::Mutex<T, Hint>,
    #[cfg(debug_assertions)]
    rank: LockRank,
}

/// What a CPU does between two looks at a lock that is taken: it may be the one that has to go on for that to change.
struct Hint;

impl spin::RelaxStrategy for Hint {
    #[inline(always)]
    fn relax() {
        crate::arch::cpu::spin_hint();
    }
}

/// Access to what an [`IrqLock`] protects.
pub struct IrqLockGuard<'a, T> {
    // Order of fields is order of dropping: first the lock, then the interrupts.
    inner: spin::mutex::MutexGuard<'a, T, Hint>,
    _on_record: OnRecord,
    _irq: IrqGuard,
}

/// A lock that is on this CPU's record of what it holds, in builds that keep one.
struct OnRecord {
    #[cfg(debug_assertions)]
    address: usize,
}

#[cfg(debug_assertions)]
impl Drop for OnRecord {
    fn drop(&mut self) {
        crate::lock_rank::opened(self.address);
    }
}

impl<T> IrqLock<T> {
    /// An unlocked lock of this rank.
    #[cfg_attr(not(debug_assertions), expect(unused_variables))]
    pub const fn new(rank: LockRank, value: T) -> Self {
        Self {
            inner: spin::mutex::Mutex::new(value),
            #[cfg(debug_assertions)]
            rank,
        }
    }

    /// Puts it on record, before it is waited for: so a circle is told, not entered.
    #[inline(always)]
    #[cfg_attr(debug_assertions, track_caller)]
    fn record(&self) -> OnRecord {
        #[cfg(debug_assertions)]
        {
            let address = core::ptr::from_ref(self).addr();
            crate::lock_rank::taken(self.rank, address);
            OnRecord { address }
        }
        #[cfg(not(debug_assertions))]
        OnRecord {}
    }

    /// Takes the lock, spinning while another CPU has it.
    ///
    /// # Panics
    /// In builds with debug assertions, if this CPU holds a lock that comes after it.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn lock(&self) -> IrqLockGuard<'_, T> {
        let irq = IrqGuard::new();
        let on_record = self.record();
        IrqLockGuard { inner: self.inner.lock(), _on_record: on_record, _irq: irq }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<IrqLockGuard<'_, T>> {
        let irq = IrqGuard::new();
        let inner = self.inner.try_lock()?;
        Some(IrqLockGuard { inner, _on_record: self.record(), _irq: irq })
    }
}

#[cfg(any(isochron_bare, all(isochron_hosted, not(isochron_sim))))]
impl<T> IrqLock<T> {
    /// Takes the lock if it is free, off the record, for who may hold any lock: it never waits, so it closes no circle.
    /// Interrupts are masked, and stay so while it is held.
    #[cfg(isochron_bare)]
    pub(crate) fn try_lock_off_record(&self) -> Option<spin::mutex::MutexGuard<'_, T, impl spin::RelaxStrategy>> {
        self.inner.try_lock()
    }

    /// Takes the lock, off the record, for a fault, which may strike under any lock. Whoever has this one takes no other and causes
    /// no such fault, so it is open again in a moment. Interrupts are masked, and stay so while it is held.
    pub(crate) fn lock_off_record(&self) -> spin::mutex::MutexGuard<'_, T, impl spin::RelaxStrategy> {
        self.inner.lock()
    }
}

impl<T> core::ops::Deref for IrqLockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> core::ops::DerefMut for IrqLockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
