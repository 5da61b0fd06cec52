//! Who owns a timer.

use super::{Mutant, Test, mutant};

const fn timers(name: &'static str) -> Test {
    Test { target: "loom_timers", name }
}

const CANCEL: Test = timers("a_timer_is_cancelled_or_its_action_is_over");
const SLEEPER: Test = timers("a_sleeper_that_is_woken_knows_that_its_time_has_come");
const AGAIN: Test = timers("a_timer_that_sets_itself_again_can_be_stopped");

const TIMER: &str = "timer_wheel/state.rs";
const TIMERS: &str = "timer_wheel/mod.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        TIMER,
        "`is_idle` does not acquire",
        "self.word.load(Ordering::Acquire) == IDLE",
        "self.word.load(Ordering::Relaxed) == IDLE",
        &[CANCEL, SLEEPER],
        "the owner frees what the action still uses",
    ),
    mutant(
        TIMER,
        "`end_action` does not release",
        "self.word.store(IDLE, Ordering::Release)",
        "self.word.store(IDLE, Ordering::Relaxed)",
        &[CANCEL, SLEEPER],
        "the owner frees what the action still uses",
    ),
    mutant(
        TIMER,
        "`wait_for_end` does not wait",
        "while !self.is_idle() {",
        "while false {",
        &[CANCEL, SLEEPER],
        "the owner goes on in the middle of the action",
    ),
    mutant(
        TIMER,
        "`has_fired` is false in the middle of the action",
        "self.is_idle() || (!self.is_waiting() && self.wait_for_end())",
        "self.is_idle()",
        &[SLEEPER],
        "a sleeper that was woken goes to sleep again, for ever",
    ),
    mutant(
        TIMER,
        "`set_again_locked` minds no owner who cancels",
        "if self.stopped.load(Ordering::Relaxed) {",
        "if false {",
        &[AGAIN],
        "a cancelled timer is set again",
    ),
    mutant(
        TIMERS,
        "`take_due` does not say that the action runs",
        "unsafe { Timer::state(timer) }.set_firing_locked();",
        "let _ = timer;",
        &[CANCEL],
        "who cancels takes a timer out of the wheel that is not in it",
    ),
];
