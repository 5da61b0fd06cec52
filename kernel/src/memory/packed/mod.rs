//! Packed slots: 1 KiB or 2 KiB each, side by side, for threads that have their block and their stack in one.
//!
//! A thread with a stack of its own takes two pages at least, one of them a guard without memory, and its block lies in the
//! heap. Where there are a million threads, that is four times the memory they need, and each of them costs entries of the
//! page tables. Slots are carved out of blocks of 2 MiB, mapped as such where a whole block is free: one entry of the
//! translation buffer serves 2048 threads. There are no guards between slots; who uses them looks for overflows by other
//! means. Between two blocks 2 MiB stay unmapped, so that whoever runs on and on down faults at last.
//!
//! A slot that is given back goes to its CPU's stock ([`PackedCache`]), then to a pool that all share ([`pool::PackedPool`]).
//! Nothing is ever unmapped, but while it is folded ([`super::folding`]).

pub mod pool;
#[cfg(test)]
mod tests;

use super::magazine::Magazine;
use super::sanitizer;
use super::stack::USUAL_SIZE;

/// By how much more than their names say slots have in the simulation, where interrupts are handled on the stack that runs, and
/// each access to an atomic calls it; and under a sanitizer. No slot is as large as the usual stack, by which threads are told from packed ones.
const SCALE: usize = if cfg!(isochron_sim) { 128 } else { sanitizer::STACK_SCALE };
const _: () = assert!(SlotSize::Kib1.bytes() > USUAL_SIZE || SlotSize::Kib2.bytes() < USUAL_SIZE);

/// Bytes of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotSize {
    /// 1024.
    Kib1,
    /// 2048.
    Kib2,
}

/// How many sizes there are.
pub const CLASSES: usize = 2;

impl SlotSize {
    const IN_1_KIB: usize = Self::Kib1.bytes();
    const IN_2_KIB: usize = Self::Kib2.bytes();

    /// The size of exactly `bytes` bytes, if there is one.
    #[must_use]
    pub const fn of(bytes: usize) -> Option<Self> {
        match bytes {
            Self::IN_1_KIB => Some(Self::Kib1),
            Self::IN_2_KIB => Some(Self::Kib2),
            _ => None,
        }
    }

    /// How many they are.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> usize {
        (SCALE * 1024) << self.class()
    }

    #[inline(always)]
    const fn class(self) -> usize {
        self as usize
    }
}

/// Slots ready for one CPU. It belongs to its CPU, which touches it with interrupts masked.
pub struct PackedCache {
    magazines: [Magazine<31>; CLASSES],
}

impl PackedCache {
    /// Nothing in stock.
    #[must_use]
    pub const fn new() -> Self {
        Self { magazines: [const { Magazine::new(31) }; CLASSES] }
    }

    /// The stock of one size: addresses of slots.
    #[inline(always)]
    #[cfg_attr(not(any(isochron_bare, isochron_hosted)), expect(dead_code, reason = "guests alone have CPUs"))]
    const fn of(&self, size: SlotSize) -> &Magazine<31> {
        &self.magazines[size.class()]
    }
}

impl Default for PackedCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(any(isochron_bare, isochron_hosted))]
mod global;
#[cfg(any(isochron_bare, all(isochron_hosted, not(isochron_sim))))]
pub(super) use global::blocks;
#[cfg(isochron_sim)]
pub use global::in_hands;
#[cfg(any(isochron_bare, isochron_hosted))]
pub(super) use global::init;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use global::{give, mapped_bytes, take};
