//! A CPU's own stock of small blocks, how it is filled from and emptied to the shared part, and what it counts.
//!
//! Blocks travel in *chains*, half a stock each: whoever has too many links them, and hands the chain over under the lock by
//! its first block alone; whoever has none takes a chain and then goes along it. So a producer on one CPU and a consumer on
//! another hold the lock for a few instructions each time, whatever the number of blocks.
//!
//! # Counting for nothing
//! What is allocated out of the stock is counted in the word that the stock's length is in. What is freed into it follows:
//! what came in and is not there any more was taken out. The rest is counted on the slow paths.

use super::central::{Backing, Central, class_of_block, next_in_chain, set_next_in_chain};
use super::classes::{CLASSES, SIZES, batch, cache_limit};
use crate::memory::magazine::Magazine;
use core::num::NonZero;
use core::ops::{AddAssign, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};

/// What a CPU did with the heap since the start. A block may be allocated on one CPU and freed on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapCounts {
    /// Blocks allocated.
    pub allocs: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes in the blocks allocated, as large as blocks really are.
    pub allocated_bytes: u64,
    /// Bytes in the blocks freed.
    pub freed_bytes: u64,
    /// How often blocks were taken from the shared part because the stock had none.
    pub refills: u64,
    /// How often blocks were given to the shared part because the stock was full.
    pub flushes: u64,
}

impl AddAssign for HeapCounts {
    fn add_assign(&mut self, other: Self) {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.allocated_bytes += other.allocated_bytes;
        self.freed_bytes += other.freed_bytes;
        self.refills += other.refills;
        self.flushes += other.flushes;
    }
}

/// A count that its CPU alone changes, and anybody may read.
struct Count(AtomicU64);

impl Count {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    // Relaxed, with the load above: one writer, and a number is all that is passed.
    fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }
}

/// What is counted on the slow paths, for one class.
struct Slow {
    /// Blocks that were put in stock by refills, less those that flushes took out, modulo 2^64.
    moved_in: Count,
    refills: Count,
    flushes: Count,
}

/// What is counted of large blocks.
struct Large {
    allocs: Count,
    frees: Count,
    allocated_bytes: Count,
    freed_bytes: Count,
}

/// Small blocks ready for one CPU, by class.
///
/// It belongs to its CPU, which touches it with interrupts masked. What it holds counts as used in the shared part, at
/// most about 100 KiB for a CPU.
pub struct HeapCache {
    magazines: [Magazine<31>; CLASSES],
    slow: [Slow; CLASSES],
    large: Large,
}

impl HeapCache {
    /// Nothing in stock.
    #[must_use]
    pub const fn new() -> Self {
        let mut magazines = [const { Magazine::new(1) }; CLASSES];
        let mut class = 0;
        while class < CLASSES {
            magazines[class] = Magazine::new(cache_limit(class));
            class += 1;
        }
        Self {
            magazines,
            slow: [const { Slow { moved_in: Count::new(), refills: Count::new(), flushes: Count::new() } }; CLASSES],
            large: Large {
                allocs: Count::new(),
                frees: Count::new(),
                allocated_bytes: Count::new(),
                freed_bytes: Count::new(),
            },
        }
    }

    /// A block from stock.
    #[inline(always)]
    pub fn pop(&self, class: usize) -> Option<usize> {
        self.magazines[class].pop_counted()
    }

    /// Puts a block in stock; false if there is no room.
    #[inline(always)]
    #[must_use]
    pub fn push(&self, class: usize, block: usize) -> bool {
        self.magazines[class].push(block)
    }

    /// A block when the stock was empty: takes a chain, or as many single blocks, from the shared part that `lock` opens.
    pub fn refill<B: Backing, L: DerefMut<Target = Central<B>>>(
        &self,
        class: usize,
        lock: impl FnOnce() -> L,
    ) -> Option<usize> {
        let magazine = &self.magazines[class];
        let before = magazine.len();
        let mut shared = lock();
        // A thread that came here from another CPU may find a stock that is not empty.
        let wanted = magazine.room().min(batch(class) - 1);
        let chain = if wanted == batch(class) - 1 { shared.take_chain(class) } else { None };
        // The last one is given out, and the others from the stock after it: so a program that takes many gets them as they lay.
        let block = if let Some(first) = chain {
            drop(shared);
            let mut last = first;
            // SAFETY: the blocks of a chain that was taken are ours, and each holds the next one's address.
            while let Some(next) = NonZero::new(unsafe { next_in_chain(last) }) {
                let _ = magazine.push(last);
                last = next.get();
            }
            last
        } else {
            let mut last = None;
            shared.take_some(class, wanted + 1, |block| {
                if let Some(before) = last.replace(block) {
                    let _ = magazine.push(before);
                }
            });
            last?
        };
        let slow = &self.slow[class];
        slow.refills.add(1);
        slow.moved_in.add((magazine.len() - before) as u64);
        Some(block)
    }

