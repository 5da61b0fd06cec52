//! The deadlines of one CPU: a wheel that keeps exact order, with no tick and no allocation, and who owns a timer when.
//!
//! # Structure
//! A deadline (64 bits, any unit) is read as eleven digits of six bits. `base` is a moment before which nothing waits.
//! A timer hangs in the slot (level, digit), where *level* is the highest digit in which its deadline differs from
//! `base`, and *digit* the deadline's digit there. So every timer of a lower level comes before every timer of a higher
//! one, and within a level slots are in order: the first occupied slot, found with two bit scans, holds the next
//! timer. On level 0 a slot is one exact moment.
//!
//! `base` only moves forward, and only a timer in the slot that `base` enters changes its place: it moves down at
//! least one level. A slot that holds one timer is never spread: the timer is taken where it is. So a lone sleeper
//! costs one insertion and one removal, wherever its deadline lies.
//!
//! Each slot knows a *bound*: no timer in it is earlier. It is exact but after a cancel in a slot of more than
//! [`RESCAN`] timers, where it may be too early: then one interrupt comes for nothing, and sets it right. Deadlines are
//! never rounded, and timers with the same deadline expire in the order of insertion.
//!
//! # Cost
//! Insert and cancel: about 40 instructions, with 1 timer or 10^6, touching the slot and the neighbours in its list.
//! Expiry: each timer moves at most ten times, one or two in practice. Spreading a slot takes time in proportion to the
//! timers in it, with interrupts masked: 10^6 timers spread evenly over a second put 16,000 in a slot of 17 ms.
//!
//! # Who owns a timer
//! A wheel has a CPU, whose interrupt takes out what is due, and a short lock, by which any CPU sets and cancels. A
//! timer has an *owner*, whoever keeps it in memory, one at a time; the word `state` says who may touch it:
//!
//! | state | the timer is | left by |
//! | --- | --- | --- |
//! | `IDLE` | the owner's alone | `set`, under the lock |
//! | `SET` | in the wheel | `cancel` to `IDLE`, `take_due` to `FIRING`, both under the lock |
//! | `FIRING` | the expiring CPU's, which carries out its action without the lock | `done` to `IDLE`; `again`, under the lock, to `SET`, or to `IDLE` if the owner has cancelled it meanwhile |
//!
//! So an owner who sees `IDLE` may free the timer and what its action uses: the action is over. One who cancels in the
//! middle of the action waits for its end, which is near: actions run in interrupt context. An action must not cancel its
//! own timer, which would wait for itself; it says instead that it is done. A sleeping thread, which is its timer's owner,
//! is woken by the action while the timer is `FIRING`: on another CPU it may be so fast that it has to wait for `IDLE`.
//!
//! # Rejected
//! *Pairing heap*: as cheap to insert and cancel, but the first expiry after n insertions takes n steps in one go.
//! *4-ary heap*: needs an array that grows; 10 levels of cache misses at 10^6 timers. *Balanced tree*: 20 of them.
//! *Wheel with a tick*: rounds deadlines, or interrupts for nothing.
//! *The lock held throughout the actions*: then none could set a timer, and a sleeper would have to take the lock after
//! each sleep to know that it is over.
//! *A list of cancellations for the expiring CPU to carry out*: a sleeper that is woken early could not leave its stack
//! before the other CPU has looked.

mod state;
mod timer;
mod wheel;

pub use timer::Timer;
pub use wheel::{RESCAN, Wheel};

use crate::lock_rank;
use crate::spinlock::SpinLock;
use crate::sync::const_unless_loom;
use core::ptr::NonNull;

/// What [`Timers::cancel`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Taken back: its action will not run.
    Cancelled {
        /// The next deadline of those that are left, as from [`Timers::next_deadline`].
        next: Option<u64>,
    },
    /// Its action has run, if it was ever set.
    Expired,
}

/// The timers of one CPU, for all CPUs. Interrupts are masked around each call.
#[derive(Debug)]
pub struct Timers<W: Copy> {
    wheel: SpinLock<Wheel<W>>,
}

impl<W: Copy> Timers<W> {
    const_unless_loom! {
        /// None is set.
        pub const fn new() -> Self {
            Self { wheel: SpinLock::new(lock_rank::TIMERS, Wheel::new()) }
        }
    }

