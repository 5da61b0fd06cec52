//! The channel's operations for a `select`, which holds the locks of all its channels at a time: while it has them,
//! nothing becomes possible or impossible on any of them, so it can look at all and then wait at all.

use core::ptr::NonNull;

use super::blocks::Memory;
use super::{CLOSED, Channel, Node, RECEIVERS, SENDERS, TryRecvError, TrySendError, Waiter};
use crate::sync::Ordering;
use crate::wait_queue::Wake;

impl<T, W: Waiter, M: Memory<T>> Channel<T, W, M> {
    /// Takes both locks, for the calls below. Whoever takes the locks of several channels does so in the order of their
    /// addresses, and of each once.
    pub fn lock(&self) {
        self.recv.side.lock();
        if let Some(guest) = self.send.side.take() {
            // SAFETY: just taken.
            unsafe { self.send.side.with_locked(|sending| self.seat(sending, guest)) };
        }
    }

    /// Opens both locks.
    ///
    /// # Safety
    /// The caller holds them by [`lock`](Self::lock).
    pub unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.send.side.unlock();
            self.recv.side.unlock();
        }
    }

    /// As [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// [`TrySendError`], with the message.
    ///
    /// # Safety
    /// The caller holds the locks.
    pub unsafe fn try_send_locked(&self, message: T) -> Result<Option<Wake<W>>, TrySendError<T>> {
        // SAFETY: the caller's promise.
        unsafe { self.send.side.with_locked(|sending| self.send_locked(sending, message)) }
    }

    /// As [`try_recv`](Self::try_recv).
    ///
    /// # Errors
    /// [`TryRecvError`].
    ///
    /// # Safety
    /// The caller holds the locks.
    pub unsafe fn try_recv_locked(&self) -> Result<(T, Option<Wake<W>>), TryRecvError> {
        // SAFETY: the caller's promise.
        unsafe {
            self.recv
                .side
                .with_locked(|receiving| self.send.side.with_locked(|sending| self.receive_locked(receiving, sending)))
        }
    }

    /// Links a sender that found no room.
    ///
    /// # Safety
    /// As for [`send_or_wait`](Self::send_or_wait). The caller holds the locks, and
    /// [`try_send_locked`](Self::try_send_locked) said `Full` since it took them.
    pub unsafe fn link_send(&self, node: NonNull<Node<T, W>>) {
        // SAFETY: the caller's promise.
        unsafe {
            self.recv.side.with_locked(|receiving| {
                self.send.side.with_locked(|sending| self.link_sender(receiving, sending, node));
            });
        }
    }

    /// Links a receiver that found nothing.
    ///
    /// # Safety
    /// As for [`recv_or_wait`](Self::recv_or_wait). The caller holds the locks, and
    /// [`try_recv_locked`](Self::try_recv_locked) said `Empty` since it took them.
    pub unsafe fn link_recv(&self, node: NonNull<Node<T, W>>) {
        // SAFETY: the caller's promise.
        unsafe {
            self.send.side.with_locked(|sending| {
                sending.receivers.push_back(node);
                self.say_whether_receivers_wait(sending);
            });
        }
    }

    /// Whether sending would not wait: a glance.
    pub fn may_send(&self) -> bool {
        let flags = self.send.flags.load(Ordering::Relaxed);
        flags & (CLOSED | RECEIVERS) != 0
            || self.send.side.has_guest()
            || flags & SENDERS == 0 && self.len() < self.send.capacity
    }

    /// Whether receiving would not wait: a glance.
    pub fn may_recv(&self) -> bool {
        self.send.flags.load(Ordering::Relaxed) & (CLOSED | SENDERS) != 0 || !self.is_empty()
    }
}
