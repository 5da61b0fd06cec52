//! The owner's side of the run queue.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use super::{
    CLAIM_BATCH, CLAIMING, Full, NEXT_FULL, NEXT_LIMIT, NotPlain, OUTSIDE, Outside, RunQueue, SHARED_USED, pack, unpack,
};
use crate::sync::Ordering;

/// The owner's operations on a [`RunQueue`], see [`RunQueue::owner`].
///
/// Orderings are relaxed where nothing else is said: the private part has one reader and writer.
pub struct Owner<'q, T, const N: usize> {
    pub(super) queue: &'q RunQueue<T, N>,
    /// Bound to the CPU that made it.
    not_send: PhantomData<*mut ()>,
}

impl<'q, T: Copy, const N: usize> Owner<'q, T, N> {
    pub(super) const fn new(queue: &'q RunQueue<T, N>) -> Self {
        Self { queue, not_send: PhantomData }
    }

    #[inline(always)]
    pub(super) fn is_of(&self, queue: &RunQueue<T, N>) -> bool {
        core::ptr::eq(self.queue, queue)
    }

    /// Puts `item` last. No read-modify-write; not stealable while the shared part is empty, stealable from then on.
    /// Not for pinned threads: see [`push_pinned`](Self::push_pinned).
    ///
    /// # Errors
    /// [`Full`]: `take_half_for_overflow` makes room.
    #[inline(always)]
    pub fn push(&mut self, item: T) -> Result<(), Full> {
        if self.special() & SHARED_USED != 0 || self.room() == 0 {
            return Self::push_slow(self.queue, item);
        }
        self.append_private(item);
        Ok(())
    }

    // Slow paths take the queue by value, so that the fast path's handle stays in a register.
    #[cold]
    #[inline(never)]
    fn push_slow(queue: &'q RunQueue<T, N>, item: T) -> Result<(), Full> {
        let mut own = Self::new(queue);
        if own.shared_len() == 0 && own.room() > 0 {
            own.set_special(own.special() & !SHARED_USED);
            own.append_private(item);
            return Ok(());
        }
        own.push_shared(item)
    }

    /// As [`push_pinned`](Self::push_pinned), if only the private ring is in play, with room.
    #[inline(always)]
    #[must_use]
    pub fn try_push_private(&mut self, item: T) -> bool {
        let plain = self.special() == 0 && self.room() > 0;
        if plain {
            self.append_private(item);
        }
        plain
    }

    /// A yield while only the private ring is in play: takes the first and puts `item` last, where no other CPU sees it
    /// before the owner unmasks its interrupts. So the caller may save `item`'s context after this.
    ///
    /// # Errors
    /// [`NotPlain`] if the next slot or the shared part hold something: then pop and push one by one.
    #[inline(always)]
    pub fn rotate_private(&mut self, item: T) -> Result<Option<T>, NotPlain> {
        if self.special() != 0 {
            return Err(NotPlain);
        }
        let p = &self.queue.private;
        let (head, len) = (p.head.load(Ordering::Relaxed), p.len.load(Ordering::Relaxed));
        if len == 0 {
            return Ok(None);
        }
        // SAFETY: the oldest of `len` items, so initialised.
        let next = unsafe { self.read_private(head) };
        // In a full ring this is the slot that was just read.
        self.write_private(head.wrapping_add(len), item);
        p.head.store(head.wrapping_add(1), Ordering::Relaxed);
        Ok(Some(next))
    }

    /// Puts `item` last, where thieves can take it. No read-modify-write. (Private items are older, so order is kept
    /// without moving them.)
    ///
    /// # Errors
    /// [`Full`]: `take_half_for_overflow` makes room.
    #[inline]
    pub fn push_shared(&mut self, item: T) -> Result<(), Full> {
        if self.shared_room() == 0 && (self.claim_batch() == 0 || self.shared_room() == 0) {
            return Err(Full);
        }
        // SAFETY: there is room now, whichever look at it was the last.
        unsafe { self.publish(item) };
        Ok(())
    }

