//! The owner's side of the young: threads that were made on this CPU and have not run.
//!
//! A thread that makes others and then waits for them is served best by the youngest: what it was made for is in the cache, and
//! when it makes others in turn, few have begun and not ended at a time. First in, first out, a tree of threads is walked level
//! by level, and all of a level have a stack at once.
//!
//! Only while threads wait and end by themselves: a yield or a preemption makes all of them wait in the order in which they came
//! ([`Owner::pop_oldest`], and push). After [`YOUNG_LIMIT`] that went first, or when [`Owner::end_young_streak`] says so, the
//! longest that waits has its turn, in the ring or among the young.
//!
//! Nothing here is seen by another CPU but how many there are. Who moves some of them looks for sleepers afterwards, as after a
//! push.

use super::{Full, Owner, SHARED_USED, YOUNG, YOUNG_LIMIT, YOUNG_SHIFT};
use crate::sync::Ordering;
use core::mem::MaybeUninit;

const MASK: u32 = YOUNG as u32 - 1;

impl<T: Copy, const N: usize> Owner<'_, T, N> {
    /// Puts `item`, which any CPU may take, among the young: it goes before the ring, and before those that came before it.
    ///
    /// # Errors
    /// [`Full`]: some of the oldest go into the ring, by [`pop_oldest`](Self::pop_oldest) and [`push`](Self::push).
    #[inline]
    pub fn push_young(&mut self, item: T) -> Result<(), Full> {
        let len = self.young_len();
        if len == YOUNG as u32 {
            return Err(Full);
        }
        let at = self.queue.private.young_head.load(Ordering::Relaxed).wrapping_add(len);
        // SAFETY: only the owner touches the young.
        self.queue.young[(at & MASK) as usize].with_mut(|slot| unsafe { slot.write(MaybeUninit::new(item)) });
        self.set_special(self.special() + (1 << YOUNG_SHIFT));
        Ok(())
    }

    /// Whether there are any.
    #[inline(always)]
    pub fn has_young(&self) -> bool {
        self.young_len() != 0
    }

    /// Takes the oldest of the young, for the caller to put elsewhere.
    #[inline]
    pub fn pop_oldest(&mut self) -> Option<T> {
        let p = &self.queue.private;
        if !self.has_young() {
            return None;
        }
        let at = p.young_head.load(Ordering::Relaxed);
        p.young_head.store(at.wrapping_add(1), Ordering::Relaxed);
        self.set_special(self.special() - (1 << YOUNG_SHIFT));
        // SAFETY: one of those that were there.
        Some(unsafe { self.read_young(at) })
    }

    /// The longest that waits has the next turn, whoever is young.
    #[inline]
    pub fn end_young_streak(&mut self) {
        self.queue.private.young_streak.store(0, Ordering::Relaxed);
    }

    /// Takes the youngest; but if so many have gone first, whoever waits longest. There are some.
    #[inline(never)]
    pub(super) fn pop_beside_young(&mut self) -> Option<T> {
        let p = &self.queue.private;
        let streak = p.young_streak.load(Ordering::Relaxed);
        if streak == 0 {
            p.young_streak.store(YOUNG_LIMIT, Ordering::Relaxed);
            return self.pop_others().or_else(|| self.pop_oldest());
        }
        p.young_streak.store(streak - 1, Ordering::Relaxed);
        let left = self.young_len() - 1;
        self.set_special(self.special() - (1 << YOUNG_SHIFT));
        let at = p.young_head.load(Ordering::Relaxed).wrapping_add(left);
        // SAFETY: one of those that were there.
        Some(unsafe { self.read_young(at) })
    }

    /// Puts the young last in the private ring, the oldest first, as far as there is room and where that is the end of the queue:
    /// what is left must be pushed.
    pub fn line_young_up(&mut self) {
        if self.special() & SHARED_USED == 0 {
            self.join_ring();
        }
    }

    /// Moves as many of the young into the private ring as it has room for, the oldest first. Nothing is shared.
    pub(super) fn join_ring(&mut self) {
        let p = &self.queue.private;
        let (head, len) = (p.head.load(Ordering::Relaxed), p.len.load(Ordering::Relaxed));
        let (tail, oldest) = (head.wrapping_add(len), p.young_head.load(Ordering::Relaxed));
        let moved = self.young_len().min(self.room());
        for at in 0..moved {
            // SAFETY: one of those that were there.
            let item = unsafe { self.read_young(oldest.wrapping_add(at)) };
            self.write_private(tail.wrapping_add(at), item);
        }
        p.len.store(len + moved, Ordering::Relaxed);
        p.young_head.store(oldest.wrapping_add(moved), Ordering::Relaxed);
        self.set_special(self.special() - (moved << YOUNG_SHIFT));
    }

    #[inline(always)]
    fn young_len(&self) -> u32 {
        self.special() >> YOUNG_SHIFT
    }

    /// # Safety
    /// `at` is the place of one of the young, or of one that was taken out a moment ago.
    #[inline(always)]
    unsafe fn read_young(&self, at: u32) -> T {
        // SAFETY: initialised (caller); only the owner touches the young.
        self.queue.young[(at & MASK) as usize].with(|slot| unsafe { (*slot).assume_init() })
    }
}

const _: () = assert!(YOUNG.is_power_of_two());
