//! One-shot join cell between what ends (a thread) and its one handle: the end is told, at most one waiter is woken, exactly
//! once, and it is settled who disposes of a result that nobody fetches.
//!
//! # Protocol
//! One word:
//!
//! | word | meaning | who leaves it, and to what |
//! | --- | --- | --- |
//! | `EMPTY` (0) | not done, nobody waits | `register` to a waiter; `complete` to `DONE`; `abandon` to `ABANDONED` |
//! | a waiter | not done, this one waits | `unregister` to `EMPTY`; `complete` to `ENDING` and owns the wake-up |
//! | `ABANDONED` (2) | not done, and the handle is gone | `finish` to `DONE` |
//! | `ENDING` (3) | the waiter's wait ends, and what it waits for is done at once | `finish` to `DONE` |
//! | `DONE` (1) | done, for ever | nobody |
//!
//! Whoever takes the waiter out of the word owns it: `complete` then owes it exactly one wake-up, or `unregister` has
//! withdrawn it and none will come. The waker unparks first and calls `finish` second, and the waiter stays until then: so it
//! is alive while it is unparked, and no reference is counted for that.
//!
//! A result that nobody will fetch is the business of whoever comes second: a handle that goes and finds `DONE` disposes of it,
//! and one that comes to its end and finds `ABANDONED`. Both may take their time over it, which is why a plain count of
//! references will not do: the last reference of a thread goes in the middle of a switch.
//!
//! Neither `complete` that finds nobody nor `finish` touches the cell after its one write, so whoever sees `DONE` may free the
//! cell at once.
//!
//! # Rejected
//! A word of its own for who leaves last: one more read-modify-write for each thread. A counted reference to the waiter: two.

use core::ptr::{NonNull, null_mut, without_provenance_mut};

use crate::sync::{AtomicPtr, Ordering, const_unless_loom};

/// The cell. `W` is what waits (a thread's control block); its alignment must be at least 4.
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

/// What [`Completion::complete`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum End<W> {
    /// Nobody waits: the cell is done.
    Unawaited,
    /// This one waits: unpark it, then [`finish`](Completion::finish), and touch it after that only if the unpark made it the
    /// caller's to queue.
    Awaited(NonNull<W>),
    /// The handle is gone, and the result is the caller's to dispose of; then [`finish`](Completion::finish). The cell stands as
    /// it stood.
    Abandoned,
}

impl<W> Completion<W> {
    const EMPTY: *mut W = null_mut();
    const DONE: *mut W = without_provenance_mut(1);
    const ABANDONED: *mut W = without_provenance_mut(2);
    const ENDING: *mut W = without_provenance_mut(3);

    const_unless_loom! {
        /// A cell that is not done and has no waiter.
        pub const fn new() -> Self {
            const { assert!(align_of::<W>() >= 4, "a waiter's address must differ from the marks") };
            Self { word: AtomicPtr::new(Self::EMPTY) }
        }
    }

