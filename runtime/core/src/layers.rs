//! The threads that wait for a CPU and are not of the normal sort: by hint and by priority, and who goes before whom.
//!
//! # Layers
//! | layer | [`Rank`] | for |
//! | --- | --- | --- |
//! | real time | priority 0 to 255 | deadlines; the highest priority first |
//! | latency | `LATENCY` | short work that somebody waits for |
//! | network | `NETWORK` | what a packet has woken |
//! | normal | `NORMAL` | all others: they are in the [run queue](crate::run_queue), but for members of a group, which are here |
//! | batch | `BATCH` | what may wait |
//!
//! # The rule
//! The highest layer that has a thread goes first, and within it the highest priority, first come, first served. But a
//! layer that has been passed over [`PATIENCE`] times while it had a thread is served next, the lowest of them first. So
//! no layer starves: a hog of the highest priority leaves one pick in twenty to each of the others (a thread runs for a
//! quantum at most while others wait, so that is 5 % of the time, if all are hogs). One that was picked and may not run
//! counts as passed over. Within the normal layer, those here and those in the run queue are served in proportion to how many
//! they are; but one that was just woken, in the run queue's next slot, goes before those here, [`NEXT_LIMIT`] times in a row
//! at the most, as it goes before those in the queue.
//!
//! A program that uses neither hints nor priorities pays nothing for them: its run queue has one flag that says that
//! somebody is here, in a word that is looked at anyway.
//!
//! # Protocol
//! All under one short lock, which thieves take too; how many may be stolen is readable without. Pushing against going to
//! sleep is settled by the [idle set](crate::idle_set): push, then `IdleSet::pick_idle`.
//!
//! # Rejected
//! *Weights for all, as in a fair scheduler*: a latency hint would then buy a larger share, not an earlier start, and each
//! pick would cost a tree. *One run queue for each layer*: four times the memory, and each pick looks at four.

use core::ptr::{NonNull, null_mut};

use crate::fifo::Fifo;
use crate::link::{Linked, next_of};
use crate::lock_rank;
use crate::run_queue::NEXT_LIMIT;
use crate::spinlock::SpinLock;
use crate::sync::{AtomicUsize, Ordering, const_unless_loom};

/// How often a layer may be passed over.
pub const PATIENCE: u32 = 19;

const RANKS: usize = 4 + 256;
const LAYERS: usize = 5;

/// What goes before what: the layer, and the priority within real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u16);

impl Rank {
    /// What may wait.
    pub const BATCH: Self = Self(0);
    /// All that say nothing else.
    pub const NORMAL: Self = Self(1);
    /// What a packet has woken.
    pub const NETWORK: Self = Self(2);
    /// Short work that somebody waits for.
    pub const LATENCY: Self = Self(3);

    /// A priority within real time: 255 goes first.
    #[must_use]
    pub const fn real_time(priority: u8) -> Self {
        Self(4 + priority as u16)
    }

    /// Back from [`to_bits`](Self::to_bits). Numbers that are none are the highest rank.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(if bits as usize >= RANKS { RANKS as u16 - 1 } else { bits })
    }

    /// As a number, in the order of ranks.
    #[must_use]
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// The layer, 0 for batch.
    const fn layer(self) -> usize {
        if self.0 > 4 { 4 } else { self.0 as usize }
    }
}

/// Who waits in the run queue, as far as [`Layers::pick`] has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Queued {
    /// How many.
    pub count: usize,
    /// One of them was just woken, and is in the next slot.
    pub woken: bool,
}

/// What [`Layers::pick`] says.
pub enum Pick<T> {
    /// This one, taken out.
    Stored(NonNull<T>),
    /// One of the run queue's.
    Normal,
    /// The running thread goes on.
    Running,
    /// There is none.
    Nothing,
}

impl<T> PartialEq for Pick<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stored(one), Self::Stored(other)) => one == other,
            _ => core::mem::discriminant(self) == core::mem::discriminant(other),
        }
    }
}

