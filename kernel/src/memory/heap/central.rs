//! What all CPUs share: spans of small blocks, cut from the backing heap.
//!
//! A span is 16 KiB at a multiple of 16 KiB: a header, then blocks of one class. A block's span is found by masking its
//! address, so any CPU can give back any block; a span whose last block comes back returns to the backing heap, where
//! it can become a large block or a span of another class. Blocks are cut off a span only when they are needed first.
//!
//! Rejected: single small blocks in the linked list itself. Freeing walks the list, and ten thousand small holes make
//! each walk, under the lock, a hole in everybody's latency.

use super::classes::{CLASSES, LARGEST, MAX_ALIGN, SIZES};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Bytes in a span, and its alignment.
pub const SPAN_SIZE: usize = 16 * 1024;

const SPAN_LAYOUT: Layout = match Layout::from_size_align(SPAN_SIZE, SPAN_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("a span's size is a power of two"),
};

/// Where large blocks and spans come from.
pub trait Backing {
    /// A block, contents undefined.
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>>;
    /// Takes one back.
    ///
    /// # Safety
    /// The block came from `allocate` with the same layout, and nobody uses it.
    unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout);
}

/// The header of a span.
#[repr(C)]
struct Span {
    next: *mut Span,
    prev: *mut Span,
    /// Blocks that came back; each begins with the next one's address.
    free: *mut FreeBlock,
    class: u16,
    /// Blocks handed out.
    live: u16,
    /// Blocks cut off so far.
    cut: u16,
}

struct FreeBlock {
    next: *mut FreeBlock,
}

/// Blocks begin at a multiple of every alignment that small blocks can have.
const FIRST_BLOCK: usize = size_of::<Span>().next_multiple_of(MAX_ALIGN);

/// Where, in a span, its backing may keep what it likes, up to the first block: the header ends before.
pub const BACKINGS_OWN: usize = 64;
const _: () = assert!(size_of::<Span>() <= BACKINGS_OWN);

/// How many blocks of a class a span holds.
const CAPACITY: [u16; CLASSES] = {
    let mut capacity = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        capacity[class] = ((SPAN_SIZE - FIRST_BLOCK) / SIZES[class] as usize) as u16;
        class += 1;
    }
    capacity
};

const _: () = assert!(LARGEST * 4 <= SPAN_SIZE - FIRST_BLOCK, "a span holds several of the largest blocks");

/// The shared part of the allocator. It is protected by its owner's lock.
pub struct Central<B> {
    /// Spans that have blocks to give, by class.
    open: [*mut Span; CLASSES],
    backing: B,
    /// Bytes of small blocks handed out, to programs and to the CPUs' magazines.
    small_used: usize,
    spans: usize,
}

// SAFETY: the spans belong to this value alone; who owns it may use them on any CPU.
unsafe impl<B: Send> Send for Central<B> {}

impl<B: Backing> Central<B> {
    /// No spans yet.
    pub const fn new(backing: B) -> Self {
        Self { open: [ptr::null_mut(); CLASSES], backing, small_used: 0, spans: 0 }
    }

    /// Where spans and large blocks come from.
    pub const fn backing(&self) -> &B {
        &self.backing
    }

    /// As [`Self::backing`], to change it.
    pub const fn backing_mut(&mut self) -> &mut B {
        &mut self.backing
    }

    /// Bytes of small blocks handed out.
    pub const fn small_used(&self) -> usize {
        self.small_used
    }

    /// Bytes in spans.
    pub const fn span_bytes(&self) -> usize {
        self.spans * SPAN_SIZE
    }

    /// A block that is not small.
    pub fn allocate_large(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.backing.allocate(layout)
    }

    /// Takes back a block that is not small.
    ///
    /// # Safety
    /// It came from [`Self::allocate_large`] with the same layout, and nobody uses it.
    pub unsafe fn free_large(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { self.backing.deallocate(block, layout) }
    }

