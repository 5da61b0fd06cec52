//! The blocks of one account: spans of small ones and large ones, each with a tag that names the account and is linked with
//! the others', so that all of them can be given back without asking who has them.
//!
//! ```text
//! span:  | header of the span | tag | blocks of one size ...
//! large: | padding up to the alignment, 64 bytes at least; the tag is its end | the block
//! ```

use crate::memory::heap::central::{BACKINGS_OWN, Backing, Central, SPAN_SIZE};
use crate::memory::sanitizer;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Where the memory of arenas comes from, and who is asked whether more may be taken. `O` is what a tag names.
pub trait Supply {
    /// What the tags name: the account.
    type Owner;
    /// Memory, charged; `None` if the account or the machine has none.
    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>>;
    /// Takes it back.
    ///
    /// # Safety
    /// It came from [`take`](Self::take) with this layout, and nobody uses it.
    unsafe fn give(&mut self, memory: NonNull<u8>, layout: Layout);
    /// What the tags name.
    fn owner(&self) -> *const Self::Owner;
}

/// In each piece of memory that an arena has.
struct Tag<O> {
    owner: *const O,
    next: *mut Tag<O>,
    prev: *mut Tag<O>,
    memory: *mut u8,
    layout: Layout,
}

/// Bytes before a large block, at least: its tag is their end.
const BEFORE: usize = 64;
const _: () = assert!(size_of::<Tag<u8>>() <= BEFORE && align_of::<Tag<u8>>() <= 16);

/// The blocks of one account. Under its owner's lock.
pub struct Arena<S: Supply> {
    central: Central<Pieces<S>>,
}

// SAFETY: the pieces belong to this value alone; who owns it may use them on any CPU. What the tags name is shared by itself.
unsafe impl<S: Supply + Send> Send for Arena<S> where S::Owner: Sync {}

/// The memory that an arena has.
pub struct Pieces<S: Supply> {
    supply: S,
    first: *mut Tag<S::Owner>,
    count: usize,
}

impl<S: Supply> Arena<S> {
    /// No blocks.
    #[must_use]
    pub const fn new(supply: S) -> Self {
        Self { central: Central::new(Pieces { supply, first: ptr::null_mut(), count: 0 }) }
    }

    /// Where its memory comes from.
    pub const fn supply_mut(&mut self) -> &mut S {
        &mut self.central.backing_mut().supply
    }

    /// How many spans and large blocks it has.
    #[must_use]
    pub const fn pieces(&self) -> usize {
        self.central.backing().count
    }

    /// A block of a class of the heap's.
    pub fn take_small(&mut self, class: usize) -> Option<NonNull<u8>> {
        // Empty spans of other sizes count towards the limit too.
        let block = match self.central.take(class) {
            Some(block) => block,
            None if self.central.trim() => self.central.take(class)?,
            None => return None,
        };
        NonNull::new(ptr::with_exposed_provenance_mut(block))
    }

    /// Takes one back.
    ///
    /// # Safety
    /// [`take_small`](Self::take_small) gave it, for this class, and nobody uses it.
    pub unsafe fn give_small(&mut self, class: usize, block: NonNull<u8>) {
        // SAFETY: the caller's.
        unsafe { self.central.give(class, block.as_ptr().expose_provenance()) }
    }

    /// A block that is of no class.
    pub fn take_large(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let (whole, before) = with_tag(layout)?;
        let memory = match self.central.backing_mut().supply.take(whole) {
            Some(memory) => memory,
            None if self.central.trim() => self.central.backing_mut().supply.take(whole)?,
            None => return None,
        };
        // SAFETY: the memory is ours, and larger than `before`, which is 64 at least.
        unsafe {
            let block = memory.add(before);
            self.central.backing_mut().link(block.sub(BEFORE).cast(), memory, whole);
            Some(block)
        }
    }

    /// Takes one back.
    ///
    /// # Safety
    /// [`take_large`](Self::take_large) gave it, and nobody uses it.
    pub unsafe fn give_large(&mut self, block: NonNull<u8>) {
        // SAFETY: there is a tag before it, which `take_large` linked.
        unsafe { self.central.backing_mut().give_back(block.sub(BEFORE).cast()) }
    }

    /// Gives back the spans that are empty.
    pub fn trim(&mut self) {
        self.central.trim();
    }

