//! The channel's slow paths: those that wait, and those that find somebody waiting.

use core::ptr::NonNull;

use super::blocks::Memory;
use super::{
    CLOSED, Channel, Node, RECEIVERS, RETURNED, RecvSide, SENDERS, SendSide, TryRecvError, TrySendError, Waiter,
};
use crate::sync::Ordering;
use crate::wait_queue::Wake;

/// What became of an operation that may wait. `R` is what it brings if it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step<R> {
    /// Done at once.
    Done(R),
    /// The node is linked: park until its token has an outcome.
    Waiting,
    /// The channel is closed. (A sender's message is still in its node.)
    Closed,
}

impl<T, W: Waiter, M: Memory<T>> Channel<T, W, M> {
    /// Sends the message in the node's payload, or links the node.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`](crate::wait_queue::WaitQueue::push_back); the payload is `Some`.
    pub unsafe fn send_or_wait(&self, node: NonNull<Node<T, W>>) -> Step<Option<Wake<W>>> {
        self.with_both(|receiving, sending| {
            // SAFETY: not linked, so the caller's alone.
            let payload = unsafe { &mut (*node.as_ptr()).payload };
            let Some(message) = payload.take() else { return Step::Closed };
            match self.send_locked(sending, message) {
                Ok(woken) => Step::Done(woken),
                Err(TrySendError::Closed(message)) => {
                    *payload = Some(message);
                    Step::Closed
                }
                Err(TrySendError::Full(message)) => {
                    *payload = Some(message);
                    // SAFETY: the caller's promise.
                    unsafe { self.link_sender(receiving, sending, node) };
                    Step::Waiting
                }
            }
        })
    }

    /// Receives a message, or links the node. [`take`](Self::take) has just found nothing.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`](crate::wait_queue::WaitQueue::push_back); the payload is `None`.
    #[inline(always)]
    pub unsafe fn recv_or_wait(&self, node: NonNull<Node<T, W>>) -> Step<(T, Option<Wake<W>>)> {
        // SAFETY: the caller's promise.
        if unsafe { self.wait_for_message(node) } {
            return Step::Waiting;
        }
        // SAFETY: as above: it is not linked.
        unsafe { self.recv_or_wait_again(node) }
    }

    #[cold]
    #[inline(never)]
    unsafe fn recv_or_wait_again(&self, node: NonNull<Node<T, W>>) -> Step<(T, Option<Wake<W>>)> {
        loop {
            if let Some(got) = self.take() {
                return Step::Done(got);
            }
            if self.send.flags.load(Ordering::Relaxed) & (CLOSED | SENDERS) != 0 {
                match self.receive_with_both() {
                    Ok(got) => return Step::Done(got),
                    Err(TryRecvError::Closed) => return Step::Closed,
                    Err(TryRecvError::Empty) => {}
                }
            }
            // SAFETY: the caller's promise.
            if unsafe { self.wait_for_message(node) } {
                return Step::Waiting;
            }
        }
    }

    /// Links a receiver, if nothing is inside, nothing waits to go in and something may come.
    ///
    /// # Safety
    /// As for `recv_or_wait`.
    #[inline(always)]
    unsafe fn wait_for_message(&self, node: NonNull<Node<T, W>>) -> bool {
        let mut inside = self.enter();
        let flags = self.send.flags.load(Ordering::Relaxed);
        // The lock keeps `tail` as it is, and `head` never passes it: if they are equal, they stay so.
        let empty = self.recv.head.load(Ordering::Relaxed) == self.send.tail.load(Ordering::Relaxed);
        let waits = empty && flags & (CLOSED | SENDERS) == 0;
        if waits {
            if flags == 0 {
                // SAFETY: the caller's promise; the flag says that nobody is there.
                unsafe { self.link_alone(inside.get(), node) };
            } else {
                // SAFETY: the caller's promise.
                unsafe { inside.get().receivers.push_back(node) };
            }
        }
        waits
    }

    /// Links the first receiver that waits.
    ///
    /// # Safety
    /// As for `recv_or_wait`, and no flag is set.
    #[inline(always)]
    pub(super) unsafe fn link_alone(&self, sending: &mut SendSide<T, W, M>, node: NonNull<Node<T, W>>) {
        // SAFETY: the caller's promise.
        unsafe { sending.receivers.push_alone(node) };
        self.send.flags.store(RECEIVERS, Ordering::Relaxed);
    }

