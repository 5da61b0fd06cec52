//! A list to which anybody adds and from which nobody takes: a roll of what has come to be, for who goes through it now and then.
//!
//! One word holds the newest node; a writer points its node at what it saw there, and swings the word to its node. Nodes stay where
//! they are, so a reader follows them without asking anybody, while others add.
//!
//! # Rejected
//! *A lock*: a page fault adds to it, perhaps under whatever lock there is.

use crate::link::{Linked, next_of};
use crate::sync::{AtomicPtr, Ordering, const_unless_loom};
use core::ptr::{NonNull, null_mut};

/// See the module's documentation.
#[derive(Debug)]
pub struct Roll<T> {
    newest: AtomicPtr<T>,
}

// SAFETY: it shows nodes to all CPUs, so they must be `Sync`, and comes by them on any. The only shared state is one atomic word.
unsafe impl<T: Sync> Sync for Roll<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Roll<T> {}

impl<T: Linked> Roll<T> {
    const_unless_loom! {
        /// Nothing is on it.
        pub const fn new() -> Self {
            Self { newest: AtomicPtr::new(null_mut()) }
        }
    }

    /// Adds a node.
    ///
    /// # Safety
    /// It stays alive for ever, its link is in no list and in none from here on, and this is done once.
    pub unsafe fn enter(&self, node: NonNull<T>) {
        // SAFETY: alive by the caller's promise.
        let next = unsafe { next_of(node) };
        let mut newest = self.newest.load(Ordering::Relaxed);
        loop {
            next.store(newest, Ordering::Relaxed);
            // Release: partner is the load in `iter`: the node, its link, and (each continues the release sequences before it) those
            // that were added before.
            match self.newest.compare_exchange_weak(newest, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// All that are on it by now, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        // Acquire: partner is the compare-and-swap in `enter`.
        let mut at = self.newest.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            let node = NonNull::new(at)?;
            // SAFETY: a node that was added, which lives for ever, as does its link.
            unsafe {
                at = next_of(node).load(Ordering::Relaxed);
                Some(node.as_ref())
            }
        })
    }
}

impl<T: Linked> Default for Roll<T> {
    fn default() -> Self {
        Self::new()
    }
}
