//! Going to sleep against pushing work.

use super::{Mutant, Test, mutant};

const fn wake(name: &'static str) -> Test {
    Test { target: "loom_wake", name }
}

const PUSH_TO_QUEUE: Test = wake("a_push_to_the_run_queue_is_never_missed_by_a_cpu_going_to_sleep");
const PUSH_TO_INBOX: Test = wake("a_push_to_the_inbox_is_never_missed_by_a_cpu_going_to_sleep");
const CLAIMED_SEES: Test = wake("a_claimed_cpu_sees_the_push");
const CLAIMED_ONCE: Test = wake("one_sleeper_is_claimed_once_and_counted_once");
const FAILED_CLAIM: Test = wake("a_claim_that_fails_does_not_pass_for_a_searcher");
const MAKES_UP: Test = wake("a_searcher_makes_up_for_the_push_that_relied_on_it");
const LOOKS_AGAIN: Test = wake("a_searcher_that_looks_again_misses_nothing");

const FILE: &str = "idle_set.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "no fence in `announce`",
        "before its last look at the queues.\n        fence(Ordering::SeqCst);",
        "before its last look at the queues.",
        &[PUSH_TO_QUEUE, PUSH_TO_INBOX],
        "a CPU looks at the queues before it is seen asleep, and sleeps on work",
    )
    .quick(),
    mutant(
        FILE,
        "`fence(AcqRel)` in `announce`",
        "before its last look at the queues.\n        fence(Ordering::SeqCst);",
        "before its last look at the queues.\n        fence(Ordering::AcqRel);",
        &[PUSH_TO_QUEUE, PUSH_TO_INBOX],
        "a store may still pass the loads after it",
    ),
    mutant(
        FILE,
        "the fence in `announce` before its stores",
        "        self.states[cpu].store(state, Ordering::Relaxed);
        self.idle.fetch_or(1 << cpu, Ordering::Relaxed);
        // SLEEPER'S FENCE. Partner: the pusher's fence in `pick_idle` and `claim`. Orders the two stores above (and
        // the end of this CPU's search) before its last look at the queues.
        fence(Ordering::SeqCst);",
        "        fence(Ordering::SeqCst);
        self.states[cpu].store(state, Ordering::Relaxed);
        self.idle.fetch_or(1 << cpu, Ordering::Relaxed);",
        &[PUSH_TO_QUEUE, PUSH_TO_INBOX],
        "the fence orders nothing",
    ),
    mutant(
        FILE,
        "no fence in `pick_idle`",
        "Orders the push before the loads below.\n        fence(Ordering::SeqCst);",
        "Orders the push before the loads below.",
        &[PUSH_TO_QUEUE],
        "a pusher reads who sleeps before its push is seen, and wakes nobody",
    )
    .quick(),
    mutant(
        FILE,
        "`fence(AcqRel)` in `pick_idle`",
        "Orders the push before the loads below.\n        fence(Ordering::SeqCst);",
        "Orders the push before the loads below.\n        fence(Ordering::AcqRel);",
        &[PUSH_TO_QUEUE],
        "a store may still pass the loads after it",
    ),
    mutant(
        FILE,
        "no fence in `claim`",
        "Partner: the sleeper's fence in `announce`.\n        fence(Ordering::SeqCst);",
        "Partner: the sleeper's fence in `announce`.",
        &[PUSH_TO_INBOX, CLAIMED_SEES],
        "a pusher reads the state word before its push is seen, and wakes nobody",
    )
    .quick(),
    mutant(
        FILE,
        "`fence(AcqRel)` in `claim`",
        "Partner: the sleeper's fence in `announce`.\n        fence(Ordering::SeqCst);",
        "Partner: the sleeper's fence in `announce`.\n        fence(Ordering::AcqRel);",
        &[PUSH_TO_INBOX],
        "a store may still pass the loads after it",
    ),
    mutant(
        FILE,
        "no fence in `look_again`",
        "Orders the end of the search before the look.\n        fence(Ordering::SeqCst);",
        "Orders the end of the search before the look.",
        &[LOOKS_AGAIN],
        "the last searcher looks before it is seen to have stopped, and misses a push that relied on it",
    )
    .quick(),
    mutant(
        FILE,
        "`fence(AcqRel)` in `look_again`",
        "Orders the end of the search before the look.\n        fence(Ordering::SeqCst);",
        "Orders the end of the search before the look.\n        fence(Ordering::AcqRel);",
        &[LOOKS_AGAIN],
        "a store may still pass the loads after it",
    ),
    mutant(
        FILE,
        "`cancel_sleep` does not acquire",
        "swap(AWAKE, Ordering::Acquire)",
        "swap(AWAKE, Ordering::Relaxed)",
        &[CLAIMED_SEES],
        "a CPU that was claimed does not see what it was claimed for",
    ),
    mutant(
        FILE,
        "`cancel_sleep` leaves its bit set",
        "self.idle.fetch_and(!(1 << cpu), Ordering::Relaxed);",
        "",
        &[CLAIMED_ONCE],
        "a CPU that is up passes for idle",
    ),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `claim_as`",
        "match word.compare_exchange_weak(state, claim, Ordering::Relaxed, Ordering::Relaxed) {",
        "match { word.store(claim, Ordering::Relaxed); Ok::<u32, u32>(state) } {",
        &[CLAIMED_ONCE],
        "one sleeper is claimed by two, or one that is up is claimed",
    ),
    mutant(
        FILE,
        "a load and a store for the compare-and-swap in `deepen`",
        "self.states[cpu].compare_exchange(WATCHING, ASLEEP, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        "{ let watching = self.states[cpu].load(Ordering::Relaxed) == WATCHING; if watching { self.states[cpu].store(ASLEEP, Ordering::Relaxed); } watching }",
        &[CLAIMED_SEES],
        "a claim that comes meanwhile is overwritten, and no interrupt follows it",
    ),
    mutant(
        FILE,
        "`pick_idle` counts the searcher before its claim, and takes it back",
        "                if let Some(claimed) = self.claim_as(cpu, CLAIMED_TO_SEARCH) {
                    // After the claim, never before it and taken back: see \"Searchers\" in the module's documentation.
                    self.searching.fetch_add(1, Ordering::Relaxed);
                    return Some(claimed);
                }",
        "                self.searching.fetch_add(1, Ordering::Relaxed);
                if let Some(claimed) = self.claim_as(cpu, CLAIMED_TO_SEARCH) {
                    return Some(claimed);
                }
                self.searching.fetch_sub(1, Ordering::Relaxed);",
        &[FAILED_CLAIM],
        "a pusher takes another's failed claim for a searcher, and wakes nobody",
    )
    .quick(),
    mutant(
        FILE,
        "`pick_idle` does not count the searcher it claims",
        "                    self.searching.fetch_add(1, Ordering::Relaxed);\n",
        "",
        &[CLAIMED_ONCE],
        "the count of searchers drifts below zero",
    ),
    mutant(
        FILE,
        "`end_search` never says that it was the last",
        "fetch_sub(1, Ordering::Relaxed) <= 1",
        "fetch_sub(1, Ordering::Relaxed) <= 0",
        &[MAKES_UP, LOOKS_AGAIN],
        "nobody makes up for the push that relied on the search",
    ),
];
