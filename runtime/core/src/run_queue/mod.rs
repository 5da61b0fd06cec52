//! The run queue of one CPU: a private part at no cost, and a shared part that thieves take from in halves.
//!
//! # Protocol
//! ```text
//!  pop <── next slot ── young ───── private ring (N) <──one CAS a batch── shared ring (N) <── push_shared
//!          owner only   owner only  owner only                             thieves take half, from its old end
//! ```
//! * **All private items are older than all shared ones**, so popping the private part first and then the shared part
//!   is first-in first-out. `push` keeps it so: private while the shared part is empty, shared from then on.
//! * The **private part** is touched by the owner only. Its indices are atomics, so that others may read how long it
//!   is, but they are read and written with plain loads and stores: push and pop cost no read-modify-write, no fence.
//! * The **shared ring** has one word with two counters, `claimed` and `freed`. Slots from `claimed` to the tail hold
//!   items; slots from `freed` to `claimed` are being read by the one thief in flight and must not be written.
//!   A thief *reserves* (compare-and-swap `claimed` forward), *reads* the slots at its leisure, then *frees* them.
//!   The owner, out of private items, claims a batch with one compare-and-swap; the slots are its own from then on.
//! * A second thief gets [`Steal::Retry`] and goes to another victim.
//! * The **next slot** holds the thread just woken, to run before all others. After it has
//!   gone first [`NEXT_LIMIT`] times while the ring had no turn at all, the ring has its turn: two threads that wake each
//!   other do not starve the rest.
//! * The **young** are items that have never run. They go before the ring, the youngest first, while threads wait and end by
//!   themselves; after [`YOUNG_LIMIT`] of them the longest that waits has its turn. `young.rs` says why.
//!
//! The counters are 32 bits and wrap. A thief's compare-and-swap could be deceived only if exactly 2^32 items went
//! through the queue between its load and its swap, with interrupts masked: more than ten seconds at best.
//!
//! # Rejected
//! * *Chase-Lev deque*: the owner's end is last-in first-out, which starves; its pop needs a full fence.
//! * *One bounded ring with half stealing* (the owner pops with a compare-and-swap): a read-modify-write on every
//!   switch, for thieves that are mostly not there.
//! * *Block-based stealing*: thieves and owner meet only at block edges, which is cheap, but the last block, where all
//!   items of a lightly loaded CPU are, cannot be stolen.
//! * *A deque under a lock*: the owner pays two atomics, and a thief that loses its (virtual) CPU stops the owner.

mod owner;
mod young;

use core::mem::MaybeUninit;

pub use self::owner::Owner;
use crate::sync::{Aligned, AtomicU32, AtomicU64, Ordering, UnsafeCell, const_unless_loom, sync_array};

/// How often the next slot may go while the ring has no turn.
pub const NEXT_LIMIT: u32 = 16;

/// How many of the young may go before the ring has a turn.
pub const YOUNG_LIMIT: u32 = 256;

/// The most items that are young.
pub const YOUNG: usize = if cfg!(loom) { 4 } else { 64 };

/// The most items the owner moves from the shared part with one compare-and-swap.
const CLAIM_BATCH: u32 = 32;

/// No room. The caller makes some ([`Owner::take_half_for_overflow`]) or puts the item elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The owner has others to choose from, outside of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside;

/// More than the private ring is in play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotPlain;

/// What a thief got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Steal<T> {
    /// Nothing to steal.
    Empty,
    /// There may be something, but another thief or the owner was at it. Not a reason to sleep.
    Retry,
    /// The oldest of the items stolen, to be run now; the others are in the thief's private part.
    Success(T),
}

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

/// What only the owner writes, on a line (or two) of its own.
#[repr(C)]
struct Private<T> {
    /// [`NEXT_FULL`], [`SHARED_USED`], [`OUTSIDE`], [`CLAIMING`], and how many are young from [`YOUNG_SHIFT`] on. Zero means that only the private ring is in play: one test on the fast path.
    special: AtomicU32,
    /// Counts the items taken out of the private ring.
    head: AtomicU32,
    /// How many items are in it. Not a count of those put in: a yield, which takes one out and puts one in, leaves it as it is.
    len: AtomicU32,
    /// How often the next slot may still go first until this is set back: see `pop_slow`.
    streak: AtomicU32,
    /// `head` when the streak was last set back.
    streak_head: AtomicU32,
    /// Counts the oldest that were taken out of the young.
    young_head: AtomicU32,
    /// How many of the young may still go before the ring.
    young_streak: AtomicU32,
    next: Slot<T>,
}

