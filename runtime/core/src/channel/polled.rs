//! Whether a receiver that finds nothing looks again for a while before it waits.
//!
//! A message for a receiver that has been queued goes through the sending side's lock, which the receiver had last, its node and its
//! thread's state: a line of the other CPU's each. For one that only looks, it goes through the count and the slot. So a receiver with
//! a CPU to itself looks first. Who shares its CPU with the sender must not: it would ask in vain each time. That its CPU has nobody
//! else, a receiver finds out when it [waits](AtDoor) at the latest, and says so here for the next time.

use super::blocks::Memory;
use super::standing::AtDoor;
use super::{CLOSED, Channel, SENDERS, Waiter};
use crate::sync::Ordering;

impl<T, W: Waiter, M: Memory<T>> Channel<T, W, M> {
    /// Whether the next receiver that finds nothing is to look again before it waits.
    #[inline(always)]
    pub fn is_polled(&self) -> bool {
        self.recv.polled.load(Ordering::Relaxed)
    }

    /// A receiver begins to look again after it found nothing behind `head`: how many messages were received since the last that did.
    pub fn since_last_poll(&self, head: usize) -> usize {
        let last = self.recv.polled_at.load(Ordering::Relaxed);
        self.recv.polled_at.store(head, Ordering::Relaxed);
        head.wrapping_sub(last)
    }

    /// It is not, from here on.
    pub fn poll_no_more(&self) {
        self.recv.polled.store(false, Ordering::Relaxed);
    }

    /// Whether a receiver that found nothing behind `head` has a reason to look again: a glance.
    #[inline]
    pub fn has_changed(&self, head: usize) -> bool {
        head != self.send.tail.load(Ordering::Relaxed)
            || self.send.flags.load(Ordering::Relaxed) & (CLOSED | SENDERS) != 0
    }
}

impl<T, W: Waiter, M: Memory<T>> AtDoor<'_, T, W, M> {
    /// A receiver waits here with a CPU to itself: from now on it is to look first. True if it has been so. (In a rendezvous it is
    /// not: nothing ever lies there.)
    pub fn poll_from_now(&self) -> bool {
        let channel = self.channel();
        let polled = channel.is_polled();
        if !polled && channel.send.capacity > 0 {
            channel.recv.polled.store(true, Ordering::Relaxed);
        }
        polled
    }
}
