//! Who sleeps, who searches, and that no work is left lying while somebody sleeps.
//!
//! # The race
//! A CPU that goes to sleep writes "I sleep" and then reads the queues. A CPU that pushes writes a queue and then reads
//! who sleeps. Each is a store followed by a load of another word, which every machine may reorder; if both do, the
//! work lies in the queue and the CPU sleeps. So each side has one `fence(SeqCst)` (`dmb ish`, `mfence`) in between:
//!
//! | side | before the fence | fence | after it |
//! | --- | --- | --- | --- |
//! | sleeper | its state word, its bit, its leaving the search | in [`prepare_sleep`](IdleSet::prepare_sleep) | looks at **all** queues, inbox included |
//! | last searcher, with work in hand | its leaving the search | in [`look_again`](IdleSet::look_again) | looks at the queues |
//! | pusher | the push | in [`pick_idle`](IdleSet::pick_idle) or [`claim`](IdleSet::claim) | reads the number of searchers, bits, state words |
//!
//! The fences have one order. If the sleeper's comes first, the pusher sees it asleep; if the pusher's, the sleeper
//! sees the work.
//!
//! # State words
//! | state of a CPU | meaning | who leaves it |
//! | --- | --- | --- |
//! | `AWAKE` | | the CPU itself, by `prepare_sleep` or `prepare_watch` |
//! | `ASLEEP` | sleeps until an interrupt | itself, by `cancel_sleep`; a claimer |
//! | `WATCHING` | waits on this very word (`wfe`, `mwait`, a spin): the claim itself wakes it | itself, by `cancel_sleep`, or to `ASLEEP` by `deepen`; a claimer |
//! | `CLAIMED` | woken for its inbox | itself, by `cancel_sleep` |
//! | `CLAIMED_TO_SEARCH` | woken to look for work; it counts as a searcher | itself, by `cancel_sleep` |
//!
//! A claim is one compare-and-swap on the state word, so one sleeper is notified once. The bit map only says where to
//! look, and only its own CPU writes its bit: if claimers cleared it, one that is slow could clear the bit of a CPU
//! that has been up and gone to sleep again, and that CPU would be forgotten.
//!
//! # Searchers
//! While anybody searches, pushers wake nobody: the searcher will find the work. It makes up for it when it stops: the
//! last one that stops *with* work in hand wakes another, and one that stops without goes through `prepare_sleep` and
//! its look at all queues. A claimer counts its searcher after the claim, so the count may be one low for a moment (a
//! wake-up too many), never one high (a wake-up lost).
//!
//! # Rejected
//! Bits cleared by the claimer (above). The number of searchers and the bits in one word: 64 CPUs leave no room.
//! Waking for every push: a burst of pushes would wake the whole machine for one thread's work.

use crate::MAX_CPUS;
use crate::sync::{Aligned, AtomicI32, AtomicU32, AtomicU64, Ordering, const_unless_loom, fence, sync_array};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const WATCHING: u32 = 2;
const CLAIMED: u32 = 3;
const CLAIMED_TO_SEARCH: u32 = 4;

/// The idle CPUs of the machine. `CPUS` is at most [`MAX_CPUS`]. All zero when new, so a static of it takes no image.
#[derive(Debug)]
pub struct IdleSet<const CPUS: usize = MAX_CPUS> {
    idle: Aligned<AtomicU64>,
    searching: Aligned<AtomicI32>,
    states: [Aligned<AtomicU32>; CPUS],
}

/// A sleeper that the caller has claimed: the caller, and no one else, notifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a claimed CPU that gets no interrupt sleeps on"]
pub struct Claimed {
    /// Which CPU.
    pub cpu: usize,
    /// True: send it an interrupt. False: it watches its state word, and the claim has woken it already.
    pub needs_interrupt: bool,
}

