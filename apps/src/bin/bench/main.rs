//! Isochron's side of `cargo run -- compare`: one row, by name: `bench ROW [COUNT]`; `bench list` shows what there is.
//!
//! How much of what each row does stands in `compare/src/rows.rs`, for this program and those beside it.
#![no_std]
#![no_main]

mod channels;
mod forks;
mod locks;
mod parking;
#[path = "../../../../compare/src/rows.rs"]
mod rows;
mod skynet;
mod sleeping;
mod spawning;
mod switching;
mod timers;

use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;

/// A row: its name, and what measures it. It is told the count on the command line, if there is one.
type Row = (&'static str, fn(Option<usize>));

const ROWS: &[Row] = &[
    ("switch", switching::two),
    ("switch_many", switching::many),
    ("spawn_join", spawning::one_by_one),
    ("spawn_many", spawning::many),
    ("channel_round", channels::round_same_cpu),
    ("cross_core_round", channels::round_cross_core),
    ("channel_1_1", channels::one_to_one),
    ("channel_4_1", channels::four_to_one),
    ("channel_4_4", channels::four_to_four),
    ("skynet", skynet::skynet),
    ("fork_join", forks::fib),
    ("memory", parking::memory),
    ("wake_many", parking::wake_many),
    ("timers", timers::set_and_cancel),
    ("sleep_late", sleeping::late),
    ("hogs_late", sleeping::beside_hogs),
    ("mutex_2", locks::mutex),
];

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    if let ["list"] = words[..] {
        ROWS.iter().for_each(|(name, _)| println!("{name}"));
        return exit::PASSED;
    }
    let (name, count) = match words[..] {
        [name] => (name, None),
        [name, count] => match count.parse() {
            Ok(count) => (name, Some(count)),
            Err(_) => return bad(&format!("`{count}` is not a number")),
        },
        _ => return bad("say bench ROW [COUNT], or bench list"),
    };
    let Some((_, measure)) = ROWS.iter().find(|row| row.0 == name) else {
        return bad(&format!("there is no row `{name}`: see bench list"));
    };
    measure(count);
    exit::PASSED
}

fn bad(what: &str) -> u8 {
    println!("bench: {what}");
    2
}

/// Tells a figure of `count` events that took `time`, in nanoseconds each.
fn each(name: &str, time: Duration, count: u64) {
    report::value(name, "ns", Fixed::from_ratio(time.as_nanos(), count));
}

/// Tells how many million messages a second went through.
fn rate(name: &str, time: Duration, count: u64) {
    report::value(name, "M/s", Fixed::from_ratio(count * 1000, time.as_nanos()));
}

/// The value at `percent` of some durations, in `unit` nanoseconds.
fn percentile(name: &str, unit: &str, ns_in_unit: u64, samples: &mut [u64], percent: usize) {
    samples.sort_unstable();
    let ns = samples[(samples.len() - 1) * percent / 100];
    report::value(name, unit, Fixed::from_ratio(ns, ns_in_unit));
}
