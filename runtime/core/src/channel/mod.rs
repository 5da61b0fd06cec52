//! Channel, many senders and many receivers, bounded, unbounded or a rendezvous: a state machine that says who must be
//! woken.
//!
//! # Protocol
//! Messages lie in [blocks](blocks), a ring or a chain. The two ends meet as little as can be: the *sending side* (how
//! many messages were ever put in, where the next goes) and the *receiving side* (how many were ever taken out, where the
//! next is) have a short lock and cache lines each. A side keeps what it last saw of the other's count and looks again
//! only when that says full, or empty; so while messages flow, a sender and a receiver on two CPUs share a line only once
//! for many messages. The slots go from side to side with the counts: release by the side that writes one, acquire by
//! the side that looks.
//!
//! A receiver that waits alone may [stand in the door](door) of the sending side's lock, and is handed its message there. All
//! others, and that one too as soon as somebody comes who does not bring a message, wait as follows.
//!
//! Who waits, waits in a [queue](crate::wait_queue) under the lock of *those whom it waits for*, or under both, so that
//! nobody needs a fence to see it: three flags, in a word that each sender looks at under its own lock, say all.
//!
//! | flag | what | set under | cleared under |
//! | --- | --- | --- | --- |
//! | `RECEIVERS` | receivers wait: nothing is inside, no sender waits | the sending side's lock | the same |
//! | `SENDERS` | senders wait: no room is left (or a message came back when it was closed), no receiver waits | both | both |
//! | `CLOSED` | no message goes in any more | both | never |
//!
//! * A receiver that finds nothing waits under the sending side's lock alone: while it has that, nothing is put in. A
//!   sender then gives it the message directly, in the receiver's own node.
//! * A sender that finds no room waits under both locks. `senders_wait` tells the receiving side, which then takes both
//!   locks too, and moves the first waiting sender's message in for the one it took out. As long as somebody waits, no
//!   other sender is let in: messages stay in order, and nobody is overtaken.
//! * Both locks are taken in one order: the receiving side's first.
//!
//! So whoever is woken has what it waited for and need not look again. Nothing here parks or unparks. An operation that
//! must wait links the caller's node; the caller parks until its token has an outcome, then looks at the payload: a
//! sender's is `None` if the message went, a receiver's is `Some` if one came, and otherwise the channel was closed. Who
//! ends somebody's wait gets a [`Wake`]: interrupts stay masked from the call until that is published.
//!
//! A message that was handed over to a receiver which is gone [comes back](returned), and waits among the senders.
//!
//! A capacity of 0 is a rendezvous: every message passes from node to node.
//!
//! Who has a CPU to itself may [look again](polled) before it waits, and [pause](pauses) before it does: hints, in relaxed words, that
//! no wait depends on.
//!
//! # Rejected
//! * *One lock for all*: half the throughput on two CPUs, for each message takes the line from the other end.
//! * *A lock-free ring with a sequence number in each slot*: as many read-modify-writes (one for each end) for twice the
//!   memory; a sender that is interrupted between reserving and filling a slot stops all receivers, so interrupts must be
//!   masked all the same; and a waiter needs a fence on the path of those who do not wait, or a bit in the counts that
//!   everybody must mask off. What it has before this, that senders do not wait for each other, is worth something with
//!   many CPUs at one end.
//! * *Waking a waiting sender only when there is much room*: fewer wake-ups, but a sender then waits beside free room.

pub mod blocks;
mod door;
mod locked;
mod pauses;
mod polled;
mod returned;
mod standing;
mod waiting;

