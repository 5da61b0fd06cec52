//! A window of addresses in pieces, one for each NUMA node, so that an address alone tells which node's it is.
//!
//! What grows in a piece is backed on the CPUs of its node, and so by memory of that node while there is some
//! ([`super::frames`]). With one node there is one piece: the whole window.

use crate::cpu::CpuId;
use crate::memory::this_cpu_if_set;
use crate::topology;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

/// The most pieces of a window. Nodes beyond share them.
pub(super) const MOST: usize = 8;

/// How a window is divided.
pub(super) struct Pieces {
    base: usize,
    size: usize,
    /// A piece has two to the power of this bytes. Written before any other CPU runs: relaxed.
    shift: AtomicU32,
}

impl Pieces {
    /// The whole window in one piece.
    ///
    /// # Panics
    /// If its size is not a power of two, or its base not a multiple of it.
    pub(super) const fn new(base: usize, size: usize) -> Self {
        assert!(size.is_power_of_two() && base.is_multiple_of(size));
        Self { base, size, shift: AtomicU32::new(size.ilog2()) }
    }

    /// Divides it, as there are nodes, before anything is in it.
    pub(super) fn divide(&self) {
        let count = topology::counts().nodes.next_power_of_two().min(MOST);
        self.shift.store((self.size / count).ilog2(), Ordering::Relaxed);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.size >> self.shift()
    }

    /// Addresses of one piece are the same above so many bits.
    pub(super) fn shift(&self) -> u32 {
        self.shift.load(Ordering::Relaxed)
    }

    /// The piece that an address of the window is in.
    pub(super) fn of(&self, addr: usize) -> usize {
        (addr - self.base) >> self.shift()
    }

    /// The addresses of a piece.
    pub(super) fn range(&self, piece: usize) -> Range<usize> {
        let size = 1 << self.shift();
        self.base + piece * size..self.base + (piece + 1) * size
    }

    /// The piece of the CPU that this runs on. Interrupts are masked.
    pub(super) fn own(&self) -> usize {
        let cpu = this_cpu_if_set().map_or(CpuId::PRIMARY, |cpu| cpu.id);
        usize::from(topology::place(cpu).node) % self.count()
    }

    /// What `take` gets from the own piece, or else from another, the nearest first. Interrupts are masked.
    pub(super) fn nearest<T>(&self, take: impl Fn(usize) -> Option<T>) -> Option<T> {
        let own = self.own();
        take(own).or_else(|| {
            // Nobody comes here while there is memory: a piece grows by what any node has.
            let distances = || (0..self.count()).map(|to| topology::node_distance(own as u16, to as u16));
            let mut tried = 0;
            while let Some(next) = distances().filter(|distance| *distance > tried).min() {
                tried = next;
                let near = distances().enumerate().filter(|(piece, at)| *piece != own && *at == next);
                if let Some(found) = near.map(|(piece, _)| piece).find_map(&take) {
                    return Some(found);
                }
            }
            None
        })
    }
}
