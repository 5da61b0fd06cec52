//! The CPU time of a group of threads: so much in each period, and who has to wait for the next one.
//!
//! # Protocol
//! ```text
//!             quota, at each period
//!                    │
//!                  pool ──take──► slice of a CPU ──runs──► used up: take again
//!                    ▲                   │
//!                    └────give_back──────┘ blocks
//!                  pool empty ──► set aside, until the refill or until something is given back
//! ```
//! * A CPU that runs a thread of the group takes a **slice** of the pool first and charges the slice, which is its own, with
//!   what the thread runs. So the pool, and its lock, are touched once for each slice and once for each wait.
//! * A thread that finds the pool empty is **set aside**: in no run queue, in the pool's own list. Looking at the pool and
//!   entering the list are one step under the lock, and so are filling the pool and taking from the list: nobody is set aside
//!   beside a pool that has something for it.
//! * A refill **hands out a few** of the list, in the order in which they were set aside, and whoever begins to run brings
//!   one more ([`Bandwidth::fetch_one`]), as long as there is something to take: what a refill costs does not grow with the
//!   list, nor is anybody brought back only to be set aside again. Should nobody begin to run, the next refill hands out more.
//! * A thread that ran longer than its slice (it could not be interrupted at once) is in **debt**, which the next refills
//!   pay.
//! * **The pool keeps nothing** from one period to the next. What CPUs hold of their slices stays theirs: in `n` periods a
//!   group runs for `n` quotas and one more at the most.
//! * **No clock runs for a group at rest**: whoever takes refills first, if a period has begun since the last time. Only
//!   while somebody is set aside does somebody else have to come at the right moment, [`Bandwidth::refill`].
//!
//! Time is in whatever units the caller uses. Interrupts are masked around each call.
//!
//! # Rejected
//! *A pool without a lock*: taking would be one compare-and-swap, but entering the list against filling the pool would need
//! a fence on each side, to spare a lock that is taken every few milliseconds. *Slices that expire with their period*: a
//! stricter bound for one period, the same one for many, and every CPU has to be told.

use core::ptr::NonNull;

use crate::fifo::Fifo;
use crate::link::Linked;
use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::{Aligned, AtomicBool, AtomicU64, Ordering, const_unless_loom};

/// So much time in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    quota: u64,
    period: u64,
}

/// Why there is no such [`Limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLimit {
    /// Nothing in a period: nobody would ever run.
    ZeroQuota,
    /// A period of no length.
    ZeroPeriod,
    /// More than all of the period.
    QuotaAbovePeriod,
}

impl Limit {
    /// `quota` in each `period`, in the same unit.
    ///
    /// # Errors
    /// [`BadLimit`].
    pub const fn new(quota: u64, period: u64) -> Result<Self, BadLimit> {
        if period == 0 {
            Err(BadLimit::ZeroPeriod)
        } else if quota == 0 {
            Err(BadLimit::ZeroQuota)
        } else if quota > period {
            Err(BadLimit::QuotaAbovePeriod)
        } else {
            Ok(Self { quota, period })
        }
    }

    /// Whether this is no larger a part of the time than `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.quota as u128 * other.period as u128 <= other.quota as u128 * self.period as u128
    }

    /// How much in each period.
    #[must_use]
    pub const fn quota(self) -> u64 {
        self.quota
    }

    /// How long a period is.
    #[must_use]
    pub const fn period(self) -> u64 {
        self.period
    }
}

/// What [`Bandwidth::take`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Take {
    /// There is no limit; nothing was taken.
    Unlimited,
    /// So much, more than zero and no more than was asked for.
    Granted(u64),
    /// Nothing is left in this period.
    Out,
}

/// What [`Bandwidth::set_aside`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Aside {
    /// Nothing: there is something to take.
    NotOut,
    /// It is the first one in the list: somebody must [refill](Bandwidth::refill) at this time.
    First(u64),
    /// It is behind others.
    Behind,
}

/// What happened to a group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Periods in which it took something.
    pub periods: u64,
    /// Periods in which one of its threads at least was set aside.
    pub throttled: u64,
    /// For how long one of its threads at least was aside.
    pub throttled_time: u64,
    /// What it owes to the next periods.
    pub debt: u64,
}