use core::ptr::{NonNull, null_mut};

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{Aligned, AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::wait_queue::{WaitNode, WaitQueue, Wake};
use blocks::{Block, Cursor, Memory};
use door::Door;

pub use door::Guest;
pub use pauses::Pauses;
pub use returned::RETURNED;
pub use standing::{AtDoor, Named, Standing, Waiter};
pub use waiting::Step;

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

/// No message goes in any more.
const CLOSED: u32 = 1;
/// Senders wait.
const SENDERS: u32 = 2;
/// Receivers wait.
const RECEIVERS: u32 = 4;

/// What senders work with, one at a time.
struct SendSide<T, W, M: Memory<T>> {
    cursor: Cursor<T, M::Slots>,
    /// What `RecvLine::head` was when last looked at.
    seen_head: usize,
    receivers: WaitQueue<W, Option<T>>,
    /// Changed under both locks.
    senders: WaitQueue<W, Option<T>>,
}

/// What receivers work with, one at a time.
struct RecvSide<T, M: Memory<T>> {
    cursor: Cursor<T, M::Slots>,
    /// `SENDERS` is set. Changed under both locks.
    senders_wait: bool,
}

#[repr(C)]
struct SendLine<T, W, M: Memory<T>> {
    side: Door<SendSide<T, W, M>>,
    /// Written under the sending side's lock.
    flags: AtomicU32,
    /// Messages ever put in. Written under the sending side's lock.
    tail: AtomicUsize,
    capacity: usize,
    wraps: bool,
}

#[repr(C)]
struct RecvLine<T, M: Memory<T>> {
    side: SpinLock<RecvSide<T, M>>,
    /// Messages ever taken out. Written under the receiving side's lock.
    head: AtomicUsize,
    /// What `SendLine::tail` was when last looked at. Written under the receiving side's lock.
    seen_tail: AtomicUsize,
    wraps: bool,
    /// See `polled.rs`.
    polled: AtomicBool,
    polled_at: AtomicUsize,
    /// A block of a chain that was emptied, to be filled again. Filled in under the receiving side's lock, and taken out
    /// under the sending side's.
    spare: AtomicPtr<Block<T, M::Slots>>,
}

/// A channel for messages `T` between threads named by `W`, in blocks that come from `M`. Interrupts are masked around
/// each call.
pub struct Channel<T, W: Waiter, M: Memory<T>> {
    send: Aligned<SendLine<T, W, M>>,
    recv: Aligned<RecvLine<T, M>>,
}

impl<T, W: Waiter, M: Memory<T>> Channel<T, W, M> {
    /// An open, empty channel with room for as many messages as `block` has slots; with none, a rendezvous.
    ///
    /// # Safety
    /// The block is unshared and stays where it is; the channel gives it to [`Memory::free`] at its end.
    pub unsafe fn bounded(block: NonNull<Block<T, M::Slots>>) -> Self {
        // SAFETY: the caller's promise.
        let capacity = unsafe { Cursor::new(block) }.len();
        // SAFETY: as above.
        unsafe { Self::new(block, capacity, true) }
    }

    /// An open, empty channel without a limit, whose messages lie in `block` and in further ones.
    ///
    /// # Safety
    /// As for [`bounded`](Self::bounded); the block has a slot at least.
    pub unsafe fn unbounded(block: NonNull<Block<T, M::Slots>>) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new(block, usize::MAX, false) }
    }

    unsafe fn new(block: NonNull<Block<T, M::Slots>>, capacity: usize, wraps: bool) -> Self {
        // SAFETY: the caller's promise; each side keeps to its own part of the block.
        let (sending, receiving) = unsafe { (Cursor::new(block), Cursor::new(block)) };
        Self {
            send: Aligned(SendLine {
                side: Door::new(
                    lock_rank::CHANNEL,
                    SendSide { cursor: sending, seen_head: 0, receivers: WaitQueue::new(), senders: WaitQueue::new() },
                ),
                flags: AtomicU32::new(0),
                tail: AtomicUsize::new(0),
                capacity,
                wraps,
            }),
            recv: Aligned(RecvLine {
                side: SpinLock::new(lock_rank::CHANNEL, RecvSide { cursor: receiving, senders_wait: false }),
                head: AtomicUsize::new(0),
                seen_tail: AtomicUsize::new(0),
                wraps,
                polled: AtomicBool::new(false),
                polled_at: AtomicUsize::new(0),
                spare: AtomicPtr::new(null_mut()),
            }),
        }
    }

    /// Sends without waiting. If a [`Wake`] comes back, that receiver has the message.
    ///
    /// # Errors
    /// [`TrySendError`], with the message. A channel without limit is full when there is no memory.
    #[inline(always)]
    pub fn try_send(&self, message: T) -> Result<Option<Wake<W>>, TrySendError<T>> {
        let (mut inside, guest) = self.send.side.enter();
        let message = match guest {
            None => message,
            Some(guest) => match self.give(guest, message) {
                Ok(waiter) => return Ok(Some(Wake::handed_over(waiter))),
                Err(message) => {
                    self.seat(inside.get(), guest);
                    message
                }
            },
        };
        self.send_locked(inside.get(), message)
    }

    /// Receives without waiting. If a [`Wake`] comes back, that sender has got rid of its message.
    ///
    /// # Errors
    /// [`TryRecvError`].
    #[inline(always)]
    pub fn try_recv(&self) -> Result<(T, Option<Wake<W>>), TryRecvError> {
        match self.take() {
            Some(got) => Ok(got),
            None if self.send.flags.load(Ordering::Relaxed) & (CLOSED | SENDERS) == 0 => Err(TryRecvError::Empty),
            None => self.receive_with_both(),
        }
    }

    /// As [`try_recv`](Self::try_recv), for a caller that waits if there is nothing: the first half of a receive, of which
    /// [`recv_or_wait`](Self::recv_or_wait) is the second. In a rendezvous there is never anything.
    #[inline(always)]
    pub fn take(&self) -> Option<(T, Option<Wake<W>>)> {
        self.take_after(self.taken())
    }

    /// Messages ever taken out: for [`take_after`](Self::take_after) and [`at_door`](Self::at_door).
    #[inline(always)]
    pub fn taken(&self) -> usize {
        self.recv.head.load(Ordering::Relaxed)
    }

    /// As [`take`](Self::take), for a caller that has just asked how many were [taken out](Self::taken).
    #[inline(always)]
    pub fn take_after(&self, head: usize) -> Option<(T, Option<Wake<W>>)> {
        // A glance, which mostly reads a line of the receiving side's only.
        if head == self.recv.seen_tail.load(Ordering::Relaxed) && head == self.send.tail.load(Ordering::Relaxed) {
            return None;
        }
        let mut side = self.recv.side.guard();
        if side.senders_wait {
            return self.receive_while_senders_wait(&mut side);
        }
        self.take_locked(&mut side).map(|message| (message, None))
    }

    #[inline(always)]
    fn send_locked(&self, side: &mut SendSide<T, W, M>, message: T) -> Result<Option<Wake<W>>, TrySendError<T>> {
        let flags = self.send.flags.load(Ordering::Relaxed);
        if flags == 0 {
            return self.put_locked(side, message).map(|()| None).map_err(TrySendError::Full);
        }
        if flags == RECEIVERS {
            let claim = side.receivers.pop_claimed();
            if side.receivers.is_empty() {
                // No sender waits beside a receiver, and it is not closed: there was no other flag.
                self.send.flags.store(0, Ordering::Relaxed);
            }
            if let Some(mut receiver) = claim {
                *receiver.payload() = Some(message);
                return Ok(Some(receiver.into_wake()));
            }
            return self.put_locked(side, message).map(|()| None).map_err(TrySendError::Full);
        }
        if flags & CLOSED != 0 {
            return Err(TrySendError::Closed(message));
        }
        // Somebody waits for room already, and goes first.
        Err(TrySendError::Full(message))
    }

    #[inline(always)]
    fn put_locked(&self, side: &mut SendSide<T, W, M>, message: T) -> Result<(), T> {
        let tail = self.send.tail.load(Ordering::Relaxed);
        if tail.wrapping_sub(side.seen_head) >= self.send.capacity {
            // Acquire: partner is the store in `take_locked`: the slot has been read.
            side.seen_head = self.recv.head.load(Ordering::Acquire);
            if tail.wrapping_sub(side.seen_head) >= self.send.capacity {
                return Err(message);
            }
        }
        if side.cursor.is_at_end() {
            if self.send.wraps {
                side.cursor.wrap();
            } else if !self.extend(&mut side.cursor) {
                return Err(message);
            }
        }
        // SAFETY: not at the end; of a ring, the slot's last message was taken out, as its side has said; of a chain, it is
        // new. This side's lock is held.
        unsafe { side.cursor.write(message) };
        // Release: partner is the load in `take_locked`.
        self.send.tail.store(tail.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    #[inline(always)]
    fn take_locked(&self, side: &mut RecvSide<T, M>) -> Option<T> {
        let head = self.recv.head.load(Ordering::Relaxed);
        if head == self.recv.seen_tail.load(Ordering::Relaxed) {
            // Acquire: partner is the store in `put_locked`: the slot has been filled, its block linked.
            let tail = self.send.tail.load(Ordering::Acquire);
            if head == tail {
                return None;
            }
            self.recv.seen_tail.store(tail, Ordering::Relaxed);
        }
        if side.cursor.is_at_end() {
            if self.recv.wraps {
                side.cursor.wrap();
            } else {
                self.follow(&mut side.cursor);
            }
        }
        // SAFETY: not at the end; the message was announced by the count, and is not taken out yet. This side's lock is
        // held.
        let message = unsafe { side.cursor.read() };
        // Release: partner is the load in `put_locked`.
        self.recv.head.store(head.wrapping_add(1), Ordering::Release);
        Some(message)
    }

    /// The sending side is at the end of a chain's block: on to one more. False: no memory.
    #[cold]
    #[inline(never)]
    fn extend(&self, cursor: &mut Cursor<T, M::Slots>) -> bool {
        // Acquire: partner is the store in `follow`: the block is empty and nobody's.
        let spare = self.recv.spare.swap(null_mut(), Ordering::Acquire);
        let Some(next) = NonNull::new(spare).or_else(M::more) else { return false };
        // SAFETY: the sending side's cursor; the block is new, or was left by the receiving side.
        unsafe { cursor.extend(next) };
        true
    }

    /// The receiving side is at the end of a chain's block, and a message lies behind it.
    #[cold]
    #[inline(never)]
    fn follow(&self, cursor: &mut Cursor<T, M::Slots>) {
        // SAFETY: the receiving side's cursor; what comes next was announced.
        let Some(left) = (unsafe { cursor.follow() }) else { unreachable!("a message behind the end of the chain") };
        if self.recv.spare.load(Ordering::Relaxed).is_null() {
            // Release: partner is the swap in `extend`. Nobody else fills it in: this side's lock is held.
            self.recv.spare.store(left.as_ptr(), Ordering::Release);
        } else {
            // SAFETY: both sides have left it.
            unsafe { M::free(left) };
        }
    }

    /// How many messages are inside: a glance.
    #[must_use]
    pub fn len(&self) -> usize {
        let head = self.recv.head.load(Ordering::Relaxed);
        // Messages may have come and gone between the two loads.
        self.send.tail.load(Ordering::Relaxed).wrapping_sub(head).min(self.send.capacity)
    }

    /// True if no message is inside: a glance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages have room; `None` if there is no limit.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.send.wraps.then_some(self.send.capacity)
    }

    /// True once `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.send.flags.load(Ordering::Relaxed) & CLOSED != 0
    }
}