impl<T> core::fmt::Debug for Pick<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Stored(_) => "Stored",
            Self::Normal => "Normal",
            Self::Running => "Running",
            Self::Nothing => "Nothing",
        })
    }
}

#[derive(Debug)]
struct List<T> {
    first: *mut T,
    last: *mut T,
}

struct Inner<T> {
    lists: [List<T>; RANKS],
    occupied: [u64; RANKS.div_ceil(64)],
    passed: [u32; LAYERS],
    /// The layer that was picked last, and how often it had been passed over before.
    served: (usize, u32),
    /// How many are in the list of `NORMAL`.
    members: usize,
    /// What those have saved up against the run queue's: see `is_members_turn`.
    credit: usize,
    /// How often in a row one that was just woken went before them.
    woken: u32,
}

// SAFETY: the lists own the nodes they point to, as far as lists of this crate do: whoever takes one out may use it.
unsafe impl<T: Send> Send for Inner<T> {}

/// One CPU's. Interrupts are masked around each call.
pub struct Layers<T> {
    inner: SpinLock<Inner<T>>,
    /// How many are here. Written under the lock, read by anybody.
    len: AtomicUsize,
    /// How many are here that any CPU may run. Written under the lock, read by anybody.
    stealable: AtomicUsize,
}

impl<T: Linked> Inner<T> {
    fn highest(&self) -> Option<Rank> {
        let word = self.occupied.iter().rposition(|&word| word != 0)?;
        Some(Rank((word * 64 + self.occupied[word].ilog2() as usize) as u16))
    }

    /// The layers that have a thread here, as bits.
    fn layers(&self) -> u32 {
        let low = (self.occupied[0] & 0xf) as u32;
        let real_time =
            self.occupied[0] >> 4 | self.occupied[1] | self.occupied[2] | self.occupied[3] | self.occupied[4];
        low | u32::from(real_time != 0) << 4
    }

    /// # Safety
    /// `node` is alive, stays so until it is taken out, and its link is in no list.
    unsafe fn push(&mut self, node: NonNull<T>, rank: Rank) {
        let list = &mut self.lists[rank.0 as usize];
        // SAFETY: the caller's promise.
        unsafe { next_of(node) }.store(null_mut(), Ordering::Relaxed);
        match NonNull::new(list.last) {
            // SAFETY: it is in the list, so alive.
            Some(last) => unsafe { next_of(last) }.store(node.as_ptr(), Ordering::Relaxed),
            None => list.first = node.as_ptr(),
        }
        list.last = node.as_ptr();
        self.occupied[rank.0 as usize / 64] |= 1 << (rank.0 % 64);
        self.members += usize::from(rank == Rank::NORMAL);
    }

    /// Takes out the first of `rank` that `may` go.
    fn pop(&mut self, rank: Rank, may: impl Fn(NonNull<T>) -> bool) -> Option<NonNull<T>> {
        let list = &mut self.lists[rank.0 as usize];
        let (mut before, mut at) = (null_mut(), list.first);
        loop {
            let node = NonNull::new(at)?;
            // SAFETY: it is in the list, so alive.
            let next = unsafe { next_of(node) }.load(Ordering::Relaxed);
            if !may(node) {
                (before, at) = (at, next);
                continue;
            }
            match NonNull::new(before) {
                // SAFETY: as above.
                Some(before) => unsafe { next_of(before) }.store(next, Ordering::Relaxed),
                None => list.first = next,
            }
            if next.is_null() {
                list.last = before;
            }
            if list.first.is_null() {
                self.occupied[rank.0 as usize / 64] &= !(1 << (rank.0 % 64));
            }
            self.members -= usize::from(rank == Rank::NORMAL);
            return Some(node);
        }
    }

    /// Whether the normal layer's turn goes to those here, with `others` in the run queue: so often, as they are many, but
    /// not before one that was just woken.
    fn is_members_turn(&mut self, others: Queued) -> bool {
        let all = self.members + others.count;
        self.credit = (self.credit + self.members).min(2 * all);
        if self.members == 0 || self.credit < all {
            return false;
        }
        if others.woken && self.woken < NEXT_LIMIT {
            self.woken += 1;
            return false;
        }
        self.woken = 0;
        self.credit -= all;
        true
    }

