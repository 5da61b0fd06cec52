//! Holding preemption off.

use super::current_ptr;
use crate::worker::Worker;
use core::marker::PhantomData;

/// While this lives the running thread is not taken off its CPU, so it stays on it. Interrupts are taken.
///
/// The thread must not block meanwhile; that panics and names the caller. A switch that came due is made up for when
/// the last guard is dropped.
#[must_use = "preemption is possible again when the guard is dropped"]
pub struct PreemptGuard {
    _not_send: PhantomData<*const ()>,
}

impl PreemptGuard {
    /// Holds preemption off. Guards nest.
    ///
    /// # Panics
    /// Outside a thread. If the thread holds 65535 of them.
    #[inline]
    #[track_caller]
    pub fn new() -> Self {
        // SAFETY: the running thread's block is alive, and `preempt_depth` is its own.
        let depth = unsafe { &current_ptr().as_ref().preempt_depth };
        assert!(depth.get() != u16::MAX, "too many guards");
        depth.set(depth.get() + 1);
        Self { _not_send: PhantomData }
    }
}

impl Default for PreemptGuard {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PreemptGuard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: as above; the guard is not `Send`, so this is the thread that made it.
        let depth = unsafe { &current_ptr().as_ref().preempt_depth };
        depth.set(depth.get() - 1);
        if depth.get() == 0 {
            Worker::preempt_if_due();
        }
    }
}
