//! Which group a thread is in.
//!
//! The group belongs to whoever holds the thread: the CPU that runs it or has taken it out of a queue. Others that want to
//! move it leave the new group in a word of its own; the thread's CPU acts upon that when it next queues the thread or takes
//! it off.

use super::Inner;
use crate::thread::control::ThreadPtr;
use alloc::sync::Arc;
use core::ptr::{self, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};

/// In [`Membership::wanted`]: out of every group.
const NONE: *mut Inner = ptr::without_provenance_mut(1);

/// In a thread's block.
pub(crate) struct Membership {
    /// A counted reference, or null. Whoever holds the thread may read and write it.
    group: AtomicPtr<Inner>,
    /// A counted reference, [`NONE`], or null: nobody wants to move it.
    wanted: AtomicPtr<Inner>,
}

impl Membership {
    /// That of a thread in no group.
    pub const fn new() -> Self {
        Self { group: AtomicPtr::new(null_mut()), wanted: AtomicPtr::new(null_mut()) }
    }

    /// The group.
    ///
    /// # Safety
    /// The caller holds the thread, and does not call [`change`](Self::change) while it uses the reference.
    #[inline(always)]
    pub unsafe fn group(&self) -> Option<&Inner> {
        // SAFETY: null, or a reference that is counted here and given back by `change` or the drop only.
        unsafe { self.group.load(Ordering::Relaxed).as_ref() }
    }

    /// Whether it is in a group.
    #[inline(always)]
    pub fn is_member(&self) -> bool {
        !self.group.load(Ordering::Relaxed).is_null()
    }

    /// One more reference to the group.
    ///
    /// # Safety
    /// The caller holds the thread.
    #[inline(always)]
    pub unsafe fn share(&self) -> Option<Arc<Inner>> {
        let group = self.group.load(Ordering::Relaxed);
        if group.is_null() {
            return None;
        }
        // SAFETY: it was made by `Arc::into_raw`, and the reference that is counted here stays.
        unsafe {
            Arc::increment_strong_count(group);
            Some(Arc::from_raw(group))
        }
    }

    /// Asks for another group, or none.
    pub fn want(&self, group: Option<Arc<Inner>>) {
        let wanted = group.map_or(NONE, |group| Arc::into_raw(group).cast_mut());
        // Release: partner is the swap in `change`, which takes the group as this CPU has it.
        // Acquire: partner is another `want`, whose group is given back here.
        give_back(self.wanted.swap(wanted, Ordering::AcqRel));
    }

    /// Takes the wish back, if it is there still.
    pub fn want_nothing(&self) {
        // Acquire: partner is the swap in `want`, whose group is given back here.
        give_back(self.wanted.swap(null_mut(), Ordering::Acquire));
    }

    /// Whether somebody wants to move it.
    #[inline(always)]
    pub fn is_wanted(&self) -> bool {
        !self.wanted.load(Ordering::Relaxed).is_null()
    }

    /// Changes to the group that somebody wants it in. This is the membership of `thread`.
    ///
    /// # Safety
    /// The caller holds the thread, and nobody uses a reference of [`group`](Self::group) now.
    pub unsafe fn change(&self, thread: ThreadPtr) {
        // Acquire: partner is the swap in `want`.
        let wanted = self.wanted.swap(null_mut(), Ordering::Acquire);
        if !wanted.is_null() {
            let group = if wanted == NONE { null_mut() } else { wanted };
            // SAFETY: the caller's. Null, or counted here; the thread is alive and in no roster now. It has extras of its own, and
            // leaves at its end.
            unsafe {
                self.leave(thread);
                self.group.store(group, Ordering::Relaxed);
                if let Some(group) = group.as_ref() {
                    group.joined_by(thread);
                }
            }
        }
    }

    /// Leaves the group for none. This is the membership of `thread`.
    ///
    /// # Safety
    /// As for [`change`](Self::change).
    pub unsafe fn leave(&self, thread: ThreadPtr) {
        let left = self.group.swap(null_mut(), Ordering::Relaxed);
        // SAFETY: null, or counted here; the thread is alive, and has come in.
        if let Some(left) = unsafe { left.as_ref() } {
            // SAFETY: as above.
            unsafe { left.left_by(thread) };
        }
        give_back(left);
    }
}

fn give_back(group: *mut Inner) {
    if !group.is_null() && group != NONE {
        // SAFETY: it was made by `Arc::into_raw`, and is given back once: it is in neither word any more.
        drop(unsafe { Arc::from_raw(group) });
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        give_back(*self.group.get_mut());
        give_back(*self.wanted.get_mut());
    }
}
