//! Folding: what is written to a page is not lost.

use super::{Mutant, Test, mutant};

const WORD: &str = "page_word.rs";

const fn page(name: &'static str) -> Test {
    Test { target: "loom_page_word", name }
}

const FOLDED: &[Test] = &[page("what_is_written_while_a_page_is_folded_is_kept")];
const HELD: &[Test] = &[page("what_is_written_while_a_page_is_held_is_kept")];
const CLAIMED: &[Test] = &[page("who_claims_a_page_sees_its_record")];
const TWO: &[Test] = &[page("two_that_fault_unfold_once")];

const RECORD: &str = "the record is read before it is seen to be written";

pub const MUTANTS: &[Mutant] = &[
    mutant(
        WORD,
        "`fold` does not release",
        "self.replace(frame | SHUT, place | FOLDED, Ordering::Release)",
        "self.replace(frame | SHUT, place | FOLDED, Ordering::Relaxed)",
        FOLDED,
        RECORD,
    ),
    mutant(
        WORD,
        "`settle` does not release",
        "self.0.store(place | FOLDED, Ordering::Release)",
        "self.0.store(place | FOLDED, Ordering::Relaxed)",
        HELD,
        RECORD,
    ),
    mutant(
        WORD,
        "`claim` does not acquire",
        "self.replace(place | FOLDED, BUSY, Ordering::Acquire)",
        "self.replace(place | FOLDED, BUSY, Ordering::Relaxed)",
        CLAIMED,
        RECORD,
    ),
    mutant(
        WORD,
        "`open` does not release",
        "self.0.store(here, Ordering::Release)",
        "self.0.store(here, Ordering::Relaxed)",
        TWO,
        "who finds the page there does not find its contents",
    ),
    mutant(
        WORD,
        "`look` does not acquire",
        "self.0.load(Ordering::Acquire)",
        "self.0.load(Ordering::Relaxed)",
        TWO,
        "who finds the page there does not find its contents",
    ),
    mutant(
        WORD,
        "a store for the compare-and-swap in `fold`",
        "self.replace(frame | SHUT, place | FOLDED, Ordering::Release)",
        "self.0.store(place | FOLDED, Ordering::Release);
        frame | SHUT != 0",
        FOLDED,
        "a page that was opened meanwhile is folded as it was before",
    ),
    mutant(
        WORD,
        "a store for the compare-and-swap in `hold`",
        "self.replace(frame | SHUT, BUSY, Ordering::Relaxed)",
        "self.0.store(BUSY, Ordering::Relaxed);
        frame | SHUT != 0",
        HELD,
        "a page that was opened meanwhile is folded as it was before",
    ),
];
