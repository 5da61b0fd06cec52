//! The pool, over memory that comes in blocks, in pages, or not at all.

use super::pool::{BLOCK, PackedMemory, PackedPool};
use super::{CLASSES, SlotSize};
use crate::memory::OutOfMemory;
use std::collections::{HashMap, HashSet};
use std::vec::Vec;

const START: usize = 0x1000_0000_0000;

#[derive(Default)]
struct Memory {
    next: HashMap<usize, usize>,
    backed: Vec<(usize, usize)>,
    /// The most that is backed at once, and in all.
    at_once: usize,
    left: usize,
}

impl PackedMemory for &mut Memory {
    fn back(&mut self, at: usize, wanted: usize) -> Option<usize> {
        assert!(at.is_multiple_of(4096) && wanted.is_multiple_of(4096));
        let got = wanted.min(self.at_once);
        self.left = self.left.checked_sub(got)?;
        assert!(self.backed.iter().all(|&(start, bytes)| at >= start + bytes || at + got <= start));
        self.backed.push((at, got));
        Some(got)
    }

    fn set_next(&mut self, slot: usize, next: usize) {
        assert!(self.holds(slot, 8), "a word outside of what is backed");
        self.next.insert(slot, next);
    }

    fn next(&self, slot: usize) -> usize {
        self.next[&slot]
    }
}

impl Memory {
    fn new(at_once: usize, left: usize) -> Self {
        Self { at_once, left, ..Self::default() }
    }

    fn holds(&self, at: usize, bytes: usize) -> bool {
        self.backed.iter().any(|&(start, length)| start <= at && at + bytes <= start + length)
    }
}

#[test]
fn sizes() {
    assert_eq!(SlotSize::of(1024), Some(SlotSize::Kib1));
    assert_eq!(SlotSize::of(2048), Some(SlotSize::Kib2));
    assert!([0, 1, 1023, 1025, 4096, usize::MAX].into_iter().all(|bytes| SlotSize::of(bytes).is_none()));
    assert_eq!((SlotSize::Kib1.bytes(), SlotSize::Kib2.bytes(), CLASSES), (1024, 2048, 2));
}

#[test]
fn slots_are_side_by_side_and_blocks_are_not() {
    let mut memory = Memory::new(BLOCK, 3 * BLOCK);
    let mut pool = PackedPool::new(&mut memory, START, START + 64 * BLOCK);
    for number in 0..3 * BLOCK / 1024 {
        let block = number / (BLOCK / 1024);
        // Between two of them lies one of the other size, if there is any.
        let expected = START + 4 * BLOCK * block + number % (BLOCK / 1024) * 1024;
        assert_eq!(pool.take(SlotSize::Kib1), Ok(expected));
    }
    assert_eq!(pool.take(SlotSize::Kib1), Err(OutOfMemory));
    assert_eq!(pool.mapped(), 3 * BLOCK);
}

#[test]
fn every_slot_is_backed_and_given_once() {
    for at_once in [4096, 12_288, BLOCK] {
        let mut memory = Memory::new(at_once, 5 * BLOCK);
        let mut pool = PackedPool::new(&mut memory, START, START + 64 * BLOCK);
        let mut slots = Vec::new();
        // Now one, now the other: each size has blocks of its own.
        for number in 0.. {
            let size = if number % 3 == 1 { SlotSize::Kib2 } else { SlotSize::Kib1 };
            let Ok(slot) = pool.take(size) else { break };
            assert_eq!(SlotSize::at(slot), size);
            slots.push((slot, size));
        }
        let blocks: Vec<_> = pool.blocks().collect();
        assert_eq!(blocks.iter().map(|block| block.len()).sum::<usize>(), pool.mapped());
        assert!(slots.iter().all(|(slot, _)| blocks.iter().any(|block| block.contains(slot))));
        let bytes: usize = slots.iter().map(|(_, size)| size.bytes()).sum();
        assert!(pool.mapped() - bytes <= at_once, "{} bytes are lost", pool.mapped() - bytes);
        let mut seen = HashSet::new();
        for (slot, size) in slots {
            for part in (slot..slot + size.bytes()).step_by(1024) {
                assert!(memory.holds(part, 1024) && seen.insert(part));
            }
        }
    }
}

#[test]
fn what_is_given_back_comes_first() {
    let mut memory = Memory::new(4096, BLOCK);
    let mut pool = PackedPool::new(&mut memory, START, START + 64 * BLOCK);
    let large = pool.take(SlotSize::Kib2).unwrap();
    let small = [(); 8].map(|()| pool.take(SlotSize::Kib1).unwrap());
    for slot in small {
        pool.give(SlotSize::Kib1, slot);
    }
    pool.give(SlotSize::Kib2, large);
    let mapped = pool.mapped();
    assert_eq!(pool.ready(), mapped);
    assert_eq!(pool.take_ready(SlotSize::Kib2), Some(large));
    assert_eq!(pool.ready(), mapped - 2048);
    for slot in small.into_iter().rev() {
        assert_eq!(pool.take_ready(SlotSize::Kib1), Some(slot));
    }
    assert_eq!(pool.mapped(), mapped);
    assert_eq!(pool.take_ready(SlotSize::Kib1), None, "a slot without memory is not ready");
}

#[test]
fn the_window_ends() {
    let mut memory = Memory::new(BLOCK, usize::MAX);
    let mut pool = PackedPool::new(&mut memory, START, START + 8 * BLOCK);
    let count = (0..).map_while(|_| pool.take(SlotSize::Kib2).ok()).count();
    assert_eq!(count, 2 * BLOCK / 2048);
    assert_eq!((0..).map_while(|_| pool.take(SlotSize::Kib1).ok()).count(), 2 * BLOCK / 1024);
    assert_eq!(pool.blocks().count(), 4);
}
