//! A small bounded stack of addresses that one CPU takes from and puts back to without a lock.
//!
//! Rejected: intrusive lists through the free blocks. They cost as many instructions, read a cold block on the way, and
//! a write after free could turn the list into a wild pointer.

use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

/// One address, in the state.
const ONE: u64 = 1;
/// Room for one more.
const ROOM: u64 = 1 << 8;
/// One that was taken and counted.
const TAKEN: u64 = 1 << 16;
/// Both of the former count to this, at the most.
const MOST: u64 = 0xff;

/// At most `N` addresses, last in, first out.
///
/// It belongs to one CPU, which touches it with interrupts masked; how many are in it anybody may ask.
#[repr(C)]
pub struct Magazine<const N: usize> {
    /// How many are in it, for how many more there is room, and how many were taken and counted: bits 0-7, 8-15, 16-63. In one
    /// word, so that one addition keeps all three, and counting costs nothing but a larger number to add.
    ///
    /// Invariant: the first two together are the limit, at most `N`. Relaxed, all accesses: its CPU alone writes it, and who
    /// asks elsewhere wants numbers, no address.
    state: AtomicU64,
    slots: [Cell<usize>; N],
}

impl<const N: usize> Magazine<N> {
    /// An empty one that holds at most `limit` addresses.
    ///
    /// # Panics
    /// If `limit` is 0 or above `N`, or `N` above 255.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        assert!(limit > 0 && limit <= N && N <= MOST as usize);
        Self { state: AtomicU64::new(limit as u64 * ROOM), slots: [const { Cell::new(0) }; N] }
    }

    /// Takes the address that was put in last.
    #[inline(always)]
    pub fn pop(&self) -> Option<usize> {
        self.take(ROOM - ONE)
    }

    /// As [`pop`](Self::pop), and counts it.
    #[inline(always)]
    pub fn pop_counted(&self) -> Option<usize> {
        self.take(TAKEN + ROOM - ONE)
    }

    #[inline(always)]
    fn take(&self, change: u64) -> Option<usize> {
        let state = self.state.load(Ordering::Relaxed);
        let len = state & MOST;
        if len == 0 {
            return None;
        }
        self.state.store(state.wrapping_add(change), Ordering::Relaxed);
        // SAFETY: the length is at most `N`, by the type's invariant, and not 0, so one less is an index.
        Some(unsafe { self.slots.get_unchecked(len as usize - 1) }.get())
    }

    /// Puts an address in; false if there is no room.
    #[inline(always)]
    #[must_use]
    pub fn push(&self, addr: usize) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if state & (MOST * ROOM) == 0 {
            return false;
        }
        // SAFETY: there is room for one more, so the length is less than `N`, by the type's invariant.
        unsafe { self.slots.get_unchecked((state & MOST) as usize) }.set(addr);
        self.state.store(state.wrapping_sub(ROOM - ONE), Ordering::Relaxed);
        true
    }

    /// How many are moved at once to or from the shared store: half, so that neither a run of takings nor one of
    /// givings at the edge goes there each time.
    #[must_use]
    pub fn batch(&self) -> usize {
        (self.len() + self.room()).div_ceil(2)
    }

    /// Whether an address is in it. Its CPU alone may ask.
    #[must_use]
    pub fn contains(&self, addr: usize) -> bool {
        self.slots[..self.len()].iter().any(|slot| slot.get() == addr)
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.state.load(Ordering::Relaxed) & MOST) as usize
    }

    /// For how many more there is room.
    #[must_use]
    pub fn room(&self) -> usize {
        ((self.state.load(Ordering::Relaxed) / ROOM) & MOST) as usize
    }

    /// How many were taken by [`pop_counted`](Self::pop_counted), modulo 2^48.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.state.load(Ordering::Relaxed) / TAKEN
    }

    /// Whether none is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_last_in_first_out() {
        let magazine = Magazine::<4>::new(3);
        assert!(magazine.is_empty());
        assert_eq!(magazine.pop(), None);
        assert!(magazine.push(1) && magazine.push(2) && magazine.push(3));
        assert!(!magazine.push(4));
        assert_eq!((magazine.len(), magazine.room(), magazine.batch()), (3, 0, 2));
        assert!(magazine.contains(1) && magazine.contains(3) && !magazine.contains(0));
        assert_eq!((magazine.pop(), magazine.pop(), magazine.pop(), magazine.pop()), (Some(3), Some(2), Some(1), None));
        assert!(!magazine.contains(3), "what was taken out is in it no more");
        assert_eq!((magazine.len(), magazine.room(), magazine.taken()), (0, 3, 0));
    }

    #[test]
    fn what_is_counted_is_what_was_there() {
        let magazine = Magazine::<31>::new(30);
        for round in 1..=1000 {
            assert!(magazine.push(round) && magazine.push(0));
            assert_eq!((magazine.pop(), magazine.pop_counted(), magazine.pop_counted()), (Some(0), Some(round), None));
            assert_eq!((magazine.len(), magazine.room(), magazine.taken()), (0, 30, round as u64));
        }
    }

    #[test]
    fn a_shift_finds_the_nth() {
        assert_eq!(size_of::<Magazine<31>>(), 256);
        assert_eq!(size_of::<Magazine<15>>(), 128);
    }
}