/// The next slot holds an item.
const NEXT_FULL: u32 = 1 << 0;
/// Clear only if the shared part is surely empty. Spares the owner a look at the line that thieves write.
const SHARED_USED: u32 = 1 << 1;
/// The owner has others to choose from, outside of this queue: see [`Owner::set_outside`].
const OUTSIDE: u32 = 1 << 2;

/// The owner moves items from the shared part to the private ring: they may be seen in neither.
const CLAIMING: u32 = 1 << 3;

/// Where the number of the young begins.
const YOUNG_SHIFT: u32 = 8;

/// The run queue of one CPU. `N`, a power of two, is the size of each of its two rings.
#[repr(C)]
pub struct RunQueue<T, const N: usize> {
    private: Aligned<Private<T>>,
    /// `freed` in the high half, `claimed` in the low half: see the protocol.
    shared_head: Aligned<AtomicU64>,
    /// Counts the items ever put into the shared ring. Written by the owner only.
    shared_tail: Aligned<AtomicU32>,
    ring: Aligned<[Slot<T>; N]>,
    shared: Aligned<[Slot<T>; N]>,
    young: Aligned<[Slot<T>; YOUNG]>,
}

// SAFETY: items go from CPU to CPU, hence `Send`; they are `Copy`, and handed out once each. What the protocol does not
// guard by atomics (the cells) is touched by the owner only, or by the one party that has claimed the slot.
unsafe impl<T: Copy + Send, const N: usize> Sync for RunQueue<T, N> {}

#[inline(always)]
const fn pack(freed: u32, claimed: u32) -> u64 {
    (freed as u64) << 32 | claimed as u64
}

