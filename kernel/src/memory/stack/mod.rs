//! Stacks for threads, workers and exceptions: each above an unmapped guard region, pooled by size class.
//!
//! A stack is a range of addresses of which the top is backed ([`backed_at_first`]); the rest is backed page by page when it
//! is touched first (`growth`, on bare metal; in a process the host does that). A stack that is dropped stays as it
//! is and goes to its CPU's stock ([`StackCache`]), then to a pool that all share ([`pool::StackPool`]); so reuse is last in,
//! first out, and costs a few instructions. What stacks have grown by and do not use is given back by `trim`: of those that nobody
//! has, wherever they lie, and of those of threads that wait. For that each has a [`HEADER`].
//!
//! The guard region below a stack is as large as the stack, at most 64 KiB. One page would do for code that probes its
//! stack, as all Rust code does; the rest is for code that does not, and costs only page-table entries.

pub mod pool;
#[cfg(test)]
mod tests;

use super::magazine::Magazine;
use core::cell::Cell;
use core::num::NonZero;
use isochron_boot::VirtAddr;
use isochron_boot::layout::PAGE_SIZE;

/// Size classes: 4 KiB, 8 KiB and so on to 1 MiB.
pub const CLASSES: usize = 9;

/// The largest size that has a class, in bytes. Larger stacks have their exact size.
pub const LARGEST_CLASS: usize = PAGE_SIZE << (CLASSES - 1);

/// The most bytes in a guard region.
pub const MAX_GUARD: usize = 64 * 1024;

/// What a request for some bytes gets: its class, if it has one, and the real size. `None` for sizes near the end of
/// the address space.
#[inline(always)]
#[must_use]
pub const fn class_of(bytes: usize) -> Option<(Option<usize>, usize)> {
    if bytes <= LARGEST_CLASS {
        // Pages less one, so that 4096 bytes are class 0 and 4097 are class 1. No bytes at all are one page.
        let pages_less_one = bytes.saturating_sub(1) / PAGE_SIZE;
        let class = (usize::BITS - pages_less_one.leading_zeros()) as usize;
        return Some((Some(class), PAGE_SIZE << class));
    }
    match bytes.checked_next_multiple_of(PAGE_SIZE) {
        Some(size) => Some((None, size)),
        None => None,
    }
}

/// The class of a stack of exactly `size` bytes, a size that [`class_of`] gave.
#[inline(always)]
#[must_use]
pub const fn class_of_size(size: usize) -> Option<usize> {
    if size <= LARGEST_CLASS { Some((size / PAGE_SIZE).trailing_zeros() as usize) } else { None }
}

/// Bytes at the top of a stack of `size` bytes that are backed from the beginning, and stay so.
#[must_use]
pub const fn backed_at_first(size: usize) -> usize {
    if size < 2 * PAGE_SIZE { size } else { 2 * PAGE_SIZE }
}

/// Bytes of the guard region below a stack of `size` bytes.
#[must_use]
pub const fn guard_size(size: usize) -> usize {
    if size < MAX_GUARD { size } else { MAX_GUARD }
}

/// Bytes at the end of a stack in which it says of itself what who trims stacks wants to know: above its top, where its thread begins.
pub const HEADER: usize = 64;

/// Bytes that the stacks of most threads may grow to: of those, a CPU keeps the last that was left on it at hand.
pub const USUAL_SIZE: usize = 64 * 1024;

/// Stacks ready for one CPU, by class. It belongs to its CPU, which touches it with interrupts masked.
pub struct StackCache {
    /// The top of one of [`USUAL_SIZE`], the first to be taken; 0 for none.
    last: Cell<usize>,
    magazines: [Magazine<15>; CLASSES],
}

impl StackCache {
    /// Nothing in stock.
    #[must_use]
    pub const fn new() -> Self {
        let mut magazines = [const { Magazine::new(1) }; CLASSES];
        let mut class = 0;
        while class < CLASSES {
            // Most of those up to 256 KiB have only their top backed; of the larger ones a CPU keeps one.
            magazines[class] = Magazine::new(if class <= 6 { 15 } else { 1 });
            class += 1;
        }
        Self { last: Cell::new(0), magazines }
    }

