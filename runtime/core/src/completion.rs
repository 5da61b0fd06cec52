//! One-shot join cell: one side completes, at most one waiter is woken, exactly once.
//!
//! # Protocol
//! One word:
//!
//! | word | meaning | who leaves it, and to what |
//! | --- | --- | --- |
//! | `EMPTY` (0) | not done, nobody waits | `register` to a waiter; `complete` to `DONE` |
//! | a waiter | not done, this one waits | `unregister` to `EMPTY`; `complete` to `DONE` and owns the wake-up |
//! | `DONE` (1) | done, for ever | nobody |
//!
//! Whoever takes the waiter out of the word owns it: `complete` then owes it exactly one wake-up, or `unregister` has
//! withdrawn it and none will come.
//!
//! `complete` does not touch the cell after its one swap, so a joiner that sees `DONE` may free the cell at once.

use core::ptr::{NonNull, null_mut, without_provenance_mut};

use crate::sync::{AtomicPtr, Ordering, const_unless_loom};

/// The cell. `W` is what waits (a thread's control block); its alignment must be at least 2.
#[derive(Debug)]
pub struct Completion<W> {
    word: AtomicPtr<W>,
}

/// The waiter stands in the cell: its wake-up will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered;

/// Why a waiter was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterError {
    /// The cell is complete: do not wait.
    AlreadyDone,
    /// Another waiter stands in the cell.
    Occupied,
}

impl<W> Completion<W> {
    const EMPTY: *mut W = null_mut();
    const DONE: *mut W = without_provenance_mut(1);

    const_unless_loom! {
        /// A cell that is not done and has no waiter.
        pub const fn new() -> Self {
            const { assert!(align_of::<W>() >= 2, "a waiter's address must differ from the DONE mark") };
            Self { word: AtomicPtr::new(Self::EMPTY) }
        }
    }

    /// Marks the cell done. The waiter returned, if any, must be woken by the caller, once.
    ///
    /// # Panics
    /// If the cell was complete before.
    #[inline]
    pub fn complete(&self) -> Option<NonNull<W>> {
        // Release: partners are the loads of DONE in `is_done` and `register`; the result is seen with it.
        // Acquire: partner is the compare-and-swap in `register`; the waiter's words are seen with its address.
        let before = self.word.swap(Self::DONE, Ordering::AcqRel);
        assert!(before != Self::DONE, "completed twice");
        NonNull::new(before)
    }

    /// Puts `waiter` in the cell, to be handed out by [`complete`](Self::complete).
    ///
    /// # Errors
    /// [`RegisterError::AlreadyDone`] if there is nothing to wait for; [`RegisterError::Occupied`] if another waits.
    #[inline]
    pub fn register(&self, waiter: NonNull<W>) -> Result<Registered, RegisterError> {
        // Release on success: partner is the swap in `complete`, which goes on to use the waiter.
        // Acquire on failure: partner is the swap in `complete`; with DONE the result is seen.
        match self.word.compare_exchange(Self::EMPTY, waiter.as_ptr(), Ordering::Release, Ordering::Acquire) {
            Ok(_) => Ok(Registered),
            Err(word) if word == Self::DONE => Err(RegisterError::AlreadyDone),
            Err(_) => Err(RegisterError::Occupied),
        }
    }

    /// Takes `waiter` back (its time ran out). True: it is withdrawn and no wake-up will come. False: the cell is done
    /// and the wake-up is on its way or has been; the caller must let it arrive before the waiter goes away.
    #[inline]
    pub fn unregister(&self, waiter: NonNull<W>) -> bool {
        // Acquire on failure: partner is the swap in `complete`, as in `register`.
        self.word.compare_exchange(waiter.as_ptr(), Self::EMPTY, Ordering::Relaxed, Ordering::Acquire).is_ok()
    }

    /// True if the cell is complete; then all that the completer wrote before is seen.
    #[inline]
    pub fn is_done(&self) -> bool {
        // Acquire: partner is the swap in `complete`.
        self.word.load(Ordering::Acquire) == Self::DONE
    }
}

impl<W> Default for Completion<W> {
    fn default() -> Self {
        Self::new()
    }
}