#[inline(always)]
const fn unpack(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl<T: Copy, const N: usize> RunQueue<T, N> {
    const SIZE: u32 = {
        assert!(N.is_power_of_two() && N <= 1 << 16);
        N as u32
    };

    const_unless_loom! {
        /// An empty queue.
        pub const fn new() -> Self {
            Self {
                private: Aligned(Private {
                    special: AtomicU32::new(0),
                    head: AtomicU32::new(0),
                    len: AtomicU32::new(0),
                    streak: AtomicU32::new(NEXT_LIMIT),
                    streak_head: AtomicU32::new(0),
                    young_head: AtomicU32::new(0),
                    young_streak: AtomicU32::new(YOUNG_LIMIT),
                    next: UnsafeCell::new(MaybeUninit::uninit()),
                }),
                shared_head: Aligned(AtomicU64::new(0)),
                shared_tail: Aligned(AtomicU32::new(0)),
                ring: Aligned(sync_array!(UnsafeCell::new(MaybeUninit::uninit()))),
                shared: Aligned(sync_array!(UnsafeCell::new(MaybeUninit::uninit()))),
                young: Aligned(sync_array!(UnsafeCell::new(MaybeUninit::uninit()))),
            }
        }
    }

    /// The owner's operations.
    ///
    /// # Safety
    /// Only the CPU that the queue belongs to calls this, with interrupts masked for as long as the handle lives, and
    /// no other handle to this queue is alive.
    #[inline(always)]
    pub const unsafe fn owner(&self) -> Owner<'_, T, N> {
        Owner::new(self)
    }

    /// Takes half (rounded up) of what may be stolen. The oldest is returned, the others go to the end of `dst`'s
    /// private ring. For a CPU other than the owner; on its own queue it finds nothing.
    #[inline]
    pub fn steal_into(&self, dst: &mut Owner<'_, T, N>) -> Steal<T> {
        if dst.is_of(self) {
            return Steal::Empty;
        }
        let word = self.shared_head.load(Ordering::Relaxed);
        let (freed, claimed) = unpack(word);
        // Acquire: partner is the store of the tail in `push_shared`. The slots before it are seen written.
        let tail = self.shared_tail.load(Ordering::Acquire);
        let len = tail.wrapping_sub(claimed);
        if len == 0 {
            return Steal::Empty;
        }
        // Too long: the head seen is older than the tail seen, or (wrapped) newer.
        if freed != claimed || len > Self::SIZE {
            return Steal::Retry;
        }
        let count = (len - len / 2).min(dst.room() + 1);
        // Relaxed: the items came with the tail; that the head is unchanged is all that is asked here.
        let reserved = pack(freed, claimed.wrapping_add(count));
        if self.shared_head.compare_exchange(word, reserved, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Steal::Retry;
        }
        // SAFETY: the slots from `claimed` on, `count` of them, hold items (acquired with the tail), and are reserved
        // for this CPU until `free_reserved`: nobody else claims them, and the owner does not write them.
        let first = unsafe { self.read_shared(claimed) };
        for offset in 1..count {
            // SAFETY: as above.
            let item = unsafe { self.read_shared(claimed.wrapping_add(offset)) };
            dst.append_private(item);
        }
        self.free_reserved();
        Steal::Success(first)
    }

    /// Ends the steal in flight: `freed` catches up with `claimed`, which the owner may have moved on meanwhile.
    #[inline(always)]
    fn free_reserved(&self) {
        let mut word = self.shared_head.load(Ordering::Relaxed);
        loop {
            let (_, claimed) = unpack(word);
            // Release: partner is the owner's load of the head in `push_shared`. The thief has read the slots before
            // the owner writes them again.
            let freed = pack(claimed, claimed);
            match self.shared_head.compare_exchange_weak(word, freed, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// # Safety
    /// The slot of `index` holds an item, and nobody can write it now.
    #[inline(always)]
    unsafe fn read_shared(&self, index: u32) -> T {
        // SAFETY: initialised and not being written (caller).
        self.shared[(index & (Self::SIZE - 1)) as usize].with(|slot| unsafe { (*slot).assume_init() })
    }

    /// How many items thieves could take now. A hint for any CPU, except after the fence of the idle protocol, where
    /// zero means that nothing pushed before the partner's fence is left.
    #[inline]
    pub fn stealable_hint(&self) -> usize {
        let (_, claimed) = unpack(self.shared_head.load(Ordering::Relaxed));
        let len = self.shared_tail.load(Ordering::Relaxed).wrapping_sub(claimed);
        if len.cast_signed() <= 0 { 0 } else { len.min(Self::SIZE) as usize }
    }

    /// Whether `pop` may find something: a hint for any CPU, in a few loads of one line. True too often: once the shared
    /// part has been used, until the owner has found it empty.
    #[inline(always)]
    pub fn has_items_hint(&self) -> bool {
        let p = &self.private;
        (p.len.load(Ordering::Relaxed) | p.special.load(Ordering::Relaxed)) != 0
    }

    /// How many items only the owner can take now. A hint for any CPU.
    #[inline]
    pub fn private_hint(&self) -> usize {
        let p = &self.private;
        let special = p.special.load(Ordering::Relaxed);
        (p.len.load(Ordering::Relaxed) + (special & NEXT_FULL) + (special >> YOUNG_SHIFT)) as usize
    }

    /// The last look of another CPU before it sleeps, after its fence: how many items thieves could take, and how many only
    /// the owner, those that are on their way from the one to the other counted once at least. `None`: nobody waits here, nor
    /// outside of the queue; mostly that is told by one line.
    ///
    /// What the owner pushes or exposes from here on it makes known by itself: it looks for sleepers afterwards.
    #[inline]
    pub fn look(&self) -> Option<(usize, usize)> {
        let p = &self.private;
        // Acquire: partner is the last store in `claim_batch`: what is not shared any more is in the ring.
        if p.special.load(Ordering::Acquire) == 0 {
            let ring = p.len.load(Ordering::Relaxed) as usize;
            return (ring > 0).then_some((0, ring));
        }
        // Acquire: partner is the compare-and-swap in `claim`: what is gone from there is in the ring, or under way.
        let (_, claimed) = unpack(self.shared_head.load(Ordering::Acquire));
        let shared = self.shared_tail.load(Ordering::Relaxed).wrapping_sub(claimed);
        let shared = if shared.cast_signed() <= 0 { 0 } else { shared.min(Self::SIZE) as usize };
        // Acquire: partner is the last store in `claim_batch`, as above.
        let claiming = p.special.load(Ordering::Acquire) & CLAIMING != 0;
        Some((shared, self.private_hint().max(usize::from(claiming))))
    }

    /// How many items are in the queue. A hint for any CPU.
    #[inline]
    pub fn len_hint(&self) -> usize {
        self.private_hint() + self.stealable_hint()
    }
}

impl<T: Copy, const N: usize> Default for RunQueue<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy, const N: usize> core::fmt::Debug for RunQueue<T, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RunQueue")
            .field("private", &self.private_hint())
            .field("stealable", &self.stealable_hint())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::RunQueue;
    use crate::sync::assert_apart;
    use core::mem::offset_of;

    type Queue = RunQueue<u64, 8>;

    /// What the owner writes at each push and pop, what thieves write, and what both look at.
    #[test]
    fn hot_words_have_lines_of_their_own() {
        let offsets = [
            offset_of!(Queue, private),
            offset_of!(Queue, shared_head),
            offset_of!(Queue, shared_tail),
            offset_of!(Queue, ring),
            offset_of!(Queue, shared),
        ];
        assert_apart(align_of::<Queue>(), &offsets);
    }
}