    /// One block of a class.
    pub fn take(&mut self, class: usize) -> Option<usize> {
        if self.open[class].is_null() {
            self.open_span(class)?;
        }
        let span = self.open[class];
        // SAFETY: a span in the list is a live header that only this value touches; `free` and the uncut rest are
        // blocks that nobody else has; an open span has one or the other.
        unsafe {
            let block = if (*span).free.is_null() {
                let nth = (*span).cut as usize;
                (*span).cut += 1;
                span.cast::<u8>().add(FIRST_BLOCK + nth * SIZES[class] as usize)
            } else {
                let block = (*span).free;
                (*span).free = (*block).next;
                block.cast()
            };
            (*span).live += 1;
            if (*span).live == CAPACITY[class] {
                self.unlink(span, class);
            }
            self.small_used += SIZES[class] as usize;
            Some(block.expose_provenance())
        }
    }

    /// Takes back a block of a class.
    ///
    /// # Safety
    /// `addr` came from [`Self::take`] with the same class, and nobody uses the block.
    ///
    /// # Panics
    /// If the block's span is of another class: somebody freed with a wrong layout, or wrote over the span's header.
    pub unsafe fn give(&mut self, class: usize, addr: usize) {
        let span = ptr::with_exposed_provenance_mut::<Span>(addr & !(SPAN_SIZE - 1));
        let block = ptr::with_exposed_provenance_mut::<FreeBlock>(addr);
        // SAFETY: a block that `take` gave lies in a span that lives at least as long as the block does, and the block
        // is ours to write now; it is at least 16 bytes and so aligned.
        unsafe {
            assert!((*span).class as usize == class, "heap block freed with another layout");
            (*block).next = (*span).free;
            (*span).free = block;
            if (*span).live == CAPACITY[class] {
                self.link(span, class);
            }
            (*span).live -= 1;
            self.small_used -= SIZES[class] as usize;
            // One empty span stays with its class, so that a program at the edge does not cut spans for ever.
            let alone = (*span).next.is_null() && (*span).prev.is_null();
            if (*span).live == 0 && !alone {
                self.unlink(span, class);
                self.spans -= 1;
                self.backing.deallocate(NonNull::new_unchecked(span.cast()), SPAN_LAYOUT);
            }
        }
    }

    /// Gives the empty spans back that were kept. Whether there were any.
    pub fn trim(&mut self) -> bool {
        let before = self.spans;
        for class in 0..CLASSES {
            let mut next = self.open[class];
            while let Some(span) = NonNull::new(next) {
                // SAFETY: spans in the list are live headers that only this value touches; one without live blocks is
                // nobody else's.
                unsafe {
                    next = span.as_ref().next;
                    if span.as_ref().live == 0 {
                        self.unlink(span.as_ptr(), class);
                        self.spans -= 1;
                        self.backing.deallocate(span.cast(), SPAN_LAYOUT);
                    }
                }
            }
        }
        self.spans < before
    }

    /// Has no spans any more: they are the backing's affair.
    pub const fn forget_spans(&mut self) {
        self.open = [ptr::null_mut(); CLASSES];
        self.small_used = 0;
        self.spans = 0;
    }

    fn open_span(&mut self, class: usize) -> Option<()> {
        let span = self.backing.allocate(SPAN_LAYOUT)?.cast::<Span>().as_ptr();
        let header = Span {
            next: ptr::null_mut(),
            prev: ptr::null_mut(),
            free: ptr::null_mut(),
            class: class as u16,
            live: 0,
            cut: 0,
        };
        span.expose_provenance();
        // SAFETY: the backing gave these bytes to us, aligned to their size.
        unsafe {
            span.write(header);
            self.link(span, class);
        }
        self.spans += 1;
        Some(())
    }

    /// # Safety
    /// The span is live and in no list.
    unsafe fn link(&mut self, span: *mut Span, class: usize) {
        let head = self.open[class];
        // SAFETY: spans in the list are live headers that only this value touches.
        unsafe {
            (*span).next = head;
            (*span).prev = ptr::null_mut();
            if !head.is_null() {
                (*head).prev = span;
            }
        }
        self.open[class] = span;
    }

    /// # Safety
    /// The span is in the list of its class.
    unsafe fn unlink(&mut self, span: *mut Span, class: usize) {
        // SAFETY: as in `link`.
        unsafe {
            let (next, prev) = ((*span).next, (*span).prev);
            if prev.is_null() {
                self.open[class] = next;
            } else {
                (*prev).next = next;
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
        }
    }
}
