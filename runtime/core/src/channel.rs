//! Bounded channel, many senders and many receivers: a state machine that says who must be woken.
//!
//! # Protocol
//! A ring of messages and two [wait queues](crate::wait_queue) behind one short lock. At any time outside the lock:
//! receivers wait only if the ring is empty and no sender waits; senders wait only if the ring is full. So a sender that
//! finds a receiver gives it the message directly, in the receiver's own node, and a receiver that makes room moves
//! the message of the first waiting sender into the ring at once: messages stay in order, and whoever is woken has what
//! it waited for and need not look again (no barging, no second wake-up).
//!
//! Nothing here parks or unparks. An operation that must wait links the caller's node; the caller parks until its token
//! has an outcome, then looks at the payload: a sender's is `None` if the message went, a receiver's is `Some` if one
//! came, and otherwise the channel was closed.
//!
//! A capacity of 0 is a rendezvous: every message passes from node to node.
//!
//! # Rejected
//! A lock-free ring with sequence numbers: faster for many at once, but the hand-off to a waiter then needs a second
//! protocol with its own fence, and the uncontended path (what a unikernel mostly does) is no shorter.

use core::borrow::BorrowMut;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use crate::spinlock::SpinLock;
use crate::sync::const_unless_loom;
use crate::wait_queue::{Claim, WaitNode, WaitQueue};

/// A waiting sender (payload: its message) or receiver (payload: `None`).
pub type Node<T, W> = WaitNode<W, Option<T>>;

/// Why a message was not sent; it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// No room, and nobody waits for a message.
    Full(T),
    /// The channel is closed.
    Closed(T),
}

/// Why no message was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecvError {
    /// None is there.
    Empty,
    /// None is there, and none will come.
    Closed,
}

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

struct Inner<T, W: Copy, S: BorrowMut<[MaybeUninit<T>]>> {
    storage: S,
    /// Where the oldest message is.
    head: usize,
    len: usize,
    closed: bool,
    senders: WaitQueue<W, Option<T>>,
    receivers: WaitQueue<W, Option<T>>,
    messages: PhantomData<T>,
}

/// A channel for messages `T` between threads named by `W`, kept in `S`: an array or a boxed slice of
/// `MaybeUninit<T>`, whose length is the capacity. Interrupts are masked around each call.
pub struct Channel<T, W: Copy, S: BorrowMut<[MaybeUninit<T>]>> {
    inner: SpinLock<Inner<T, W, S>>,
}

impl<T, W: Copy, S: BorrowMut<[MaybeUninit<T>]>> Inner<T, W, S> {
    #[inline(always)]
    fn put(&mut self, message: T) -> Result<(), T> {
        let slots = self.storage.borrow_mut();
        if self.len >= slots.len() {
            return Err(message);
        }
        let at = self.head + self.len;
        let at = if at >= slots.len() { at - slots.len() } else { at };
        slots[at].write(message);
        self.len += 1;
        Ok(())
    }

    #[inline(always)]
    fn take(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let slots = self.storage.borrow_mut();
        // SAFETY: the slots from `head`, `len` of them, hold messages; this one is left behind.
        let message = unsafe { slots[self.head].assume_init_read() };
        self.head = if self.head + 1 == slots.len() { 0 } else { self.head + 1 };
        self.len -= 1;
        Some(message)
    }

    #[inline(always)]
    fn send(&mut self, message: T) -> Result<Option<W>, TrySendError<T>> {
        if self.closed {
            return Err(TrySendError::Closed(message));
        }
        if !self.receivers.is_empty()
            && let Some(mut receiver) = self.receivers.pop_claimed()
        {
            *receiver.payload() = Some(message);
            return Ok(Some(receiver.publish()));
        }
        self.put(message).map(|()| None).map_err(TrySendError::Full)
    }

