//! Threads handed to one CPU.

use super::{Mutant, Test, mutant};

const FILE: &str = "inbox.rs";
const IN_ORDER: Test = Test { target: "loom_wake", name: "inbox_hands_over_everything_in_each_pushers_order" };
const DURING_DRAIN: Test = Test { target: "loom_wake", name: "a_push_during_a_drain_is_not_lost" };
const NEVER_MISSED: Test =
    Test { target: "loom_wake", name: "a_push_to_the_inbox_is_never_missed_by_a_cpu_going_to_sleep" };

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`push` does not release",
        "compare_exchange_weak(top, node.as_ptr(), Ordering::Release, Ordering::Relaxed)",
        "compare_exchange_weak(top, node.as_ptr(), Ordering::Relaxed, Ordering::Relaxed)",
        &[NEVER_MISSED],
        "a thread that was handed over is seen before what is in it",
    ),
    mutant(
        FILE,
        "`drain` does not acquire",
        "self.top.swap(null_mut(), Ordering::Acquire)",
        "self.top.swap(null_mut(), Ordering::Relaxed)",
        &[NEVER_MISSED],
        "a thread that was handed over is seen before what is in it",
    ),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `push`",
        "match self.top.compare_exchange_weak(top, node.as_ptr(), Ordering::Release, Ordering::Relaxed) {",
        "match { self.top.store(node.as_ptr(), Ordering::Release); Ok::<*mut T, *mut T>(top) } {",
        &[IN_ORDER],
        "of two threads handed over at once, one is lost",
    ),
    mutant(
        FILE,
        "a load and a store for the swap in `drain`",
        "self.top.swap(null_mut(), Ordering::Acquire)",
        "{ let top = self.top.load(Ordering::Acquire); self.top.store(null_mut(), Ordering::Relaxed); top }",
        &[DURING_DRAIN],
        "a thread handed over in between is lost",
    ),
    mutant(
        FILE,
        "`push` links its node to the top once only",
        "        loop {
            next.store(top, Ordering::Relaxed);",
        "        next.store(top, Ordering::Relaxed);
        loop {",
        &[IN_ORDER],
        "what another has pushed meanwhile is cut off",
    ),
];
