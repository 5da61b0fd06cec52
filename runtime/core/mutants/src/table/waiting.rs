//! Wait tokens and the channel.

use super::{Mutant, Test, mutant};

const fn wait(name: &'static str) -> Test {
    Test { target: "loom_wait", name }
}

const TIME_OUT: Test = wait("a_time_out_and_a_message_exclude_each_other");
const IN_ORDER: Test = wait("messages_pass_in_order_whoever_waits");
const CLOSE_RECEIVER: Test = wait("close_ends_a_receivers_wait");
const CLOSE_SENDER: Test = wait("close_ends_a_senders_wait_and_loses_no_message");
const CLOSE_RETURNED: Test = wait("a_close_loses_no_message_that_comes_back");
const RING: Test = wait("what_is_in_the_ring_is_seen_whole");
const CHAIN: Test = wait("what_is_in_the_chain_is_seen_whole");
const INJECTOR: Test = wait("injector_gives_each_once_and_in_order");

const fn door(name: &'static str) -> Test {
    Test { target: "loom_door", name }
}

const HANDED: Test = door("who_stands_in_the_door_is_handed_over_whole");
const KILLED: Test = door("who_stands_in_the_door_and_is_killed_goes_once");
const SEATED: Test = door("who_stands_in_the_door_is_put_into_the_queue_by_another");

