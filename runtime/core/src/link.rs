//! The link by which a thread's control block hangs in one intrusive list at a time.
//!
//! A thread that is on its way to a CPU is in one place only: an [inbox](crate::inbox) or an injector. So one link
//! serves both, and neither allocates.

use core::ptr::{NonNull, null_mut};

use crate::sync::{AtomicPtr, const_unless_loom};

/// The pointer to the next node. It belongs to the list that the node is in.
#[derive(Debug)]
#[repr(transparent)]
pub struct Link<T> {
    pub(crate) next: AtomicPtr<T>,
}

impl<T> Link<T> {
    const_unless_loom! {
        /// A link in no list.
        pub const fn new() -> Self {
            Self { next: AtomicPtr::new(null_mut()) }
        }
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A type with a [`Link`] inside.
///
/// # Safety
/// `link` returns a pointer to a `Link` inside the very node given, always the same one, valid for as long as the node
/// is. It must not make a reference to the whole node, which other CPUs may be using.
pub unsafe trait Linked: Sized {
    /// Where the link of `node` is.
    ///
    /// # Safety
    /// `node` points to a live value.
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>>;
}

/// The link's word, for the lists of this crate.
///
/// # Safety
/// `node` points to a live value that stays alive for `'a`.
#[inline(always)]
pub(crate) unsafe fn next_of<'a, T: Linked + 'a>(node: NonNull<T>) -> &'a AtomicPtr<T> {
    // SAFETY: the node is alive (caller), and `Linked` promises that its link lives inside it.
    unsafe { &(*T::link(node).as_ptr()).next }
}
