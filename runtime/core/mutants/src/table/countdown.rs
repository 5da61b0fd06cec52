//! One waits for a number of others.

use super::{Mutant, Test, mutant};

const FILE: &str = "countdown.rs";
const ALL: &[Test] = &[Test { target: "loom_countdown", name: "who_waits_sees_what_all_did" }];

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`leave` does not release",
        "fetch_sub(1, Ordering::Release)",
        "fetch_sub(1, Ordering::Relaxed)",
        ALL,
        "the one that waited does not see what the others did",
    ),
    mutant(
        FILE,
        "`is_over` does not acquire",
        "self.left.load(Ordering::Acquire) == 0",
        "self.left.load(Ordering::Relaxed) == 0",
        ALL,
        "the one that waited does not see what the others did",
    ),
    mutant(
        FILE,
        "a load and a store for the subtraction in `leave`",
        "(*this).left.fetch_sub(1, Ordering::Release) == 1",
        "{ let left = (*this).left.load(Ordering::Relaxed); (*this).left.store(left - 1, Ordering::Release); left == 1 }",
        ALL,
        "of two that leave at once one is not counted, and the wait has no end",
    ),
];
