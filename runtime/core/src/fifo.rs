//! A first-in first-out list of nodes that carry their own link. It has no lock: whoever owns the list uses it.

use core::ptr::{NonNull, null_mut};

use crate::link::{Linked, next_of};
use crate::sync::Ordering;

/// See the module's documentation.
#[derive(Debug)]
pub struct Fifo<T> {
    first: *mut T,
    last: *mut T,
}

// SAFETY: the list owns the nodes it points to, as far as lists of this crate do: whoever takes one out may use it.
unsafe impl<T: Send> Send for Fifo<T> {}

impl<T: Linked> Fifo<T> {
    /// Nobody is in it.
    #[must_use]
    pub const fn new() -> Self {
        Self { first: null_mut(), last: null_mut() }
    }

    /// Puts `node` last.
    ///
    /// # Safety
    /// `node` is alive, stays so until it is taken out, and its link is in no list.
    pub unsafe fn push(&mut self, node: NonNull<T>) {
        // SAFETY: the caller's promise.
        unsafe { next_of(node) }.store(null_mut(), Ordering::Relaxed);
        match NonNull::new(self.last) {
            // SAFETY: it is in the list, so alive.
            Some(last) => unsafe { next_of(last) }.store(node.as_ptr(), Ordering::Relaxed),
            None => self.first = node.as_ptr(),
        }
        self.last = node.as_ptr();
    }

    /// Puts `node` first: it was taken out, and could not go where it was to go.
    ///
    /// # Safety
    /// As for [`push`](Self::push).
    pub unsafe fn push_first(&mut self, node: NonNull<T>) {
        // SAFETY: the caller's promise.
        unsafe { next_of(node) }.store(self.first, Ordering::Relaxed);
        self.first = node.as_ptr();
        if self.last.is_null() {
            self.last = node.as_ptr();
        }
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<NonNull<T>> {
        let first = NonNull::new(self.first)?;
        // SAFETY: it is in the list, so alive.
        self.first = unsafe { next_of(first) }.load(Ordering::Relaxed);
        if self.first.is_null() {
            self.last = null_mut();
        }
        Some(first)
    }

    /// Takes all.
    #[must_use]
    pub fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    /// True if nobody is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_null()
    }
}

impl<T: Linked> Default for Fifo<T> {
    fn default() -> Self {
        Self::new()
    }
}
