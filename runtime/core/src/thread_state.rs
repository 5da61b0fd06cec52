//! The state of one thread: who may run it, who may wake it, and that it is woken exactly once.
//!
//! # Two words
//! `word` is contended: any CPU and any interrupt may change it, always by a read-modify-write. `phase` is written by
//! one CPU at a time, the one that holds the thread, with plain stores, and changes hands with the thread itself. So a
//! yield, which only moves a thread between running and runnable, costs no read-modify-write.
//!
//! That a thread runs on one CPU at a time follows from its being in one queue at most. `phase` proves it in models, in
//! simulation and in debug builds ([`CHECKED`]), where all four are told apart; elsewhere it only says whether the thread is
//! `New` or `Handed`, and all the others read as `Runnable`: these stores would be a tenth of a yield.
//!
//! | bit of `word` | meaning |
//! | --- | --- |
//! | 0 `PARKED` | context saved, in no queue; only a wake-up brings it back |
//! | 1 `EXITED` | it never runs again |
//! | 2 `PERMIT` | an unpark came while it was not parked; the next park takes it and returns at once |
//! | 3 `KILLED` | it was asked to die; sticky, kept by every transition, acted upon by the runtime |
//! | 4 `UNPARKED` | the permit that `thread::unpark` leaves for the next `thread::park`; kept by all but `take_permit` |
//! | 5 `TAKEN` | it was killed while it was `Handed`, and somebody has it; sticky |
//!
//! | `phase` | meaning |
//! | --- | --- |
//! | `Runnable` | in a queue, or on its way to one |
//! | `Running` | on a CPU |
//! | `Parking` | on a CPU, wants to park, its context is not saved yet |
//! | `Handed` | waits, in nobody's hands, or is about to: see below |
//! | `New` | in a queue, or on its way to one, and has never run: it has no context yet |
//!
//! | transition | by | on `word` | on `phase` |
//! | --- | --- | --- | --- |
//! | `set_running` | the CPU that took it from a queue | | `Runnable` to `Running` |
//! | `begin` | the CPU that took it from a queue, for the first time | | `New` to `Running` |
//! | `set_runnable` | its CPU, context saved, before it is queued | | to `Runnable` |
//! | `begin_park` | the thread itself | takes `PERMIT` if set, else nothing | else `Running` to `Parking` |
//! | `cancel_park` | the thread itself, context not saved | takes `PERMIT` if set | then `Parking` to `Running` |
//! | `commit_park` | its CPU, context saved | sets `PARKED`, or takes `PERMIT` | `Parking` to `Runnable` |
//! | `unpark` | anyone | clears `PARKED`, or sets `PERMIT` | |
//! | `kill` | anyone | sets `KILLED`, then as `unpark` | |
//! | `give_permit` | anyone | sets `UNPARKED`, then as `unpark` | |
//! | `take_permit` | the thread itself | clears `UNPARKED` and `PERMIT` | |
//! | `begin_handed` | the thread itself | | `Running` to `Handed`, unless `KILLED` |
//! | `take_handed` | who took it from where it waits | sets `TAKEN` if `KILLED`, unless it is set | `Handed` to `Runnable` |
//! | `take_doomed` | who has killed it, after a system-wide barrier | sets `TAKEN`, unless it is set | `Handed` to `Runnable` |
//! | `exit` | the thread itself, at its end | sets `EXITED`, for ever | |
//!
//! `PARKED` and `PERMIT` are never set together: the two sides meet in one word, and the one that comes second sees the
//! first. That is why a wake-up that comes while the context is being saved cannot be lost, and why a thread is queued
//! once for each time it parked.
//!
//! `PERMIT` ends waits of every kind; `UNPARKED` is the user's. They are two, because a thread that waits for a channel must
//! not use up an unpark that was meant for its next park.
//!
//! # Threads that are handed over
//! A thread that waits where it is found by whoever ends the wait, and is found once, needs no read-modify-write for that: it is
//! `Handed`, not `PARKED`. Its place is shown when its context is saved (`channel/door.rs`), who takes it out has the thread, and
//! an unpark of anybody else leaves a permit and no more. One other may want it: who kills it, and knows nothing of the place.
//! That one sets `KILLED` and has every CPU pass a barrier, outside of the sections with interrupts masked in which all the
//! others do their part. So each of those is over when it then looks, and has left its `Handed` or `Runnable`, or comes later,
//! and finds `KILLED`: no thread begins such a wait then, and who takes one out competes with the killer for `TAKEN`.
//!
//! Parking and waking begin with a guess at the word, not with a load: mostly it is right, and the compare-and-swap tells.
//!
//! # Rejected
//! A word of its own for the user's permit: a second read-modify-write for each unpark.
//!
//! Running and runnable in the contended word: two read-modify-writes on every switch, for a difference that a waker
//! never asks about. A lock for each thread: an interrupt that wakes would spin on the thread it interrupted.

