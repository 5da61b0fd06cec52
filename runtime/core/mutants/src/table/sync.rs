//! Semaphore, gate, condition variable, once.

use super::{Mutant, Test, mutant};

const fn sync(name: &'static str) -> Test {
    Test { target: "loom_sync", name }
}

const UNITS: Test = sync("units_exclude_and_publish");
const GIVES_UP: Test = sync("who_gives_up_holds_nobody_up");
const BARRIER: Test = sync("a_barrier_opens_for_all_at_once");
const WITHDRAWAL: Test = sync("a_withdrawal_and_the_last_arrival_exclude_each_other");
const NOTIFICATION: Test = sync("a_notification_is_not_lost");
const ONCE: Test = sync("once_is_done_once_and_seen_whole");
const GLANCE: Test = sync("a_glance_at_once_sees_what_was_done");
const TURN: Test = sync("a_turn_that_is_given_up_is_handed_on");
const ONCE_ORPHAN: Test = sync("an_orphaned_once_is_handed_on");
const ONCE_LATE: Test = sync("an_orphaned_once_is_handed_on_once");

const SEMAPHORE: &str = "semaphore.rs";
const GATE: &str = "gate.rs";
const NOTIFY: &str = "notify.rs";
const RAW_ONCE: &str = "raw_once.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        SEMAPHORE,
        "`release` gives to nobody",
        "            inner.free = free;
            Ok(inner.grant())",
        "            inner.free = free;
            Ok(None)",
        &[UNITS],
        "who waits for units that are free waits for ever",
    ),
    mutant(
        SEMAPHORE,
        "`grant` forgets to take the units",
        "                self.free -= units;
                return Some(claim.publish());",
        "                return Some(claim.publish());",
        &[UNITS],
        "the same units are given twice",
    ),
    mutant(
        SEMAPHORE,
        "`forget` does not look at those behind",
        "            unsafe { inner.waiters.remove(node) };
            inner.grant()",
        "            unsafe { inner.waiters.remove(node) };
            None",
        &[GIVES_UP],
        "who was held up by the one that left waits for ever",
    ),
    mutant(
        GATE,
        "`open` stays in its generation",
        "self.generation = self.generation.wrapping_add(1);",
        "",
        &[BARRIER],
        "nobody is told from those who come for the next opening",
    ),
    mutant(
        GATE,
        "`pop` takes whoever is first",
        "while *self.waiters.first_payload()? != self.generation {",
        "while self.waiters.first_payload().is_some() {",
        &[BARRIER],
        "who waits for the next opening is let through by this one",
    ),
    mutant(
        GATE,
        "`withdraw` takes back an arrival that counted",
        "inner.count += u32::from(in_time);",
        "inner.count += 1;",
        &[WITHDRAWAL],
        "the next opening waits for one too many",
    ),
    mutant(
        NOTIFY,
        "`one_before` takes nobody",
        "while *inner.waiters.first_payload()? < mark {",
        "while *inner.waiters.first_payload()? + 1 < mark {",
        &[NOTIFICATION],
        "who waits for a condition that has come waits for ever",
    ),
    mutant(
        RAW_ONCE,
        "`is_done` does not acquire",
        "self.word.load(Ordering::Acquire) == DONE",
        "self.word.load(Ordering::Relaxed) == DONE",
        &[GLANCE],
        "what was done is not seen whole",
    ),
    mutant(
        RAW_ONCE,
        "`finish` does not release",
        "self.word.store(DONE, Ordering::Release)",
        "self.word.store(DONE, Ordering::Relaxed)",
        &[GLANCE],
        "what was done is not seen whole",
    ),
    mutant(
        RAW_ONCE,
        "`begin` does not say that it has begun",
        "self.word.store(owner, Ordering::Relaxed);",
        "let _ = core::hint::black_box(owner);",
        &[ONCE],
        "two do it",
    ),
    mutant(
        RAW_ONCE,
        "`hand_over` frees the turn that it hands on",
        "next.as_ref().map_or(NEW, |(owner, _)| *owner)",
        "next.as_ref().map_or(NEW, |(owner, _)| core::hint::black_box(*owner) & NEW)",
        &[TURN],
        "who is woken and who comes both do it; and who is killed once woken leaves it to nobody",
    ),
    mutant(
        RAW_ONCE,
        "`orphan` does not say that one has died",
        "inner.orphaned = true;",
        "",
        &[ONCE_ORPHAN],
        "who does it next takes what is half done for nothing done",
    ),
    mutant(
        RAW_ONCE,
        "`orphan` hands on what is another's",
        "if self.runner() != Some(dying) {",
        "if self.runner().is_none() {",
        &[ONCE_LATE],
        "of one that dies later than it was found dead the next one's turn is taken, and two do it",
    ),
];