impl<T, W: Waiter, M: Memory<T>> Drop for Channel<T, W, M> {
    fn drop(&mut self) {
        let take_all = |side: &mut RecvSide<T, M>| {
            while self.take_locked(side).is_some_and(|message| {
                drop(message);
                true
            }) {}
            // SAFETY: nobody else is here: both sides are this caller's.
            let mut cursor = unsafe { Cursor::new(side.cursor.block()) };
            core::iter::from_fn(move || {
                // SAFETY: as above.
                unsafe { cursor.follow() }
            })
        };
        // Without the lock: interrupts are on here, and a message's own end may do anything.
        // SAFETY: as above.
        let mut left = unsafe { self.recv.side.with_locked(take_all) };
        // Mostly the two sides are in the same block, or in neighbours.
        left.by_ref().for_each(|block| {
            // SAFETY: nobody uses it any more.
            unsafe { M::free(block) }
        });
        // SAFETY: as above.
        unsafe { M::free(self.send.side.with_locked(|side| side.cursor.block())) };
        if let Some(spare) = NonNull::new(self.recv.spare.load(Ordering::Relaxed)) {
            // SAFETY: as above.
            unsafe { M::free(spare) };
        }
    }
}

impl<T, W: Waiter, M: Memory<T>> core::fmt::Debug for Channel<T, W, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Channel").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::blocks::{Block, Slot};
    use super::standing::Named;
    use super::{Channel, Memory};
    use crate::sync::assert_apart;
    use core::mem::offset_of;
    use core::ptr::NonNull;

    /// None: no channel is made of it.
    struct No;

    // SAFETY: it gives no block.
    unsafe impl Memory<u8> for No {
        type Slots = [Slot<u8>; 1];

        fn more() -> Option<NonNull<Block<u8, Self::Slots>>> {
            None
        }

        unsafe fn free(_: NonNull<Block<u8, Self::Slots>>) {}
    }

    /// Neither does anybody wait.
    struct Nobody;

    impl Named for Nobody {
        unsafe fn take_over(_: NonNull<Self>) -> bool {
            false
        }

        unsafe fn sit_down(_: NonNull<Self>) {}
    }

    type OfBytes = Channel<u8, NonNull<Nobody>, No>;

    /// Senders write the one, receivers the other.
    #[test]
    fn each_end_has_lines_of_its_own() {
        assert_apart(align_of::<OfBytes>(), &[offset_of!(OfBytes, send), offset_of!(OfBytes, recv)]);
    }
}
