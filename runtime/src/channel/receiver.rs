//! The receiving end.

use super::{RecvError, RecvTimeoutError, Shared, TryRecvError};
use crate::thread::control::ThreadPtr;
use crate::worker::channel_wait::{self, Stood, Wait, pointer};
use crate::{Duration, Instant};
use alloc::sync::Arc;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use isochron_core::channel::{Node, Pauses, Standing, Step};
use isochron_kernel::irq::{IrqGuard, UnmaskGuard};

/// The receiving end of a channel. The channel is closed when the last one is dropped.
pub struct Receiver<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T: Send> Receiver<T> {
    /// Receives the oldest message; waits while there is none.
    ///
    /// # Errors
    /// [`RecvError`] if there is none and none will come: the channel is closed or no sender is left.
    ///
    /// # Panics
    /// If it must wait where a thread must not block.
    #[track_caller]
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        let mut irq = IrqGuard::new();
        let channel = &self.shared.channel;
        let head = channel.taken();
        let mut has_looked = false;
        loop {
            if let Some((message, wake)) = channel.take_after(head) {
                channel_wait::end(wake, irq);
                return Ok(message);
            }
            if has_looked || !channel.is_polled() {
                break;
            }
            irq = self.poll(head, irq);
            has_looked = true;
        }
        let (wait, irq) = Wait::unsaid(irq);
        let me = wait.thread();
        let mut standing = wait.standing();
        let place = NonNull::from(&mut standing);
        // SAFETY: `standing` and the token stay on this stack until the wait is over.
        unsafe {
            let Some(at_door) = channel.at_door(head) else { return self.wait_among_others(&wait, place, irq) };
            match wait.stand(me, at_door, place) {
                Stood::InDoor => match Standing::take_gift(place) {
                    Some(message) => {
                        drop(irq);
                        Ok(message)
                    }
                    None => self.wait_on_in_queue(&wait, place, irq),
                },
                // Mostly nobody is faster than the first park, and it ends once.
                Stood::InQueue(true) => {
                    drop(irq);
                    (*Standing::node(place).as_ptr()).payload.take().ok_or(RecvError)
                }
                Stood::InQueue(false) => self.wait_on(&wait, Standing::node(place), irq),
            }
        }
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// [`TryRecvError`].
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let irq = IrqGuard::new();
        let (message, wake) = self.shared.channel.try_recv()?;
        channel_wait::end(wake, irq);
        Ok(message)
    }

    /// As [`Receiver::recv`], waiting for `timeout` at the most; for ever if the clock does not reach so far.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    ///
    /// # Panics
    /// As `recv`.
    #[track_caller]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_deadline(Instant::now() + timeout)
    }

    /// As [`Receiver::recv`], waiting until `deadline` at the most. A message that is there is received even if the
    /// deadline has passed.
    ///
    /// # Errors
    /// [`RecvTimeoutError`].
    ///
    /// # Panics
    /// As `recv`.
    #[track_caller]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        let irq = IrqGuard::new();
        let channel = &self.shared.channel;
        if let Some((message, wake)) = channel.take() {
            channel_wait::end(wake, irq);
            return Ok(message);
        }
        let (wait, irq) = Wait::new(irq);
        let mut node = wait.node(0, None);
        // SAFETY: the node and its token stay on this stack until the wait is over, or the node is forgotten below;
        // its payload is `None`.
        match unsafe { channel.recv_or_wait(pointer(&mut node)) } {
            Step::Waiting => {
                if wait.block_until(irq, deadline).is_none() {
                    // SAFETY: linked in this channel by `recv_or_wait` above.
                    unsafe { self.leave_line(pointer(&mut node)) };
                    return Err(RecvTimeoutError::Timeout);
                }
                node.payload.ok_or(RecvTimeoutError::Closed)
            }
            Step::Done((message, wake)) => {
                channel_wait::end(wake, irq);
                Ok(message)
            }
            Step::Closed => Err(RecvTimeoutError::Closed),
        }
    }

    /// Looks at the channel for a while, on a CPU that has nobody else.
    #[cold]
    #[inline(never)]
    fn poll(&self, head: usize, irq: IrqGuard) -> IrqGuard {
        let channel = &self.shared.channel;
        let irq = match Pauses::of_receiver(channel.since_last_poll(head)) {
            Some(ns) => channel_wait::pause(irq, ns, None).unwrap_or_else(|irq| irq),
            None => irq,
        };
        channel_wait::watch(irq, || channel.has_changed(head)).unwrap_or_else(|irq| {
            channel.poll_no_more();
            irq
        })
    }

    /// A wait that does not begin as that of the one who waits.
    ///
    /// # Safety
    /// As for [`Channel::recv_or_wait`](isochron_core::channel::Channel::recv_or_wait), with a node in `standing`; it is one of
    /// this wait.
    #[cold]
    #[inline(never)]
    unsafe fn wait_among_others(
        &self,
        wait: &Wait,
        standing: NonNull<Standing<T, ThreadPtr>>,
        irq: UnmaskGuard,
    ) -> Result<T, RecvError> {
        // SAFETY: the caller's promise: it is in no queue and no door.
        let node = unsafe { Standing::new_node(standing) };
        // SAFETY: the caller's promise.
        match unsafe { self.shared.channel.recv_or_wait(node) } {
            // SAFETY: linked in this channel just now.
            Step::Waiting => unsafe {
                if wait.park() {
                    drop(irq);
                    (*node.as_ptr()).payload.take().ok_or(RecvError)
                } else {
                    self.wait_on(wait, node, irq)
                }
            },
            Step::Done((message, wake)) => {
                channel_wait::end(wake, irq);
                Ok(message)
            }
            Step::Closed => Err(RecvError),
        }
    }

    /// The rest of a wait that began in the door, and was not ended there: it is to die, or somebody else has come.
    ///
    /// # Safety
    /// `standing` stood in this channel's door, and is one of this wait.
    #[cold]
    #[inline(never)]
    unsafe fn wait_on_in_queue(
        &self,
        wait: &Wait,
        standing: NonNull<Standing<T, ThreadPtr>>,
        irq: UnmaskGuard,
    ) -> Result<T, RecvError> {
        self.shared.channel.sit_down();
        // SAFETY: whoever took it out of the door has put it into the queue.
        unsafe { self.wait_on(wait, Standing::node(standing), irq) }
    }

    /// The rest of a wait that its first park has not ended.
    ///
    /// # Safety
    /// The node is linked in this channel, or was, and is one of this wait.
    #[cold]
    #[inline(never)]
    unsafe fn wait_on(&self, wait: &Wait, node: NonNull<Node<T, ThreadPtr>>, irq: UnmaskGuard) -> Result<T, RecvError> {
        let _said = wait.said();
        if wait.block_again(irq).is_none() {
            // SAFETY: the caller's promise.
            unsafe { self.leave_line(node) };
        }
        // SAFETY: the wait is over: it is this thread's alone.
        unsafe { (*node.as_ptr()).payload.take() }.ok_or(RecvError)
    }

    /// Ends a wait that no message has ended: by a time-out, or because the thread is to die.
    ///
    /// # Safety
    /// The node is linked in this channel, and its wait is over by itself.
    #[cold]
    unsafe fn leave_line(&self, node: NonNull<Node<T, ThreadPtr>>) {
        {
            let _irq = IrqGuard::new();
            // SAFETY: the caller's promise.
            unsafe { self.shared.channel.forget_receiver(node) };
        }
        crate::thread::die_if_doomed();
    }

    /// The messages as they come, until the channel is closed and empty.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there, without waiting for more.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

impl<T> Receiver<T> {
    /// Closes the channel for both sides: nothing goes in any more, what is inside can still be received. False if it was
    /// closed before.
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether it is closed, by `close` or because no sender (or no receiver) is left: a glance. Messages may still be
    /// inside.
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

/// Iterator of [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T: Send> Iterator for Iter<'_, T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

/// Iterator of [`Receiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T: Send> Iterator for TryIter<'_, T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

/// Iterator of a receiver that it owns: the messages as they come, until the channel is closed and empty.
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T: Send> Iterator for IntoIter<T> {
    type Item = T;
    #[inline]
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

impl<T: Send> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;
    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
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
