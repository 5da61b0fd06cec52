//! The time of groups.

use super::{Mutant, Test, mutant};

const FILE: &str = "bandwidth.rs";

const fn test(name: &'static str) -> Test {
    Test { target: "loom_bandwidth", name }
}

const GIVEN_BACK: Test = test("what_is_given_back_reaches_who_waits");
const REFILL: Test = test("a_refill_leaves_nobody_behind");
const FETCH: Test = test("who_begins_brings_one_more");
const REST: Test = test("what_is_left_of_a_slice_is_taken_by_one");

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`set_aside` does not look whether there is something again",
        "if !state.is_out() {\n                return Aside::NotOut;",
        "if false {\n                return Aside::NotOut;",
        &[GIVEN_BACK, REFILL],
        "a thread waits beside a pool that was filled meanwhile",
    ),
    mutant(
        FILE,
        "`give_back` hands out nobody",
        "// One, and not all: one thread can use what one thread has left.\n            state.release(now)",
        "None",
        &[GIVEN_BACK],
        "a thread waits beside time that was given back",
    ),
    mutant(
        FILE,
        "`refill` hands out nobody",
        "for _ in 0..most {",
        "for _ in 0..most.min(0) {",
        &[REFILL],
        "a thread waits beside a fresh quota",
    ),
    mutant(
        FILE,
        "`fetch_one` hands out what has nothing to take",
        "if state.is_out() { None } else { state.release(now) }",
        "state.release(now)",
        &[FETCH],
        "a thread is brought back only to be set aside again, and takes somebody's turn",
    ),
    mutant(
        FILE,
        "a load and a store for the swap in `take`",
        "else { self.left.swap(0, Ordering::Relaxed) }",
        "else { let left = self.left.load(Ordering::Relaxed); self.left.store(0, Ordering::Relaxed); left }",
        &[REST],
        "what is left of a slice is spent twice, by its CPU and by a thief",
    ),
    mutant(
        FILE,
        "a load and a store for the addition in `leave`",
        "self.left.fetch_add(amount, Ordering::Relaxed);",
        "self.left.store(self.left.load(Ordering::Relaxed) + amount, Ordering::Relaxed);",
        &[REST],
        "what a thief has taken is there again",
    ),
];
