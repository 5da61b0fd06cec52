//! Any CPU hands a thread to one given CPU: an intrusive list with many writers and one reader.
//!
//! # Protocol
//! A stack of linked nodes with its top in one word. A writer points its node at the top it saw and swings the top to
//! its node with one compare-and-swap. The owner takes *everything* with one swap and reverses it, so that it sees the
//! nodes in the order in which they came.
//!
//! There is no ABA problem by construction: the compare-and-swap of a writer asks only that the top is still the
//! address its node points at, and whatever that address has been through in between, pointing at the present top is
//! right. Nobody ever reads through a top that it does not own: only the owner follows links, and only of nodes that
//! its swap has taken out of everybody's reach.
//!
//! Going to sleep against pushing is settled by the [idle set](crate::idle_set): push, then `IdleSet::claim`.
//!
//! # Rejected
//! A queue with a stub node (wait-free for writers): the reader can meet a half-linked node and would have to wait for
//! a writer that may have lost its (virtual) CPU. A bounded ring: needs an answer for "full" on a path that must not
//! fail. A popping reader (one node at a time): that is where ABA comes from, and it pays one RMW a node.

use core::ptr::{NonNull, null_mut};

use crate::link::{Linked, next_of};
use crate::sync::{AtomicPtr, Ordering, const_unless_loom};

/// The list of threads handed to one CPU. See the module's documentation.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Inbox<T> {
    top: AtomicPtr<T>,
}

// SAFETY: the inbox passes pointers from the CPU that pushes to the owner, so the nodes must be sendable. The only
// shared state is one atomic word.
unsafe impl<T: Send> Sync for Inbox<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Inbox<T> {}

impl<T: Linked> Inbox<T> {
    const_unless_loom! {
        /// An empty inbox.
        pub const fn new() -> Self {
            Self { top: AtomicPtr::new(null_mut()) }
        }
    }

    /// Hands `node` over. True if the inbox was empty: then the owner may need a notify; if not, whoever made it
    /// non-empty has seen to that.
    ///
    /// # Safety
    /// `node` is alive, stays so until the owner has drained it, and its link is in no list.
    #[inline]
    pub unsafe fn push(&self, node: NonNull<T>) -> bool {
        // SAFETY: alive by the caller's promise.
        let next = unsafe { next_of(node) };
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            next.store(top, Ordering::Relaxed);
            // Release: partner is the swap in `drain`. What the pusher wrote to the thread, and the link, are seen there.
            match self.top.compare_exchange_weak(top, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return top.is_null(),
                Err(now) => top = now,
            }
        }
    }

    /// Takes everything out, oldest first: one read-modify-write if there is something, one load if not.
    #[inline]
    pub fn drain(&self) -> Drain<T> {
        if self.is_empty() {
            return Drain { first: null_mut() };
        }
        // Acquire: partner is the compare-and-swap of each `push` (each continues the release sequences before it).
        let mut newest = self.top.swap(null_mut(), Ordering::Acquire);
        let mut first = null_mut();
        while let Some(node) = NonNull::new(newest) {
            // SAFETY: pushed alive, and only this drain holds it now.
            let next = unsafe { next_of(node) };
            newest = next.load(Ordering::Relaxed);
            next.store(first, Ordering::Relaxed);
            first = node.as_ptr();
        }
        Drain { first }
    }

    /// True if nothing waits: one relaxed load. Only after a fence (see the idle set) does it say anything certain.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.top.load(Ordering::Relaxed).is_null()
    }
}

impl<T: Linked> Default for Inbox<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The nodes taken by [`Inbox::drain`], oldest first. Each is free to be linked elsewhere once it is returned.
#[derive(Debug)]
#[must_use = "nodes that are not taken out are lost"]
pub struct Drain<T: Linked> {
    first: *mut T,
}

impl<T: Linked> Iterator for Drain<T> {
    type Item = NonNull<T>;

    #[inline]
    fn next(&mut self) -> Option<NonNull<T>> {
        let node = NonNull::new(self.first)?;
        // SAFETY: taken out by `drain`, alive by the promise of `push`, and not yet given back.
        self.first = unsafe { next_of(node) }.load(Ordering::Relaxed);
        Some(node)
    }
}

impl<T: Linked> Drop for Drain<T> {
    fn drop(&mut self) {
        debug_assert!(self.first.is_null(), "nodes of an inbox dropped on the floor");
    }
}
