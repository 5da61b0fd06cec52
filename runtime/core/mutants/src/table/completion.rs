//! One completes, one waits.

use super::{Mutant, Test, mutant};

const FILE: &str = "completion.rs";
const ONCE: &[Test] = &[Test { target: "loom_wake", name: "completion_wakes_the_joiner_once_or_is_seen_done" }];

const RESULT: &str = "the joiner does not see the result";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`complete` does not release",
        "swap(Self::DONE, Ordering::AcqRel)",
        "swap(Self::DONE, Ordering::Acquire)",
        ONCE,
        RESULT,
    ),
    mutant(
        FILE,
        "`complete` does not acquire",
        "swap(Self::DONE, Ordering::AcqRel)",
        "swap(Self::DONE, Ordering::Release)",
        ONCE,
        "the waiter's own words are not seen with its address",
    ),
    mutant(
        FILE,
        "`register` does not release",
        "waiter.as_ptr(), Ordering::Release, Ordering::Acquire",
        "waiter.as_ptr(), Ordering::Relaxed, Ordering::Acquire",
        ONCE,
        "the waiter's own words are not seen with its address",
    ),
    mutant(
        FILE,
        "`register` does not acquire when it fails",
        "Ordering::Acquire) {\n            Ok(_) => Ok(Registered)",
        "Ordering::Relaxed) {\n            Ok(_) => Ok(Registered)",
        ONCE,
        RESULT,
    ),
    mutant(
        FILE,
        "`unregister` does not acquire when it fails",
        "Self::EMPTY, Ordering::Relaxed, Ordering::Acquire",
        "Self::EMPTY, Ordering::Relaxed, Ordering::Relaxed",
        ONCE,
        RESULT,
    ),
    mutant(
        FILE,
        "`is_done` does not acquire",
        "self.word.load(Ordering::Acquire) == Self::DONE",
        "self.word.load(Ordering::Relaxed) == Self::DONE",
        ONCE,
        RESULT,
    ),
    mutant(
        FILE,
        "a load and a store for the swap in `complete`",
        "let before = self.word.swap(Self::DONE, Ordering::AcqRel);",
        "let before = self.word.load(Ordering::Acquire);
        self.word.store(Self::DONE, Ordering::Release);",
        ONCE,
        "a waiter that comes in between is never woken",
    ),
    mutant(
        FILE,
        "`unregister` takes back what it does not find",
        "self.word.compare_exchange(waiter.as_ptr(), Self::EMPTY, Ordering::Relaxed, Ordering::Acquire).is_ok()",
        "{ let there = self.word.load(Ordering::Acquire) == waiter.as_ptr(); self.word.store(Self::EMPTY, Ordering::Relaxed); there }",
        ONCE,
        "what is done is not done any more",
    ),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `register`",
        "match self.word.compare_exchange(Self::EMPTY, waiter.as_ptr(), Ordering::Release, Ordering::Acquire) {",
        "let word = self.word.load(Ordering::Acquire);
        if word == Self::EMPTY {
            self.word.store(waiter.as_ptr(), Ordering::Release);
        }
        match if word == Self::EMPTY { Ok(word) } else { Err(word) } {",
        ONCE,
        "a completion in between is overwritten",
    ),
];
