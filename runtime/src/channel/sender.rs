//! The sending end.

use super::{SendError, SendTimeoutError, Shared, TrySendError};
use crate::worker::channel_wait::{self, Wait, pointer};
use crate::{Duration, Instant};
use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::Ordering;
use isochron_core::channel::Step;
use isochron_kernel::irq::IrqGuard;

/// The sending end of a channel. The channel is closed when the last one is dropped.
pub struct Sender<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T: Send> Sender<T> {
    /// Sends `message`; waits while the channel is full.
    ///
    /// # Errors
    /// [`SendError`] with the message, if the channel is closed or no receiver is left.
    ///
    /// # Panics
    /// If it must wait where a thread must not block; if an unbounded channel gets no memory.
    #[track_caller]
    #[inline(always)]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        let irq = IrqGuard::new();
        match self.shared.channel.try_send(message) {
            Ok(wake) => {
                channel_wait::end(wake, irq);
                Ok(())
            }
            Err(TrySendError::Closed(message)) => Err(SendError(message)),
            Err(TrySendError::Full(message)) => {
                self.wait(irq, message, None).map_err(|error| SendError(error.into_inner()))
            }
        }
    }

    /// Sends `message` if there is room, or somebody waits for it.
    ///
    /// # Errors
    /// [`TrySendError`] with the message. An unbounded channel is full if there is no memory.
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let irq = IrqGuard::new();
        let wake = self.shared.channel.try_send(message)?;
        channel_wait::end(wake, irq);
        Ok(())
    }

    /// As [`Sender::send`], waiting for `timeout` at the most; for ever if the clock does not reach so far.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Panics
    /// As `send`.
    #[track_caller]
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_deadline(message, Instant::now() + timeout)
    }

    /// As [`Sender::send`], waiting until `deadline` at the most. One that has passed does not keep a message from going
    /// that need not wait.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the message.
    ///
    /// # Panics
    /// As `send`.
    #[track_caller]
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        let irq = IrqGuard::new();
        match self.shared.channel.try_send(message) {
            Ok(wake) => {
                channel_wait::end(wake, irq);
                Ok(())
            }
            Err(TrySendError::Closed(message)) => Err(SendTimeoutError::Closed(message)),
            Err(TrySendError::Full(message)) => self.wait(irq, message, Some(deadline)),
        }
    }

    #[cold]
    #[track_caller]
    fn wait(&self, irq: IrqGuard, message: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let channel = &self.shared.channel;
        let Some(capacity) = channel.capacity() else {
            drop(irq);
            panic!("no memory for a message");
        };
        let (irq, message) = match self.pause(irq, capacity, deadline) {
            Err(irq) => (irq, message),
            Ok(irq) => match channel.try_send(message) {
                Ok(wake) => {
                    channel_wait::end(wake, irq);
                    return Ok(());
                }
                Err(TrySendError::Closed(message)) => return Err(SendTimeoutError::Closed(message)),
                Err(TrySendError::Full(message)) => (irq, message),
            },
        };
        let (wait, irq) = Wait::new(irq);
        let mut node = wait.node(0, Some(message));
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below;
        // its payload is `Some`.
        let step = unsafe { channel.send_or_wait(pointer(&mut node)) };
        let mut timed_out = false;
        match step {
            Step::Done(wake) => channel_wait::end(wake, irq),
            Step::Closed => drop(irq),
            Step::Waiting => {
                let ended = match deadline {
                    None => wait.block(irq),
                    Some(deadline) => wait.block_until(irq, deadline),
                };
                timed_out = ended.is_none();
                if timed_out {
                    {
                        let _irq = IrqGuard::new();
                        // SAFETY: linked in this channel by `send_or_wait` above.
                        unsafe { channel.forget_sender(pointer(&mut node)) };
                    }
                    crate::thread::die_if_doomed();
                }
            }
        }
        match node.payload {
            None => Ok(()),
            Some(message) if timed_out => Err(SendTimeoutError::Timeout(message)),
            Some(message) => Err(SendTimeoutError::Closed(message)),
        }
    }
}

impl<T> Sender<T> {
    /// Waits for a moment, in which there may be room again.
    ///
    /// # Errors
    /// It has not waited, for it is not worth while.
    fn pause(&self, irq: IrqGuard, capacity: usize, deadline: Option<Instant>) -> Result<IrqGuard, IrqGuard> {
        let Some(ns) = self.shared.pauses.of_sender(capacity) else { return Err(irq) };
        let before = self.shared.channel.taken();
        let irq = channel_wait::pause(irq, ns, deadline)?;
        self.shared.pauses.over(capacity, self.shared.channel.taken().wrapping_sub(before));
        Ok(irq)
    }

    /// Closes the channel for both sides: nothing goes in any more, what is inside can still be received. False if it was
    /// closed before.
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether it is closed, by `close` or because no receiver (or no sender) is left: a glance.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.channel.is_closed()
    }

    /// How many messages wait to be received: a glance.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.channel.len()
    }

    /// Whether no message waits: a glance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.channel.is_empty()
    }

    /// How many messages it holds; `None` if there is no limit.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.shared.channel.capacity()
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
