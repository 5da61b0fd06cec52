//! One timer, inside whatever waits.

use super::state::State;
use super::wheel::NO_SLOT;
use crate::sync::const_unless_loom;
use core::marker::PhantomPinned;
use core::ptr::{NonNull, null_mut};

/// A timer. `W` says what is to be done when it is due.
#[derive(Debug)]
pub struct Timer<W> {
    /// Neighbours in a ring.
    pub(super) next: *mut Self,
    pub(super) prev: *mut Self,
    pub(super) deadline: u64,
    action: W,
    state: State,
    pub(super) slot: u16,
    _pinned: PhantomPinned,
}

// SAFETY: the links are used only by the wheel that the timer is in, through its `&mut self`.
unsafe impl<W: Send> Send for Timer<W> {}
// SAFETY: a shared reference gives access to plain values only, and writing them takes a wheel's `unsafe` methods.
unsafe impl<W: Sync> Sync for Timer<W> {}

impl<W: Copy> Timer<W> {
    const_unless_loom! {
        /// A timer that is not set.
        pub const fn new(action: W) -> Self {
            Self {
                next: null_mut(),
                prev: null_mut(),
                deadline: 0,
                action,
                state: State::new(),
                slot: NO_SLOT,
                _pinned: PhantomPinned,
            }
        }
    }

    /// True while it is in a wheel. For the holder of that wheel.
    pub const fn is_set(&self) -> bool {
        self.slot != NO_SLOT
    }

    /// What it was last set to. For its owner, or its action.
    pub const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What is to be done when it is due.
    pub const fn action(&self) -> W {
        self.action
    }

    /// Whether it is its owner's alone: not set, and its last action is over, with all that this did.
    ///
    /// # Safety
    /// The caller owns the timer, which is alive.
    #[inline(always)]
    pub unsafe fn is_idle(timer: NonNull<Self>) -> bool {
        // SAFETY: alive (caller).
        unsafe { Self::state(timer) }.is_idle()
    }

    /// Whether its time has come since it was set; if so, the end of its action is waited for, and it is idle.
    ///
    /// # Safety
    /// The caller owns the timer, which is alive and was set.
    #[inline(always)]
    pub unsafe fn has_fired(timer: NonNull<Self>) -> bool {
        // SAFETY: alive (caller).
        unsafe { Self::state(timer) }.has_fired()
    }

    /// The word that several CPUs may look at, without a reference to the rest, which is one CPU's.
    ///
    /// # Safety
    /// The timer is alive for `'t`.
    #[inline(always)]
    pub(super) unsafe fn state<'t>(timer: NonNull<Self>) -> &'t State
    where
        W: 't,
    {
        // SAFETY: alive (caller), so the field's address is in bounds.
        unsafe { &(*timer.as_ptr()).state }
    }

    /// Its action, without a reference to the whole.
    ///
    /// # Safety
    /// The timer is alive.
    #[inline(always)]
    pub(super) unsafe fn action_of(timer: NonNull<Self>) -> W {
        // SAFETY: alive (caller), and nobody writes an action after its making.
        unsafe { (&raw const (*timer.as_ptr()).action).read() }
    }
}