    #[inline(always)]
    fn receive(&mut self) -> Result<(T, Option<W>), TryRecvError> {
        let mut message = self.take();
        let mut woken = None;
        if !self.senders.is_empty()
            && let Some(mut sender) = self.senders.pop_claimed()
        {
            if let Some(next) = sender.payload().take() {
                message = match message {
                    // `put` cannot fail: `take` has just made room.
                    Some(first) => self.put(next).map(|()| first).ok(),
                    None => Some(next),
                };
            }
            woken = Some(sender.publish());
        }
        match message {
            Some(message) => Ok((message, woken)),
            None if self.closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

impl<T, W: Copy, S: BorrowMut<[MaybeUninit<T>]>> Channel<T, W, S> {
    const_unless_loom! {
        /// An open, empty channel in `storage`.
        pub const fn new(storage: S) -> Self {
            Self {
                inner: SpinLock::new(Inner {
                    storage,
                    head: 0,
                    len: 0,
                    closed: false,
                    senders: WaitQueue::new(),
                    receivers: WaitQueue::new(),
                    messages: PhantomData,
                }),
            }
        }
    }

    /// Sends without waiting. The receiver returned, if any, has the message and must be unparked.
    ///
    /// # Errors
    /// [`TrySendError`], with the message.
    #[inline]
    pub fn try_send(&self, message: T) -> Result<Option<W>, TrySendError<T>> {
        self.inner.with(|inner| inner.send(message))
    }

    /// Receives without waiting. The sender returned, if any, has got rid of its message and must be unparked.
    ///
    /// # Errors
    /// [`TryRecvError`].
    #[inline]
    pub fn try_recv(&self) -> Result<(T, Option<W>), TryRecvError> {
        self.inner.with(Inner::receive)
    }

    /// Sends the message in the node's payload, or links the node.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`]; the payload is `Some`.
    #[inline]
    pub unsafe fn send_or_wait(&self, node: NonNull<Node<T, W>>) -> Step<Option<W>> {
        self.inner.with(|inner| {
            // SAFETY: not linked, so the caller's alone.
            let payload = unsafe { &mut (*node.as_ptr()).payload };
            let Some(message) = payload.take() else { return Step::Closed };
            match inner.send(message) {
                Ok(woken) => Step::Done(woken),
                Err(TrySendError::Closed(message)) => {
                    *payload = Some(message);
                    Step::Closed
                }
                Err(TrySendError::Full(message)) => {
                    *payload = Some(message);
                    // SAFETY: the caller's promise.
                    unsafe { inner.senders.push_back(node) };
                    Step::Waiting
                }
            }
        })
    }

    /// Receives a message, or links the node.
    ///
    /// # Safety
    /// As for [`WaitQueue::push_back`]; the payload is `None`.
    #[inline]
    pub unsafe fn recv_or_wait(&self, node: NonNull<Node<T, W>>) -> Step<(T, Option<W>)> {
        self.inner.with(|inner| match inner.receive() {
            Ok(got) => Step::Done(got),
            Err(TryRecvError::Closed) => Step::Closed,
            Err(TryRecvError::Empty) => {
                // SAFETY: the caller's promise.
                unsafe { inner.receivers.push_back(node) };
                Step::Waiting
            }
        })
    }

    /// Unlinks a sender that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by [`send_or_wait`](Self::send_or_wait) of this channel, and in no other queue since.
    pub unsafe fn forget_sender(&self, node: NonNull<Node<T, W>>) {
        // SAFETY: the caller's promise.
        self.inner.with(|inner| unsafe { inner.senders.remove(node) });
    }

    /// Unlinks a receiver that leaves: its token has another outcome than this node's.
    ///
    /// # Safety
    /// The node was linked by [`recv_or_wait`](Self::recv_or_wait) of this channel, and in no other queue since.
    pub unsafe fn forget_receiver(&self, node: NonNull<Node<T, W>>) {
        // SAFETY: the caller's promise.
        self.inner.with(|inner| unsafe { inner.receivers.remove(node) });
    }

    /// Closes the channel: no message goes in any more; those inside can still be received. Hands all who wait to
    /// `wake`, one by one and outside the lock. False if it was closed before.
    pub fn close(&self, mut wake: impl FnMut(W)) -> bool {
        let first = self.inner.with(|inner| !core::mem::replace(&mut inner.closed, true));
        // Nobody is linked once it is closed, so this ends.
        while let Some(waiter) = self.inner.with(|inner| {
            let claim = inner.receivers.pop_claimed().or_else(|| inner.senders.pop_claimed());
            claim.map(Claim::publish)
        }) {
            wake(waiter);
        }
        first
    }

    /// How many messages are inside.
    pub fn len(&self) -> usize {
        self.inner.with(|inner| inner.len)
    }

    /// True if no message is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True once `close` was called.
    pub fn is_closed(&self) -> bool {
        self.inner.with(|inner| inner.closed)
    }
}

impl<T, W: Copy, S: BorrowMut<[MaybeUninit<T>]>> Drop for Inner<T, W, S> {
    fn drop(&mut self) {
        while self.take().is_some() {}
    }
}

impl<T, W: Copy, S: BorrowMut<[MaybeUninit<T>]>> core::fmt::Debug for Channel<T, W, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
