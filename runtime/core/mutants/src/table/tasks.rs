//! Tasks: woken, polled, joined, freed.

use super::{Mutant, Test, mutant};

const fn task(name: &'static str) -> Test {
    Test { target: "loom_task", name }
}

const POLL: Test = task("a_wake_up_during_a_poll_is_not_lost");
const BOTH: Test = task("two_wakers_are_both_seen");
const GIVEN: Test = task("a_waker_gives_its_reference_to_the_queue");
const JOINER: Test = task("the_joiner_is_woken_or_sees_the_end");
const RESULT: Test = task("one_side_drops_the_result");
const LAST: Test = task("a_task_that_nobody_can_wake_is_dropped_once");
const ABORT: Test = task("an_abort_ends_a_task_once");
const NOTICE: Test = task("a_notice_shows_what_its_last_giver_wrote");

const FILE: &str = "task_state.rs";
const SECOND: &str = "notice.rs";

const UNSEEN: &str = "what the waker wrote is not seen, and its wake-up is used up";
const TWICE: &str = "a poll does not see what the one before wrote";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`schedule` does not release",
        "fetch_or(SCHEDULED | flags, Ordering::Release)",
        "fetch_or(SCHEDULED | flags, Ordering::Relaxed)",
        &[POLL, BOTH],
        UNSEEN,
    ),
    mutant(
        FILE,
        "`begin` does not acquire",
        "fetch_sub(SCHEDULED - RUNNING, Ordering::Acquire)",
        "fetch_sub(SCHEDULED - RUNNING, Ordering::Relaxed)",
        &[POLL, BOTH],
        TWICE,
    ),
    mutant(
        FILE,
        "`end_poll` does not release",
        "compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed)",
        "compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)",
        &[POLL, BOTH],
        TWICE,
    ),
    mutant(
        FILE,
        "`complete` does not release",
        "fetch_xor(RUNNING | DONE, Ordering::AcqRel)",
        "fetch_xor(RUNNING | DONE, Ordering::Acquire)",
        &[JOINER, RESULT],
        "the handle does not see the result",
    ),
    mutant(
        FILE,
        "`complete` does not acquire",
        "fetch_xor(RUNNING | DONE, Ordering::AcqRel)",
        "fetch_xor(RUNNING | DONE, Ordering::Release)",
        &[JOINER],
        "the joiner is not seen",
    ),
    mutant(
        FILE,
        "`is_done` does not acquire",
        "self.word.load(Ordering::Acquire) & DONE != 0
    }

    /// Leaves",
        "self.word.load(Ordering::Relaxed) & DONE != 0
    }

    /// Leaves",
        &[task("who_sees_that_a_task_is_done_sees_its_result")],
        "the handle does not see the result",
    ),
    mutant(
        FILE,
        "`change_joiner` does not acquire by its load",
        "let mut word = self.word.load(Ordering::Acquire);",
        "let mut word = self.word.load(Ordering::Relaxed);",
        &[JOINER, RESULT],
        "the handle does not see the result",
    ),
    mutant(
        FILE,
        "`change_joiner` does not release",
        "compare_exchange_weak(word, change(word), Ordering::Release, Ordering::Acquire)",
        "compare_exchange_weak(word, change(word), Ordering::Relaxed, Ordering::Acquire)",
        &[JOINER],
        "the joiner is not seen",
    ),
    mutant(
        FILE,
        "`change_joiner` does not acquire when it fails",
        "word, change(word), Ordering::Release, Ordering::Acquire)",
        "word, change(word), Ordering::Release, Ordering::Relaxed)",
        &[JOINER, RESULT],
        "the handle does not see the result",
    ),
    mutant(
        FILE,
        "`release` does not release",
        "fetch_sub(REFERENCE, Ordering::Release)",
        "fetch_sub(REFERENCE, Ordering::Relaxed)",
        &[GIVEN, LAST],
        "a task is freed while another CPU still looks at it",
    ),
    mutant(
        FILE,
        "`release` does not acquire",
        "if self.word.load(Ordering::Acquire) & DONE != 0 {
            return Release::Free;",
        "if self.word.load(Ordering::Relaxed) & DONE != 0 {
            return Release::Free;",
        &[GIVEN, LAST],
        "a task is freed while another CPU still looks at it",
    ),
    mutant(
        FILE,
        "`schedule` writes nothing when it is scheduled already",
        "        // Release: partner is `begin`: the poll that follows",
        "        if self.word.load(Ordering::Relaxed) & SCHEDULED != 0 {
            return false;
        }
        // Release: partner is `begin`: the poll that follows",
        &[BOTH],
        UNSEEN,
    ),
    mutant(
        FILE,
        "`end_poll` does not look whether it was woken meanwhile",
        "let (next, end) = if word & SCHEDULED != 0 {",
        "let (next, end) = if false {",
        &[POLL],
        "a wake-up during the poll is lost",
    ),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `end_poll`",
        "match self.word.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {",
        "match { let now = self.word.load(Ordering::Relaxed); if now == word { self.word.store(next, Ordering::Release); Ok(word) } else { Err(now) } } {",
        &[POLL, BOTH],
        "a wake-up in between is overwritten",
    ),
    mutant(
        FILE,
        "`end_poll` does not look for the last reference",
        "} else if word / REFERENCE == 1 {",
        "} else if false {",
        &[LAST],
        "the last reference goes, and the task is neither dropped nor freed",
    ),
    mutant(
        FILE,
        "`release` leaves a future that is not done",
        "self.word.store(SCHEDULED | ABORTED | REFERENCE, Ordering::Relaxed);
        Release::Enqueue",
        "Release::Nothing",
        &[LAST],
        "a future that nobody can wake is never dropped",
    ),
    mutant(
        FILE,
        "`wake` counts no reference",
        "        let enqueue = self.schedule(0);
        if enqueue {",
        "        let enqueue = self.schedule(0);
        if false {",
        &[POLL],
        "a task is freed while it is in a queue",
    ),
    mutant(
        FILE,
        "`register` leaves the cell with the completer while it writes",
        "self.change_joiner(|word| word & !JOINER)?;",
        "self.change_joiner(|word| word)?;",
        &[JOINER],
        "the completer takes a joiner that is being written",
    ),
    mutant(
        FILE,
        "`abort` does not say so",
        "self.schedule(ABORTED)",
        "self.schedule(0)",
        &[ABORT],
        "an abort is a wake-up like others",
    ),
    mutant(
        SECOND,
        "`give` does not release",
        "swap(1, Ordering::Release)",
        "swap(1, Ordering::Relaxed)",
        &[NOTICE],
        "what the giver wrote is not seen",
    ),
    mutant(
        SECOND,
        "`take` does not acquire",
        "swap(0, Ordering::Acquire)",
        "swap(0, Ordering::Relaxed)",
        &[NOTICE],
        "what the giver wrote is not seen",
    ),
    mutant(
        SECOND,
        "`give` writes nothing when it is given",
        "        // Release: partner is the swap in `take`, also",
        "        if self.given.load(Ordering::Relaxed) == 1 {
            return false;
        }
        // Release: partner is the swap in `take`, also",
        &[NOTICE],
        "what the second giver wrote is not seen, and its notice is used up",
    ),
];