struct State<T> {
    limit: Option<Limit>,
    /// What is left of the period's quota; below zero: debt.
    left: i64,
    /// When the period ends.
    next: u64,
    aside: Fifo<T>,
    /// Since when somebody is aside.
    since: u64,
    /// This period is counted as throttled.
    counted: bool,
    counters: Counters,
}

impl<T: Linked> State<T> {
    /// Goes on to the period that `now` is in.
    fn roll(&mut self, now: u64) {
        let Some(limit) = self.limit else { return };
        if now < self.next {
            return;
        }
        let begun = (now - self.next) / limit.period + 1;
        // After a rest the period begins with the first work.
        self.next = if begun == 1 { self.next } else { now }.saturating_add(limit.period);
        let quota = i64::try_from(limit.quota).unwrap_or(i64::MAX);
        let fresh = quota.saturating_mul(i64::try_from(begun).unwrap_or(i64::MAX));
        self.left = self.left.min(0).saturating_add(fresh).min(quota);
        self.counters.periods += 1;
        // Those whom the fresh quota does not help wait for one more period.
        self.counted = !self.aside.is_empty() && self.is_out();
        self.counters.throttled += u64::from(self.counted);
    }

    /// Those who are aside wait for the one who refills; before them nobody does.
    fn roll_if_nobody_waits(&mut self, now: u64) {
        if self.aside.is_empty() {
            self.roll(now);
        }
    }

    fn is_out(&self) -> bool {
        self.limit.is_some() && self.left <= 0
    }

    fn was_released(&mut self, now: u64) {
        if self.aside.is_empty() {
            self.counters.throttled_time += now.saturating_sub(self.since);
        }
    }

    /// Takes the first out of the list.
    fn release(&mut self, now: u64) -> Option<NonNull<T>> {
        let released = self.aside.pop();
        if released.is_some() {
            self.was_released(now);
        }
        released
    }
}

/// The time that one group has, and those of its threads that wait for more.
pub struct Bandwidth<T> {
    state: SpinLock<State<T>>,
    /// Somebody is aside. Written under the lock.
    waits: AtomicBool,
}

impl<T: Linked> Bandwidth<T> {
    const_unless_loom! {
        /// A group with this limit. Its first period begins when it first takes something.
        pub const fn new(limit: Option<Limit>) -> Self {
            Self {
                state: SpinLock::new(lock_rank::BANDWIDTH, State {
                    limit,
                    left: 0,
                    next: 0,
                    aside: Fifo::new(),
                    since: 0,
                    counted: false,
                    counters: Counters { periods: 0, throttled: 0, throttled_time: 0, debt: 0 },
                }),
                waits: AtomicBool::new(false),
            }
        }
    }

    /// For what changes who is aside.
    #[inline]
    fn with<R>(&self, step: impl FnOnce(&mut State<T>) -> R) -> R {
        self.state.with(|state| {
            let result = step(state);
            self.waits.store(!state.aside.is_empty(), Ordering::Relaxed);
            result
        })
    }

    /// Takes up to `most`, which is not zero.
    #[inline]
    pub fn take(&self, most: u64, now: u64) -> Take {
        self.state.with(|state| {
            state.roll_if_nobody_waits(now);
            if state.limit.is_none() {
                return Take::Unlimited;
            }
            match u64::try_from(state.left) {
                Err(_) | Ok(0) => Take::Out,
                Ok(left) => {
                    let taken = left.min(most);
                    state.left -= taken.cast_signed();
                    Take::Granted(taken)
                }
            }
        })
    }

    /// Gives back what a CPU has not used. Returns one who was set aside, if that helps it: to be queued by the caller.
    #[inline]
    pub fn give_back(&self, amount: u64, now: u64) -> Option<NonNull<T>> {
        self.with(|state| {
            state.left = state.left.saturating_add_unsigned(amount);
            if state.aside.is_empty() || state.is_out() {
                return None;
            }
            // One, and not all: one thread can use what one thread has left.
            state.release(now)
        })
    }