use crate::sync::{AtomicU32, Note, Ordering, const_unless_loom, note};

const PARKED: u32 = 1 << 0;
const EXITED: u32 = 1 << 1;
const PERMIT: u32 = 1 << 2;
const KILLED: u32 = 1 << 3;
const UNPARKED: u32 = 1 << 4;
const TAKEN: u32 = 1 << 5;

const RUNNABLE: u32 = 0;
const RUNNING: u32 = 1;
const PARKING: u32 = 2;
const NEW: u32 = 3;
const HANDED: u32 = 4;

/// Whether `phase` tells apart what is not `NEW`.
const CHECKED: bool = cfg!(any(loom, isochron_sim, debug_assertions));

/// See the module's documentation.
#[derive(Debug)]
pub struct ThreadState {
    word: AtomicU32,
    phase: AtomicU32,
}

/// What a thread sees at one moment, for people and traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In a queue, or on its way to one; or, where phases are not checked, on a CPU.
    Runnable,
    /// On a CPU.
    Running,
    /// On a CPU, about to park.
    Parking,
    /// Waiting for a wake-up.
    Parked,
    /// At its end.
    Exited,
}

/// What [`ThreadState::stillness`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stillness {
    /// It is parked: its context is saved, and nothing below its stack pointer is needed.
    Parked,
    /// It waits to be handed over, and may not have saved its context yet: it has when every CPU has passed a barrier.
    Handed,
    /// It has ended.
    Ended,
    /// It runs, or will.
    Moving,
}

/// What [`ThreadState::begin_park`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ParkDecision {
    /// A permit was there and is now taken: go on running.
    PermitTaken,
    /// Save the context, switch away, then `commit_park` from the other side.
    Park,
}

/// What [`ThreadState::commit_park`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum CommitPark {
    /// The thread is parked. From this moment any CPU may be running it: do not touch it.
    Parked,
    /// A wake-up came in between and is taken: this CPU must queue the thread again.
    WokenMeanwhile,
}

/// What [`ThreadState::unpark`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Unpark {
    /// The caller ended the park: it, and no one else, must queue the thread.
    Enqueue,
    /// Nothing to do: the permit is set, or the thread is at its end.
    Nothing,
}

