//! The reader-writer lock.

use super::{Mutant, Test, mutant};

const fn rwlock(name: &'static str) -> Test {
    Test { target: "loom_rwlock", name }
}

const EXCLUDES: Test = rwlock("a_writer_excludes_and_publishes");
const GIVES_UP: Test = rwlock("a_writer_that_gives_up_holds_nobody_up");
const WRITER_DIES: Test = rwlock("a_lock_that_a_writer_died_with_passes_on");
const READER_DIES: Test = rwlock("a_lock_that_a_reader_died_with_passes_on");
const FOUND_DEAD: Test = rwlock("who_dies_and_who_finds_it_dead_hand_the_lock_on_once");
const DOWNGRADE: Test = rwlock("a_downgrade_lets_readers_in_and_no_writer");

const FILE: &str = "raw_rwlock.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "a writer enters beside readers",
        "if want.write { self.holders == 0 }",
        "if want.write { self.holders != WRITER }",
        &[EXCLUDES, READER_DIES],
        "somebody writes while another reads",
    ),
    mutant(
        FILE,
        "a reader enters beside a writer",
        "{ self.holders < WRITER - 1 }",
        "{ self.holders != WRITER - 1 }",
        &[EXCLUDES],
        "somebody writes while another reads",
    ),
    mutant(
        FILE,
        "`try_unlock` does not look who waits",
        "let alone = inner.waiters.is_empty();",
        "let alone = true;",
        &[EXCLUDES],
        "who has begun to wait in between waits for ever",
    ),
    mutant(
        FILE,
        "`unlock` lets nobody in",
        "            inner.leave(owner);
            inner.grant()",
        "            inner.leave(owner);
            Granted::new()",
        &[EXCLUDES],
        "who waits for a lock that is free waits for ever",
    ),
    mutant(
        FILE,
        "`grant` does not say that it is taken",
        "                self.enter(want);
                granted.push(claim);",
        "                granted.push(claim);",
        &[EXCLUDES],
        "two write at once",
    ),
    mutant(
        FILE,
        "`forget` does not look at those behind",
        "            unsafe { inner.waiters.remove(node) };
            inner.grant()",
        "            unsafe { inner.waiters.remove(node) };
            Granted::new()",
        &[GIVES_UP],
        "who was held up by the one that left waits for ever",
    ),
    mutant(
        FILE,
        "`downgrade` lets nobody in",
        "            inner.holders = 1;
            inner.grant()",
        "            inner.holders = 1;
            Granted::new()",
        &[DOWNGRADE],
        "a reader waits beside readers",
    ),
    mutant(
        FILE,
        "`downgrade` frees the lock",
        "inner.holders = 1;",
        "inner.holders = 0;",
        &[DOWNGRADE],
        "somebody writes while another reads",
    ),
    mutant(
        FILE,
        "`orphan` leaves what is held twice",
        "while dying != NOBODY && inner.known.contains(&dying) {",
        "if dying != NOBODY && inner.known.contains(&dying) {",
        &[READER_DIES],
        "a writer waits for a dead reader for ever",
    ),
    mutant(
        FILE,
        "`orphan` does not say that one has died",
        "inner.orphaned |= inner.holders == WRITER;",
        "",
        &[WRITER_DIES],
        "what is half changed is taken for whole",
    ),
    mutant(
        FILE,
        "`orphan` lets nobody in",
        "                inner.leave(dying);
            }
            inner.grant()",
        "                inner.leave(dying);
            }
            Granted::new()",
        &[WRITER_DIES],
        "who waits for a dead holder waits for ever",
    ),
    mutant(
        FILE,
        "`orphan` takes the lock from whoever has it",
        "while dying != NOBODY && inner.known.contains(&dying) {
                inner.orphaned |= inner.holders == WRITER;",
        "if dying != NOBODY && inner.holders > 0 {
                inner.orphaned |= inner.holders == WRITER;",
        &[FOUND_DEAD],
        "the next holder has it no more, although it lives",
    ),
];
