//! Where messages lie between sender and receiver: slots, in one block that is a ring or in a chain of blocks that grows.
//!
//! Each side of a channel has a [`Cursor`]: the block it is in and the next slot there. Both walk the same way. A ring's
//! cursor starts again at its end. In a chain the sending side links a further block when it has filled one, before it
//! announces the first message in it; the receiving side follows when it comes to the end, which it does only for a
//! message that was announced.

use core::borrow::Borrow;
use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut};

use crate::sync::UnsafeCell;

/// Room for one message.
#[derive(Debug)]
pub struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

impl<T> Slot<T> {
    /// With nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self(UnsafeCell::new(MaybeUninit::uninit()))
    }
}

/// A number of slots, kept in `S`: an array, a boxed slice.
#[derive(Debug)]
pub struct Block<T, S: Borrow<[Slot<T>]>> {
    /// Written by the sending side before it announces a message behind it, read by the receiving side after that.
    next: UnsafeCell<*mut Self>,
    slots: S,
    messages: core::marker::PhantomData<T>,
}

impl<T, S: Borrow<[Slot<T>]>> Block<T, S> {
    /// A block of these slots, none of which holds anything.
    #[must_use]
    pub fn new(slots: S) -> Self {
        Self { next: UnsafeCell::new(null_mut()), slots, messages: core::marker::PhantomData }
    }
}

/// Where blocks come from and go to. Called with interrupts masked and a channel's lock held.
///
/// # Safety
/// [`more`](Self::more) returns an unshared block, which stays where it is until it is freed.
pub unsafe trait Memory<T> {
    /// What a block keeps its slots in.
    type Slots: Borrow<[Slot<T>]>;

    /// One more block, of at least one slot; `None` if there is no memory.
    fn more() -> Option<NonNull<Block<T, Self::Slots>>>;

    /// Takes a block back.
    ///
    /// # Safety
    /// Nobody uses it any more. It came from `more`, or was given to the channel at its beginning.
    unsafe fn free(block: NonNull<Block<T, Self::Slots>>);
}

/// What one side knows of the blocks.
pub(super) struct Cursor<T, S: Borrow<[Slot<T>]>> {
    block: NonNull<Block<T, S>>,
    slots: *const Slot<T>,
    /// The slot that is next; at the end of the block, `len`.
    at: usize,
    len: usize,
}

// SAFETY: used under a lock; what the pointers lead to are slots for messages, which only go from CPU to CPU with them.
unsafe impl<T: Send, S: Borrow<[Slot<T>]> + Send> Send for Cursor<T, S> {}

impl<T, S: Borrow<[Slot<T>]>> Cursor<T, S> {
    /// At the beginning of `block`.
    ///
    /// # Safety
    /// The block stays alive and in place while the cursor is in it.
    pub unsafe fn new(block: NonNull<Block<T, S>>) -> Self {
        // SAFETY: alive (caller). No reference to the whole block: the other side may write `next`.
        let slots = unsafe { &(*block.as_ptr()).slots };
        let slots: &[Slot<T>] = slots.borrow();
        Self { block, slots: slots.as_ptr(), at: 0, len: slots.len() }
    }

    /// How many slots the block has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The block it is in.
    pub fn block(&self) -> NonNull<Block<T, S>> {
        self.block
    }

    #[inline(always)]
    pub fn is_at_end(&self) -> bool {
        self.at == self.len
    }

    /// Back to the first slot of the block: a ring.
    #[inline(always)]
    pub fn wrap(&mut self) {
        self.at = 0;
    }

    /// From the end of a block into a new one.
    ///
    /// # Safety
    /// It is the sending side's; `next` is unshared, and as `new` asks.
    pub unsafe fn extend(&mut self, next: NonNull<Block<T, S>>) {
        // SAFETY: unshared (caller). It may have been used before.
        let link = unsafe { &(*next.as_ptr()).next };
        // SAFETY: as above.
        link.with_mut(|link| unsafe { *link = null_mut() });
        // SAFETY: the other side reads the link only when it knows of a message behind it.
        let link = unsafe { &(*self.block.as_ptr()).next };
        // SAFETY: as above.
        link.with_mut(|link| unsafe { *link = next.as_ptr() });
        // SAFETY: the caller's promise.
        *self = unsafe { Self::new(next) };
    }

    /// From the end of a block into the next one. Returns the one that is left, if there is a next one.
    ///
    /// # Safety
    /// It is the receiving side's (or both sides are this caller's), and the next block, if any, has been announced.
    pub unsafe fn follow(&mut self) -> Option<NonNull<Block<T, S>>> {
        let left = self.block;
        // SAFETY: the link was written before the announcement, and is not written again.
        let link = unsafe { &(*left.as_ptr()).next };
        // SAFETY: as above.
        let next = link.with(|link| unsafe { *link });
        let next = NonNull::new(next)?;
        // SAFETY: it holds a message that was not received, so it is alive.
        *self = unsafe { Self::new(next) };
        Some(left)
    }

    /// Fills the next slot.
    ///
    /// # Safety
    /// Not at the end; the slot is empty, and nobody else's.
    #[inline(always)]
    pub unsafe fn write(&mut self, message: T) {
        // SAFETY: below `len`, and the caller's alone.
        unsafe { (*self.slots.add(self.at)).0.with_mut(|slot| (*slot).write(message)) };
        self.at += 1;
    }

    /// Empties the next slot.
    ///
    /// # Safety
    /// Not at the end; the slot holds a message and is nobody else's.
    #[inline(always)]
    pub unsafe fn read(&mut self) -> T {
        // SAFETY: below `len`, filled, and the caller's alone; it counts as empty from here on.
        let message = unsafe { (*self.slots.add(self.at)).0.with(|slot| (*slot).assume_init_read()) };
        self.at += 1;
        message
    }
}
