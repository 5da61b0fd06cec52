//! One completes, one waits or goes away; and who is the last to hold a thread.

use super::{Mutant, Test, mutant};

const CELL: &str = "completion.rs";
const COUNT: &str = "references.rs";

const fn ends(name: &'static str) -> Test {
    Test { target: "loom_ends", name }
}

const ONCE: &[Test] = &[ends("the_joiner_is_woken_once_or_sees_the_end")];
const ABANDONED: &[Test] = &[ends("an_abandoned_result_is_disposed_of_once")];
const USES: &[Test] = &[ends("the_last_reference_sees_all_uses")];
const ALONE: &[Test] = &[ends("the_last_reference_is_alone")];

const RESULT: &str = "the joiner does not see the result";
const EARLIER: &str = "what is counted is freed before it is used for the last time";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        CELL,
        "`complete` does not release",
        "compare_exchange(word, Self::DONE, Ordering::Release, Ordering::Relaxed)",
        "compare_exchange(word, Self::DONE, Ordering::Relaxed, Ordering::Relaxed)",
        ONCE,
        RESULT,
    ),
    mutant(
        CELL,
        "`take_waiter` does not acquire",
        "compare_exchange(word, Self::ENDING, Ordering::Acquire, Ordering::Relaxed)",
        "compare_exchange(word, Self::ENDING, Ordering::Relaxed, Ordering::Relaxed)",
        ONCE,
        "the waiter's own words are not seen with its address",
    ),
    mutant(
        CELL,
        "`take_waiter` says that it is done before the waiter is woken",
        "compare_exchange(word, Self::ENDING, Ordering::Acquire, Ordering::Relaxed)",
        "compare_exchange(word, Self::DONE, Ordering::AcqRel, Ordering::Relaxed)",
        ONCE,
        "the waiter goes before it is woken",
    ),
    mutant(
        CELL,
        "`finish` does not release",
        "self.word.store(Self::DONE, Ordering::Release)",
        "self.word.store(Self::DONE, Ordering::Relaxed)",
        ONCE,
        RESULT,
    ),
    mutant(
        CELL,
        "a store for the compare-and-swap in `complete`",
        "match self.word.compare_exchange(word, Self::DONE, Ordering::Release, Ordering::Relaxed) {",
        "self.word.store(Self::DONE, Ordering::Release);
                match Ok::<_, *mut W>(word) {",
        ONCE,
        "a waiter that comes in between is never woken",
    ),
    mutant(
        CELL,
        "`register` does not release",
        "waiter.as_ptr(), Ordering::Release, Ordering::Acquire",
        "waiter.as_ptr(), Ordering::Relaxed, Ordering::Acquire",
        ONCE,
        "the waiter's own words are not seen with its address",
    ),
    mutant(
        CELL,
        "`register` does not acquire when it fails",
        "Ordering::Acquire) {\n            Ok(_) => Ok(Registered)",
        "Ordering::Relaxed) {\n            Ok(_) => Ok(Registered)",
        ONCE,
        RESULT,
    ),
    mutant(
        CELL,
        "`is_done` does not acquire",
        "self.word.load(Ordering::Acquire) == Self::DONE",
        "self.word.load(Ordering::Relaxed) == Self::DONE",
        ONCE,
        RESULT,
    ),
    mutant(
        CELL,
        "`unregister` takes back what it does not find",
        "self.word.compare_exchange(waiter.as_ptr(), Self::EMPTY, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        "{ let there = self.word.load(Ordering::Acquire) == waiter.as_ptr(); self.word.store(Self::EMPTY, Ordering::Relaxed); there }",
        ONCE,
        "what is done is not done any more",
    ),
    mutant(
        CELL,
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
    mutant(
        CELL,
        "`abandon` does not acquire when it fails",
        "Self::ABANDONED, Ordering::Relaxed, Ordering::Acquire",
        "Self::ABANDONED, Ordering::Relaxed, Ordering::Relaxed",
        ABANDONED,
        "the handle disposes of a result that it does not see",
    ),
    mutant(
        CELL,
        "a load and a store for the compare-and-swap in `abandon`",
        "self.word.compare_exchange(Self::EMPTY, Self::ABANDONED, Ordering::Relaxed, Ordering::Acquire).is_err()",
        "{ let done = self.word.load(Ordering::Acquire) == Self::DONE; if !done { self.word.store(Self::ABANDONED, Ordering::Relaxed); } done }",
        ABANDONED,
        "nobody disposes of the result",
    ),
    mutant(
        COUNT,
        "who gives back does not release",
        "fetch_sub(count, Ordering::Release)",
        "fetch_sub(count, Ordering::Relaxed)",
        USES,
        EARLIER,
    ),
    mutant(
        COUNT,
        "who finds itself the last does not acquire",
        "self.count.load(Ordering::Acquire) == count",
        "self.count.load(Ordering::Relaxed) == count",
        USES,
        EARLIER,
    ),
    mutant(
        COUNT,
        "who becomes the last does not acquire",
        "fence(Ordering::Acquire);\n        true",
        "true",
        ALONE,
        EARLIER,
    ),
    mutant(
        COUNT,
        "a load and a store for the subtraction",
        "if self.count.fetch_sub(count, Ordering::Release) != count {",
        "let before = self.count.load(Ordering::Relaxed);
        self.count.store(before - count, Ordering::Release);
        if before != count {",
        ALONE,
        "both leave as the first, and nobody frees",
    ),
    mutant(
        COUNT,
        "who finds one other takes itself for the last",
        "self.count.load(Ordering::Acquire) == count",
        "self.count.load(Ordering::Acquire) <= 2 * count",
        ALONE,
        "what is counted is freed twice",
    ),
];
