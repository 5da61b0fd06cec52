//! A small bounded stack of addresses that one CPU takes from and puts back to without a lock.
//!
//! Rejected: intrusive lists through the free blocks. They cost as many instructions, read a cold block on the way, and
//! a write after free could turn the list into a wild pointer.

use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};

/// At most `N` addresses, last in, first out.
///
/// It belongs to one CPU, which touches it with interrupts masked; how many are in it anybody may ask.
#[repr(C)]
pub struct Magazine<const N: usize> {
    /// Invariant: `len <= limit <= N`.
    ///
    /// Relaxed, all accesses: its CPU alone writes it, and who asks elsewhere wants a number, no address.
    len: AtomicU32,
    limit: u32,
    slots: [Cell<usize>; N],
}

impl<const N: usize> Magazine<N> {
    /// An empty one that holds at most `limit` addresses.
    ///
    /// # Panics
    /// If `limit` is 0 or above `N`.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        assert!(limit > 0 && limit <= N);
        Self { len: AtomicU32::new(0), limit: limit as u32, slots: [const { Cell::new(0) }; N] }
    }

    /// Takes the address that was put in last.
    #[inline(always)]
    pub fn pop(&self) -> Option<usize> {
        let len = self.len.load(Ordering::Relaxed).checked_sub(1)?;
        self.len.store(len, Ordering::Relaxed);
        // SAFETY: the former length was at most `N`, by the type's invariant, so one less is an index.
        Some(unsafe { self.slots.get_unchecked(len as usize) }.get())
    }

    /// Puts an address in; false if there is no room.
    #[inline(always)]
    #[must_use]
    pub fn push(&self, addr: usize) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        if len >= self.limit {
            return false;
        }
        // SAFETY: `len < limit <= N`, checked above and by the type's invariant.
        unsafe { self.slots.get_unchecked(len as usize) }.set(addr);
        self.len.store(len + 1, Ordering::Relaxed);
        true
    }

    /// How many are moved at once to or from the shared store: half, so that neither a run of takings nor one of
    /// givings at the edge goes there each time.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.limit.div_ceil(2) as usize
    }

    /// Whether an address is in it. Its CPU alone may ask.
    #[must_use]
    pub fn contains(&self, addr: usize) -> bool {
        self.slots[..self.len()].iter().any(|slot| slot.get() == addr)
    }

    /// How many are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed) as usize
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
        assert_eq!((magazine.len(), magazine.batch()), (3, 2));
        assert!(magazine.contains(1) && magazine.contains(3) && !magazine.contains(0));
        assert_eq!((magazine.pop(), magazine.pop(), magazine.pop(), magazine.pop()), (Some(3), Some(2), Some(1), None));
        assert!(!magazine.contains(3), "what was taken out is in it no more");
    }

    #[test]
    fn a_shift_finds_the_nth() {
        assert_eq!(size_of::<Magazine<31>>(), 256);
        assert_eq!(size_of::<Magazine<15>>(), 128);
    }
}
