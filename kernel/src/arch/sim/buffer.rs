//! Stores that a CPU keeps back.
//!
//! The order in which they may be let go is what an ARM64 CPU allows: two stores to one word in their order, a store with
//! release after all before it, and after a fence all that came before the fence. A read-modify-write is done at once; with
//! release it lets everything go first. A fence of the strongest kind, and an interrupt sent, let everything go.
//!
//! What is not atomic is never kept back; so a word whose memory is used for something else must not have a store waiting.
//! Therefore stores to stacks are done at once, and masking interrupts lets everything go: whoever frees or takes memory does
//! that first.

use core::cell::Cell;
use core::sync::atomic::Ordering;

/// How many stores a CPU keeps back at the most.
const SIZE: usize = 8;

/// For how long one is kept at the most: long for a CPU, and short beside what is waited for here.
const LONGEST_NS: u64 = 1_000;

#[derive(Clone, Copy)]
struct Kept {
    at: usize,
    bytes: usize,
    value: u64,
    /// It comes after all before it.
    releases: bool,
    /// How many fences came before it.
    epoch: u32,
}

const NONE: Kept = Kept { at: 0, bytes: 0, value: 0, releases: false, epoch: 0 };

/// The stores that one CPU keeps back, oldest first.
pub struct Buffer {
    kept: [Cell<Kept>; SIZE],
    len: Cell<usize>,
    epoch: Cell<u32>,
    /// When the oldest was stored, or a younger one than that is now the oldest.
    since: Cell<u64>,
}

/// Whether an ordering has release in it.
pub(super) fn releases(order: Ordering) -> bool {
    use Ordering::{AcqRel, Release, SeqCst};
    matches!(order, Release | AcqRel | SeqCst)
}

fn is_strongest(order: Ordering) -> bool {
    use Ordering::SeqCst;
    matches!(order, SeqCst)
}

impl Buffer {
    pub(super) const fn new() -> Self {
        Self { kept: [const { Cell::new(NONE) }; SIZE], len: Cell::new(0), epoch: Cell::new(0), since: Cell::new(0) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = Kept> {
        self.kept[..self.len.get()].iter().map(Cell::get)
    }

    /// What the CPU itself sees at `at`, if it keeps something back.
    pub(super) fn look(&self, at: usize) -> Option<u64> {
        self.entries().rev().find(|kept| kept.at == at).map(|kept| kept.value)
    }

    /// Keeps a store back, at the time `now`.
    pub(super) fn keep(&self, at: usize, bytes: usize, value: u64, order: Ordering, now: u64) {
        if self.is_empty() {
            self.since.set(now);
        }
        if self.len.get() == SIZE {
            self.let_go(0);
        }
        let len = self.len.get();
        self.kept[len].set(Kept { at, bytes, value, releases: releases(order), epoch: self.epoch.get() });
        self.len.set(len + 1);
        if is_strongest(order) {
            self.settle();
        }
    }

    /// A fence.
    pub(super) fn order(&self, order: Ordering) {
        if is_strongest(order) {
            self.settle();
        } else if releases(order) {
            self.epoch.set(self.epoch.get().wrapping_add(1));
        }
    }

    /// A read-modify-write of `at` comes.
    pub(super) fn update(&self, at: usize, order: Ordering) {
        if releases(order) || self.look(at).is_some() {
            self.settle();
        }
    }

    /// Lets everything go.
    pub(super) fn settle(&self) {
        while !self.is_empty() {
            self.let_go(0);
        }
    }

    /// Lets everything go that has been kept for longer than any CPU would.
    pub(super) fn let_old_go(&self, now: u64) {
        if !self.is_empty() && now.saturating_sub(self.since.get()) > LONGEST_NS {
            self.settle();
        }
    }

    /// Lets one go, if the number `chosen` names one that may.
    pub(super) fn let_one_go(&self, chosen: u64) {
        let len = self.len.get();
        if len == 0 {
            return;
        }
        let index = (chosen % len as u64) as usize;
        let kept = self.kept[index].get();
        let first = self.kept[0].get();
        let same_word_before = self.entries().take(index).any(|other| other.at == kept.at);
        if index == 0 || !(kept.releases || kept.epoch != first.epoch || same_word_before) {
            self.let_go(index);
        }
    }

    fn let_go(&self, index: usize) {
        let Kept { at, bytes, value, .. } = self.kept[index].get();
        for next in index + 1..self.len.get() {
            self.kept[next - 1].set(self.kept[next].get());
        }
        self.len.set(self.len.get() - 1);
        let word = core::ptr::with_exposed_provenance_mut::<u8>(at);
        // SAFETY: an atomic of that size was stored to there, and its memory is still what it was (see the module).
        unsafe {
            match bytes {
                1 => word.write(value as u8),
                2 => word.cast::<u16>().write(value as u16),
                4 => word.cast::<u32>().write(value as u32),
                _ => word.cast::<u64>().write(value),
            }
        }
    }
}