    /// The top of the stack of [`USUAL_SIZE`] that was left here last, 0 for none.
    #[inline(always)]
    #[must_use]
    pub const fn last(&self) -> &Cell<usize> {
        &self.last
    }

    /// The stock of one class: addresses of stack tops.
    #[inline(always)]
    #[must_use]
    pub const fn class(&self, class: usize) -> &Magazine<15> {
        &self.magazines[class]
    }
}

impl Default for StackCache {
    fn default() -> Self {
        Self::new()
    }
}

/// The lowest address of the stack of `size` bytes that has this top.
#[inline]
#[must_use]
pub const fn bottom_of(top: usize, size: usize) -> VirtAddr {
    VirtAddr::new(top + HEADER - size)
}

/// A stack, ready to be run on. Dropping it puts it back into the pool.
///
/// It is 16-byte aligned at its top, as both calling conventions ask. Its contents are undefined.
#[derive(Debug)]
pub struct Stack {
    top: NonZero<usize>,
    size: usize,
}

impl Stack {
    /// One past the highest byte that can be used: where the stack pointer begins.
    #[inline]
    #[must_use]
    pub const fn top(&self) -> VirtAddr {
        VirtAddr::new(self.top.get())
    }

    /// Its lowest byte.
    #[inline]
    #[must_use]
    pub const fn bottom(&self) -> VirtAddr {
        bottom_of(self.top.get(), self.size)
    }

    /// Its top, for who keeps that and the size and needs no more: [`from_top`](Self::from_top) makes a stack of them again.
    #[inline]
    #[must_use]
    pub fn into_top(self) -> usize {
        core::mem::ManuallyDrop::new(self).top.get()
    }

    /// The stack whose top that is.
    ///
    /// # Safety
    /// [`into_top`](Self::into_top) gave it, for a stack of `size` bytes, and it is turned back once.
    ///
    /// # Panics
    /// If `top` is 0, which no stack's is.
    #[inline]
    #[must_use]
    pub const unsafe fn from_top(top: usize, size: usize) -> Self {
        Self { top: NonZero::new(top).expect("a stack's top is not 0"), size }
    }

    /// Bytes of it, of which the highest [`HEADER`] are not to be used.
    #[inline]
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Its top: from here on it is the caller's to keep.
    #[cfg(any(isochron_bare, isochron_hosted))]
    pub(crate) fn into_raw(self) -> NonZero<usize> {
        core::mem::ManuallyDrop::new(self).top
    }

    /// The stack that ends at `top`.
    ///
    /// # Safety
    /// [`Self::into_raw`] gave it, for a stack of `size` bytes, and nobody else uses it.
    #[cfg(any(isochron_bare, isochron_hosted))]
    pub(crate) const unsafe fn from_raw(top: NonZero<usize>, size: usize) -> Self {
        Self { top, size }
    }

    /// Whether `addr` lies in the guard region below this stack: a fault there is an overflow of this stack.
    #[must_use]
    pub const fn guard_hit(&self, addr: usize) -> bool {
        let bottom = self.bottom().as_usize();
        bottom - guard_size(self.size) <= addr && addr < bottom
    }
}

#[cfg(any(isochron_bare, isochron_hosted))]
mod global;
#[cfg(isochron_bare)]
pub(crate) mod growth;
#[cfg(any(isochron_bare, isochron_hosted))]
mod header;
#[cfg(isochron_hosted)]
pub(crate) mod hosted;
#[cfg(isochron_bare)]
mod trim;
#[cfg(isochron_hosted)]
pub(super) use global::PIECES;
#[cfg(any(isochron_bare, isochron_hosted))]
pub(super) use global::init;
#[cfg(any(isochron_bare, isochron_hosted))]
pub(crate) use global::pooled_bytes;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use global::{back, backed_bytes, reserved_bytes, trim};
#[cfg(any(isochron_bare, isochron_hosted))]
pub use header::{InUse, Judge, has_grown, kept, left, taken};
#[cfg(isochron_hosted)]
use hosted as port;
#[cfg(isochron_bare)]
use trim as port;
