//! What a CPU writes down for a reader on another.

use super::{Mutant, Test, mutant};

const FILE: &str = "trace_ring.rs";
const WHOLE: Test = Test { target: "loom_trace_ring", name: "records_are_whole_and_in_order_or_counted" };
const BOTH: Test = Test { target: "loom_trace_ring", name: "two_at_once_are_whole" };
const STRETCH: Test = Test { target: "loom_trace_ring", name: "a_stretch_ends_with_the_ring" };
const FULL: Test = Test { target: "loom_trace_ring", name: "a_full_ring_keeps_what_it_has" };

pub const MUTANTS: &[Mutant] = &[
    mutant(
        FILE,
        "`fill` does not release",
        "self.writer.written.store(written + 1, Ordering::Release)",
        "self.writer.written.store(written + 1, Ordering::Relaxed)",
        &[WHOLE],
        "a record is read before it is whole",
    ),
    mutant(
        FILE,
        "`write_both` does not release",
        "self.writer.written.store(written + 2, Ordering::Release)",
        "self.writer.written.store(written + 2, Ordering::Relaxed)",
        &[BOTH],
        "a record is read before it is whole",
    ),
    mutant(
        FILE,
        "`write_both` takes room for one as room for two",
        "let has_room = written + 1 < room_until;",
        "let has_room = written < room_until + 1;",
        &[BOTH],
        "a record that was not read yet is overwritten",
    ),
    mutant(
        FILE,
        "a stretch goes on beyond the last place",
        ".min(written + (room - at) as u64)",
        "",
        &[STRETCH],
        "a record is written behind the ring",
    ),
    mutant(
        FILE,
        "`read` does not acquire",
        "self.writer.written.load(Ordering::Acquire)",
        "self.writer.written.load(Ordering::Relaxed)",
        &[WHOLE],
        "a record is read before it is whole",
    ),
    mutant(
        FILE,
        "`read` does not release",
        "self.read.store(written, Ordering::Release)",
        "self.read.store(written, Ordering::Relaxed)",
        &[WHOLE],
        "a record is overwritten while it is read",
    ),
    mutant(
        FILE,
        "`write_if_room` does not acquire",
        "ring.read.load(Ordering::Acquire)",
        "ring.read.load(Ordering::Relaxed)",
        &[WHOLE],
        "a record is overwritten while it is read",
    ),
    mutant(
        FILE,
        "`read` makes room before it copies",
        "        for at in read..written {",
        "        self.read.store(written, Ordering::Release);
        for at in read..written {",
        &[WHOLE],
        "a record is overwritten while it is read",
    ),
    mutant(
        FILE,
        "`write_if_room` takes a full ring for one with room",
        "if written < room_until {",
        "if written <= room_until {",
        &[FULL],
        "the oldest record is overwritten and nobody counts it",
    ),
    mutant(
        FILE,
        "`write_if_room` does not count",
        "dropped.load(Ordering::Relaxed) + 1",
        "dropped.load(Ordering::Relaxed)",
        &[FULL],
        "what was lost is not told",
    ),
];
