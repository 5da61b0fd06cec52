//! The overflow queue of one NUMA node: where threads go that have no CPU yet, or whose CPU has no room.
//!
//! An intrusive first-in first-out list behind a short lock. It is off the fast path (a full ring, or a thread without
//! a home), so the simplest thing that is fair wins; batches keep the lock rare. Going to sleep against pushing is
//! settled by the [idle set](crate::idle_set): push, then `IdleSet::pick_idle`.

use core::ptr::{NonNull, null_mut};

use crate::link::{Linked, next_of};
use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{Aligned, AtomicUsize, Ordering, const_unless_loom};

struct List<T> {
    first: *mut T,
    last: *mut T,
}

// SAFETY: the list owns the nodes it points to, as far as lists of this crate do: whoever takes one out may use it.
unsafe impl<T: Send> Send for List<T> {}

/// See the module's documentation.
pub struct Injector<T> {
    list: Aligned<SpinLock<List<T>>>,
    /// Written under the lock, read by anybody.
    len: Aligned<AtomicUsize>,
}

impl<T: Linked> Injector<T> {
    const_unless_loom! {
        /// An empty queue.
        pub const fn new() -> Self {
            Self {
                list: Aligned(SpinLock::new(lock_rank::INJECTOR, List { first: null_mut(), last: null_mut() })),
                len: Aligned(AtomicUsize::new(0)),
            }
        }
    }

    /// Puts `node` last.
    ///
    /// # Safety
    /// `node` is alive, stays so until it is popped, and its link is in no list. Interrupts are masked.
    #[inline]
    pub unsafe fn push(&self, node: NonNull<T>) {
        // SAFETY: the caller's promise.
        unsafe { self.push_batch([node]) };
    }

    /// Puts `nodes` last, in their order, under one lock. Returns how many.
    ///
    /// # Safety
    /// As for [`push`](Self::push), for each of them; all are different.
    pub unsafe fn push_batch(&self, nodes: impl IntoIterator<Item = NonNull<T>>) -> usize {
        let mut nodes = nodes.into_iter();
        let Some(first) = nodes.next() else { return 0 };
        let (mut last, mut count) = (first, 1);
        for node in nodes {
            // SAFETY: alive and in no list (caller).
            unsafe { next_of(last) }.store(node.as_ptr(), Ordering::Relaxed);
            last = node;
            count += 1;
        }
        // SAFETY: as above.
        unsafe { next_of(last) }.store(null_mut(), Ordering::Relaxed);
        self.list.with(|list| {
            match NonNull::new(list.last) {
                // SAFETY: it is in the list, so alive.
                Some(tail) => unsafe { next_of(tail) }.store(first.as_ptr(), Ordering::Relaxed),
                None => list.first = first.as_ptr(),
            }
            list.last = last.as_ptr();
            self.len.store(self.len.load(Ordering::Relaxed) + count, Ordering::Relaxed);
        });
        count
    }

    /// Takes up to `max` nodes, oldest first, under one lock, and hands them to `f` after it. Returns how many.
    /// Interrupts are masked.
    pub fn pop_batch(&self, max: usize, mut f: impl FnMut(NonNull<T>)) -> usize {
        if max == 0 || self.len_hint() == 0 {
            return 0;
        }
        let (mut taken, count) = self.list.with(|list| {
            let (first, mut count) = (list.first, 0);
            let mut rest = first;
            while count < max
                && let Some(node) = NonNull::new(rest)
            {
                // SAFETY: in the list, so alive.
                rest = unsafe { next_of(node) }.load(Ordering::Relaxed);
                count += 1;
            }
            list.first = rest;
            if rest.is_null() {
                list.last = null_mut();
            }
            self.len.store(self.len.load(Ordering::Relaxed) - count, Ordering::Relaxed);
            (first, count)
        });
        for _ in 0..count {
            let Some(node) = NonNull::new(taken) else { break };
            // SAFETY: taken out by this CPU and not yet given away.
            taken = unsafe { next_of(node) }.load(Ordering::Relaxed);
            f(node);
        }
        count
    }

    /// How many nodes wait: one relaxed load. After the fence of the idle protocol, zero means that nothing pushed
    /// before the partner's fence is left.
    #[inline]
    pub fn len_hint(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

impl<T: Linked> Default for Injector<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> core::fmt::Debug for Injector<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Injector").field("len", &self.len.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}