    /// What a thread ran beyond its slice.
    #[inline]
    pub fn owe(&self, amount: u64) {
        self.state.with(|state| {
            if state.limit.is_some() {
                state.left = state.left.saturating_sub_unsigned(amount);
            }
        });
    }

    /// Sets `node` aside, if there is nothing to take. If it is the first one, `first` is called before anybody can hand it out
    /// again.
    ///
    /// # Safety
    /// `node` is alive, stays so until it is handed out again, and its link is in no list.
    pub unsafe fn set_aside(&self, node: NonNull<T>, now: u64, first: impl FnOnce()) -> Aside {
        self.with(|state| {
            state.roll_if_nobody_waits(now);
            if !state.is_out() {
                return Aside::NotOut;
            }
            let is_first = state.aside.is_empty();
            // SAFETY: the caller's promise.
            unsafe { state.aside.push(node) };
            if !state.counted {
                state.counted = true;
                state.counters.throttled += 1;
            }
            if is_first {
                first();
                state.since = now;
                Aside::First(state.next)
            } else {
                Aside::Behind
            }
        })
    }

    /// Begins a new period if it is time. Hands out up to `most` of those who were set aside, if there is something to take
    /// now, and says when to come again, if others wait still.
    pub fn refill(&self, now: u64, most: usize) -> (Fifo<T>, Option<u64>) {
        self.with(|state| {
            state.roll(now);
            let mut released = Fifo::new();
            if !state.is_out() {
                for _ in 0..most {
                    let Some(node) = state.release(now) else { break };
                    // SAFETY: taken out of the list just now, so it is alive and in none.
                    unsafe { released.push(node) };
                }
            }
            (released, (!state.aside.is_empty()).then_some(state.next))
        })
    }

    /// Hands out one who was set aside, if there is something to take: when another has begun to run.
    #[inline]
    pub fn fetch_one(&self, now: u64) -> Option<NonNull<T>> {
        // A glance: who is set aside just now has found nothing.
        if !self.waits.load(Ordering::Relaxed) {
            return None;
        }
        self.with(|state| if state.is_out() { None } else { state.release(now) })
    }

    /// Sets another limit, or none; a new period begins. Hands out all who were set aside.
    pub fn set_limit(&self, limit: Option<Limit>, now: u64) -> Fifo<T> {
        self.with(|state| {
            state.limit = limit;
            state.left = state.left.min(0);
            state.next = now;
            state.roll(now);
            let waited = !state.aside.is_empty();
            let released = state.aside.take();
            if waited {
                state.was_released(now);
            }
            released
        })
    }

    /// When somebody must [refill](Self::refill): while somebody is set aside.
    #[inline]
    pub fn due(&self) -> Option<u64> {
        self.state.with(|state| (!state.aside.is_empty()).then_some(state.next))
    }

    /// What happened up to `now`.
    pub fn counters(&self, now: u64) -> Counters {
        self.state.with(|state| {
            let mut counters = Counters { debt: state.left.min(0).unsigned_abs(), ..state.counters };
            if !state.aside.is_empty() {
                counters.throttled_time += now.saturating_sub(state.since);
            }
            counters
        })
    }
}

impl<T> core::fmt::Debug for Bandwidth<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bandwidth").finish_non_exhaustive()
    }
}

/// What is left of a slice on one CPU while its thread waits there for its turn: for whoever takes the thread.
#[derive(Debug, Default)]
pub struct Rest {
    left: Aligned<AtomicU64>,
}

impl Rest {
    const_unless_loom! {
        /// Nothing.
        pub const fn new() -> Self {
            Self { left: Aligned(AtomicU64::new(0)) }
        }
    }

    /// Leaves `amount`.
    #[inline]
    pub fn leave(&self, amount: u64) {
        self.left.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes what is there.
    #[inline]
    pub fn take(&self) -> u64 {
        // One step: owner and thief may both be at it.
        if self.left.load(Ordering::Relaxed) == 0 { 0 } else { self.left.swap(0, Ordering::Relaxed) }
    }

    /// Whether something is there: a glance.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }
}
