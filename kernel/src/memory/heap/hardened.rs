//! Hardened blocks: what is freed twice, written beyond its end, or written after it was freed is found and named.
//!
//! For builds with the feature `hardened`. A block is followed by a *red zone*, up to the next multiple of 16 at least, and a
//! [`Tail`], at the very end of what the block really has:
//!
//! ```text
//! | what was asked for | red zone: 0xfd ... | mark, size asked for, who freed it, guard |
//! ```
//!
//! All of a new block is 0xa5, so that who reads it before writing sees no old data that happens to be right; all of a freed
//! one is 0xdd, but for two words that the allocator links blocks by. The mark says whether the block is in use, mixed with its
//! address, so that a copy of a block is no block. What is found:
//!
//! * when a block is freed: that it is free already, that its red zone or tail is damaged, that its size is another;
//! * when a small block is allocated again: that it was written while it was free.
//!
//! What is not: a block that was freed twice after somebody else got it in between, reads, and writes that jump over the red
//! zone and the tail.

use core::alloc::Layout;
use core::fmt;
use core::ptr;

/// Bytes of a new block.
pub const NEW: u8 = 0xa5;
/// Bytes of a freed block.
pub const DEAD: u8 = 0xdd;
/// Bytes between what was asked for and the tail.
pub const RED: u8 = 0xfd;

const IN_USE: u64 = 0x6c69_7665_6c69_7665;
const FREED: u64 = 0x6465_6164_6465_6164;
const GUARD: u64 = 0x7461_696c_7461_696c;

/// What the allocator's links take of a freed block.
const LINKS: usize = 16;

/// The end of a block.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tail {
    mark: u64,
    size: u64,
    /// The thread's address, 0 while it is in use or if there was none.
    freed_by: u64,
    guard: u64,
}

/// The layout of the block around one that a program asks for; `None` if there is no such block.
#[must_use]
pub const fn outer(layout: Layout) -> Option<Layout> {
    let Some(size) = layout.size().checked_next_multiple_of(16) else { return None };
    let Some(size) = size.checked_add(size_of::<Tail>()) else { return None };
    match Layout::from_size_align(size, if layout.align() > 16 { layout.align() } else { 16 }) {
        Ok(layout) => Some(layout),
        Err(_) => None,
    }
}

/// What is wrong with a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is freed, and was freed before by the thread at that address.
    FreedTwice {
        /// Where it is.
        block: usize,
        /// Bytes that were asked for.
        size: usize,
        /// Who freed it first.
        by: usize,
    },
    /// It was written beyond its end.
    Overflow {
        /// Where it is.
        block: usize,
        /// Bytes that it has, as far as whoever frees it knows.
        size: usize,
        /// The first byte that was overwritten, from the block's start.
        at: usize,
    },
    /// It was written after it had been freed.
    WrittenAfterFree {
        /// Where it is.
        block: usize,
        /// Bytes that it had.
        size: usize,
        /// The first byte that was written, from the block's start.
        at: usize,
        /// Who freed it.
        by: usize,
    },
    /// It is freed with another size than it was allocated with.
    OtherSize {
        /// Where it is.
        block: usize,
        /// Bytes that were asked for.
        size: usize,
        /// Bytes that it is freed with.
        freed: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FreedTwice { block, size, by } => {
                write!(f, "heap block of {size} bytes at {block:#x} is freed twice, first by the thread at {by:#x}")
            }
            Self::Overflow { block, size, at } => {
                write!(f, "heap block of {size} bytes at {block:#x} was written beyond its end: byte {at}")
            }
            Self::WrittenAfterFree { block, size, at, by } => write!(
                f,
                "heap block of {size} bytes at {block:#x} was written after the thread at {by:#x} had freed it: byte {at}"
            ),
            Self::OtherSize { block, size, freed } => {
                write!(f, "heap block of {size} bytes at {block:#x} is freed as one of {freed} bytes")
            }
        }
    }
}

impl core::error::Error for Fault {}