    /// What the cell stands for is at its end, and the result is in place.
    ///
    /// # Panics
    /// If the cell was complete before.
    #[inline]
    pub fn complete(&self) -> End<W> {
        // Relaxed: a guess, which the compare-and-swaps below check. Nobody leaves `ABANDONED` but this side.
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word == Self::EMPTY {
                // Release: partners are the loads of DONE in `is_done`, `register` and `abandon`; the result is seen with it.
                match self.word.compare_exchange(word, Self::DONE, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => return End::Unawaited,
                    Err(now) => word = now,
                }
            } else if word == Self::ABANDONED {
                return End::Abandoned;
            } else {
                assert!(word != Self::DONE && word != Self::ENDING, "completed twice");
                match self.take_waiter(word) {
                    Ok(waiter) => return End::Awaited(waiter),
                    Err(now) => word = now,
                }
            }
        }
    }

    /// As [`complete`](Self::complete), if somebody waits: who. `None`: nothing is done, or a waiter came or went just now.
    #[inline(always)]
    #[must_use]
    pub fn complete_if_awaited(&self) -> Option<NonNull<W>> {
        // Relaxed: a guess, which the compare-and-swap checks.
        let word = self.word.load(Ordering::Relaxed);
        if word.addr() <= Self::ENDING.addr() {
            return None;
        }
        self.take_waiter(word).ok()
    }

    /// Takes the waiter out whose address `word` was seen to be.
    #[inline(always)]
    fn take_waiter(&self, word: *mut W) -> Result<NonNull<W>, *mut W> {
        // Acquire: partner is the compare-and-swap in `register`; the waiter's words are seen with its address.
        self.word
            .compare_exchange(word, Self::ENDING, Ordering::Acquire, Ordering::Relaxed)
            // SAFETY: no waiter's address is null.
            .map(|waiter| unsafe { NonNull::new_unchecked(waiter) })
    }

    /// The last step after [`complete`](Self::complete), unless that found that nobody waits.
    #[inline]
    pub fn finish(&self) {
        // Release: partners are the loads of DONE in `is_done`, `register` and `abandon`; the result is seen with it.
        self.word.store(Self::DONE, Ordering::Release);
    }

    /// The handle goes, once, without having fetched the result. True: it is there, and the caller's to dispose of. False: that
    /// is for [`complete`](Self::complete).
    #[inline]
    #[must_use]
    pub fn abandon(&self) -> bool {
        // Relaxed on success: the handle has left nothing that who ends would read.
        // Acquire on failure: partners are the stores of DONE in `complete` and `finish`; the result is seen.
        self.word.compare_exchange(Self::EMPTY, Self::ABANDONED, Ordering::Relaxed, Ordering::Acquire).is_err()
    }

    /// Puts `waiter` in the cell, to be handed out by [`complete`](Self::complete).
    ///
    /// # Errors
    /// [`RegisterError::AlreadyDone`] if there is nothing to wait for; [`RegisterError::Occupied`] if another waits.
    #[inline]
    pub fn register(&self, waiter: NonNull<W>) -> Result<Registered, RegisterError> {
        // Release on success: partner is the compare-and-swap in `take_waiter`, which goes on to use the waiter.
        // Acquire on failure: partners are the stores of DONE in `complete` and `finish`; with DONE the result is seen.
        match self.word.compare_exchange(Self::EMPTY, waiter.as_ptr(), Ordering::Release, Ordering::Acquire) {
            Ok(_) => Ok(Registered),
            Err(word) if word == Self::DONE => Err(RegisterError::AlreadyDone),
            Err(_) => Err(RegisterError::Occupied),
        }
    }

    /// Takes `waiter` back (its time ran out). True: it is withdrawn and no wake-up will come. False: the wake-up is on its way
    /// or has been; the waiter must stay until [`is_done`](Self::is_done), which is at once.
    #[inline]
    pub fn unregister(&self, waiter: NonNull<W>) -> bool {
        // Relaxed: withdrawn, it has learnt nothing; otherwise `is_done` is what hands something over.
        self.word.compare_exchange(waiter.as_ptr(), Self::EMPTY, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// True if the cell is complete; then all that the completer wrote before is seen.
    #[inline]
    pub fn is_done(&self) -> bool {
        // Acquire: partners are the stores of DONE in `complete` and `finish`.
        self.word.load(Ordering::Acquire) == Self::DONE
    }

    /// True if the waiter has been taken out to be woken, or the cell is complete: then it [is done](Self::is_done) at once.
    #[inline]
    pub fn is_ending(&self) -> bool {
        // Relaxed: `is_done` is what hands something over.
        let word = self.word.load(Ordering::Relaxed);
        word == Self::ENDING || word == Self::DONE
    }
}

impl<W> Default for Completion<W> {
    fn default() -> Self {
        Self::new()
    }
}