    /// Gives back up to `most` pieces with all blocks in them, whoever has them. What is left to do.
    ///
    /// # Safety
    /// Nobody uses a block of this arena any more, nor gives one back from now on.
    pub unsafe fn abandon(&mut self, most: usize) -> usize {
        self.central.forget_spans();
        let pieces = self.central.backing_mut();
        for _ in 0..most {
            let Some(first) = NonNull::new(pieces.first) else { break };
            // SAFETY: it is linked; what is in the piece is nobody's, by the caller's promise.
            unsafe { pieces.give_back(first) };
        }
        pieces.count
    }
}

/// The layout of a large block and its tag, and how many bytes come before the block.
fn with_tag(layout: Layout) -> Option<(Layout, usize)> {
    let before = BEFORE.max(layout.align());
    let whole = Layout::from_size_align(layout.size().checked_add(before)?, layout.align().max(16)).ok()?;
    Some((whole, before))
}

/// What the tag of a block names, which is of a class or not.
///
/// # Safety
/// An arena with such tags gave it, and has not got it back.
#[must_use]
pub unsafe fn owner_of<O>(block: NonNull<u8>, is_small: bool) -> *const O {
    // SAFETY: the span around a small block, and the 64 bytes before a large one, are there as long as the block is.
    unsafe {
        let tag = if is_small {
            tag_of_span(block.map_addr(|addr| {
                // SAFETY: a span does not lie at address 0.
                core::num::NonZero::new_unchecked(addr.get() & !(SPAN_SIZE - 1))
            }))
        } else {
            block.sub(BEFORE).cast::<Tag<O>>()
        };
        (*tag.as_ptr()).owner
    }
}

/// # Safety
/// A span begins there.
const unsafe fn tag_of_span<O>(span: NonNull<u8>) -> NonNull<Tag<O>> {
    // SAFETY: the caller's; a span is larger.
    unsafe { span.add(BACKINGS_OWN).cast() }
}

impl<S: Supply> Pieces<S> {
    /// # Safety
    /// The tag's place is ours, inside of `memory`.
    unsafe fn link(&mut self, tag: NonNull<Tag<S::Owner>>, memory: NonNull<u8>, layout: Layout) {
        let new = Tag {
            owner: self.supply.owner(),
            next: self.first,
            prev: ptr::null_mut(),
            memory: memory.as_ptr(),
            layout,
        };
        // SAFETY: the caller's; tags in the list are live and only this value touches their links.
        unsafe {
            tag.write(new);
            if let Some(first) = self.first.as_mut() {
                first.prev = tag.as_ptr();
            }
        }
        self.first = tag.as_ptr();
        self.count += 1;
    }

    /// # Safety
    /// The tag is linked here, and nobody uses what is in its piece.
    unsafe fn give_back(&mut self, tag: NonNull<Tag<S::Owner>>) {
        // SAFETY: the caller's; as in `link`. A copy is taken before the piece goes.
        unsafe {
            let Tag { next, prev, memory, layout, .. } = tag.read();
            match prev.as_mut() {
                Some(prev) => prev.next = next,
                None => self.first = next,
            }
            if let Some(next) = next.as_mut() {
                next.prev = prev;
            }
            self.count -= 1;
            // Where it was abandoned, free blocks are in it.
            sanitizer::unpoison(memory.addr(), layout.size());
            self.supply.give(NonNull::new_unchecked(memory), layout);
        }
    }
}

