//! Parking against waking.

use super::{Mutant, Test, mutant};

const fn wake(name: &'static str) -> Test {
    Test { target: "loom_wake", name }
}

const SEES: Test = wake("park_sees_what_the_unparker_wrote");
const TWO: Test = wake("two_unparkers_never_lose_the_last_wake_up");
const AT_ONCE: Test = wake("a_parked_thread_belongs_to_its_waker_at_once");
const CANCELLED: Test = wake("a_park_that_is_cancelled_sees_what_the_unparker_wrote");
const SECOND: Test = wake("a_second_unpark_is_seen_through_the_same_permit");

const PERMIT: Test = wake("a_permit_shows_what_its_last_giver_wrote");

const FILE: &str = "thread_state.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`begin_park` takes the permit without acquire",
        "so nobody but itself can take the permit: it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Acquire);",
        "so nobody but itself can take the permit: it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Relaxed);",
        &[TWO],
        "what the waker wrote is not seen",
    ),
    mutant(
        FILE,
        "`cancel_park` takes the permit without acquire",
        "so it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Acquire);
            self.check(RUNNING);",
        "so it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Relaxed);
            self.check(RUNNING);",
        &[CANCELLED],
        "what the waker wrote is not seen",
    ),
    mutant(
        FILE,
        "`cancel_park` leaves the permit",
        "            self.word.fetch_and(!PERMIT, Ordering::Acquire);
            self.check(RUNNING);",
        "            self.word.fetch_and(!0, Ordering::Acquire);
            self.check(RUNNING);",
        &[CANCELLED],
        "one wake-up ends two parks",
    ),
    mutant(
        FILE,
        "`commit_park` takes the permit without acquire",
        "Only this side takes a permit.
                self.word.fetch_and(!PERMIT, Ordering::Acquire);",
        "Only this side takes a permit.
                self.word.fetch_and(!PERMIT, Ordering::Relaxed);",
        &[SEES],
        "what the waker wrote is not seen",
    ),
    mutant(
        FILE,
        "`commit_park` sets `PARKED` without release",
        "compare_exchange(word, word | PARKED, Ordering::Release, Ordering::Relaxed)",
        "compare_exchange(word, word | PARKED, Ordering::Relaxed, Ordering::Relaxed)",
        &[SEES, TWO],
        "a thread is run before its context is saved",
    ),
    mutant(
        FILE,
        "`wake` does not acquire",
        "compare_exchange(word, word & !PARKED | flags, Ordering::AcqRel, Ordering::Relaxed)",
        "compare_exchange(word, word & !PARKED | flags, Ordering::Release, Ordering::Relaxed)",
        &[SEES, TWO],
        "a thread is run before its context is saved",
    ),
    mutant(
        FILE,
        "`wake` does not release",
        "compare_exchange(word, word & !PARKED | flags, Ordering::AcqRel, Ordering::Relaxed)",
        "compare_exchange(word, word & !PARKED | flags, Ordering::Acquire, Ordering::Relaxed)",
        &[SEES, TWO, SECOND],
        "what the waker wrote is not seen",
    ),
    mutant(
        FILE,
        "`wake` returns at once when the permit is set",
        "            // A permit that is already set is written again",
        "            if word & PERMIT != 0 {
                return Unpark::Nothing;
            }
            // A permit that is already set is written again",
        &[SECOND],
        "the second waker's writes are not seen, and its wake-up is used up",
    ),
    mutant(
        FILE,
        "`commit_park` parks without a look at the permit",
        "            if word & PERMIT != 0 {
                // Acquire: partner is the compare-and-swap in `replace`. Only",
        "            if false {
                // Acquire: partner is the compare-and-swap in `replace`. Only",
        &[SEES],
        "a wake-up that came while the context was being saved is lost",
    )
    .quick(),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `commit_park`",
        "self.word.compare_exchange(word, word | PARKED, Ordering::Release, Ordering::Relaxed)",
        "{ let now = self.word.load(Ordering::Relaxed); if now == word { self.word.store(word | PARKED, Ordering::Release); Ok(word) } else { Err(now) } }",
        &[SEES],
        "a wake-up in between is overwritten",
    ),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `wake`",
        "self.word.compare_exchange(word, word & !PARKED | flags, Ordering::AcqRel, Ordering::Relaxed)",
        "{ let now = self.word.load(Ordering::Acquire); if now == word { self.word.store(word & !PARKED | flags, Ordering::Release); Ok(word) } else { Err(now) } }",
        &[SEES, TWO],
        "a thread that parks meanwhile is neither parked nor queued, or queued twice",
    ),
    mutant(
        FILE,
        "a load and a store for the read-modify-write in `begin_park`",
        "so nobody but itself can take the permit: it is still there.
            self.word.fetch_and(!PERMIT, Ordering::Acquire);",
        "so nobody but itself can take the permit: it is still there.
            let word = self.word.load(Ordering::Acquire);
            self.word.store(word & !PERMIT, Ordering::Relaxed);",
        &[SECOND],
        "a second wake-up in between is lost",
    ),
    mutant(
        FILE,
        "`commit_park` writes the phase after it has parked",
        "            Ok(_) => CommitPark::Parked,",
        "            Ok(_) => { self.check(RUNNABLE); CommitPark::Parked }",
        &[AT_ONCE],
        "the phase of a thread that another CPU runs already is overwritten",
    ),
    mutant(
        FILE,
        "`take_permit` does not acquire",
        "self.word.fetch_and(!(UNPARKED | PERMIT), Ordering::Acquire)",
        "self.word.fetch_and(!(UNPARKED | PERMIT), Ordering::Relaxed)",
        &[PERMIT],
        "what the giver wrote is not seen",
    ),
    mutant(
        FILE,
        "a load and a store for the read-modify-write in `take_permit`",
        "self.word.load(Ordering::Relaxed) & UNPARKED != 0
            && self.word.fetch_and(!(UNPARKED | PERMIT), Ordering::Acquire) & UNPARKED != 0",
        "{ let word = self.word.load(Ordering::Acquire); if word & UNPARKED != 0 { self.word.store(word & !(UNPARKED | PERMIT), Ordering::Relaxed); } word & UNPARKED != 0 }",
        &[PERMIT],
        "a permit given in between is used up, and what its giver wrote is not seen",
    ),
];
