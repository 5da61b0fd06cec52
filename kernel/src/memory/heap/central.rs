//! What all CPUs share: spans of small blocks, cut from the backing heap.
//!
//! A span is 16 KiB at a multiple of 16 KiB: a header, then blocks of one class. A block's span is found by masking its
//! address, so any CPU can give back any block; a span whose last block comes back returns to the backing heap, where
//! it can become a large block or a span of another class. Blocks are cut off a span only when they are needed first.
//!
//! Above the spans lie a few *chains* of each class: half a CPU's stock of blocks each, linked through the blocks, that one CPU
//! had too many of and the next that has none takes as they are, by two words. When memory is short they go back to their
//! spans first. A chain of more than [`MOST_CHAINS`] goes there at once, block by block.
//!
//! Rejected: single small blocks in the linked list itself. Freeing walks the list, and ten thousand small holes make
//! each walk, under the lock, a hole in everybody's latency.

use super::classes::{CLASSES, LARGEST, MAX_ALIGN, SIZES, batch};
use crate::memory::sanitizer;
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

/// A free block of a span. Its link is where a chain's is ([`Link`]), so that a part of a chain is a list of these.
#[repr(C)]
struct FreeBlock {
    next: *mut FreeBlock,
}

/// The beginning of a block in a chain: 16 bytes, which every block has.
#[repr(C)]
struct Link {
    next_block: usize,
    /// In the first block of one of several chains: the first block of the next.
    next_chain: usize,
}

const fn link_at(block: usize) -> *mut Link {
    ptr::with_exposed_provenance_mut(block)
}

/// The block that follows in a chain; 0 at its end.
///
/// # Safety
/// The block is in a chain that the caller has.
pub unsafe fn next_in_chain(block: usize) -> usize {
    // SAFETY: the caller's promise; blocks are aligned to 16.
    unsafe { sanitizer::load(&raw const (*link_at(block)).next_block) }
}

/// Makes `next` follow in a chain, or nothing, if it is 0.
///
/// # Safety
/// The block is a small one that nobody uses but the caller.
pub unsafe fn set_next_in_chain(block: usize, next: usize) {
    // SAFETY: the caller's promise; blocks are aligned to 16.
    unsafe { sanitizer::store(&raw mut (*link_at(block)).next_block, next) }
}

/// The class of a small block, as its span says.
///
/// # Safety
/// The block came from a span, and was not given back to it.
pub unsafe fn class_of_block(block: usize) -> usize {
    let span = ptr::with_exposed_provenance::<Span>(block & !(SPAN_SIZE - 1));
    // SAFETY: the span lives while blocks of it are out, and its class does not change as long.
    unsafe { (*span).class as usize }
}

/// The most chains of a class that are kept.
pub const MOST_CHAINS: usize = 4;