/// For the spans, which are asked for with a span's layout and nothing else.
impl<S: Supply> Backing for Pieces<S> {
    fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let memory = self.supply.take(layout)?;
        // SAFETY: a span begins there, and the place is left to its backing.
        unsafe { self.link(tag_of_span(memory), memory, layout) };
        Some(memory)
    }

    unsafe fn deallocate(&mut self, block: NonNull<u8>, _layout: Layout) {
        // SAFETY: it is a span of `allocate`'s, and its blocks are all back.
        unsafe { self.give_back(tag_of_span(block)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::heap::classes::{CLASSES, SIZES};
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The host's memory, up to a limit.
    struct Host {
        left: usize,
        given: HashMap<usize, Layout>,
    }

    static OWNER: u8 = 7;

    impl Supply for Host {
        type Owner = u8;

        fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
            self.left = self.left.checked_sub(layout.size())?;
            // SAFETY: no layout of an arena's is of size zero.
            let memory = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
            self.given.insert(memory.as_ptr().expose_provenance(), layout);
            Some(memory)
        }

        unsafe fn give(&mut self, memory: NonNull<u8>, layout: Layout) {
            assert_eq!(self.given.remove(&memory.as_ptr().addr()), Some(layout));
            self.left += layout.size();
            // SAFETY: it was allocated so.
            unsafe { std::alloc::dealloc(memory.as_ptr(), layout) }
        }

        fn owner(&self) -> *const u8 {
            &raw const OWNER
        }
    }

    fn arena(limit: usize) -> Arena<Host> {
        Arena::new(Host { left: limit, given: HashMap::new() })
    }

    #[test]
    fn an_empty_span_makes_room_for_another_size() {
        let mut arena = arena(SPAN_SIZE);
        let block = arena.take_small(0).unwrap();
        assert_eq!(arena.take_small(1), None);
        assert_eq!(arena.take_large(Layout::from_size_align(5000, 8).unwrap()), None);
        // SAFETY: it was taken so.
        unsafe { arena.give_small(0, block) };
        assert_eq!(arena.pieces(), 1, "it stays for the next of its size");
        let other = arena.take_small(1).unwrap();
        // SAFETY: as above.
        unsafe { arena.give_small(1, other) };
        let large = arena.take_large(Layout::from_size_align(5000, 256).unwrap()).unwrap();
        assert_eq!((large.as_ptr().addr() % 256, arena.pieces()), (0, 1));
        // SAFETY: as above.
        unsafe { arena.give_large(large) };
        assert_eq!((arena.pieces(), arena.supply_mut().left), (0, SPAN_SIZE));
    }

    #[test]
    fn what_is_abandoned_is_given_back_bit_by_bit() {
        let mut arena = arena(1 << 20);
        for number in 0..40 {
            arena.take_small(number % CLASSES).unwrap();
            arena.take_large(Layout::from_size_align(3000 + number, 16).unwrap()).unwrap();
        }
        let pieces = arena.pieces();
        // SAFETY: nobody uses a block.
        let left: Vec<_> = (0..8).map(|_| unsafe { arena.abandon(10) }).collect();
        assert_eq!(left[0], pieces - 10);
        assert_eq!((left[7], arena.pieces(), arena.supply_mut().left), (0, 0, 1 << 20));
        assert!(arena.supply_mut().given.is_empty());
        assert!(arena.take_small(3).is_some(), "it is as new");
        // SAFETY: as above.
        unsafe { arena.abandon(10) };
    }

    proptest! {
        #[test]
        fn blocks_keep_what_is_in_them(steps in prop::collection::vec((any::<bool>(), 0_usize..20_000, 0_u32..10), 1..200)) {
            let mut arena = arena(256 * 1024);
            let mut held: Vec<(NonNull<u8>, Option<usize>, Layout, u8)> = Vec::new();
            for (number, (take, size, align)) in steps.into_iter().enumerate() {
                let mark = number as u8;
                if take {
                    let layout = Layout::from_size_align(size, 1 << align).unwrap();
                    let class = crate::memory::heap::classes::class_of(layout);
                    let block = match class {
                        Some(class) => arena.take_small(class),
                        None => arena.take_large(layout),
                    };
                    let Some(block) = block else { continue };
                    prop_assert_eq!(block.as_ptr().addr() % layout.align(), 0);
                    // SAFETY: the block is ours.
                    unsafe {
                        block.write_bytes(mark, class.map_or(size, |class| SIZES[class].into()));
                        prop_assert!(ptr::eq(owner_of::<u8>(block, class.is_some()), &raw const OWNER));
                    }
                    held.push((block, class, layout, mark));
                } else if !held.is_empty() {
                    let (block, class, layout, mark) = held.swap_remove(size % held.len());
                    // SAFETY: ours until it is given back, as it was taken.
                    unsafe {
                        prop_assert!((0..layout.size()).all(|at| block.add(at).read() == mark));
                        match class {
                            Some(class) => arena.give_small(class, block),
                            None => arena.give_large(block),
                        }
                    }
                }
            }
            for (block, class, ..) in held {
                // SAFETY: as above.
                unsafe {
                    match class {
                        Some(class) => arena.give_small(class, block),
                        None => arena.give_large(block),
                    }
                }
            }
            arena.trim();
            prop_assert_eq!(arena.pieces(), 0);
            prop_assert_eq!(arena.supply_mut().left, 256 * 1024);
        }
    }
}
