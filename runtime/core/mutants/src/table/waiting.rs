//! Wait tokens and the channel.

use super::{Mutant, Test, mutant};

const fn wait(name: &'static str) -> Test {
    Test { target: "loom_wait", name }
}

const TIME_OUT: Test = wait("a_time_out_and_a_message_exclude_each_other");
const IN_ORDER: Test = wait("messages_pass_in_order_whoever_waits");
const CLOSE_RECEIVER: Test = wait("close_ends_a_receivers_wait");
const CLOSE_SENDER: Test = wait("close_ends_a_senders_wait_and_loses_no_message");
const INJECTOR: Test = wait("injector_gives_each_once_and_in_order");

const TOKEN: &str = "wait_queue.rs";
const CHANNEL: &str = "channel.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        TOKEN,
        "`publish` does not release",
        "PUBLISHED, Ordering::Release);",
        "PUBLISHED, Ordering::Relaxed);",
        &[IN_ORDER, TIME_OUT],
        "a receiver finds the outcome and not the message",
    ),
    mutant(
        TOKEN,
        "`outcome` does not acquire",
        "self.word.load(Ordering::Acquire)",
        "self.word.load(Ordering::Relaxed)",
        &[IN_ORDER, TIME_OUT],
        "a receiver finds the outcome and not the message",
    ),
    mutant(
        TOKEN,
        "`claim` is final at once",
        "compare_exchange(WAITING, (tag + 1) << 1, Ordering::Relaxed, Ordering::Relaxed)",
        "compare_exchange(WAITING, (tag + 1) << 1 | PUBLISHED, Ordering::Relaxed, Ordering::Relaxed)",
        &[IN_ORDER],
        "a receiver looks for the message before it is there",
    ),
    mutant(
        TOKEN,
        "a load and a store for the compare-and-swap in `claim`",
        "self.word.compare_exchange(WAITING, (tag + 1) << 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        "{ let free = self.word.load(Ordering::Relaxed) == WAITING; if free { self.word.store((tag + 1) << 1, Ordering::Relaxed); } free }",
        &[TIME_OUT],
        "time-out and message both believe they have won",
    ),
    mutant(
        TOKEN,
        "a load and a store for the compare-and-swap in `fire`",
        "self.word.compare_exchange(WAITING, (tag + 1) << 1 | PUBLISHED, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        "{ let free = self.word.load(Ordering::Relaxed) == WAITING; if free { self.word.store((tag + 1) << 1 | PUBLISHED, Ordering::Relaxed); } free }",
        &[TIME_OUT],
        "time-out and message both believe they have won",
    )
    .quick(),
    mutant(
        TOKEN,
        "`pop_claimed` does not mind a lost claim",
        "(*node.as_ptr()).token.as_ref().claim((*node.as_ptr()).tag).then_some(Claim { node })",
        "{ let _ = (*node.as_ptr()).token.as_ref().claim((*node.as_ptr()).tag); Some(Claim { node }) }",
        &[TIME_OUT],
        "a message goes to a receiver that has given up",
    ),
    mutant(
        CHANNEL,
        "`close` wakes who waits before it closes",
        "        let first = self.inner.with(|inner| !core::mem::replace(&mut inner.closed, true));
        // Nobody is linked once it is closed, so this ends.
        while let Some(waiter) = self.inner.with(|inner| {
            let claim = inner.receivers.pop_claimed().or_else(|| inner.senders.pop_claimed());
            claim.map(Claim::publish)
        }) {
            wake(waiter);
        }",
        "        while let Some(waiter) = self.inner.with(|inner| {
            let claim = inner.receivers.pop_claimed().or_else(|| inner.senders.pop_claimed());
            claim.map(Claim::publish)
        }) {
            wake(waiter);
        }
        let first = self.inner.with(|inner| !core::mem::replace(&mut inner.closed, true));",
        &[CLOSE_RECEIVER, CLOSE_SENDER],
        "who begins to wait in between waits for ever",
    ),
    mutant(
        CHANNEL,
        "`close` wakes receivers only",
        "inner.receivers.pop_claimed().or_else(|| inner.senders.pop_claimed())",
        "inner.receivers.pop_claimed()",
        &[CLOSE_SENDER],
        "a sender waits for ever",
    ),
    mutant(
        CHANNEL,
        "`send` does not look for waiting receivers",
        "if !self.receivers.is_empty()
            && let Some(mut receiver)",
        "if false
            && let Some(mut receiver)",
        &[IN_ORDER],
        "a receiver waits beside a message, for ever",
    ),
    mutant(
        CHANNEL,
        "`receive` does not look for waiting senders",
        "if !self.senders.is_empty()
            && let Some(mut sender)",
        "if false
            && let Some(mut sender)",
        &[IN_ORDER],
        "a sender waits beside free room, for ever",
    ),
    mutant(
        "injector.rs",
        "`pop_batch` does not bring down the length",
        "self.len.store(self.len.load(Ordering::Relaxed) - count, Ordering::Relaxed);",
        "",
        &[INJECTOR],
        "an empty queue says for ever that it is not",
    ),
];