impl ThreadState {
    const_unless_loom! {
        /// The state of a new thread: runnable, no permit.
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(0), phase: AtomicU32::new(RUNNABLE) }
        }
    }

    const_unless_loom! {
        /// The state of a thread that has yet to be given what it runs on, see [`begin`](Self::begin).
        pub const fn unbegun() -> Self {
            Self { word: AtomicU32::new(0), phase: AtomicU32::new(NEW) }
        }
    }

    /// As [`set_running`](Self::set_running), which says false of it, for a thread that was made
    /// [`unbegun`](Self::unbegun), once. False: it is none, or has begun before.
    #[inline]
    #[must_use]
    pub fn begin(&self) -> bool {
        let new = self.is_new();
        if new {
            self.phase.store(if CHECKED { RUNNING } else { RUNNABLE }, Ordering::Relaxed);
            note(self, Note::Running);
        }
        new
    }

    /// Whether it was made [`unbegun`](Self::unbegun) and has not begun since. For the CPU that took it from a queue.
    #[inline(always)]
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == NEW
    }

    /// The CPU that took the thread from a queue is about to run it. False: it is new, see [`begin`](Self::begin), or (where
    /// phases are checked) another CPU runs it, which is a broken invariant of the scheduler; the caller must not switch to
    /// it.
    ///
    /// The queue orders this after the `set_runnable` or `commit_park` of the CPU before.
    #[inline(always)]
    #[must_use]
    pub fn set_running(&self) -> bool {
        let free = self.phase.load(Ordering::Relaxed) == RUNNABLE;
        if free {
            self.check(RUNNING);
            note(self, Note::Running);
        }
        free
    }

    /// The thread's CPU has saved its context and is about to queue it. The queue's publication orders it.
    #[inline(always)]
    pub fn set_runnable(&self) {
        self.check(RUNNABLE);
        note(self, Note::Runnable);
    }

    /// Whoever holds the runnable thread is about to set it aside, in no queue: said to the simulation, and nothing elsewhere.
    #[inline(always)]
    pub fn is_set_aside(&self) {
        note(self, Note::Aside);
    }

    /// The opposite: it is about to be queued.
    #[inline(always)]
    pub fn is_fetched_back(&self) {
        note(self, Note::Runnable);
    }

    /// Notes a phase of a thread that is not new, for those who check.
    #[inline(always)]
    fn check(&self, phase: u32) {
        if CHECKED {
            self.phase.store(phase, Ordering::Relaxed);
        }
    }

    /// The running thread wants to park. A permit that is there is taken; what its giver wrote before is then seen.
    #[inline]
    pub fn begin_park(&self) -> ParkDecision {
        if self.word.load(Ordering::Relaxed) & (PERMIT | KILLED) != 0 {
            // Who is to die is not to wait: it looks for itself whether it can end here.
            // Acquire: partner is the compare-and-swap in `replace`.
            // The thread runs, so nobody but itself can take the permit: it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Acquire);
            return ParkDecision::PermitTaken;
        }
        self.check(PARKING);
        ParkDecision::Park
    }

    /// Whether a wake-up has come since `begin_park`: one relaxed load, for a CPU that waits a moment before it saves the
    /// context.
    #[inline(always)]
    pub fn has_permit(&self) -> bool {
        self.word.load(Ordering::Relaxed) & PERMIT != 0
    }

    /// After `begin_park` and before the context is saved: takes the permit if one has come, and the thread goes on.
    #[inline]
    pub fn cancel_park(&self) -> bool {
        let woken = self.has_permit();
        if woken {
            // Acquire: partner is the compare-and-swap in `replace`. Only this side takes a permit, so it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Acquire);
            self.check(RUNNING);
        }
        woken
    }

    /// The thread's context is saved; its CPU, which has left the thread's stack, parks it for others to wake.
    #[inline]
    pub fn commit_park(&self) -> CommitPark {
        self.check(RUNNABLE);
        match self.set_parked(0) {
            Ok(_) => CommitPark::Parked,
            Err(word) => self.commit_park_again(word),
        }
    }

    #[cold]
    fn commit_park_again(&self, mut word: u32) -> CommitPark {
        loop {
            if word & PERMIT != 0 {
                // Acquire: partner is the compare-and-swap in `replace`. Only this side takes a permit.
                self.word.fetch_and(!PERMIT, Ordering::Acquire);
                note(self, Note::Runnable);
                return CommitPark::WokenMeanwhile;
            }
            match self.set_parked(word) {
                Ok(_) => return CommitPark::Parked,
                Err(now) => word = now,
            }
        }
    }

    #[inline(always)]
    fn set_parked(&self, word: u32) -> Result<u32, u32> {
        // Release: partner is the compare-and-swap in `replace`, whose caller makes the thread run: it must find the
        // whole saved context and the phase.
        self.word.compare_exchange(word, word | PARKED, Ordering::Release, Ordering::Relaxed)
    }

    /// The running thread is about to wait where who ends the wait takes it over. False: it is to die, and must not.
    ///
    /// From before this until its context is saved and it can be found, its CPU takes no interrupts.
    #[inline(always)]
    #[must_use]
    pub fn begin_handed(&self) -> bool {
        let may = self.word.load(Ordering::Relaxed) & KILLED == 0;
        if may {
            self.phase.store(HANDED, Ordering::Relaxed);
        }
        may
    }

    /// The caller has taken a thread that waits by `begin_handed` from where it was found, and took no interrupt in between.
    /// True: the thread is its, to be queued. False: it was killed, and who did that has it.
    #[inline(always)]
    #[must_use]
    pub fn take_handed(&self) -> bool {
        let taken = self.take_handed_quietly();
        if taken {
            note(self, Note::Runnable);
        }
        taken
    }

    #[inline(always)]
    fn take_handed_quietly(&self) -> bool {
        self.phase.store(RUNNABLE, Ordering::Relaxed);
        self.word.load(Ordering::Relaxed) & KILLED == 0 || self.take()
    }

    #[cold]
    fn take(&self) -> bool {
        // Relaxed: whoever loses has nothing of the thread.
        self.word.fetch_or(TAKEN, Ordering::Relaxed) & TAKEN == 0
    }

    /// As [`take_handed`](Self::take_handed), but the thread is to be parked. `None`: who kills it has it.
    #[cold]
    pub fn park_handed(&self) -> Option<CommitPark> {
        if self.take_handed_quietly() { Some(self.commit_park()) } else { None }
    }

    /// The caller has killed the thread, and a system-wide barrier since. True: the thread was handed over to it, to be queued.
    #[cold]
    #[must_use]
    pub fn take_doomed(&self) -> bool {
        let taken = self.phase.load(Ordering::Relaxed) == HANDED && self.take();
        if taken {
            self.phase.store(RUNNABLE, Ordering::Relaxed);
            note(self, Note::Runnable);
        }
        taken
    }

    /// Wakes the thread, or leaves the permit if it is not parked. From any CPU and any interrupt.
    #[inline]
    pub fn unpark(&self) -> Unpark {
        self.wake(0)
    }

    /// As [`unpark`](Self::unpark), if the thread is parked and there is nothing else to know of it. False: nothing is done.
    #[inline(always)]
    #[must_use]
    pub fn unpark_parked(&self) -> bool {
        let parked = self.replace(PARKED, 0).is_ok();
        if parked {
            note(self, Note::Runnable);
        }
        parked
    }

    /// Asks the thread to die: sets the sticky flag and wakes it, so that it comes to a place where it looks.
    /// `None`: it was asked before.
    #[cold]
    pub fn kill(&self) -> Option<Unpark> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & (KILLED | EXITED) != 0 {
                return None;
            }
            match self.replace(word, if word & PARKED != 0 { KILLED } else { KILLED | PERMIT }) {
                Ok(_) if word & PARKED != 0 => return Some(Unpark::Enqueue),
                Ok(_) => return Some(Unpark::Nothing),
                Err(now) => word = now,
            }
        }
    }

    /// Leaves the user's permit, and wakes the thread, so that it looks for it.
    #[inline]
    pub fn give_permit(&self) -> Unpark {
        self.wake(UNPARKED)
    }

    /// Takes the user's permit if it was given; then all that its givers wrote before is seen. Only the thread itself does.
    #[inline(always)]
    pub fn take_permit(&self) -> bool {
        // The read-modify-write, and not a plain store after the load: a permit given again in between is taken too, and
        // what its giver wrote must be seen with it. The wake-up that came with the permit is used up with it.
        // Acquire: partner is the compare-and-swap in `replace`.
        self.word.load(Ordering::Relaxed) & UNPARKED != 0
            && self.word.fetch_and(!(UNPARKED | PERMIT), Ordering::Acquire) & UNPARKED != 0
    }

    #[inline(always)]
    fn wake(&self, flag: u32) -> Unpark {
        match self.replace(PARKED, flag) {
            Ok(_) => {
                note(self, Note::Runnable);
                Unpark::Enqueue
            }
            Err(word) => self.wake_again(word, flag),
        }
    }

    #[cold]
    fn wake_again(&self, mut word: u32, flag: u32) -> Unpark {
        loop {
            if word & EXITED != 0 {
                return Unpark::Nothing;
            }
            // A permit that is already set is written again all the same: this waker's writes must reach the thread
            // too, and only a read-modify-write puts them in the chain that the thread acquires.
            match self.replace(word, if word & PARKED != 0 { flag } else { flag | PERMIT }) {
                Ok(_) if word & PARKED != 0 => {
                    note(self, Note::Runnable);
                    return Unpark::Enqueue;
                }
                Ok(_) => return Unpark::Nothing,
                Err(now) => word = now,
            }
        }
    }

    /// From `word` to not parked, with `flags`.
    #[inline(always)]
    fn replace(&self, word: u32, flags: u32) -> Result<u32, u32> {
        // Release: partners are `begin_park`, `cancel_park`, `commit_park_again` and `take_permit`, which take the permits (if it was
        // parked, the queue carries the waker's writes).
        // Acquire: partner is the release in `set_parked`: the saved context.
        self.word.compare_exchange(word, word & !PARKED | flags, Ordering::AcqRel, Ordering::Relaxed)
    }

    /// The thread is at its end; wake-ups pass it by from here on. Whether somebody had called [`kill`](Self::kill).
    #[inline]
    pub fn exit(&self) -> bool {
        self.word.fetch_or(EXITED, Ordering::Relaxed) & KILLED != 0
    }

    /// True once somebody called [`kill`](Self::kill).
    #[inline]
    pub fn is_killed(&self) -> bool {
        self.word.load(Ordering::Relaxed) & KILLED != 0
    }

    /// A glance at whether it stays as it is until somebody wakes it, stale as soon as it is taken unless nobody can get at the word.
    #[must_use]
    pub fn stillness(&self) -> Stillness {
        // Acquire: partner is the release in `set_parked`: of one that is parked, the context can be read.
        match (self.word.load(Ordering::Acquire), self.phase.load(Ordering::Relaxed)) {
            (word, _) if word & EXITED != 0 => Stillness::Ended,
            (word, _) if word & PARKED != 0 => Stillness::Parked,
            (_, HANDED) => Stillness::Handed,
            _ => Stillness::Moving,
        }
    }

    /// A glance at the state, stale as soon as it is taken unless the caller holds the thread.
    #[inline]
    pub fn state(&self) -> State {
        match (self.word.load(Ordering::Relaxed), self.phase.load(Ordering::Relaxed)) {
            (word, _) if word & EXITED != 0 => State::Exited,
            (word, _) if word & PARKED != 0 => State::Parked,
            (_, RUNNING) => State::Running,
            (_, PARKING) => State::Parking,
            (_, HANDED) => State::Parked,
            _ => State::Runnable,
        }
    }
}

impl Default for ThreadState {
    fn default() -> Self {
        Self::new()
    }
}
