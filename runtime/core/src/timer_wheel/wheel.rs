//! The wheel itself: eleven levels of 64 slots, for one owner at a time.

use super::Timer;
use core::ptr::{NonNull, null_mut};

const DIGIT_BITS: u32 = 6;
const DIGITS: usize = 1 << DIGIT_BITS;
/// For all 64 bits; two under the model checker, whose stacks are small and whose times are short.
const LEVELS: usize = if cfg!(loom) { 2 } else { 64_usize.div_ceil(DIGIT_BITS as usize) };
/// In [`Timer::slot`]: in none.
pub(super) const NO_SLOT: u16 = u16::MAX;

/// In slots of up to this many timers a cancel keeps the bound exact.
pub const RESCAN: usize = 8;

/// Timers in the order of their deadlines. All zero when new, so a static of it takes no room in an image (11 KiB of memory).
#[derive(Debug)]
pub struct Wheel<W> {
    base: u64,
    /// Bit per level with an occupied slot.
    levels: u32,
    len: usize,
    occupied: [u64; LEVELS],
    /// Per slot, a moment that no timer in it precedes.
    bounds: [u64; LEVELS * DIGITS],
    /// Per slot, the first of its ring.
    slots: [*mut Timer<W>; LEVELS * DIGITS],
}

// SAFETY: it owns its links (see `insert`), and goes with them from CPU to CPU.
unsafe impl<W: Send> Send for Wheel<W> {}

impl<W: Copy> Wheel<W> {
    /// An empty wheel, whose time starts at 0.
    pub const fn new() -> Self {
        Self {
            base: 0,
            levels: 0,
            len: 0,
            occupied: [0; LEVELS],
            bounds: [0; LEVELS * DIGITS],
            slots: [null_mut(); LEVELS * DIGITS],
        }
    }

