//! How long either end of a channel pauses where going on at once would cost both ends more.
//!
//! Two CPUs that meet at each message hand lines to and fro for each. Both ends are faster if they keep a distance, so each lets the
//! other get on for a moment; nobody who pauses has anything else to do.
//!
//! * **A sender that finds no room** pauses before it blocks, and a receiver makes room for more than one message. Without that, for
//!   every few messages the sender is queued, woken and let in again, under both locks. The pause is shorter than what a receiver needs
//!   for what lies inside, so none waits for the sender. One that made little room is not worth repeating: the receiver is slow, and the
//!   next senders block at once.
//! * **A receiver that took several messages and then finds none** pauses before it [looks again](super::polled): each look takes the
//!   sender's line. One that took a single message looks at once: whoever sent it may wait for an answer.

use crate::sync::{AtomicU32, Ordering};

/// Below this a sender has no time to win: the channel is empty sooner than a pause is over.
const LEAST_CAPACITY: usize = 16;
/// From here on a sender's pauses grow no longer.
const MOST_SLOTS: usize = 256;
/// A sender's pause, in ns for a slot of the channel: no receiver takes a message out in less than ten.
const NS_PER_SLOT: usize = 6;
/// A sender's pause has paid if so much of the channel went through it: one of so many slots.
const PAID: usize = 16;
/// After one that has not, so many senders block at once.
const BLOCKED: u32 = 15;

/// From so many messages on a receiver takes it that more follow.
const STREAM: usize = 2;
/// A receiver's pause, in ns: ten line transfers on a machine where they are slow.
const RECEIVER_NS: u64 = 500;

/// What the senders of a channel know of their pauses.
#[derive(Debug)]
pub struct Pauses {
    /// Senders that will block at once. A guess: of two that count at the same time one may be lost.
    to_block: AtomicU32,
}

impl Pauses {
    /// Of a new channel.
    #[must_use]
    pub fn new() -> Self {
        Self { to_block: AtomicU32::new(0) }
    }

    /// How long a sender is to pause that finds a channel of this capacity full, in ns; `None`: not at all.
    pub fn of_sender(&self, capacity: usize) -> Option<u64> {
        if capacity < LEAST_CAPACITY {
            return None;
        }
        let to_block = self.to_block.load(Ordering::Relaxed);
        if to_block > 0 {
            self.to_block.store(to_block - 1, Ordering::Relaxed);
            return None;
        }
        Some((capacity.min(MOST_SLOTS) * NS_PER_SLOT) as u64)
    }

    /// A sender's pause is over, in which so many messages were received.
    pub fn over(&self, capacity: usize, received: usize) {
        if received < capacity.min(MOST_SLOTS) / PAID {
            self.to_block.store(BLOCKED, Ordering::Relaxed);
        }
    }

    /// How long a receiver is to pause that has taken so many messages since it last found none, in ns; `None`: not at all.
    #[must_use]
    pub fn of_receiver(received: usize) -> Option<u64> {
        (received >= STREAM).then_some(RECEIVER_NS)
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{BLOCKED, LEAST_CAPACITY, Pauses};

    #[test]
    fn a_sender_pauses_as_long_as_receivers_are_quick() {
        let pauses = Pauses::new();
        for _ in 0..3 {
            assert_eq!(pauses.of_sender(64), Some(384));
            pauses.over(64, 4);
        }
        pauses.over(64, 3);
        assert!((0..BLOCKED).all(|_| pauses.of_sender(64).is_none()), "a slow receiver's senders block");
        assert!(pauses.of_sender(64).is_some(), "but one tries it again");
    }

    #[test]
    fn no_pause_is_longer_than_receivers_have_messages() {
        let pauses = Pauses::new();
        assert_eq!(pauses.of_sender(LEAST_CAPACITY - 1), None);
        for capacity in LEAST_CAPACITY..5000 {
            let pause = pauses.of_sender(capacity).expect("it is large enough");
            assert!(pause < 10 * capacity as u64, "a receiver that takes 10 ns for each has {capacity}");
            assert!(pause < 2000);
        }
    }

    #[test]
    fn who_may_be_waited_for_looks_at_once() {
        assert_eq!((Pauses::of_receiver(0), Pauses::of_receiver(1)), (None, None));
        assert!(Pauses::of_receiver(2).is_some());
    }
}