    /// Gives half the stock and the block itself to the shared part, when there is no room in stock. Blocks whose addresses
    /// are the same above the lowest `shift` bits are of one part, which `lock` opens for one of them.
    ///
    /// # Safety
    /// The block is of this class and nobody uses it.
    ///
    /// # Panics
    /// If one of the blocks is of another class: somebody freed it with a wrong layout, or wrote over its span's header.
    pub unsafe fn flush<B: Backing, L: DerefMut<Target = Central<B>>>(
        &self,
        class: usize,
        block: usize,
        shift: u32,
        lock: impl Fn(usize) -> L,
    ) {
        let magazine = &self.magazines[class];
        // A thread that came here from another CPU may find room.
        if magazine.push(block) {
            return;
        }
        let mut differing = 0;
        let mut first = 0;
        let mut next = block;
        for left in (0..batch(class)).rev() {
            // SAFETY: the block itself, or one from stock: freed, so nobody uses it.
            unsafe {
                assert!(class_of_block(next) == class, "heap block freed with another layout");
                set_next_in_chain(next, first);
            }
            differing |= next ^ block;
            first = next;
            if left > 0 {
                // The stock is full, so it has half of that.
                let Some(stocked) = magazine.pop() else { break };
                next = stocked;
            }
        }
        let slow = &self.slow[class];
        slow.flushes.add(1);
        slow.moved_in.add(1_u64.wrapping_sub(batch(class) as u64));
        if differing >> shift == 0 {
            // SAFETY: a whole chain of blocks of this class, all from there.
            unsafe { lock(block).give_chain(class, first) };
            return;
        }
        while first != 0 {
            // SAFETY: as above, one by one; the next one's address is read while the block is ours.
            unsafe {
                let next = next_in_chain(first);
                lock(first).give(class, first);
                first = next;
            }
        }
    }

    /// Counts a large block that was allocated.
    pub fn count_large_alloc(&self, bytes: usize) {
        self.large.allocs.add(1);
        self.large.allocated_bytes.add(bytes as u64);
    }

    /// Counts a large block that was freed.
    pub fn count_large_free(&self, bytes: usize) {
        self.large.frees.add(1);
        self.large.freed_bytes.add(bytes as u64);
    }

    /// How many blocks of a class are in stock.
    pub fn len(&self, class: usize) -> usize {
        self.magazines[class].len()
    }

    /// What was allocated and freed here. Exact if the CPU does not do either meanwhile.
    pub fn counts(&self) -> HeapCounts {
        let large = &self.large;
        let mut counts = HeapCounts {
            allocs: large.allocs.get(),
            frees: large.frees.get(),
            allocated_bytes: large.allocated_bytes.get(),
            freed_bytes: large.freed_bytes.get(),
            ..HeapCounts::default()
        };
        for ((magazine, slow), size) in self.magazines.iter().zip(&self.slow).zip(SIZES) {
            let taken = magazine.taken();
            let (refills, flushes) = (slow.refills.get(), slow.flushes.get());
            // What came in by frees is what is there or was taken, less what came in otherwise.
            let put = (magazine.len() as u64 + taken).wrapping_sub(slow.moved_in.get());
            // A flush gives the freed block away with the others, and is none of those that were put in.
            let (allocs, frees) = (taken + refills, put.wrapping_add(flushes));
            counts += HeapCounts {
                allocs,
                frees,
                allocated_bytes: allocs * u64::from(size),
                freed_bytes: frees.wrapping_mul(u64::from(size)),
                refills,
                flushes,
            };
        }
        counts
    }
}

impl Default for HeapCache {
    fn default() -> Self {
        Self::new()
    }
}
