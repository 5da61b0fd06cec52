//! The sending end.

use super::{SendError, SendTimeoutError, Shared, TrySendError};
use crate::worker::waiting::{self, Waiting};
use crate::{Duration, Instant};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::Ordering;
use isochron_core::channel::Step;
use isochron_kernel::irq;

/// The sending end of a channel. The channel is closed when the last one is dropped.
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T: Send> Sender<T> {
    /// Sends `message`; waits while the channel is full.
    ///
    /// # Errors
    /// [`SendError`] with the message, if no receiver is left.
    #[track_caller]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        match irq::without(|| self.shared.channel.try_send(message)) {
            Ok(woken) => {
                waiting::end_any(woken);
                Ok(())
            }
            Err(TrySendError::Closed(message)) => Err(SendError(message)),
            Err(TrySendError::Full(message)) => self.wait(message, None).map_err(|error| match error {
                SendTimeoutError::Timeout(message) | SendTimeoutError::Closed(message) => SendError(message),
            }),
        }
    }

    /// Sends `message` if there is room, or somebody waits for it.
    ///
    /// # Errors
    /// [`TrySendError`] with the message.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let woken = irq::without(|| self.shared.channel.try_send(message))?;
        waiting::end_any(woken);
        Ok(())
    }

    /// As [`Sender::send`], waiting for `timeout` at the most.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    #[track_caller]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.wait(message, Some(Instant::now() + timeout))
    }

    #[cold]
    #[track_caller]
    fn wait(&self, message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let wait = Waiting::new();
        let mut node = wait.node(Some(message));
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below;
        // its payload is `Some`.
        let step = irq::without(|| unsafe { self.shared.channel.send_or_wait(node.pointer()) });
        let timed_out = match step {
            Step::Done(woken) => {
                wait.not_needed();
                waiting::end_any(woken);
                return Ok(());
            }
            Step::Closed => {
                wait.not_needed();
                false
            }
            Step::Waiting => {
                let in_time = wait.block(deadline);
                if !in_time {
                    // SAFETY: linked in this channel by `send_or_wait` above.
                    irq::without(|| unsafe { self.shared.channel.forget_sender(node.pointer()) });
                    crate::thread::die_if_doomed();
                }
                !in_time
            }
        };
        match node.into_payload() {
            None => Ok(()),
            Some(message) if timed_out => Err(SendTimeoutError::Timeout(message)),
            Some(message) => Err(SendTimeoutError::Closed(message)),
        }
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

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: a new end comes from one that is alive.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.leave(&self.shared.senders);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