    /// How many timers are set.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if no timer is set.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When the next timer is due, for the one-shot timer: exact, or too early in the case named at the top. A deadline
    /// that had passed when it was set reads as the time of the last expiry.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        Some(self.bounds[self.first_slot()?])
    }

    /// Sets `timer` to `deadline`.
    ///
    /// # Safety
    /// `timer` is not set. It stays alive and in place until it has expired or was cancelled, and until then nobody
    /// writes to it but this wheel.
    #[inline]
    pub unsafe fn insert(&mut self, timer: NonNull<Timer<W>>, deadline: u64) {
        // SAFETY: alive and ours (caller).
        unsafe { (*timer.as_ptr()).deadline = deadline };
        self.len += 1;
        // SAFETY: as above.
        unsafe { self.place(timer) };
    }

    /// Takes `timer` back. False: it was not set (any more).
    ///
    /// # Safety
    /// `timer` is alive, and if it is set, it is in this wheel.
    #[inline]
    pub unsafe fn cancel(&mut self, timer: NonNull<Timer<W>>) -> bool {
        // SAFETY: alive (caller).
        if unsafe { !timer.as_ref().is_set() } {
            return false;
        }
        // SAFETY: set, so in this wheel (caller).
        let slot = unsafe { self.unlink(timer) };
        // SAFETY: alive.
        let key = unsafe { timer.as_ref().deadline }.max(self.base);
        if !self.slots[slot].is_null() && key == self.bounds[slot] {
            self.rescan(slot);
        }
        true
    }

    /// Takes out the earliest timer if it is due at `now`. With `None` time has moved on to `now`.
    #[inline]
    pub fn pop_expired(&mut self, now: u64) -> Option<NonNull<Timer<W>>> {
        while let Some(slot) = self.first_slot() {
            if self.bounds[slot] > now {
                break;
            }
            let first = self.slots[slot];
            // SAFETY: an occupied slot's ring is made of live timers.
            let (alone, deadline) = unsafe { (core::ptr::eq((*first).next, first), (*first).deadline) };
            if slot < DIGITS || (alone && deadline <= now) {
                // SAFETY: the head of an occupied slot is a live timer in this wheel.
                return unsafe {
                    let timer = NonNull::new_unchecked(first);
                    self.unlink(timer);
                    Some(timer)
                };
            }
            if alone {
                // The bound was too early.
                self.bounds[slot] = deadline;
                continue;
            }
            // Enter the slot: `base` becomes its first moment, which is not after its bound and so not after `now`.
            let level = slot / DIGITS;
            let shift = DIGIT_BITS * level as u32;
            let above = u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
            self.base = (self.base & above) | ((slot % DIGITS) as u64) << shift;
            self.spread(slot);
        }
        self.advance(now);
        None
    }

    /// Hands all timers that are due at `now` to `f`, earliest first, each free to be set again.
    #[inline]
    pub fn expire(&mut self, now: u64, mut f: impl FnMut(NonNull<Timer<W>>)) {
        while let Some(timer) = self.pop_expired(now) {
            f(timer);
        }
    }

    /// Nothing is due at `now`: moves `base` there, so that new deadlines land on low levels.
    #[inline]
    fn advance(&mut self, now: u64) {
        if now <= self.base {
            return;
        }
        if self.levels == 0 {
            self.base = now;
            return;
        }
        let slot = slot_of(now, self.base);
        self.base = now;
        // Only timers in the slot that `now` lies in are on another level from here (see the module's documentation).
        // On level 0 that slot holds what is due at `now` exactly, which is nothing.
        if !self.slots[slot].is_null() {
            self.spread(slot);
        }
    }

    #[inline(always)]
    fn first_slot(&self) -> Option<usize> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some(level * DIGITS + self.occupied[level].trailing_zeros() as usize)
    }

    /// Hangs a timer last in the slot of its deadline.
    ///
    /// # Safety
    /// It is alive and in no slot.
    #[inline(always)]
    unsafe fn place(&mut self, timer: NonNull<Timer<W>>) {
        let raw = timer.as_ptr();
        // SAFETY: the timer is alive (caller), and so are those in the ring.
        unsafe {
            let key = (*raw).deadline.max(self.base);
            let slot = slot_of(key, self.base);
            (*raw).slot = slot as u16;
            let first = self.slots[slot];
            if first.is_null() {
                (*raw).next = raw;
                (*raw).prev = raw;
                self.slots[slot] = raw;
                self.bounds[slot] = key;
                self.occupied[slot / DIGITS] |= 1 << (slot % DIGITS);
                self.levels |= 1 << (slot / DIGITS);
            } else {
                let last = (*first).prev;
                (*raw).next = first;
                (*raw).prev = last;
                (*last).next = raw;
                (*first).prev = raw;
                self.bounds[slot] = self.bounds[slot].min(key);
            }
        }
    }

    /// Takes a timer out of its slot, which is returned.
    ///
    /// # Safety
    /// It is set, in this wheel.
    #[inline(always)]
    unsafe fn unlink(&mut self, timer: NonNull<Timer<W>>) -> usize {
        let raw = timer.as_ptr();
        self.len -= 1;
        // SAFETY: in this wheel (caller), so it and its neighbours are alive.
        unsafe {
            let slot = usize::from((*raw).slot);
            (*raw).slot = NO_SLOT;
            let (prev, next) = ((*raw).prev, (*raw).next);
            if core::ptr::eq(next, raw) {
                self.vacate(slot);
            } else {
                (*prev).next = next;
                (*next).prev = prev;
                if core::ptr::eq(self.slots[slot], raw) {
                    self.slots[slot] = next;
                }
            }
            slot
        }
    }

    #[inline(always)]
    fn vacate(&mut self, slot: usize) {
        let level = slot / DIGITS;
        self.slots[slot] = null_mut();
        self.occupied[level] &= !(1 << (slot % DIGITS));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Moves all timers of a slot to where they belong from the present `base`, in their order.
    #[cold]
    fn spread(&mut self, slot: usize) {
        let first = self.slots[slot];
        self.vacate(slot);
        let mut timer = first;
        loop {
            // SAFETY: the ring is made of live timers, and this one has not been placed again yet.
            let next = unsafe { (*timer).next };
            // SAFETY: as above; the ring's first is the stop mark and never null.
            unsafe { self.place(NonNull::new_unchecked(timer)) };
            if core::ptr::eq(next, first) {
                return;
            }
            timer = next;
        }
    }

    /// Makes the bound of an occupied slot exact, if that is short work.
    fn rescan(&mut self, slot: usize) {
        let first = self.slots[slot];
        let (mut timer, mut bound) = (first, u64::MAX);
        for _ in 0..RESCAN {
            // SAFETY: the ring is made of live timers.
            unsafe {
                bound = bound.min((*timer).deadline.max(self.base));
                timer = (*timer).next;
            }
            if core::ptr::eq(timer, first) {
                self.bounds[slot] = bound;
                return;
            }
        }
    }
}

/// The slot of `key`, which is not before `base`.
#[inline(always)]
const fn slot_of(key: u64, base: u64) -> usize {
    let level = (63 - ((key ^ base) | 1).leading_zeros()) / DIGIT_BITS;
    let digit = (key >> (level * DIGIT_BITS)) as usize % DIGITS;
    level as usize * DIGITS + digit
}

impl<W: Copy> Default for Wheel<W> {
    fn default() -> Self {
        Self::new()
    }
}
