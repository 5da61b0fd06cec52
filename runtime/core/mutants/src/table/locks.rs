//! The spin lock, the mutex's lock, and the last of two.

use super::{Mutant, Test, mutant};

const fn mutex(name: &'static str) -> Test {
    Test { target: "loom_mutex", name }
}

const EXCLUDES: Test = mutex("mutex_excludes_and_publishes");
const FREE: Test = mutex("mutex_is_free_at_the_end_whoever_waited");
const LEFT: Test = mutex("a_mutex_whose_waiter_has_left_is_free");
const LAST: Test = mutex("the_last_of_two_sees_what_the_first_wrote");
const SPIN: Test = Test { target: "loom_wait", name: "spin_lock_excludes_and_publishes" };

const BARGING: Test = mutex("a_barging_mutex_whose_waiter_has_left_is_free");

const SPINLOCK: &str = "spinlock.rs";
const MUTEX: &str = "raw_mutex.rs";
const TWO: &str = "last_of_two.rs";

const UNSEEN: &str = "what the lock guards is read before it has been written";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        SPINLOCK,
        "`take` does not acquire",
        "(0, 1, Ordering::Acquire, Ordering::Relaxed)",
        "(0, 1, Ordering::Relaxed, Ordering::Relaxed)",
        &[SPIN],
        UNSEEN,
    ),
    mutant(
        SPINLOCK,
        "the drop does not release",
        "store(0, Ordering::Release)",
        "store(0, Ordering::Relaxed)",
        &[SPIN],
        UNSEEN,
    ),
    mutant(
        SPINLOCK,
        "a load and a store for the compare-and-swap in `take`",
        "self.locked.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()",
        "{ let free = self.locked.load(Ordering::Acquire) == 0; if free { self.locked.store(1, Ordering::Relaxed); } free }",
        &[SPIN],
        "two hold the lock",
    ),
    mutant(
        MUTEX,
        "`try_lock` does not acquire",
        "compare_exchange(FREE, owner, Ordering::Acquire, Ordering::Relaxed)",
        "compare_exchange(FREE, owner, Ordering::Relaxed, Ordering::Relaxed)",
        &[EXCLUDES],
        UNSEEN,
    ),
    mutant(
        MUTEX,
        "`try_unlock` does not release",
        "compare_exchange(owner, FREE, Ordering::Release, Ordering::Relaxed)",
        "compare_exchange(owner, FREE, Ordering::Relaxed, Ordering::Relaxed)",
        &[EXCLUDES],
        UNSEEN,
    ),
    mutant(
        MUTEX,
        "`lock_or_wait` does not acquire",
        "self.word.compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed)",
        "self.word.compare_exchange(word, new, Ordering::Relaxed, Ordering::Relaxed)",
        &[EXCLUDES],
        UNSEEN,
    ),
    mutant(
        MUTEX,
        "`unlock_slow` frees without release",
        "self.word.store(FREE, Ordering::Release);",
        "self.word.store(FREE, Ordering::Relaxed);",
        &[LEFT],
        UNSEEN,
    ),
    mutant(
        MUTEX,
        "`free_slow` frees without release",
        "self.word.store(FREE | mark, Ordering::Release);",
        "self.word.store(FREE | mark, Ordering::Relaxed);",
        &[BARGING],
        UNSEEN,
    ),
    mutant(
        MUTEX,
        "a load and a store for the compare-and-swap in `try_lock`",
        "self.word.compare_exchange(FREE, owner, Ordering::Acquire, Ordering::Relaxed).is_ok()",
        "{ let free = self.word.load(Ordering::Acquire) == FREE; if free { self.word.store(owner, Ordering::Relaxed); } free }",
        &[EXCLUDES],
        "two hold the lock",
    ),
    mutant(
        MUTEX,
        "a load and a store for the compare-and-swap in `try_unlock`",
        "self.word.compare_exchange(owner, FREE, Ordering::Release, Ordering::Relaxed).is_ok()",
        "{ let alone = self.word.load(Ordering::Relaxed) == owner; if alone { self.word.store(FREE, Ordering::Release); } alone }",
        &[EXCLUDES],
        "who has begun to wait in between waits for ever",
    ),
    mutant(
        MUTEX,
        "`lock_or_wait` does not say that somebody waits",
        "if free { owner | word } else { word | CONTENDED }",
        "if free { owner | word } else { word }",
        &[EXCLUDES],
        "the holder frees the lock and wakes nobody",
    ),
    mutant(
        MUTEX,
        "`unlock_slow` forgets that more wait",
        "if waiters.is_empty() { 0 } else { CONTENDED }",
        "0",
        &[FREE],
        "the next holder frees the lock and wakes nobody",
    ),
    mutant(
        MUTEX,
        "`unlock_slow` frees the lock that it hands over",
        "self.word.store(claim.payload().owner | mark, Ordering::Relaxed);",
        "self.word.store(core::hint::black_box(mark) & FREE, Ordering::Relaxed);",
        &[EXCLUDES],
        "two hold the lock",
    ),
    mutant(
        TWO,
        "`leave` does not release",
        "swap(1, Ordering::AcqRel)",
        "swap(1, Ordering::Acquire)",
        &[LAST],
        "the last one does not see what the first one wrote",
    ),
    mutant(
        TWO,
        "`leave` does not acquire",
        "swap(1, Ordering::AcqRel)",
        "swap(1, Ordering::Release)",
        &[LAST],
        "the last one does not see what the first one wrote",
    ),
    mutant(
        TWO,
        "a load and a store for the swap in `leave`",
        "self.left.swap(1, Ordering::AcqRel) == 1",
        "{ let gone = self.left.load(Ordering::Acquire) == 1; self.left.store(1, Ordering::Release); gone }",
        &[LAST],
        "both leave as the first, and nobody disposes",
    ),
];
