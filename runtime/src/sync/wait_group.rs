//! [`WaitGroup`].

use super::TimedOut;
use crate::thread::control::ThreadPtr;
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use core::fmt;
use isochron_core::gate::Gate;
use isochron_kernel::irq;

/// A number of jobs, and threads that wait until all are done.
pub struct WaitGroup {
    gate: Gate<ThreadPtr>,
}

// SAFETY: the thread addresses in the queue are names that whoever takes one out may wake, on any CPU.
unsafe impl Sync for WaitGroup {}
// SAFETY: as above.
unsafe impl Send for WaitGroup {}

/// More jobs were done than there were, or more added than can be counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotCounted;

impl fmt::Display for NotCounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a wait group's count would leave its range")
    }
}

impl core::error::Error for NotCounted {}

impl WaitGroup {
    /// A group of `jobs` that are to be done.
    #[must_use]
    pub const fn new(jobs: u32) -> Self {
        Self { gate: Gate::new(jobs) }
    }

    /// Adds `jobs`.
    ///
    /// # Errors
    /// [`NotCounted`] if there would be more than `u32::MAX`.
    pub fn add(&self, jobs: u32) -> Result<(), NotCounted> {
        irq::without(|| self.gate.add(jobs)).map_err(|_| NotCounted)
    }

    /// One job is done. The last one ends all waits.
    ///
    /// # Errors
    /// [`NotCounted`] if there was none left.
    pub fn done(&self) -> Result<(), NotCounted> {
        let _undisturbed = waiting::undisturbed();
        if irq::without(|| self.gate.done()).map_err(|_| NotCounted)? {
            waiting::end_all(irq::without(|| self.gate.next()), || self.gate.next());
        }
        Ok(())
    }

    /// Waits until no job is left.
    ///
    /// # Panics
    /// If the thread must not block here and would have to.
    #[track_caller]
    pub fn wait(&self) {
        let _ = self.pass(None);
    }

    /// As [`wait`](Self::wait), for `timeout` at the most.
    ///
    /// # Errors
    /// [`TimedOut`].
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), TimedOut> {
        self.pass(Some(Instant::now() + timeout))
    }

    /// How many jobs are left: a glance.
    #[must_use]
    pub fn left(&self) -> u32 {
        irq::without(|| self.gate.count())
    }

    #[track_caller]
    fn pass(&self, deadline: Option<Instant>) -> Result<(), TimedOut> {
        let wait = Waiting::new();
        let mut node = wait.node(0);
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below.
        if irq::without(|| unsafe { self.gate.pass_or_wait(node.pointer()) }) {
            wait.not_needed();
            return Ok(());
        }
        // SAFETY: linked in this gate by `pass_or_wait` above.
        if wait.block(deadline) || !irq::without(|| unsafe { self.gate.forget(node.pointer()) }) {
            Ok(())
        } else {
            crate::thread::die_if_doomed();
            Err(TimedOut)
        }
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WaitGroup({} left)", self.left())
    }
}