    /// The layer whose turn it is among those in `waiting`.
    fn turn(&mut self, waiting: u32) -> usize {
        let starved = (0..LAYERS).find(|&layer| waiting & 1 << layer != 0 && self.passed[layer] >= PATIENCE);
        let chosen = starved.unwrap_or(waiting.ilog2() as usize);
        for layer in 0..LAYERS {
            if layer == chosen {
                self.passed[layer] = 0;
            } else if waiting & 1 << layer != 0 {
                self.passed[layer] += 1;
            }
        }
        chosen
    }
}

impl<T: Linked> Layers<T> {
    const_unless_loom! {
        /// Nobody waits.
        pub const fn new() -> Self {
            Self {
                inner: SpinLock::new(lock_rank::LAYERS, Inner {
                    lists: [const { List { first: null_mut(), last: null_mut() } }; RANKS],
                    occupied: [0; RANKS.div_ceil(64)],
                    passed: [0; LAYERS],
                    served: (0, 0),
                    members: 0,
                    credit: 0,
                    woken: 0,
                }),
                len: AtomicUsize::new(0),
                stealable: AtomicUsize::new(0),
            }
        }
    }

    /// Puts `node` last among those of its rank. `bound`: no other CPU may run it, a fixed property as long as it is here.
    ///
    /// # Safety
    /// `node` is alive, stays so until it is taken out, and its link is in no list.
    pub unsafe fn push(&self, node: NonNull<T>, rank: Rank, bound: bool) {
        self.inner.with(|inner| {
            // SAFETY: the caller's promise.
            unsafe { inner.push(node, rank) };
            self.len.store(self.len.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            if !bound {
                self.stealable.store(self.stealable.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        });
    }

    /// Whose turn it is, by the rule. `normal`: who is in the run queue; `running`: the rank of a thread that would go
    /// on running, behind those of its own rank; `bound` is what `push` was told. Also says whether anybody is left here.
    pub fn pick(&self, normal: Queued, running: Option<Rank>, bound: impl Fn(NonNull<T>) -> bool) -> (Pick<T>, bool) {
        self.inner.with(|inner| {
            let own = running.map_or(0, |rank| 1 << rank.layer());
            if let Some(rank) = running {
                // It has just had its turn, by whatever way it came to it.
                inner.passed[rank.layer()] = 0;
            }
            let waiting = inner.layers() | u32::from(normal.count > 0) << Rank::NORMAL.layer();
            if waiting | own == 0 {
                return (Pick::Nothing, false);
            }
            let passed = inner.passed;
            let chosen = inner.turn(waiting | own);
            let pick = if waiting & 1 << chosen == 0 {
                Pick::Running
            } else if chosen == Rank::NORMAL.layer() && !inner.is_members_turn(normal) {
                Pick::Normal
            } else {
                // Within real time the running thread may still be before those that wait.
                let rank = if chosen == LAYERS - 1 { inner.highest() } else { Some(Rank(chosen as u16)) };
                match rank {
                    Some(rank) if running.is_some_and(|running| running.layer() == chosen && running > rank) => {
                        Pick::Running
                    }
                    Some(rank) => inner.pop(rank, |_| true).map_or(Pick::Nothing, Pick::Stored),
                    None => Pick::Nothing,
                }
            };
            if let Pick::Stored(node) = pick {
                self.taken(!bound(node));
                inner.served = (chosen, passed[chosen]);
            }
            (pick, !self.is_empty_hint())
        })
    }

    /// The one that was picked last did not run, and does not wait here any more: its layer was passed over once more.
    pub fn was_not_served(&self) {
        self.inner.with(|inner| {
            let (layer, passed) = inner.served;
            inner.passed[layer] = passed + 1;
        });
    }

    /// Moves every thread whose rank has changed while it was here, last among those of its new one. `rank` says what it is
    /// now, not `NORMAL`. The highest that was moved.
    pub fn rerank(&self, mut rank: impl FnMut(NonNull<T>) -> Rank) -> Option<Rank> {
        self.inner.with(|inner| {
            let (mut highest, mut moved) = (None, null_mut::<T>());
            for old in 0..RANKS as u16 {
                let mut at = inner.lists[old as usize].first;
                while let Some(node) = NonNull::new(at) {
                    // SAFETY: it is in the list, so alive.
                    at = unsafe { next_of(node) }.load(Ordering::Relaxed);
                    if rank(node) != Rank(old) {
                        inner.pop(Rank(old), |one| one == node);
                        // SAFETY: taken out just now; the link is free for a list of those that are to be moved.
                        unsafe { next_of(node) }.store(moved, Ordering::Relaxed);
                        moved = node.as_ptr();
                    }
                }
            }
            while let Some(node) = NonNull::new(moved) {
                // SAFETY: taken out above, so alive and in no list but this one.
                moved = unsafe { next_of(node) }.load(Ordering::Relaxed);
                let new = rank(node);
                // SAFETY: as above.
                unsafe { inner.push(node, new) };
                highest = highest.max(Some(new));
            }
            highest
        })
    }

    /// Takes the first of the highest rank that is not bound: for another CPU that has nothing to do.
    pub fn steal(&self, bound: impl Fn(NonNull<T>) -> bool) -> Option<NonNull<T>> {
        if self.stealable_hint() == 0 {
            return None;
        }
        self.inner.with(|inner| {
            for word in (0..inner.occupied.len()).rev() {
                let mut bits = inner.occupied[word];
                while bits != 0 {
                    let bit = bits.ilog2();
                    bits &= !(1 << bit);
                    if let Some(node) = inner.pop(Rank((word * 64) as u16 + bit as u16), |node| !bound(node)) {
                        self.taken(true);
                        return Some(node);
                    }
                }
            }
            None
        })
    }

    /// Takes out all who wait here, the highest rank first and those of a rank in their order.
    #[must_use = "they would be lost"]
    pub fn take_all(&self) -> Fifo<T> {
        self.inner.with(|inner| {
            let mut all = Fifo::new();
            while let Some(node) = inner.highest().and_then(|rank| inner.pop(rank, |_| true)) {
                // SAFETY: taken out just now, so alive and in no list.
                unsafe { all.push(node) };
            }
            self.len.store(0, Ordering::Relaxed);
            self.stealable.store(0, Ordering::Relaxed);
            all
        })
    }

    /// Shows `look` each thread that waits here, the lowest first. Under the lock: it must be short.
    pub fn for_each(&self, mut look: impl FnMut(NonNull<T>)) {
        self.inner.with(|inner| {
            for list in &inner.lists {
                let mut at = list.first;
                while let Some(node) = NonNull::new(at) {
                    look(node);
                    // SAFETY: it is in the list, so alive.
                    at = unsafe { next_of(node) }.load(Ordering::Relaxed);
                }
            }
        });
    }

    /// How many other CPUs could take: a hint for any CPU, except after the fence of the idle protocol, where zero means
    /// that nothing pushed before the partner's fence is left.
    #[inline(always)]
    pub fn stealable_hint(&self) -> usize {
        self.stealable.load(Ordering::Relaxed)
    }

    /// One was taken out. Under the lock.
    fn taken(&self, stealable: bool) {
        self.len.store(self.len.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        if stealable {
            self.stealable.store(self.stealable.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        }
    }

    /// How many wait here: a hint for any CPU.
    #[inline]
    pub fn len_hint(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether nobody waits here: exact for the CPU that they wait for, if nobody steals meanwhile.
    #[inline(always)]
    pub fn is_empty_hint(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// How many wait here.
    pub fn len(&self) -> usize {
        self.inner.with(|_| self.len.load(Ordering::Relaxed))
    }

    /// True if nobody waits here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Linked> Default for Layers<T> {
    fn default() -> Self {
        Self::new()
    }
}
