//! The owner of a run queue against its thieves.

use super::{Mutant, Test, mutant};

const fn queue(name: &'static str) -> Test {
    Test { target: "loom_run_queue", name }
}

const WRAPS: Test = queue("owner_wraps_while_a_thief_steals");
const TWO_THIEVES: Test = queue("two_thieves_and_the_owner_share_without_loss");
const IN_FLIGHT: Test = queue("slots_of_a_thief_in_flight_are_not_freed_by_another");
const FULL: Test = queue("yields_in_a_full_queue_lose_nothing");
const EXPOSED: Test = queue("exposed_items_are_taken_once");
const SEEN: Test = queue("an_item_is_seen_while_it_is_claimed_back");
const UNSEEN: &str = "a CPU finds an item in neither part, and goes to sleep beside it";

const SHARED: &str = "run_queue/mod.rs";
const OWNER: &str = "run_queue/owner.rs";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        OWNER,
        "`publish` stores the tail without release",
        "shared_tail.store(tail.wrapping_add(1), Ordering::Release)",
        "shared_tail.store(tail.wrapping_add(1), Ordering::Relaxed)",
        &[WRAPS, EXPOSED],
        "a thief reads a slot before it is filled",
    )
    .quick(),
    mutant(
        OWNER,
        "`publish` stores the tail before it fills the slot",
        "        // SAFETY: there is room, so the slot's last reader has freed it (acquired in `shared_room`), and nobody reads
        // it before the tail is stored.
        slot.with_mut(|slot| unsafe { slot.write(MaybeUninit::new(item)) });
        // Release: partner is the load of the tail in `steal_into`.
        self.queue.shared_tail.store(tail.wrapping_add(1), Ordering::Release);",
        "        self.queue.shared_tail.store(tail.wrapping_add(1), Ordering::Release);
        slot.with_mut(|slot| unsafe { slot.write(MaybeUninit::new(item)) });",
        &[WRAPS, EXPOSED],
        "a thief reads a slot before it is filled",
    ),
    mutant(
        SHARED,
        "`steal_into` loads the tail without acquire",
        "let tail = self.shared_tail.load(Ordering::Acquire)",
        "let tail = self.shared_tail.load(Ordering::Relaxed)",
        &[WRAPS, EXPOSED],
        "a thief reads a slot before it is filled",
    ),
    mutant(
        SHARED,
        "`free_reserved` does not release",
        "compare_exchange_weak(word, freed, Ordering::Release, Ordering::Relaxed)",
        "compare_exchange_weak(word, freed, Ordering::Relaxed, Ordering::Relaxed)",
        &[WRAPS],
        "the owner fills a slot that a thief still reads",
    )
    .quick(),
    mutant(
        OWNER,
        "`shared_room` does not acquire",
        "let (freed, _) = unpack(self.queue.shared_head.load(Ordering::Acquire));",
        "let (freed, _) = unpack(self.queue.shared_head.load(Ordering::Relaxed));",
        &[WRAPS],
        "the owner fills a slot that a thief still reads",
    ),
    mutant(
        OWNER,
        "`shared_room` counts from `claimed`",
        "let (freed, _) = unpack(self.queue.shared_head.load(Ordering::Acquire));",
        "let (_, freed) = unpack(self.queue.shared_head.load(Ordering::Acquire));",
        &[WRAPS],
        "the owner fills a slot that a thief still reads",
    ),
    mutant(
        OWNER,
        "`claim` frees the slots of a thief in flight",
        "if freed == claimed { after } else { freed }",
        "after",
        &[WRAPS],
        "the owner fills a slot that a thief still reads",
    ),
    mutant(
        OWNER,
        "a load and a store for the compare-and-swap in `claim`",
        "match self.queue.shared_head.compare_exchange_weak(word, new, Ordering::Release, Ordering::Relaxed) {",
        "match { self.queue.shared_head.store(new, Ordering::Relaxed); Ok::<u64, u64>(word) } {",
        &[TWO_THIEVES],
        "owner and thief take the same item",
    ),
    mutant(
        SHARED,
        "`steal_into` does not keep off while another thief is in flight",
        "if freed != claimed || len > Self::SIZE {",
        "if len > Self::SIZE {",
        &[IN_FLIGHT],
        "the first thief to finish frees the slots of the other",
    )
    .quick(),
    mutant(
        SHARED,
        "`steal_into` does not see that head and tail do not belong together",
        "if freed != claimed || len > Self::SIZE {",
        "if freed != claimed {",
        &[WRAPS, EXPOSED],
        "a thief takes slots that hold nothing",
    ),
    mutant(
        SHARED,
        "a load and a store for the compare-and-swap in `steal_into`",
        "if self.shared_head.compare_exchange(word, reserved, Ordering::Relaxed, Ordering::Relaxed).is_err() {",
        "if { self.shared_head.store(reserved, Ordering::Relaxed); false } {",
        &[TWO_THIEVES],
        "two thieves, or owner and thief, take the same item",
    ),
    mutant(
        SHARED,
        "a load and a store for the compare-and-swap in `free_reserved`",
        "match self.shared_head.compare_exchange_weak(word, freed, Ordering::Release, Ordering::Relaxed) {",
        "match { self.shared_head.store(freed, Ordering::Release); Ok::<u64, u64>(word) } {",
        &[TWO_THIEVES],
        "what the owner claims meanwhile is handed out again",
    ),
    mutant(
        SHARED,
        "`steal_into` frees the slots before it reads them",
        "        let first = unsafe { self.read_shared(claimed) };",
        "        self.free_reserved();\n        let first = unsafe { self.read_shared(claimed) };",
        &[WRAPS, FULL],
        "the owner fills a slot that a thief still reads",
    ),
    mutant(
        OWNER,
        "`claim` does not release",
        "compare_exchange_weak(word, new, Ordering::Release, Ordering::Relaxed)",
        "compare_exchange_weak(word, new, Ordering::Relaxed, Ordering::Relaxed)",
        &[SEEN],
        UNSEEN,
    ),
    mutant(
        OWNER,
        "`claim_batch` does not release",
        "special.store(self.special() & !CLAIMING, Ordering::Release)",
        "special.store(self.special() & !CLAIMING, Ordering::Relaxed)",
        &[SEEN],
        UNSEEN,
    ),
    mutant(
        OWNER,
        "`claim_batch` does not say that it is at it",
        "        self.set_special(self.special() | CLAIMING);
",
        "",
        &[SEEN],
        UNSEEN,
    ),
    mutant(
        SHARED,
        "`look` loads the flags without acquire, at first",
        "if p.special.load(Ordering::Acquire) == 0 {",
        "if p.special.load(Ordering::Relaxed) == 0 {",
        &[SEEN],
        UNSEEN,
    ),
    mutant(
        SHARED,
        "`look` loads the head without acquire",
        "unpack(self.shared_head.load(Ordering::Acquire))",
        "unpack(self.shared_head.load(Ordering::Relaxed))",
        &[SEEN],
        UNSEEN,
    ),
    mutant(
        SHARED,
        "`look` loads the flags without acquire, at last",
        "p.special.load(Ordering::Acquire) & CLAIMING != 0",
        "p.special.load(Ordering::Relaxed) & CLAIMING != 0",
        &[SEEN],
        UNSEEN,
    ),
];
