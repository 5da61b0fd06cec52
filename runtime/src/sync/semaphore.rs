//! [`Semaphore`].

use super::TimedOut;
use crate::thread::control::ThreadPtr;
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::fmt;
use isochron_core::semaphore::Semaphore as Raw;
use isochron_kernel::irq;

/// A number of units that threads take and give back.
///
/// First come, first served: who asks for many units is not passed over by those who ask for few.
///
/// ```ignore
/// static SLOTS: Semaphore = Semaphore::new(3);
/// let slot = SLOTS.acquire(1); // the fourth to come waits here
/// drop(slot);
/// ```
pub struct Semaphore {
    raw: Raw<ThreadPtr>,
}

// SAFETY: the thread addresses in the queue are names that whoever takes one out may wake, on any CPU.
unsafe impl Sync for Semaphore {}
// SAFETY: as above.
unsafe impl Send for Semaphore {}

/// Units of a [`Semaphore`]; dropping it gives them back.
#[must_use = "the units are given back when the guard is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a Semaphore,
    units: u32,
}

/// More units were released than [`Semaphore::MAX`] allows to be free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyUnits;

impl fmt::Display for TooManyUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} units of a semaphore would be free", Semaphore::MAX)
    }
}

impl core::error::Error for TooManyUnits {}

impl Semaphore {
    /// The most units that can be free.
    pub const MAX: u32 = Raw::<ThreadPtr>::MAX;

    /// A semaphore with `units` free ones.
    ///
    /// # Panics
    /// If that is more than [`MAX`](Self::MAX).
    #[must_use]
    pub const fn new(units: u32) -> Self {
        Self { raw: Raw::new(units) }
    }

    /// Waits for `units` and takes them.
    ///
    /// # Panics
    /// If the thread must not block here and would have to.
    #[track_caller]
    pub fn acquire(&self, units: u32) -> SemaphoreGuard<'_> {
        self.take(units, None);
        SemaphoreGuard { semaphore: self, units }
    }

    /// Takes `units` if they are free and nobody waits.
    pub fn try_acquire(&self, units: u32) -> Option<SemaphoreGuard<'_>> {
        irq::without(|| self.raw.try_acquire(units)).then(|| SemaphoreGuard { semaphore: self, units })
    }

    /// As [`acquire`](Self::acquire), waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`].
    #[track_caller]
    pub fn acquire_timeout(&self, units: u32, timeout: Duration) -> Result<SemaphoreGuard<'_>, TimedOut> {
        if self.take(units, Some(Instant::now() + timeout)) {
            Ok(SemaphoreGuard { semaphore: self, units })
        } else {
            Err(TimedOut)
        }
    }

    /// Makes `units` more, or gives back those whose guard was forgotten.
    ///
    /// # Errors
    /// [`TooManyUnits`]; then nothing is changed.
    pub fn release(&self, units: u32) -> Result<(), TooManyUnits> {
        let _undisturbed = waiting::undisturbed();
        let woken = irq::without(|| self.raw.release(units)).map_err(|_| TooManyUnits)?;
        waiting::end_all(woken, || self.raw.next());
        Ok(())
    }

    /// How many units are free: a glance.
    #[must_use]
    pub fn free(&self) -> u32 {
        irq::without(|| self.raw.free())
    }

    /// Takes `units`, until `deadline` at the latest; whether it did.
    #[track_caller]
    pub(super) fn take(&self, units: u32, deadline: Option<Instant>) -> bool {
        if irq::without(|| self.raw.try_acquire(units)) {
            return true;
        }
        let wait = Waiting::new();
        let mut node = wait.node(units);
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below.
        if irq::without(|| unsafe { self.raw.acquire_or_wait(node.pointer()) }) {
            wait.not_needed();
            return true;
        }
        let taken = wait.block(deadline);
        if !taken {
            {
                let _undisturbed = waiting::undisturbed();
                // SAFETY: linked in this semaphore by `acquire_or_wait` above.
                let woken = irq::without(|| unsafe { self.raw.forget(node.pointer()) });
                waiting::end_all(woken, || self.raw.next());
            }
            crate::thread::die_if_doomed();
        }
        taken
    }
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        // Units that were taken fit again, unless others were made meanwhile; then they are lost, and no harm is done.
        let _ = self.semaphore.release(self.units);
    }
}

impl SemaphoreGuard<'_> {
    /// Keeps the units for good, or until somebody calls [`Semaphore::release`] for them.
    pub fn forget(self) {
        core::mem::forget(self);
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Semaphore({} free)", self.free())
    }
}
