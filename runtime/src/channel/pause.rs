//! A sender that finds no room pauses for a moment before it blocks, if its CPU has nothing else to do.
//!
//! A receiver on another CPU makes room meanwhile, for more than one message. Without the pause both ends go on at the full
//! channel: for every few messages the sender is queued, woken and let in again, takes the receiver's lock and lines for it each time,
//! and the lines of the slots go to and fro. Native figures are in `docs/comparing.md`.
//!
//! The pause is shorter than what the receiver needs for what lies inside, so it does not wait for the sender. One that made little
//! room is not worth repeating: the receiver is slow, and the next senders block at once.

use core::sync::atomic::{AtomicU8, Ordering};

/// Below this there is no time to win: a channel is empty sooner than a pause is over.
const LEAST_CAPACITY: usize = 16;
/// From here on pauses grow no longer.
const MOST_SLOTS: usize = 256;
/// A pause, in ns for a slot of the channel: no receiver takes a message out in less than ten.
const NS_PER_SLOT: usize = 6;
/// A pause has paid if so much of the channel went through it: one of so many slots.
const PAID: usize = 16;
/// After one that has not, so many senders block at once.
const BLOCKED: u8 = 15;

/// What a channel knows of its pauses.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Senders that will block at once. A guess, so whoever counts at the same time may be lost.
    to_block: AtomicU8,
}

impl Pauses {
    /// How long a sender is to pause that finds a channel of this capacity full, in ns; `None`: not at all.
    pub fn length(&self, capacity: usize) -> Option<u64> {
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

    /// A pause is over, in which so many messages were received.
    pub fn over(&self, capacity: usize, received: usize) {
        if received < capacity.min(MOST_SLOTS) / PAID {
            self.to_block.store(BLOCKED, Ordering::Relaxed);
        }
    }
}
