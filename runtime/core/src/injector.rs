//! The overflow queue of one NUMA node: where threads go that have no CPU yet, or whose CPU has no room.
//!
//! An intrusive first-in first-out list behind a short lock, in several strands. It is off the fast path (a full ring, or a thread without
//! a home), so the simplest thing that is fair wins; batches keep the lock rare. Going to sleep against pushing is
//! settled by the [idle set](crate::idle_set): push, then `IdleSet::pick_idle`.

use core::ptr::{NonNull, null_mut};

use crate::link::{Linked, next_of};
use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{Aligned, AtomicUsize, Ordering, const_unless_loom};

/// A list's next node is known only when its link has come from memory. Of so many lists, so many links are under way at a
/// time.
const STRANDS: usize = if cfg!(loom) { 2 } else { 8 };

/// One list in [`STRANDS`]: nodes go to them in turn, and come from them in turn, so the order is that of one.
struct List<T> {
    first: [*mut T; STRANDS],
    last: [*mut T; STRANDS],
    /// Nodes ever put in.
    put: usize,
    /// Nodes ever taken out.
    taken: usize,
}

// SAFETY: the list owns the nodes it points to, as far as lists of this crate do: whoever takes one out may use it.
unsafe impl<T: Send> Send for List<T> {}

impl<T: Linked> List<T> {
    /// # Safety
    /// As for [`Injector::push`].
    unsafe fn push(&mut self, node: NonNull<T>) {
        let strand = self.put % STRANDS;
        self.put = self.put.wrapping_add(1);
        // SAFETY: alive and in no list (caller).
        unsafe { next_of(node) }.store(null_mut(), Ordering::Relaxed);
        match NonNull::new(self.last[strand]) {
            // SAFETY: it is in the list, so alive.
            Some(last) => unsafe { next_of(last) }.store(node.as_ptr(), Ordering::Relaxed),
            None => self.first[strand] = node.as_ptr(),
        }
        self.last[strand] = node.as_ptr();
    }

    fn pop(&mut self) -> Option<NonNull<T>> {
        let strand = self.taken % STRANDS;
        let first = NonNull::new(self.first[strand])?;
        self.taken = self.taken.wrapping_add(1);
        // SAFETY: in the list, so alive.
        let next = unsafe { next_of(first) }.load(Ordering::Relaxed);
        self.first[strand] = next;
        if next.is_null() {
            self.last[strand] = null_mut();
        }
        Some(first)
    }

    /// Those that come out next, as many as there are strands at the most.
    fn heads(&self) -> impl Iterator<Item = NonNull<T>> {
        (0..STRANDS).map_while(|ahead| NonNull::new(self.first[self.taken.wrapping_add(ahead) % STRANDS]))
    }

    fn len(&self) -> usize {
        self.put.wrapping_sub(self.taken)
    }
}

/// See the module's documentation.
pub struct Injector<T> {
    list: Aligned<SpinLock<List<T>>>,
    /// Written under the lock, read by anybody.
    len: Aligned<AtomicUsize>,
}

/// Puts nodes last: see [`Injector::push_with`].
pub struct Pusher<'l, T>(&'l mut List<T>);

impl<T: Linked> Pusher<'_, T> {
    /// Puts `node` last.
    ///
    /// # Safety
    /// As for [`Injector::push`].
    pub unsafe fn push(&mut self, node: NonNull<T>) {
        // SAFETY: the caller's promise.
        unsafe { self.0.push(node) };
    }
}

impl<T: Linked> Injector<T> {
    const_unless_loom! {
        /// An empty queue.
        pub const fn new() -> Self {
            let list = List { first: [null_mut(); STRANDS], last: [null_mut(); STRANDS], put: 0, taken: 0 };
            Self { list: Aligned(SpinLock::new(lock_rank::INJECTOR, list)), len: Aligned(AtomicUsize::new(0)) }
        }
    }

    /// Puts `node` last.
    ///
    /// # Safety
    /// `node` is alive, stays so until it is popped, and its link is in no list. Interrupts are masked.
    #[inline]
    pub unsafe fn push(&self, node: NonNull<T>) {
        // SAFETY: the caller's promise.
        self.push_with(|pusher| unsafe { pusher.push(node) });
    }

    /// Calls `fill`, which puts in what it likes, under one lock. Interrupts are masked.
    pub fn push_with(&self, fill: impl FnOnce(&mut Pusher<'_, T>)) {
        self.list.with(|list| {
            fill(&mut Pusher(list));
            self.len.store(list.len(), Ordering::Relaxed);
        });
    }

    /// Takes up to `max` nodes, oldest first, under one lock, and hands them to `f` after it. Returns how many.
    /// Interrupts are masked.
    #[inline]
    pub fn pop_batch(&self, max: usize, f: impl FnMut(NonNull<T>)) -> usize {
        self.pop_batch_and_peek(max, |_| {}, f)
    }

    /// As [`pop_batch`](Self::pop_batch), and shows `peek` where the nodes are that come out next, some of them, for prefetching:
    /// they are others' to take.
    #[inline]
    pub fn pop_batch_and_peek(
        &self,
        max: usize,
        mut peek: impl FnMut(NonNull<T>),
        mut f: impl FnMut(NonNull<T>),
    ) -> usize {
        if max == 0 || self.len_hint() == 0 {
            return 0;
        }
        let (mut taken, count) = self.list.with(|list| {
            let (mut first, mut last, mut count) = (null_mut(), None, 0);
            while count < max
                && let Some(node) = list.pop()
            {
                match last {
                    // SAFETY: taken out, and not yet given away.
                    Some(last) => unsafe { next_of(last) }.store(node.as_ptr(), Ordering::Relaxed),
                    None => first = node.as_ptr(),
                }
                last = Some(node);
                count += 1;
            }
            self.len.store(list.len(), Ordering::Relaxed);
            list.heads().take(max).for_each(&mut peek);
            (first, count)
        });
        for _ in 0..count {
            let Some(node) = NonNull::new(taken) else { break };
            // SAFETY: taken out by this CPU and not yet given away. The last one's link leads anywhere, and nobody goes there.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Injector;
    use crate::sync::assert_apart;
    use core::mem::offset_of;

    /// Every switch looks at the length, which is written by those alone who have the lock.
    #[test]
    fn hot_words_have_lines_of_their_own() {
        let offsets = [offset_of!(Injector<u8>, list), offset_of!(Injector<u8>, len)];
        assert_apart(align_of::<Injector<u8>>(), &offsets);
    }
}
