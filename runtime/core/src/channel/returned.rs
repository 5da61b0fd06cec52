//! Messages that come back: a receiver was handed one, and is gone before it could say that it has it.
//!
//! Such a message was sent, so it is received as long as there is a receiver. It goes to one that waits, or into the channel; if
//! that is full or closed, it waits among the senders, in a node of the tag [`RETURNED`], which nobody waits for. A close ends the
//! wait of senders, but not of these. Who receives finds them as it finds senders, and finds the channel closed only behind them.

use core::ptr::NonNull;

use super::blocks::Memory;
use super::waiting::Step;
use super::{Channel, Node, TrySendError, Waiter};
use crate::wait_queue::Wake;

/// The tag of a node whose message came back.
pub const RETURNED: u32 = 1 << 28;

impl<T, W: Waiter, M: Memory<T>> Channel<T, W, M> {
    /// Takes back the message in the node's payload, or links the node: never [`Step::Closed`].
    ///
    /// # Safety
    /// As for [`send_or_wait`](Self::send_or_wait); the node is of the tag [`RETURNED`]. As long as it is linked there is a
    /// receiver, and when there is none any more, [`wake_returned`](Self::wake_returned) is called.
    pub unsafe fn put_back(&self, node: NonNull<Node<T, W>>) -> Step<Option<Wake<W>>> {
        self.with_both(|receiving, sending| {
            // SAFETY: not linked, so the caller's alone.
            let payload = unsafe { &mut (*node.as_ptr()).payload };
            let Some(message) = payload.take() else { return Step::Done(None) };
            match self.send_locked(sending, message) {
                Ok(woken) => Step::Done(woken),
                Err(TrySendError::Closed(message) | TrySendError::Full(message)) => {
                    *payload = Some(message);
                    // SAFETY: the caller's promise.
                    unsafe { self.link_sender(receiving, sending, node) };
                    Step::Waiting
                }
            }
        })
    }

    /// No receiver is left, and the channel is closed: ends the wait of one message that came back. `None` when there are no more.
    pub fn wake_returned(&self) -> Option<Wake<W>> {
        self.with_both(|receiving, sending| {
            let claim = sending.senders.pop_claimed();
            self.say_whether_senders_wait(receiving, sending);
            claim.map(|claim| claim.into_wake())
        })
    }
}