    /// Sets `timer` to `deadline`, which may be past: then it is due at once. From any CPU; the wheel's own has to look to
    /// its hardware.
    ///
    /// # Safety
    /// The caller owns the timer, which is idle, stays in place, and stays alive until it is idle again.
    #[inline]
    pub unsafe fn set(&self, timer: NonNull<Timer<W>>, deadline: u64) {
        self.wheel.with(|wheel| {
            // SAFETY: idle and alive (caller), so nobody else touches it.
            unsafe {
                Timer::state(timer).set_waiting_locked();
                wheel.insert(timer, deadline);
            }
        });
    }

    /// Takes `timer` back. If its action runs just now, waits for the end of that; the timer is idle afterwards in any case.
    /// From any CPU, but not from the timer's own action.
    ///
    /// # Safety
    /// The caller owns the timer, and it was last set in this wheel, or never.
    #[inline]
    pub unsafe fn cancel(&self, timer: NonNull<Timer<W>>) -> Cancel {
        // SAFETY: alive (caller).
        let state = unsafe { Timer::state(timer) };
        if state.is_idle() {
            return Cancel::Expired;
        }
        let cancel = self.wheel.with(|wheel| {
            if !state.is_waiting() {
                state.stop_locked();
                return Cancel::Expired;
            }
            // SAFETY: under the lock, a timer that waits is in its wheel, which is this one (caller).
            unsafe { wheel.cancel(timer) };
            state.set_idle_locked();
            Cancel::Cancelled { next: wheel.next_deadline() }
        });
        if cancel == Cancel::Expired {
            state.wait_for_end();
        }
        cancel
    }

    /// Takes out the earliest timer if it is due at `now`, for its action; and the next deadline after it: exact, or too
    /// early in the case named above. If that is due too, call again. For the wheel's own CPU.
    #[inline(always)]
    pub fn take_due(&self, now: u64) -> (Option<Due<'_, W>>, Option<u64>) {
        self.wheel.with(|wheel| {
            let due = wheel.pop_expired(now);
            if let Some(timer) = due {
                // SAFETY: a timer in the wheel is alive.
                unsafe { Timer::state(timer) }.set_firing_locked();
            }
            let next = wheel.next_deadline();
            (due.map(|timer| Due { timer, timers: self }), next)
        })
    }

    /// When the next timer is due: exact, or too early.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        self.wheel.with(|wheel| wheel.next_deadline())
    }

    /// How many are set.
    pub fn len(&self) -> usize {
        self.wheel.with(|wheel| wheel.len())
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<W: Copy> Default for Timers<W> {
    fn default() -> Self {
        Self::new()
    }
}

/// A timer whose action is due. One of its methods ends that; until then the timer stays alive.
#[must_use = "its owner waits for the end of the action"]
#[derive(Debug)]
pub struct Due<'t, W: Copy> {
    timer: NonNull<Timer<W>>,
    timers: &'t Timers<W>,
}

impl<W: Copy> Due<'_, W> {
    /// The timer, for the action.
    #[inline(always)]
    pub fn timer(&self) -> NonNull<Timer<W>> {
        self.timer
    }

    /// What its owner said at its making.
    #[inline(always)]
    pub fn action(&self) -> W {
        // SAFETY: alive, see `Due`.
        unsafe { Timer::action_of(self.timer) }
    }

    /// The action is done: from here on the timer is its owner's, who may free it.
    #[inline(always)]
    pub fn done(self) {
        // SAFETY: alive, see `Due`; not touched after this.
        unsafe { Timer::state(self.timer) }.end_action();
    }

    /// The action is done, and the timer is to be set again; false if its owner has cancelled it meanwhile.
    #[inline]
    pub fn again(self, deadline: u64) -> bool {
        self.timers.wheel.with(|wheel| {
            // SAFETY: alive, see `Due`.
            let again = unsafe { Timer::state(self.timer) }.set_again_locked();
            if again {
                // SAFETY: it is set nowhere else, and its owner, who wants it, has to come by this lock.
                unsafe { wheel.insert(self.timer, deadline) };
            }
            again
        })
    }
}