/// A block: where it is, what was asked for, and what it really has, a multiple of 16 that [`outer`] fits in.
#[derive(Clone, Copy, Debug)]
pub struct Hardened {
    /// Where it is.
    pub block: usize,
    /// Bytes that are asked for.
    pub size: usize,
    /// Bytes that it really has.
    pub real: usize,
}

impl Hardened {
    fn bytes(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(self.block)
    }

    const fn tail_at(&self) -> usize {
        self.real - size_of::<Tail>()
    }

    const fn mark(&self, state: u64) -> u64 {
        state ^ (self.block as u64).rotate_left(17)
    }

    /// # Safety
    /// The block's memory is the caller's.
    unsafe fn tail(&self) -> *mut Tail {
        // SAFETY: the tail is inside the block, and aligned to 16 as the block and its size are.
        unsafe { self.bytes().add(self.tail_at()).cast() }
    }

    /// The first byte from `from` to `to` that is not `with`.
    ///
    /// # Safety
    /// The block's memory is the caller's, and was written.
    unsafe fn first_other(&self, from: usize, to: usize, with: u8) -> Option<usize> {
        let mut at = from;
        // SAFETY: the caller's promise, here and below; the block begins at a multiple of 16. Volatile: somebody may be writing
        // where he must not.
        let word = |at| unsafe { self.bytes().add(at).cast::<u64>().read_volatile() };
        while at.is_multiple_of(8) && at + 8 <= to && word(at) == u64::from_ne_bytes([with; 8]) {
            at += 8;
        }
        // SAFETY: as above.
        (at..to).find(|at| unsafe { self.bytes().add(*at).read_volatile() } != with)
    }

    /// Makes it a block in use.
    ///
    /// # Errors
    /// [`Fault::WrittenAfterFree`], if it was a block before and is not as it was left.
    ///
    /// # Safety
    /// The block's memory is the caller's, and that of the tail was written before (with whatever) or is fresh.
    pub unsafe fn allocate(self, was_small: bool) -> Result<(), Fault> {
        // SAFETY: the caller's promise.
        unsafe {
            let tail = self.tail();
            let old = tail.read_volatile();
            if was_small && old.mark == self.mark(FREED) {
                let (size, by) = (old.size as usize, old.freed_by as usize);
                if let Some(at) = self.first_other(LINKS, self.tail_at(), DEAD) {
                    return Err(Fault::WrittenAfterFree { block: self.block, size, at, by });
                }
            }
            self.bytes().write_bytes(NEW, self.size);
            self.bytes().add(self.size).write_bytes(RED, self.tail_at() - self.size);
            tail.write(Tail { mark: self.mark(IN_USE), size: self.size as u64, freed_by: 0, guard: self.mark(GUARD) });
        }
        Ok(())
    }