    /// Puts `item`, which no other CPU may take, last in the private part. To keep the order, what is in the shared
    /// part is claimed first (one read-modify-write a batch).
    ///
    /// # Errors
    /// [`Full`]: the private ring is full, perhaps with what was shared, whose turn it is. A pinned thread then goes
    /// through the CPU's own inbox.
    #[inline]
    pub fn push_pinned(&mut self, item: T) -> Result<(), Full> {
        if self.special() & SHARED_USED != 0 {
            while self.claim_batch() > 0 {}
        }
        if self.room() == 0 {
            return Err(Full);
        }
        self.append_private(item);
        Ok(())
    }

    /// Puts `item` in the next slot: it goes before all others, but see [`NEXT_LIMIT`]. Returns the item that was
    /// there, for the caller to push.
    #[inline(always)]
    pub fn push_next(&mut self, item: T) -> Option<T> {
        let special = self.special();
        // SAFETY: the slot is full, if the flag says so.
        let displaced = (special & NEXT_FULL != 0).then(|| unsafe { self.read_next() });
        // SAFETY: only the owner touches the next slot.
        self.queue.private.next.with_mut(|next| unsafe { next.write(MaybeUninit::new(item)) });
        self.set_special(special | NEXT_FULL);
        displaced
    }

    /// As [`push_next`](Self::push_next), if that displaces nobody.
    #[inline(always)]
    #[must_use]
    pub fn try_push_next(&mut self, item: T) -> bool {
        let special = self.special();
        let free = special & NEXT_FULL == 0;
        if free {
            // SAFETY: only the owner touches the next slot.
            self.queue.private.next.with_mut(|next| unsafe { next.write(MaybeUninit::new(item)) });
            self.set_special(special | NEXT_FULL);
        }
        free
    }

    /// Whether an item that were put into the next slot now would be the one that comes out next: then it has been, and the
    /// caller goes on with it. [`try_push_next`](Self::try_push_next) and [`pop_plain`](Self::pop_plain) at once.
    #[inline(always)]
    #[must_use]
    pub fn try_pass_next(&mut self) -> bool {
        let streak = self.queue.private.streak.load(Ordering::Relaxed);
        let passes = self.special() == 0 && streak != 0;
        if passes {
            self.queue.private.streak.store(streak - 1, Ordering::Relaxed);
        }
        passes
    }

    /// Nobody waits: the next slot may go [`NEXT_LIMIT`] times again before the ring has its turn.
    #[inline(always)]
    pub fn end_streak(&mut self) {
        self.queue.private.streak.store(NEXT_LIMIT, Ordering::Relaxed);
    }

    /// Whether the next slot is empty: a push there would displace nobody.
    #[inline(always)]
    pub fn next_is_free(&self) -> bool {
        self.special() & NEXT_FULL == 0
    }

    /// Says whether there are others to choose from, outside of the queue. While there are, `pop_plain` refuses, and
    /// `rotate_private` too; what is asked on their fast paths anyway tells, at no cost.
    #[inline]
    pub fn set_outside(&mut self, outside: bool) {
        let flag = if outside { OUTSIDE } else { 0 };
        self.set_special(self.special() & !OUTSIDE | flag);
    }

    /// As `pop`, if there is nothing else to choose from.
    ///
    /// # Errors
    /// [`Outside`], if there is.
    #[inline(always)]
    pub fn pop_plain(&mut self) -> Result<Option<T>, Outside> {
        let special = self.special();
        if special == 0 {
            return Ok(self.pop_ring());
        }
        if special == NEXT_FULL {
            // Of its own, and not with the rest, because it is the most frequent.
            return Ok(self.pop_special(NEXT_FULL));
        }
        if special & OUTSIDE != 0 {
            return Err(Outside);
        }
        Ok(self.pop_special(special))
    }