    /// Calls `f` with both sides, in the order of their locks.
    #[inline(always)]
    pub(super) fn with_both<R>(&self, f: impl FnOnce(&mut RecvSide<T, M>, &mut SendSide<T, W, M>) -> R) -> R {
        self.recv.side.with(|receiving| f(receiving, self.enter().get()))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn receive_with_both(&self) -> Result<(T, Option<Wake<W>>), TryRecvError> {
        self.with_both(|receiving, sending| self.receive_locked(receiving, sending))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn receive_while_senders_wait(&self, receiving: &mut RecvSide<T, M>) -> Option<(T, Option<Wake<W>>)> {
        self.receive_locked(receiving, self.enter().get()).ok()
    }

    /// Takes a message out and moves the first waiting sender's in, or takes that one's if nothing is inside.
    pub(super) fn receive_locked(
        &self,
        receiving: &mut RecvSide<T, M>,
        sending: &mut SendSide<T, W, M>,
    ) -> Result<(T, Option<Wake<W>>), TryRecvError> {
        let mut message = self.take_locked(receiving);
        let mut woken = None;
        if receiving.senders_wait {
            if let Some(mut sender) = sending.senders.pop_claimed() {
                if let Some(next) = sender.payload().take() {
                    message = match message {
                        // `put_locked` cannot fail: `take_locked` has just made room.
                        Some(first) => self.put_locked(sending, next).map(|()| first).ok(),
                        None => Some(next),
                    };
                }
                woken = Some(sender.into_wake());
            }
            self.say_whether_senders_wait(receiving, sending);
        }
        match message {
            Some(message) => Ok((message, woken)),
            None if self.is_closed() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// # Safety
    /// As for `send_or_wait`, and there is no room.
    pub(super) unsafe fn link_sender(
        &self,
        receiving: &mut RecvSide<T, M>,
        sending: &mut SendSide<T, W, M>,
        node: NonNull<Node<T, W>>,
    ) {
        // SAFETY: the caller's promise.
        unsafe { sending.senders.push_back(node) };
        self.say_whether_senders_wait(receiving, sending);
    }

    pub(super) fn say_whether_senders_wait(&self, receiving: &mut RecvSide<T, M>, sending: &SendSide<T, W, M>) {
        receiving.senders_wait = !sending.senders.is_empty();
        let flags = self.send.flags.load(Ordering::Relaxed) & !SENDERS;
        self.send.flags.store(flags | if receiving.senders_wait { SENDERS } else { 0 }, Ordering::Relaxed);
    }

    pub(super) fn say_whether_receivers_wait(&self, sending: &SendSide<T, W, M>) {
        let flags = self.send.flags.load(Ordering::Relaxed) & !RECEIVERS;
        self.send.flags.store(flags | if sending.receivers.is_empty() { 0 } else { RECEIVERS }, Ordering::Relaxed);
    }

    /// Unlinks a sender that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by this channel's [`send_or_wait`](Self::send_or_wait) or
    /// [`link_send`](Self::link_send), and in no other queue since.
    pub unsafe fn forget_sender(&self, node: NonNull<Node<T, W>>) {
        self.with_both(|receiving, sending| {
            // SAFETY: the caller's promise.
            unsafe { sending.senders.remove(node) };
            self.say_whether_senders_wait(receiving, sending);
        });
    }

    /// Unlinks a receiver that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by this channel's [`recv_or_wait`](Self::recv_or_wait) or
    /// [`link_recv`](Self::link_recv), and in no other queue since.
    pub unsafe fn forget_receiver(&self, node: NonNull<Node<T, W>>) {
        let mut inside = self.enter();
        // SAFETY: the caller's promise.
        unsafe { inside.get().receivers.remove(node) };
        self.say_whether_receivers_wait(inside.get());
    }

    /// Closes the channel: no message goes in any more; those inside can still be received. False if it was closed
    /// before. [`wake_after_close`](Self::wake_after_close) must follow.
    pub fn close(&self) -> bool {
        self.with_both(|_, _| {
            let flags = self.send.flags.load(Ordering::Relaxed);
            self.send.flags.store(flags | CLOSED, Ordering::Relaxed);
            flags & CLOSED == 0
        })
    }

    /// Ends the wait of one of those who waited when the channel was closed; `None` when there are no more. Nobody begins
    /// to wait after [`close`](Self::close). What came back waits on, for as long as there are receivers.
    pub fn wake_after_close(&self) -> Option<Wake<W>> {
        self.with_both(|receiving, sending| {
            let claim = sending.receivers.pop_claimed().or_else(|| sending.senders.pop_claimed_but(RETURNED));
            self.say_whether_receivers_wait(sending);
            self.say_whether_senders_wait(receiving, sending);
            claim.map(|claim| claim.into_wake())
        })
    }
}
