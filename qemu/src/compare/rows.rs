//! What is compared: the rows, their figures, and what is aimed at.

/// What Isochron's figure should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// No more than so many times the floor of the same run.
    TimesFloor(f64),
    /// No more than so many times the best of the others in the same run.
    TimesBest(f64),
}

/// One figure of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// Its name in what the programs print.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What is aimed at.
    pub goal: Goal,
}

impl Figure {
    /// Whether more is better.
    #[must_use]
    pub const fn more_is_better(&self) -> bool {
        matches!(self.goal, Goal::AtLeast(_))
    }
}

/// One row: what every program does that has it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    /// What the programs call it.
    pub name: &'static str,
    /// What is measured, in a few words.
    pub about: &'static str,
    /// CPUs that Isochron has for it; the others see to it themselves.
    pub cpus: u32,
    /// Its figures.
    pub figures: &'static [Figure],
}

const fn figure(name: &'static str, unit: &'static str, goal: Goal) -> Figure {
    Figure { name, unit, goal }
}

use Goal::{AtLeast, AtMost, TimesBest, TimesFloor};

/// The row that is not timed: the growth of the process by each parked thread.
pub const MEMORY: &str = "memory";

/// All rows.
pub const ROWS: &[Row] = &[
    Row {
        name: "switch",
        about: "two threads yield to each other on one CPU, ns a switch",
        cpus: 1,
        figures: &[figure("switch", "ns", TimesFloor(2.0))],
    },
    Row {
        name: "switch_many",
        about: "200,000 threads take turns in random order on one CPU, ns a switch",
        cpus: 1,
        figures: &[figure("switch_many", "ns", AtMost(130.0))],
    },
    Row {
        name: "spawn_join",
        about: "one thread after the other is made and joined on one CPU, ns each",
        cpus: 1,
        figures: &[figure("spawn_join", "ns", AtMost(70.0))],
    },
    Row {
        name: "spawn_many",
        about: "1,000,000 threads are made, then joined, ns each",
        cpus: 2,
        figures: &[figure("spawn_many", "ns", AtMost(150.0))],
    },
    Row {
        name: "channel_round",
        about: "a message to a thread of the same CPU and one back, ns",
        cpus: 1,
        figures: &[figure("channel_round", "ns", AtMost(70.0))],
    },
    Row {
        name: "cross_core_round",
        about: "the same with two CPUs, ns",
        cpus: 2,
        figures: &[figure("cross_core_round", "ns", TimesFloor(3.0))],
    },
    Row {
        name: "channel_1_1",
        about: "messages through one channel, 1 sender, 1 receiver, million a second",
        cpus: 2,
        figures: &[figure("channel_1_1", "M/s", AtLeast(30.0))],
    },
    Row {
        name: "channel_4_1",
        about: "the same, 4 senders, 1 receiver",
        cpus: 2,
        figures: &[figure("channel_4_1", "M/s", AtLeast(30.0))],
    },
    Row {
        name: "channel_4_4",
        about: "the same, 4 senders, 4 receivers",
        cpus: 2,
        figures: &[figure("channel_4_4", "M/s", AtLeast(40.0))],
    },
    Row {
        name: "skynet",
        about: "a tree of threads with 1,000,000 leaves, sums through channels, ms",
        cpus: 2,
        figures: &[figure("skynet", "ms", AtMost(150.0))],
    },
    Row {
        name: "fork_join",
        about: "fib(30), a fork at every node, ms",
        cpus: 2,
        figures: &[figure("fork_join", "ms", AtMost(11.0))],
    },
    Row {
        name: MEMORY,
        about: "growth of the process by each thread or task that waits, bytes",
        cpus: 1,
        figures: &[figure("memory", "bytes", AtMost(1100.0))],
    },
    Row {
        name: "wake_many",
        about: "1,000,000 parked threads are woken and end, ns each",
        cpus: 1,
        figures: &[figure("wake_many", "ns", AtMost(200.0))],
    },
    Row {
        name: "timers",
        about: "1,000,000 timers set, then cancelled, ns each",
        cpus: 1,
        figures: &[figure("timer_insert", "ns", AtMost(40.0)), figure("timer_cancel", "ns", AtMost(20.0))],
    },
    Row {
        name: "sleep_late",
        about: "how late a thread wakes that sleeps for 100 us, median, us",
        cpus: 1,
        figures: &[figure("sleep_late", "us", TimesBest(1.2))],
    },
    Row {
        name: "hogs_late",
        about: "how late a thread wakes that sleeps for 1 ms beside 4 hogs, ms",
        cpus: 2,
        figures: &[figure("hogs_late_p50", "ms", AtMost(0.1)), figure("hogs_late_p99", "ms", AtMost(0.5))],
    },
    Row {
        name: "mutex_2",
        about: "two threads want one mutex, ns for each lock and unlock",
        cpus: 2,
        figures: &[figure("mutex_2_barging", "ns", AtMost(7.0)), figure("mutex_2_fair", "ns", AtMost(300.0))],
    },
];
