//! Classes, guards, and the pool over memory that can run out.

use super::pool::{Link, StackMemory, StackPool};
use super::*;
use crate::memory::OutOfMemory;
use std::collections::HashMap;
use std::vec::Vec;

#[test]
fn classes_are_the_next_power_of_two() {
    for bytes in (0..=LARGEST_CLASS).step_by(97).chain([1, 4096, 4097, 8192, 8193, LARGEST_CLASS]) {
        let size = bytes.max(4096).next_power_of_two();
        assert_eq!(class_of(bytes), Some((Some((size / 4096).ilog2() as usize), size)), "{bytes}");
    }
    assert_eq!(class_of(LARGEST_CLASS + 1), Some((None, LARGEST_CLASS + 4096)));
    assert_eq!(class_of(3 << 20), Some((None, 3 << 20)));
    assert_eq!(class_of(usize::MAX), None);
}

#[test]
fn a_class_goes_back_to_itself() {
    // `drop` finds the class by the real size.
    for bytes in [0, 1, 5000, 70_000, LARGEST_CLASS, LARGEST_CLASS + 1] {
        let (class, size) = class_of(bytes).unwrap();
        assert_eq!(class_of(size), Some((class, size)));
        assert_eq!(class_of_size(size), class);
    }
}

#[test]
fn guard() {
    for (size, guard) in [(4096, 4096), (16384, 16384), (1 << 20, MAX_GUARD)] {
        let stack = Stack { top: NonZero::new(0x10_0000_0000 - HEADER).unwrap(), size };
        let bottom = stack.bottom().as_usize();
        assert_eq!(bottom + size, stack.top().as_usize() + HEADER);
        assert!(stack.guard_hit(bottom - 1) && stack.guard_hit(bottom - guard));
        assert!(!stack.guard_hit(bottom) && !stack.guard_hit(bottom - guard - 1));
    }
}

#[derive(Default)]
struct Memory {
    /// Stacks, by their first byte.
    made: HashMap<usize, usize>,
    links: HashMap<usize, Link>,
    /// So many requests fail first.
    failures: usize,
}

impl StackMemory for &mut Memory {
    fn make(&mut self, bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(OutOfMemory);
        }
        assert!(self.made.insert(bottom.as_usize(), bytes).is_none());
        Ok(())
    }

    fn set_link(&mut self, top: VirtAddr, link: Link) {
        self.links.insert(top.as_usize(), link);
    }

    fn link(&self, top: VirtAddr) -> Link {
        self.links[&top.as_usize()]
    }
}

const START: usize = 0x1000_0000;

#[test]
fn stacks_are_apart_and_come_back_last_in_first_out() {
    let mut memory = Memory::default();
    let mut pool = StackPool::new(&mut memory, START, START + (64 << 20));
    let sizes = [4096, 8192, 4096, 1 << 20, 3 << 20, 4096, (3 << 20) + 4096, 3 << 20];
    let take = |pool: &mut StackPool<_>, size| pool.take(class_of(size).unwrap().0, size);
    let tops: Vec<_> = sizes.iter().map(|&size| take(&mut pool, size).unwrap()).collect();
    assert_eq!(pool.reserved(), sizes.iter().sum());
    for (&size, &top) in sizes.iter().zip(&tops) {
        pool.give(class_of(size).unwrap().0, size, top);
    }
    // Last in, first out, each by its size; the large ones by their exact size.
    for nth in [5, 2, 0, 1, 7, 6, 4, 3] {
        assert_eq!(take(&mut pool, sizes[nth]), Ok(tops[nth]), "{nth}");
    }
    assert_eq!(pool.reserved(), sizes.iter().sum());
    let mut end = START;
    for (&size, &top) in sizes.iter().zip(&tops) {
        assert!(top - size >= end + guard_size(size), "a guard lies below each stack");
        end = top;
    }
    assert_eq!(memory.made.len(), sizes.len());
}

#[test]
fn no_memory_and_no_window_take_nothing() {
    let mut memory = Memory { failures: 2, ..Memory::default() };
    let mut pool = StackPool::new(&mut memory, START, START + 32 * 1024);
    assert_eq!(pool.take(Some(0), 4096), Err(OutOfMemory));
    assert_eq!(pool.take(Some(0), 4096), Err(OutOfMemory));
    assert_eq!(pool.reserved(), 0);
    assert_eq!(pool.take(Some(3), 32 * 1024), Err(OutOfMemory), "no room for stack and guard");
    let first = pool.take(Some(0), 4096).unwrap();
    assert_eq!(first, START + 8192);
    assert_eq!(core::iter::from_fn(|| pool.take(Some(0), 4096).ok()).count(), 3);
    pool.give(Some(0), 4096, first);
    assert_eq!(pool.take(Some(0), 4096), Ok(first));
}