/// Why a CPU that was to sleep is up, see [`IdleSet::cancel_sleep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a CPU that was claimed to search must end its search"]
pub enum Woke {
    /// Nobody claimed it: it found work itself, or a timer or device woke it.
    ByItself,
    /// Somebody put a thread in its inbox.
    Claimed,
    /// Somebody pushed work somewhere. The CPU counts as a searcher: `end_search` is due.
    ClaimedToSearch,
}

impl<const CPUS: usize> IdleSet<CPUS> {
    const_unless_loom! {
        /// All awake, nobody searching.
        pub const fn new() -> Self {
            const { assert!(CPUS <= MAX_CPUS) };
            Self {
                idle: Aligned(AtomicU64::new(0)),
                searching: Aligned(AtomicI32::new(0)),
                states: sync_array!(Aligned(AtomicU32::new(AWAKE))),
            }
        }
    }

    /// `cpu` announces that it will sleep until an interrupt comes. It must then look at all queues once more, its
    /// inbox among them, and either sleep or go on; in both cases [`cancel_sleep`](Self::cancel_sleep) comes next.
    #[inline]
    pub fn prepare_sleep(&self, cpu: usize) {
        self.announce(cpu, ASLEEP);
    }

    /// As [`prepare_sleep`](Self::prepare_sleep), but `cpu` will watch its [state word](Self::watch_word) instead.
    #[inline]
    pub fn prepare_watch(&self, cpu: usize) {
        self.announce(cpu, WATCHING);
    }

    /// One of the two, `watch` saying which: one fence in the machine code, where two calls have theirs merged behind the
    /// back of who looks for it there.
    #[inline(always)]
    pub fn prepare(&self, cpu: usize, watch: bool) {
        self.announce(cpu, if watch { WATCHING } else { ASLEEP });
    }

    #[inline(always)]
    fn announce(&self, cpu: usize, state: u32) {
        self.states[cpu].store(state, Ordering::Relaxed);
        self.idle.fetch_or(1 << cpu, Ordering::Relaxed);
        // SLEEPER'S FENCE. Partner: the pusher's fence in `pick_idle` and `claim`. Orders the two stores above (and
        // the end of this CPU's search) before its last look at the queues.
        fence(Ordering::SeqCst);
    }

