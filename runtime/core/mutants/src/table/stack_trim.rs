//! Trimming: what a thread that is woken meanwhile writes is not lost, and nobody looks at a thread that is gone.

use super::{Mutant, Test, mutant};

const WORD: &str = "page_word.rs";
const OWNER: &str = "stack_owner.rs";
const ROLL: &str = "roll.rs";
const STATE: &str = "thread_state.rs";

const fn trim(name: &'static str) -> Test {
    Test { target: "loom_stack_trim", name }
}

const KEPT: &[Test] =
    &[trim("what_a_woken_thread_writes_is_kept"), trim("who_begins_on_a_stack_that_is_trimmed_keeps_what_it_writes")];
const ALIVE: &[Test] = &[trim("who_looks_at_a_thread_sees_it_alive")];
const SAVED: &[Test] = &[trim("what_is_read_of_a_parked_thread_is_what_it_saved")];
const WHOLE: &[Test] = &[trim("who_goes_through_a_roll_sees_whole_nodes")];

pub const MUTANTS: &[Mutant] = &[
    mutant(
        WORD,
        "a store for the compare-and-swap in `discard`",
        "self.replace(frame | SHUT, gone, Ordering::Relaxed)",
        "self.0.store(gone, Ordering::Relaxed);
        frame | SHUT != 0",
        KEPT,
        "a page that was opened meanwhile is taken from who writes to it",
    ),
    mutant(
        OWNER,
        "`take` does not release",
        "self.0.compare_exchange(0, owner, Ordering::Release, Ordering::Relaxed)",
        "self.0.compare_exchange(0, owner, Ordering::Relaxed, Ordering::Relaxed)",
        ALIVE,
        "a thread is looked at before it was made",
    ),
    mutant(
        OWNER,
        "`look` does not acquire",
        "self.0.compare_exchange(word, word | LOOKED, Ordering::Acquire, Ordering::Relaxed)",
        "self.0.compare_exchange(word, word | LOOKED, Ordering::Relaxed, Ordering::Relaxed)",
        ALIVE,
        "a thread is looked at before it was made",
    ),
    mutant(
        OWNER,
        "`leave` does not acquire",
        "self.0.compare_exchange(word, next(word), Ordering::Acquire, Ordering::Relaxed)",
        "self.0.compare_exchange(word, next(word), Ordering::Relaxed, Ordering::Relaxed)",
        ALIVE,
        "a thread is freed before the look at it is over",
    ),
    mutant(
        OWNER,
        "`looked` does not release",
        "self.0.fetch_and(!LOOKED, Ordering::Release)",
        "self.0.fetch_and(!LOOKED, Ordering::Relaxed)",
        ALIVE,
        "a thread is freed before the look at it is over",
    ),
    mutant(
        OWNER,
        "`leave` does not wait for who looks",
        "let word = self.0.load(Ordering::Relaxed) & !LOOKED;",
        "let word = self.0.load(Ordering::Relaxed);",
        ALIVE,
        "a thread is freed while somebody looks at it",
    ),
    mutant(
        STATE,
        "`stillness` does not acquire",
        "match (self.word.load(Ordering::Acquire), self.phase.load(Ordering::Relaxed)) {",
        "match (self.word.load(Ordering::Relaxed), self.phase.load(Ordering::Relaxed)) {",
        SAVED,
        "a stack pointer is taken for that of a thread that waits, which was saved before",
    ),
    mutant(
        ROLL,
        "`enter` does not release",
        "compare_exchange_weak(newest, node.as_ptr(), Ordering::Release, Ordering::Relaxed)",
        "compare_exchange_weak(newest, node.as_ptr(), Ordering::Relaxed, Ordering::Relaxed)",
        WHOLE,
        "a node is seen before what is in it",
    ),
    mutant(
        ROLL,
        "`iter` does not acquire",
        "let mut at = self.newest.load(Ordering::Acquire);",
        "let mut at = self.newest.load(Ordering::Relaxed);",
        WHOLE,
        "a node is seen before what is in it",
    ),
    mutant(
        ROLL,
        "a store for the compare-and-swap in `enter`",
        "match self.newest.compare_exchange_weak(newest, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {",
        "match { self.newest.store(node.as_ptr(), Ordering::Release); Ok::<*mut T, *mut T>(newest) } {",
        WHOLE,
        "of two nodes that are added at once, one is lost",
    ),
];