    /// Makes it a free block, for the thread at the address `by`.
    ///
    /// # Errors
    /// What is wrong with it. It must not be given to anybody then.
    ///
    /// # Safety
    /// The block's memory is the caller's, or was so and is mapped still.
    pub unsafe fn free(self, by: usize) -> Result<(), Fault> {
        let (block, size) = (self.block, self.size);
        // SAFETY: the caller's promise.
        unsafe {
            let tail = self.tail();
            let old = tail.read_volatile();
            if old.mark == self.mark(FREED) {
                return Err(Fault::FreedTwice { block, size: old.size as usize, by: old.freed_by as usize });
            }
            // Whoever wrote over the size came over the mark before.
            let is_whole = old.mark == self.mark(IN_USE) && old.guard == self.mark(GUARD);
            if is_whole && old.size != size as u64 {
                return Err(Fault::OtherSize { block, size: old.size as usize, freed: size });
            }
            if let Some(at) = self.first_other(size, self.tail_at(), RED) {
                return Err(Fault::Overflow { block, size, at });
            }
            let damaged = [old.mark != self.mark(IN_USE), false, old.freed_by != 0, old.guard != self.mark(GUARD)];
            if let Some(word) = damaged.into_iter().position(|damaged| damaged) {
                return Err(Fault::Overflow { block, size, at: self.tail_at() + word * 8 });
            }
            self.bytes().write_bytes(DEAD, self.tail_at());
            tail.write(Tail {
                mark: self.mark(FREED),
                size: size as u64,
                freed_by: by as u64,
                guard: self.mark(GUARD),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// A block of some size in memory that is larger, as the allocator would give it.
    fn block(memory: &mut Vec<u128>, size: usize) -> Hardened {
        let outer = outer(Layout::from_size_align(size, 8).unwrap()).unwrap();
        let real = outer.size() + 32;
        memory.resize(real / 16, 0);
        Hardened { block: memory.as_mut_ptr().expose_provenance(), size, real }
    }

    fn write(block: Hardened, at: usize, byte: u8) {
        // SAFETY: within the memory of the block.
        unsafe { block.bytes().add(at).write_volatile(byte) }
    }

    #[test]
    fn a_block_comes_and_goes() {
        for size in [1, 15, 16, 17, 100, 2304, 100_000] {
            let mut memory = Vec::new();
            let block = block(&mut memory, size);
            for _ in 0..3 {
                // SAFETY: the memory is ours; the same below.
                unsafe {
                    assert_eq!(block.allocate(true), Ok(()));
                    assert_eq!(block.first_other(0, size, NEW), None);
                    (0..size).for_each(|at| write(block, at, at as u8));
                    assert_eq!(block.free(7), Ok(()));
                    assert_eq!(block.first_other(0, size, DEAD), None);
                    // The allocator's links.
                    (0..LINKS).for_each(|at| write(block, at, 3));
                }
            }
        }
    }

    #[test]
    fn freed_twice_is_found_and_by_whom() {
        let mut memory = Vec::new();
        let block = block(&mut memory, 100);
        // SAFETY: the memory is ours.
        unsafe {
            block.allocate(true).unwrap();
            block.free(0x1234).unwrap();
            let fault = block.free(5).unwrap_err();
            assert_eq!(fault, Fault::FreedTwice { block: block.block, size: 100, by: 0x1234 });
            assert!(fault.to_string().contains("100 bytes") && fault.to_string().contains("0x1234"));
        }
    }

    #[test]
    fn each_byte_beyond_the_end_is_found() {
        for size in [1, 16, 40] {
            let mut memory = Vec::new();
            let block = block(&mut memory, size);
            // The size's own word tells a wrong size.
            for at in (size..block.tail_at() + 8).chain(block.tail_at() + 16..block.real) {
                // SAFETY: the memory is ours.
                unsafe {
                    block.allocate(false).unwrap();
                    write(block, at, 0x55);
                    let found = block.free(5);
                    let first = if at < block.tail_at() { at } else { at & !7 };
                    assert_eq!(found, Err(Fault::Overflow { block: block.block, size, at: first }), "{at}");
                }
            }
        }
    }

    #[test]
    fn a_write_after_free_is_found() {
        let mut memory = Vec::new();
        let block = block(&mut memory, 64);
        for at in LINKS..64 {
            // SAFETY: the memory is ours.
            unsafe {
                block.allocate(false).unwrap();
                block.free(9).unwrap();
                write(block, at, 1);
                let fault = Fault::WrittenAfterFree { block: block.block, size: 64, at, by: 9 };
                assert_eq!(block.allocate(true), Err(fault));
            }
        }
    }

    #[test]
    fn another_size_is_found() {
        let mut memory = Vec::new();
        let block = block(&mut memory, 64);
        // SAFETY: the memory is ours.
        unsafe {
            block.allocate(false).unwrap();
            for freed in [50, 70] {
                let found = Hardened { size: freed, ..block }.free(9);
                assert_eq!(found, Err(Fault::OtherSize { block: block.block, size: 64, freed }));
            }
        }
    }

    #[test]
    fn blocks_that_cannot_be() {
        assert_eq!(outer(Layout::from_size_align(isize::MAX as usize - 15, 1).unwrap()), None);
        let small = outer(Layout::from_size_align(1, 1).unwrap()).unwrap();
        assert_eq!((small.size(), small.align()), (48, 16));
    }
}