const DOOR: &str = "channel/door.rs";
const STANDING: &str = "channel/standing.rs";
const STATE: &str = "thread_state.rs";
const TOKEN: &str = "wait_queue.rs";
const CHANNEL: &str = "channel/mod.rs";
const WAITING: &str = "channel/waiting.rs";

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
        "compare_exchange(WAITING, tag | CLAIMED, Ordering::Relaxed, Ordering::Relaxed)",
        "compare_exchange(WAITING, tag | CLAIMED | PUBLISHED, Ordering::Relaxed, Ordering::Relaxed)",
        &[IN_ORDER],
        "a receiver looks for the message before it is there",
    ),
    mutant(
        TOKEN,
        "a load and a store for the compare-and-swap in `claim`",
        "self.word.compare_exchange(WAITING, tag | CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        "{ let free = self.word.load(Ordering::Relaxed) == WAITING; if free { self.word.store(tag | CLAIMED, Ordering::Relaxed); } free }",
        &[TIME_OUT],
        "time-out and message both believe they have won",
    ),
    mutant(
        TOKEN,
        "a load and a store for the compare-and-swap in `fire`",
        "self.word.compare_exchange(WAITING, tag | CLAIMED | PUBLISHED, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
        "{ let free = self.word.load(Ordering::Relaxed) == WAITING; if free { self.word.store(tag | CLAIMED | PUBLISHED, Ordering::Relaxed); } free }",
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
        "`put_locked` looks at the other side's count without acquire",
        "side.seen_head = self.recv.head.load(Ordering::Acquire);",
        "side.seen_head = self.recv.head.load(Ordering::Relaxed);",
        &[RING],
        "a slot is filled while its last message is still read",
    ),
    mutant(
        CHANNEL,
        "`put_locked` announces a message without release",
        "self.send.tail.store(tail.wrapping_add(1), Ordering::Release);",
        "self.send.tail.store(tail.wrapping_add(1), Ordering::Relaxed);",
        &[RING],
        "a message is read before it is written",
    ),
    mutant(
        CHANNEL,
        "`take_locked` looks at the other side's count without acquire",
        "let tail = self.send.tail.load(Ordering::Acquire);",
        "let tail = self.send.tail.load(Ordering::Relaxed);",
        &[RING],
        "a message is read before it is written",
    ),
    mutant(
        CHANNEL,
        "`take_locked` gives a slot back without release",
        "self.recv.head.store(head.wrapping_add(1), Ordering::Release);",
        "self.recv.head.store(head.wrapping_add(1), Ordering::Relaxed);",
        &[RING],
        "a slot is filled while its last message is still read",
    ),
    mutant(
        CHANNEL,
        "`take_locked` gives a slot back before it has read it",
        "        let message = unsafe { side.cursor.read() };
        // Release: partner is the load in `put_locked`.
        self.recv.head.store(head.wrapping_add(1), Ordering::Release);
",
        "        self.recv.head.store(head.wrapping_add(1), Ordering::Release);
        let message = unsafe { side.cursor.read() };
",
        &[RING],
        "a slot is filled while its last message is still read",
    ),
    mutant(
        CHANNEL,
        "`extend` takes the spare block without acquire",
        "self.recv.spare.swap(null_mut(), Ordering::Acquire);",
        "self.recv.spare.swap(null_mut(), Ordering::Relaxed);",
        &[CHAIN],
        "a block is linked anew while the receiving side still follows its link",
    ),
    mutant(
        CHANNEL,
        "`follow` leaves the spare block without release",
        "self.recv.spare.store(left.as_ptr(), Ordering::Release);",
        "self.recv.spare.store(left.as_ptr(), Ordering::Relaxed);",
        &[CHAIN],
        "a block is linked anew while the receiving side still follows its link",
    ),
    mutant(
        CHANNEL,
        "`send_locked` does not look for waiting receivers",
        "if flags == RECEIVERS {",
        "if false {",
        &[IN_ORDER],
        "a receiver waits beside a message, for ever",
    ),
    mutant(
        WAITING,
        "`wait_for_message` does not look again under the lock",
        "let waits = empty && flags",
        "let waits = (empty || true) && flags",
        &[IN_ORDER],
        "a receiver waits beside a message, for ever",
    ),
    mutant(
        WAITING,
        "`wait_for_message` does not mind that the channel is closed",
        "let waits = empty && flags & (CLOSED | SENDERS) == 0;",
        "let waits = empty && flags & SENDERS == 0;",
        &[CLOSE_RECEIVER],
        "who begins to wait after the close waits for ever",
    ),
    mutant(
        WAITING,
        "`receive_locked` does not look for waiting senders",
        "if let Some(mut sender) = sending.senders.pop_claimed() {",
        "if let Some(mut sender) = sending.senders.pop_claimed().filter(|_| false) {",
        &[IN_ORDER],
        "a sender waits beside free room, for ever",
    ),
    mutant(
        WAITING,
        "the receiving side is not told that senders wait",
        "receiving.senders_wait = !sending.senders.is_empty();",
        "receiving.senders_wait = false;",
        &[IN_ORDER],
        "a sender waits beside free room, for ever",
    ),
    mutant(
        WAITING,
        "`wake_after_close` wakes receivers only",
        "sending.receivers.pop_claimed().or_else(|| sending.senders.pop_claimed_but(RETURNED))",
        "sending.receivers.pop_claimed()",
        &[CLOSE_SENDER],
        "a sender waits for ever",
    ),
    mutant(
        WAITING,
        "`wake_after_close` ends the wait of messages that came back",
        "sending.senders.pop_claimed_but(RETURNED)",
        "sending.senders.pop_claimed()",
        &[CLOSE_RETURNED],
        "a message that was handed to a receiver which is gone is lost, though others receive still",
    ),
    mutant(
        DOOR,
        "who stands in the door is shown without release",
        "door.store(guest.as_ptr(), Ordering::Release);",
        "door.store(guest.as_ptr(), Ordering::Relaxed);",
        &[HANDED],
        "a thread is run before its context is saved",
    ),
    mutant(
        DOOR,
        "the lock is taken without acquire",
        "const TAKING: Ordering = Ordering::Acquire;",
        "const TAKING: Ordering = Ordering::Relaxed;",
        &[HANDED],
        "a thread is run before its context is saved",
    ),
    mutant(
        DOOR,
        "the lock is opened without release",
        "self.0.store(null_mut(), Ordering::Release);",
        "self.0.store(null_mut(), Ordering::Relaxed);",
        &[IN_ORDER],
        "what was done under the lock is not seen by the next who has it",
    ),
    mutant(
        STANDING,
        "`at_door` does not look again under the lock",
        "let alone = empty && self.send",
        "let alone = (empty || true) && self.send",
        &[HANDED],
        "a receiver waits beside a message, for ever",
    ),
    mutant(
        STANDING,
        "`give` does not mind that the thread is another's",
        "if !waiter.take_over() {",
        "if !waiter.take_over() && false {",
        &[KILLED],
        "a thread is queued twice",
    ),
    mutant(
        STANDING,
        "`seat` does not make the thread one that is parked",
        "(*standing.as_ptr()).waiter.sit_down();",
        "",
        &[SEATED],
        "who is woken in the queue is not found parked, and waits for ever",
    ),
    mutant(
        STATE,
        "`begin_handed` does not look for a kill",
        "let may = self.word.load(Ordering::Relaxed) & KILLED == 0;",
        "let may = true;",
        &[KILLED],
        "who was killed just before waits on",
    ),
    mutant(
        STATE,
        "`take_handed` does not look for a kill",
        "self.word.load(Ordering::Relaxed) & KILLED == 0 || self.take()",
        "true",
        &[KILLED],
        "a thread is queued twice",
    ),
    mutant(
        STATE,
        "a load and a store for the `fetch_or` in `take`",
        "self.word.fetch_or(TAKEN, Ordering::Relaxed) & TAKEN == 0",
        "{ let word = self.word.load(Ordering::Relaxed); self.word.store(word | TAKEN, Ordering::Relaxed); word & TAKEN == 0 }",
        &[KILLED],
        "a thread is queued twice",
    ),
    mutant(
        "injector.rs",
        "`pop_batch` does not bring down the length",
        "            self.len.store(list.len(), Ordering::Relaxed);
            list.heads()",
        "            list.heads()",
        &[INJECTOR],
        "an empty queue says for ever that it is not",
    ),
];
