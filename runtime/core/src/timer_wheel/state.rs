//! Whose a timer is: see the table at the top of the module.

use crate::sync::{AtomicBool, AtomicU32, Ordering, const_unless_loom, spin_loop};

const IDLE: u32 = 0;
const SET: u32 = 1;
const FIRING: u32 = 2;

#[derive(Debug)]
pub(super) struct State {
    word: AtomicU32,
    /// It is not to be set again by its action. Written and read under the lock.
    stopped: AtomicBool,
}

impl State {
    const_unless_loom! {
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(IDLE), stopped: AtomicBool::new(false) }
        }
    }

    /// Asked by the owner.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        // Acquire: partner is the store in `end_action`.
        self.word.load(Ordering::Acquire) == IDLE
    }

    /// Asked by the owner, who has set it and not cancelled it.
    #[inline(always)]
    pub fn has_fired(&self) -> bool {
        self.is_idle() || (!self.is_waiting() && self.wait_for_end())
    }

    /// Whether it is in a wheel; certain under the wheel's lock, else a moment old.
    #[inline(always)]
    pub fn is_waiting(&self) -> bool {
        self.word.load(Ordering::Relaxed) == SET
    }

    /// Its owner sets it, under the lock.
    #[inline(always)]
    pub fn set_waiting_locked(&self) {
        debug_assert!(self.is_idle(), "a timer is set twice");
        self.word.store(SET, Ordering::Relaxed);
        self.stopped.store(false, Ordering::Relaxed);
    }

    /// Its owner has taken it out, under the lock.
    #[inline(always)]
    pub fn set_idle_locked(&self) {
        self.word.store(IDLE, Ordering::Relaxed);
    }

    /// The wheel's CPU has taken it out, under the lock.
    #[inline(always)]
    pub fn set_firing_locked(&self) {
        self.word.store(FIRING, Ordering::Relaxed);
    }

    /// Its owner wants it back, and it is not in the wheel: its action is not to set it again. Under the lock.
    #[inline]
    pub fn stop_locked(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The action is over, and wants the timer set again: true, unless its owner has stopped it. Under the lock.
    #[inline]
    pub fn set_again_locked(&self) -> bool {
        if self.stopped.load(Ordering::Relaxed) {
            self.end_action();
            return false;
        }
        self.word.store(SET, Ordering::Relaxed);
        true
    }

    /// The last touch of the expiring CPU.
    #[inline(always)]
    pub fn end_action(&self) {
        // Release: partner is the load in `is_idle`: the action is over before the owner goes on.
        self.word.store(IDLE, Ordering::Release);
    }

    /// Waits for the end of an action; true.
    #[cold]
    pub fn wait_for_end(&self) -> bool {
        while !self.is_idle() {
            spin_loop();
        }
        true
    }
}
