//! [`Barrier`].

use super::TimedOut;
use crate::thread::control::ThreadPtr;
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::fmt;
use isochron_core::gate::{Arrival, Gate};
use isochron_kernel::irq;

/// A number of threads that wait until all of them have come; then it can be used again.
pub struct Barrier {
    gate: Gate<ThreadPtr>,
    threads: u32,
}

// SAFETY: the thread addresses in the queue are names that whoever takes one out may wake, on any CPU.
unsafe impl Sync for Barrier {}
// SAFETY: as above.
unsafe impl Send for Barrier {}

impl Barrier {
    /// A barrier for `threads`. Of 0 or 1 it holds nobody up.
    #[must_use]
    pub const fn new(threads: u32) -> Self {
        Self { gate: Gate::new(threads), threads }
    }

    /// Waits until as many threads have come as the barrier is for. True for the one that came last.
    ///
    /// # Panics
    /// If the thread must not block here and would have to.
    #[track_caller]
    pub fn wait(&self) -> bool {
        self.arrive(None).unwrap_or(false)
    }

    /// As [`wait`](Self::wait), for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`]; then this thread does not count as having come.
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, TimedOut> {
        self.arrive(Some(Instant::now() + timeout))
    }

    #[track_caller]
    fn arrive(&self, deadline: Option<Instant>) -> Result<bool, TimedOut> {
        let wait = Waiting::new();
        let mut node = wait.node(0);
        let undisturbed = waiting::undisturbed();
        // SAFETY: the node and its token stay on this stack until the wait is over, or it is withdrawn below.
        match irq::without(|| unsafe { self.gate.arrive(node.pointer(), self.threads) }) {
            Arrival::Last => {
                wait.not_needed();
                waiting::end_all(irq::without(|| self.gate.next()), || self.gate.next());
                Ok(true)
            }
            Arrival::Waiting => {
                drop(undisturbed);
                // SAFETY: linked in this gate by `arrive` above.
                if wait.block(deadline) || !irq::without(|| unsafe { self.gate.withdraw(node.pointer()) }) {
                    Ok(false)
                } else {
                    crate::thread::die_if_doomed();
                    Err(TimedOut)
                }
            }
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Barrier({})", self.threads)
    }
}