    /// Takes the item whose turn it is: next slot, private ring, shared part. One read-modify-write for each batch
    /// that comes out of the shared part, else none.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        let special = self.special();
        if special == 0 { self.pop_ring() } else { self.pop_special(special) }
    }

    #[inline(always)]
    fn pop_special(&mut self, special: u32) -> Option<T> {
        if special & NEXT_FULL != 0 {
            let streak = self.queue.private.streak.load(Ordering::Relaxed);
            if streak != 0 {
                self.queue.private.streak.store(streak - 1, Ordering::Relaxed);
                self.set_special(special & !NEXT_FULL);
                // SAFETY: the slot is full.
                return Some(unsafe { self.read_next() });
            }
        }
        Self::pop_slow(self.queue)
    }

    /// The next slot is empty or has had its share: the others first.
    #[inline(never)]
    fn pop_slow(queue: &'q RunQueue<T, N>) -> Option<T> {
        let mut own = Self::new(queue);
        let p = &queue.private;
        let head = p.head.load(Ordering::Relaxed);
        let had_a_turn = p.streak_head.load(Ordering::Relaxed) != head;
        p.streak.store(NEXT_LIMIT, Ordering::Relaxed);
        p.streak_head.store(head, Ordering::Relaxed);
        // The ring had its turn of its own accord: the next slot may go on. That is looked at here only, so that nothing
        // is to be counted when the ring is popped.
        if had_a_turn && let Some(item) = own.take_next() {
            return Some(item);
        }
        if own.has_young() {
            return own.pop_beside_young();
        }
        own.pop_others().or_else(|| own.take_next())
    }

    /// The oldest of the ring, or else of the shared part.
    #[inline(always)]
    pub(super) fn pop_others(&mut self) -> Option<T> {
        if let Some(item) = self.pop_ring() {
            return Some(item);
        }
        if self.special() & SHARED_USED == 0 {
            return None;
        }
        self.claim_batch();
        self.pop_ring()
    }

    /// The item that is `ahead` places behind the head of the private ring, for prefetching. No promise of order.
    #[inline(always)]
    pub fn peek_ahead(&self, ahead: u32) -> Option<T> {
        let p = &self.queue.private;
        let head = p.head.load(Ordering::Relaxed);
        if ahead >= p.len.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: one of `len` items, so initialised.
        Some(unsafe { self.read_private(head.wrapping_add(ahead)) })
    }

    /// Makes up to `max` private items stealable, the youngest ones first; those for which `keep` is true (pinned
    /// ones, a fixed property) stay. Returns how many thieves could take afterwards, as far as this CPU can tell.
    ///
    /// Order is kept, but for items that stay: they now go before the ones that were older and left; and the young are the last
    /// from now on, in the order in which they came. What was shared
    /// before is claimed back first, to come behind; if it does not fit, nothing moves, as there is plenty to steal.
    #[inline]
    pub fn expose(&mut self, max: usize, keep: impl Fn(T) -> bool) -> usize {
        if self.private_len() == 0 {
            return self.shared_len() as usize;
        }
        while self.shared_len() > 0 {
            if self.shared_len() as usize >= max || self.claim_batch() == 0 {
                return self.shared_len() as usize;
            }
        }
        self.join_ring();
        let p = &self.queue.private;
        let head = p.head.load(Ordering::Relaxed);
        let tail = head.wrapping_add(p.len.load(Ordering::Relaxed));
        let max = max.min(self.shared_room() as usize);
        // Find the youngest `max`, from the end.
        let (mut cut, mut found) = (tail, 0);
        while found < max && cut != head {
            cut = cut.wrapping_sub(1);
            // SAFETY: between head and tail, so initialised.
            found += usize::from(!keep(unsafe { self.read_private(cut) }));
        }
        if found < max && self.special() & NEXT_FULL != 0 {
            // It is the first in order, so it is the last to be chosen and the first to move.
            match self.take_next() {
                Some(item) if keep(item) => {
                    self.push_next(item);
                }
                Some(item) => {
                    // SAFETY: `found < max`, and `max` is no more than the room there is.
                    unsafe { self.publish(item) };
                    found += 1;
                }
                None => {}
            }
        }
        // Move them; those that stay close ranks.
        let mut end = cut;
        while cut != tail {
            // SAFETY: between head and tail, so initialised; `end` never overtakes `cut`.
            let item = unsafe { self.read_private(cut) };
            if keep(item) {
                self.write_private(end, item);
                end = end.wrapping_add(1);
            } else {
                // SAFETY: those that are not kept are `found`, no more than the room there is.
                unsafe { self.publish(item) };
            }
            cut = cut.wrapping_add(1);
        }
        p.len.store(end.wrapping_sub(head), Ordering::Relaxed);
        found
    }

    /// Hands out the older half (rounded up) of the shared part, oldest first, to make room when a push found none.
    /// Returns how many.
    #[inline]
    pub fn take_half_for_overflow(&mut self, mut f: impl FnMut(T)) -> usize {
        let len = self.shared_len();
        let (first, count) = self.claim(len - len / 2);
        for offset in 0..count {
            // SAFETY: claimed by this CPU, which alone could write there.
            f(unsafe { self.queue.read_shared(first.wrapping_add(offset)) });
        }
        count as usize
    }

    /// How many items are in the queue; the shared part may shrink meanwhile.
    #[inline]
    pub fn len(&self) -> usize {
        self.private_len() + self.shared_len() as usize
    }

    /// True if `pop` would find nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items only this CPU can take.
    #[inline]
    pub fn private_len(&self) -> usize {
        self.queue.private_hint()
    }

    // --- private part ---

    /// Free slots of the private ring.
    #[inline(always)]
    pub(super) fn room(&self) -> u32 {
        RunQueue::<T, N>::SIZE - self.queue.private.len.load(Ordering::Relaxed)
    }

    /// Puts `item` last in the private ring. There is room.
    #[inline(always)]
    pub(super) fn append_private(&mut self, item: T) {
        debug_assert!(self.room() > 0);
        let p = &self.queue.private;
        let (head, len) = (p.head.load(Ordering::Relaxed), p.len.load(Ordering::Relaxed));
        self.write_private(head.wrapping_add(len), item);
        p.len.store(len + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn pop_ring(&mut self) -> Option<T> {
        let p = &self.queue.private;
        let (head, len) = (p.head.load(Ordering::Relaxed), p.len.load(Ordering::Relaxed));
        if len == 0 {
            return None;
        }
        // SAFETY: the oldest of `len` items, so initialised.
        let item = unsafe { self.read_private(head) };
        p.head.store(head.wrapping_add(1), Ordering::Relaxed);
        p.len.store(len - 1, Ordering::Relaxed);
        Some(item)
    }

    #[inline(always)]
    fn take_next(&mut self) -> Option<T> {
        let special = self.special();
        if special & NEXT_FULL == 0 {
            return None;
        }
        self.set_special(special & !NEXT_FULL);
        // SAFETY: the slot was full.
        Some(unsafe { self.read_next() })
    }

    /// # Safety
    /// The next slot is full, or was when this call's caller looked.
    #[inline(always)]
    unsafe fn read_next(&self) -> T {
        // SAFETY: initialised (caller), and only the owner touches it.
        self.queue.private.next.with(|next| unsafe { (*next).assume_init() })
    }

    #[inline(always)]
    pub(super) fn special(&self) -> u32 {
        self.queue.private.special.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn set_special(&mut self, to: u32) {
        self.queue.private.special.store(to, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn write_private(&mut self, index: u32, item: T) {
        let slot = &self.queue.ring[(index & (RunQueue::<T, N>::SIZE - 1)) as usize];
        // SAFETY: only the owner touches the private ring.
        slot.with_mut(|slot| unsafe { slot.write(MaybeUninit::new(item)) });
    }

    /// # Safety
    /// `index` is between head and tail of the private ring.
    #[inline(always)]
    unsafe fn read_private(&self, index: u32) -> T {
        let slot = &self.queue.ring[(index & (RunQueue::<T, N>::SIZE - 1)) as usize];
        // SAFETY: initialised (caller); only the owner touches the private ring.
        slot.with(|slot| unsafe { (*slot).assume_init() })
    }

    // --- shared part ---

    #[inline(always)]
    fn set_shared_used(&mut self, used: bool) {
        let flag = if used { SHARED_USED } else { 0 };
        self.set_special(self.special() & !SHARED_USED | flag);
    }

    /// Items nobody has claimed. Never too few: thieves only take.
    #[inline]
    fn shared_len(&self) -> u32 {
        let (_, claimed) = unpack(self.queue.shared_head.load(Ordering::Relaxed));
        self.queue.shared_tail.load(Ordering::Relaxed).wrapping_sub(claimed)
    }

    /// Slots nobody reads any more.
    #[inline(always)]
    fn shared_room(&self) -> u32 {
        // Acquire: partner is the compare-and-swap in `free_reserved`; the thief has done with the slots.
        let (freed, _) = unpack(self.queue.shared_head.load(Ordering::Acquire));
        RunQueue::<T, N>::SIZE - self.queue.shared_tail.load(Ordering::Relaxed).wrapping_sub(freed)
    }

    /// Puts `item` last in the shared part.
    ///
    /// # Safety
    /// `shared_room` has said that there is room for it.
    #[inline(always)]
    unsafe fn publish(&mut self, item: T) {
        let tail = self.queue.shared_tail.load(Ordering::Relaxed);
        let slot = &self.queue.shared[(tail & (RunQueue::<T, N>::SIZE - 1)) as usize];
        // SAFETY: there is room, so the slot's last reader has freed it (acquired in `shared_room`), and nobody reads
        // it before the tail is stored.
        slot.with_mut(|slot| unsafe { slot.write(MaybeUninit::new(item)) });
        // Release: partner is the load of the tail in `steal_into`.
        self.queue.shared_tail.store(tail.wrapping_add(1), Ordering::Release);
        self.set_special(self.special() | SHARED_USED);
    }

    /// Claims up to `max` of the oldest shared items. Returns the index of the first and how many.
    #[inline]
    fn claim(&mut self, max: u32) -> (u32, u32) {
        let tail = self.queue.shared_tail.load(Ordering::Relaxed);
        let mut word = self.queue.shared_head.load(Ordering::Relaxed);
        loop {
            let (freed, claimed) = unpack(word);
            let count = tail.wrapping_sub(claimed).min(max);
            if count == 0 {
                self.set_shared_used(tail != claimed);
                return (claimed, 0);
            }
            let after = claimed.wrapping_add(count);
            let new = pack(if freed == claimed { after } else { freed }, after);
            // Release: partner is `look`, which must find what is gone from here, or that it is under way. Thieves learn nothing
            // from this but that it is gone, and this CPU wrote the slots itself.
            match self.queue.shared_head.compare_exchange_weak(word, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    self.set_shared_used(tail != after);
                    return (claimed, count);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Moves a batch of shared items, which are younger, behind the private ones. Returns how many.
    fn claim_batch(&mut self) -> u32 {
        self.set_special(self.special() | CLAIMING);
        let (first, count) = self.claim(CLAIM_BATCH.min(self.room()));
        for offset in 0..count {
            // SAFETY: claimed by this CPU, which alone could write there.
            let item = unsafe { self.queue.read_shared(first.wrapping_add(offset)) };
            self.append_private(item);
        }
        // Release: partner is `look`, which without the flag finds the items in the private ring.
        self.queue.private.special.store(self.special() & !CLAIMING, Ordering::Release);
        count
    }
}