    /// From watching to sleeping until an interrupt. False: it was claimed meanwhile; do not sleep, `cancel_sleep`.
    ///
    /// No second look at the queues is needed: whoever pushed since `prepare_watch` has seen `WATCHING` or this.
    #[inline]
    pub fn deepen(&self, cpu: usize) -> bool {
        self.states[cpu].compare_exchange(WATCHING, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// True if a CPU that prepared to sleep has been claimed: one relaxed load, for the loop that watches.
    #[inline(always)]
    pub fn is_claimed(&self, cpu: usize) -> bool {
        self.states[cpu].load(Ordering::Relaxed) >= CLAIMED
    }

    /// What the [state word](Self::watch_word) of a CPU holds while it watches and nobody has claimed it.
    pub const WATCHED: u32 = WATCHING;

    /// The word that a claim of `cpu` writes: what to arm `ldxr`/`wfe` or `monitor` on.
    #[inline(always)]
    pub fn watch_word(&self, cpu: usize) -> &AtomicU32 {
        &self.states[cpu]
    }

    /// `cpu` is up again, whatever for.
    #[inline]
    pub fn cancel_sleep(&self, cpu: usize) -> Woke {
        // Acquire: partner is the pusher's fence before its compare-and-swap in `claim_as`: a CPU that was claimed
        // sees what was pushed at its first look.
        let before = self.states[cpu].swap(AWAKE, Ordering::Acquire);
        self.idle.fetch_and(!(1 << cpu), Ordering::Relaxed);
        match before {
            CLAIMED => Woke::Claimed,
            CLAIMED_TO_SEARCH => Woke::ClaimedToSearch,
            _ => Woke::ByItself,
        }
    }

    /// After a push that any CPU of `open` could take: if nobody searches, claims one sleeper among them, which counts as
    /// searching from then on. Those in the first of `nearest_first` are asked first, and who is in none of these masks is not
    /// asked at all. With nobody asleep it costs the fence and two loads.
    #[inline]
    pub fn pick_idle(&self, open: u64, nearest_first: &[u64]) -> Option<Claimed> {
        // PUSHER'S FENCE. Partner: the sleeper's fence in `announce`. Orders the push before the loads below.
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let idle = self.idle.load(Ordering::Relaxed) & open;
        if idle == 0 {
            return None;
        }
        self.claim_nearest(idle, nearest_first)
    }

    fn claim_nearest(&self, idle: u64, nearest_first: &[u64]) -> Option<Claimed> {
        for mask in nearest_first {
            let mut bits = idle & mask;
            while bits != 0 {
                let cpu = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(claimed) = self.claim_as(cpu, CLAIMED_TO_SEARCH) {
                    // After the claim, never before it and taken back: see "Searchers" in the module's documentation.
                    self.searching.fetch_add(1, Ordering::Relaxed);
                    return Some(claimed);
                }
            }
        }
        None
    }

    /// After a push into the inbox of `cpu`: claims it if it sleeps.
    #[inline]
    pub fn claim(&self, cpu: usize) -> Option<Claimed> {
        // PUSHER'S FENCE. Partner: the sleeper's fence in `announce`.
        fence(Ordering::SeqCst);
        self.claim_as(cpu, CLAIMED)
    }

    #[inline(always)]
    fn claim_as(&self, cpu: usize, claim: u32) -> Option<Claimed> {
        let word = &self.states[cpu];
        let mut state = word.load(Ordering::Relaxed);
        loop {
            if state != ASLEEP && state != WATCHING {
                return None;
            }
            // Relaxed: the caller's fence before this is what the acquire in `cancel_sleep` pairs with.
            match word.compare_exchange_weak(state, claim, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Claimed { cpu, needs_interrupt: state == ASLEEP }),
                Err(now) => state = now,
            }
        }
    }

    /// A CPU out of work begins to search of its own accord.
    #[inline]
    pub fn start_search(&self) {
        self.searching.fetch_add(1, Ordering::Relaxed);
    }

    /// A CPU stops searching. True: it was the last; if it found work, it must `pick_idle` for another, since
    /// pushers relied on it, or see by [`look_again`](Self::look_again) that nothing is left. If it found none, `prepare_sleep` and the look at all queues do as much.
    #[inline]
    #[must_use]
    pub fn end_search(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::Relaxed) <= 1
    }

    /// Between [`end_search`](Self::end_search) and a last searcher's look at the queues, if it would rather look than
    /// wake another CPU for what may not be there: who pushed and saw it searching is seen by that look.
    #[inline]
    pub fn look_again(&self) {
        // SEARCHER'S FENCE. Partner: the pusher's fence in `pick_idle`. Orders the end of the search before the look.
        fence(Ordering::SeqCst);
    }

    /// How many search now: a hint, for those who limit the number.
    #[inline]
    pub fn searching(&self) -> usize {
        usize::try_from(self.searching.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The CPUs that are asleep or watching, as bits: a hint, for those who would share out work.
    #[inline(always)]
    pub fn idle_mask(&self) -> u64 {
        self.idle.load(Ordering::Relaxed)
    }
}

impl<const CPUS: usize> Default for IdleSet<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::IdleSet;
    use crate::sync::{Aligned, AtomicU32, assert_apart};
    use core::mem::offset_of;

    type Set = IdleSet<4>;

    /// A word that a CPU watches while it idles is written by nobody but who wakes it.
    #[test]
    fn hot_words_have_lines_of_their_own() {
        let states = |cpu| offset_of!(Set, states) + cpu * size_of::<Aligned<AtomicU32>>();
        let offsets = [offset_of!(Set, idle), offset_of!(Set, searching), states(0), states(1), states(3)];
        assert_apart(align_of::<Set>(), &offsets);
    }
}
