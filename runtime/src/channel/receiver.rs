//! The receiving end.

use super::{RecvError, RecvTimeoutError, Shared, TryRecvError};
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::Ordering;
use isochron_core::channel::Step;
use isochron_kernel::irq;

/// The receiving end of a channel. Sending fails when the last one is dropped.
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T: Send> Receiver<T> {
    /// Receives the oldest message; waits while there is none.
    ///
    /// # Errors
    /// [`RecvError`] if there is none and no sender is left.
    #[track_caller]
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.wait(None).map_err(|_| RecvError)
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`].
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let (message, woken) = irq::without(|| self.shared.channel.try_recv())?;
        waiting::end_any(woken);
        Ok(message)
    }

    /// As [`Receiver::recv`], waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.wait(Some(Instant::now() + timeout))
    }

    #[track_caller]
    #[inline(always)]
    fn wait(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let wait = Waiting::new();
        let mut node = wait.node(None);
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below;
        // its payload is `None`.
        match irq::without(|| unsafe { self.shared.channel.recv_or_wait(node.pointer()) }) {
            Step::Done((message, woken)) => {
                wait.not_needed();
                waiting::end_any(woken);
                Ok(message)
            }
            Step::Closed => {
                wait.not_needed();
                Err(RecvTimeoutError::Closed)
            }
            Step::Waiting => {
                if !wait.block(deadline) {
                    // SAFETY: linked in this channel by `recv_or_wait` above.
                    irq::without(|| unsafe { self.shared.channel.forget_receiver(node.pointer()) });
                    crate::thread::die_if_doomed();
                    return Err(RecvTimeoutError::Timeout);
                }
                node.into_payload().ok_or(RecvTimeoutError::Closed)
            }
        }
    }

    /// The messages as they come, until the channel is closed and empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// How many messages wait to be received: a glance.
    #[must_use]
    pub fn len(&self) -> usize {
        irq::without(|| self.shared.channel.len())
    }

    /// Whether no message waits: a glance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Iterator of [`Receiver::iter`].
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T: Send> Iterator for Iter<'_, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<'a, T: Send> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        // Relaxed: a new end comes from one that is alive.
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.leave(&self.shared.receivers);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