/// Chains of one class.
#[derive(Clone, Copy)]
struct Chains {
    first: usize,
    count: usize,
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
    chains: [Chains; CLASSES],
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
        let chains = [Chains { first: 0, count: 0 }; CLASSES];
        Self { open: [ptr::null_mut(); CLASSES], chains, backing, small_used: 0, spans: 0 }
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
        self.back(layout)
    }

    /// From the backing heap; if that has none, once more when all that lies ready here went back to it.
    fn back(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let found = self.backing.allocate(layout);
        if found.is_some() || !self.release_chains() {
            return found;
        }
        self.backing.allocate(layout)
    }

    /// Gives the blocks of all chains back to their spans; false if there is no chain.
    pub fn release_chains(&mut self) -> bool {
        let mut any = false;
        for class in 0..CLASSES {
            while let Some(first) = self.take_chain(class) {
                any = true;
                // SAFETY: a chain of this class, which was just taken.
                unsafe { self.give_each(class, first) };
            }
        }
        any
    }

    /// A chain of [`batch`] blocks of a class, if there is one: its first block.
    pub fn take_chain(&mut self, class: usize) -> Option<usize> {
        let chains = &mut self.chains[class];
        let first = chains.first;
        if first == 0 {
            return None;
        }
        // SAFETY: the first block of a chain that lies here.
        chains.first = unsafe { sanitizer::load(&raw const (*link_at(first)).next_chain) };
        chains.count -= 1;
        self.small_used += batch(class) * SIZES[class] as usize;
        Some(first)
    }

    /// Takes back a chain of [`batch`] blocks of a class.
    ///
    /// # Safety
    /// Its blocks came from this part, with this class, and nobody uses them.
    pub unsafe fn give_chain(&mut self, class: usize, first: usize) {
        let chains = &mut self.chains[class];
        if chains.count == MOST_CHAINS {
            // SAFETY: the caller's promise.
            return unsafe { self.give_each(class, first) };
        }
        // SAFETY: the caller's promise: the block is ours to write.
        unsafe { sanitizer::store(&raw mut (*link_at(first)).next_chain, chains.first) };
        chains.first = first;
        chains.count += 1;
        self.small_used -= batch(class) * SIZES[class] as usize;
    }

    /// Gives the blocks of a chain back to their spans, those that follow each other in one span together.
    ///
    /// # Safety
    /// As for [`Self::give_chain`].
    unsafe fn give_each(&mut self, class: usize, chain: usize) {
        let mut first = chain;
        while first != 0 {
            let (mut last, mut count) = (first, 1);
            // The link of a chain is that of a span's free blocks, too: the first word.
            let next = loop {
                // SAFETY: the caller's promise; the next one's address is read before the block is another's.
                let next = unsafe { next_in_chain(last) };
                if next == 0 || (next ^ first) >= SPAN_SIZE {
                    break next;
                }
                (last, count) = (next, count + 1);
            };
            // SAFETY: the caller's promise; they were found to be of one span.
            unsafe { self.give_run(class, first, last, count) };
            first = next;
        }
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
        let mut found = None;
        self.take_some(class, 1, |block| found = Some(block));
        found
    }

    /// Up to so many blocks of a class, each told to `put`; fewer if memory is short. New ones come with falling addresses: who
    /// makes a stack of them takes them off it with rising ones, which the CPU's prefetchers follow.
    pub fn take_some(&mut self, class: usize, most: usize, mut put: impl FnMut(usize)) {
        let mut left = most;
        while left > 0 {
            // Without a new span there may still be one that chains went back to.
            if self.open[class].is_null() && self.open_span(class).is_none() && self.open[class].is_null() {
                break;
            }
            let span = self.open[class];
            // SAFETY: a span in the list is a live header that only this value touches; `free` and the uncut rest are
            // blocks that nobody else has, as many as are missing to the span's capacity.
            unsafe {
                let count = left.min((CAPACITY[class] - (*span).live) as usize);
                let mut uncut = count;
                while let Some(block) = NonNull::new((*span).free).filter(|_| uncut > 0) {
                    (*span).free = sanitizer::load(&raw const (*block.as_ptr()).next);
                    put(block.as_ptr().expose_provenance());
                    uncut -= 1;
                }
                let rest = span.cast::<u8>().add(FIRST_BLOCK + (*span).cut as usize * SIZES[class] as usize);
                for nth in (0..uncut).rev() {
                    put(rest.add(nth * SIZES[class] as usize).expose_provenance());
                }
                (*span).cut += uncut as u16;
                (*span).live += count as u16;
                if (*span).live == CAPACITY[class] {
                    self.unlink(span, class);
                }
                left -= count;
                self.small_used += count * SIZES[class] as usize;
            }
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
        // SAFETY: the caller's promise: the block alone is a run.
        unsafe { self.give_run(class, addr, addr, 1) }
    }

    /// Takes back `count` blocks of one span, linked from `first` to `last`.
    ///
    /// # Safety
    /// As for [`Self::give`], for each of them.
    unsafe fn give_run(&mut self, class: usize, first: usize, last: usize, count: u16) {
        let span = ptr::with_exposed_provenance_mut::<Span>(first & !(SPAN_SIZE - 1));
        // SAFETY: a block that `take` gave lies in a span that lives at least as long as the block does, and the blocks
        // are ours to write now; they are at least 16 bytes and so aligned.
        unsafe {
            assert!((*span).class as usize == class, "heap block freed with another layout");
            let last = ptr::with_exposed_provenance_mut::<FreeBlock>(last);
            sanitizer::store(&raw mut (*last).next, (*span).free);
            (*span).free = ptr::with_exposed_provenance_mut(first);
            if (*span).live == CAPACITY[class] {
                self.link(span, class);
            }
            (*span).live -= count;
            self.small_used -= count as usize * SIZES[class] as usize;
            // One empty span stays with its class, so that a program at the edge does not cut spans for ever.
            let alone = (*span).next.is_null() && (*span).prev.is_null();
            if (*span).live == 0 && !alone {
                self.close_span(NonNull::new_unchecked(span), class);
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
                        self.close_span(span, class);
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
        let span = self.back(SPAN_LAYOUT)?.cast::<Span>().as_ptr();
        let header = Span {
            next: ptr::null_mut(),
            prev: ptr::null_mut(),
            free: ptr::null_mut(),
            class: class as u16,
            live: 0,
            cut: 0,
        };
        span.expose_provenance();
        if cfg!(feature = "hardened") {
            // Nothing in it looks like a block that was freed, and was then part of something else.
            // SAFETY: as below.
            unsafe { span.cast::<u8>().add(FIRST_BLOCK).write_bytes(0, SPAN_SIZE - FIRST_BLOCK) };
        }
        // SAFETY: the backing gave these bytes to us, aligned to their size.
        unsafe {
            span.write(header);
            self.link(span, class);
        }
        sanitizer::poison(span.addr() + FIRST_BLOCK, SPAN_SIZE - FIRST_BLOCK);
        self.spans += 1;
        Some(())
    }

    /// A span goes back to the backing.
    ///
    /// # Safety
    /// It is in the list of its class, and none of its blocks is handed out.
    unsafe fn close_span(&mut self, span: NonNull<Span>, class: usize) {
        sanitizer::unpoison(span.addr().get(), SPAN_SIZE);
        // SAFETY: the caller's promise.
        unsafe {
            self.unlink(span.as_ptr(), class);
            self.spans -= 1;
            self.backing.deallocate(span.cast(), SPAN_LAYOUT);
        }
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
