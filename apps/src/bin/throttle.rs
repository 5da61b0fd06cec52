//! What a throttled group of hogs does to a thread outside it: `throttle [QUOTA [PERIOD [HOGS [WAKE-UPS]]]]`, times in us.
//!
//! A client, bound to the primary CPU and in no group, sleeps until a deadline, asks a server thread on the same CPU through a
//! channel, and waits for the answer; over and over, 997 us apart. It does so three times: alone; beside a group of HOGS
//! threads that never give way, limited to QUOTA in each PERIOD ("10000 100000" if nothing is said); and beside the same group
//! without a limit. A scheduler that lets a throttled thread keep its CPU, or what waits there, shows in the second.
//!
//! * `throttle_wake_alone`, `..._limited`, `..._unlimited`: from the deadline to the client's first instruction after it;
//! * `throttle_answer_...`: from the deadline to the answer;
//! * `throttle_wake_p99_ratio`, `throttle_answer_p99_ratio`: P99 beside the limited group, by P99 alone;
//! * `throttle_group_...`: the group's counters over the second run, and what it ran of one CPU's time, in per mille.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering};
use isochron::group::{self, Group, GroupError, Limit};
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::{Builder, SpawnError};
use isochron_apps::arguments::numbers;
use isochron_apps::measure::{Recorder, on, picoseconds};

/// Not a divisor of any likely period: the wake-ups meet the group's periods at all their points.
const APART: Duration = Duration::from_micros(997);
const WARM_UP: u64 = 8;
const P99: u32 = 99_000;

#[isochron::main]
fn main() -> u8 {
    let wanted = [
        ("the quota", 10_000, 1, 10_000_000),
        ("the period", 100_000, 100, 10_000_000),
        ("the number of hogs", 2 * thread::cpu_count() as u64, 1, 10_000),
        ("the number of wake-ups", 2000, 1, 1_000_000),
    ];
    let [quota, period, hogs, rounds] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("throttle: {error}");
            return 2;
        }
    };
    match run(Limit::new(Duration::from_micros(quota), Duration::from_micros(period)), hogs, rounds) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("throttle: {error}");
            // A limit that no group can have is the caller's mistake.
            match error.downcast_ref() {
                Some(GroupError::OutOfMemory) | None => exit::FAILED,
                Some(_) => 2,
            }
        }
    }
}

fn run(limit: Limit, hogs: u64, rounds: u64) -> Result<(), Box<dyn core::error::Error>> {
    let group = group::Builder::new("hogs").limit(limit).create()?;
    let alone = outside(rounds)?;
    let began = Instant::now();
    let limited = beside(&group, hogs, rounds)?;
    tell_counters(&group, began.elapsed());
    group.set_limit(Limit::NONE)?;
    let unlimited = beside(&group, hogs, rounds)?;

    for (name, one, other) in [
        ("throttle_wake_p99_ratio", &limited.wake_p99, &alone.wake_p99),
        ("throttle_answer_p99_ratio", &limited.answer_p99, &alone.answer_p99),
    ] {
        println!("{name}: {} ns beside the group, {} ns alone", one / 1000, other / 1000);
        report::value(name, "x", Fixed::from_ratio(*one, (*other).max(1)));
    }
    alone.send("throttle_wake_alone", "throttle_answer_alone");
    limited.send("throttle_wake_limited", "throttle_answer_limited");
    unlimited.send("throttle_wake_unlimited", "throttle_answer_unlimited");
    Ok(())
}

/// How late the client woke and had its answer.
struct Lateness {
    wake: Recorder,
    answer: Recorder,
    wake_p99: u64,
    answer_p99: u64,
}

impl Lateness {
    fn send(self, wake: &str, answer: &str) {
        self.wake.send(wake);
        self.answer.send(answer);
    }
}

/// As [`outside`], while threads of `group` do their worst.
fn beside(group: &Group, hogs: u64, rounds: u64) -> Result<Lateness, SpawnError> {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..hogs)
        .map(|_| {
            let stop = stop.clone();
            Builder::new().name("hog").group(group).spawn(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect::<Result<_, _>>()?;
    let lateness = outside(rounds);
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        let _ = hog.join();
    }
    lateness
}

/// The client and the server, which are in no group.
fn outside(rounds: u64) -> Result<Lateness, SpawnError> {
    let (ask, asked) = channel::bounded::<u64>(1);
    let (answer, answered) = channel::bounded::<u64>(1);
    let server = on(CpuId::PRIMARY, "server", move || asked.iter().try_for_each(|number| answer.send(number)))?;
    let client = on(CpuId::PRIMARY, "client", move || {
        let (mut wake, mut answer) = (Recorder::new(), Recorder::new());
        let mut deadline = Instant::now() + APART;
        for round in 0..WARM_UP + rounds {
            sleep_until(deadline);
            let woken = Instant::now();
            let done = ask.send(round).is_ok() && answered.recv() == Ok(round);
            let late = |when: Instant| picoseconds(when.ticks().saturating_sub(deadline.ticks()));
            if done && round >= WARM_UP {
                wake.record(late(woken));
                answer.record(late(Instant::now()));
            }
            // A deadline that has passed already is met late, and counts.
            deadline += APART;
        }
        let (wake_p99, answer_p99) = (wake.percentile(P99), answer.percentile(P99));
        Lateness { wake, answer, wake_p99, answer_p99 }
    })?;
    let lateness = client.join();
    let _ = server.join();
    Ok(lateness.expect("the client does not panic"))
}

fn tell_counters(group: &Group, time: Duration) {
    let found = group.statistics();
    let counts = [("throttle_group_periods", found.periods), ("throttle_group_throttled", found.throttled)];
    for (name, count) in counts {
        report::value(name, "count", Fixed::from_int(count));
    }
    for (name, time) in [
        ("throttle_group_throttled_time", found.throttled_time),
        ("throttle_group_run_time", found.run_time),
        ("throttle_group_debt", found.debt),
    ] {
        report::value(name, "ns", Fixed::from_int(time.as_nanos()));
    }
    let share = Fixed::from_ratio(found.run_time.as_nanos() * 1000, time.as_nanos().max(1));
    report::value("throttle_group_share", "per_mille", share);
    println!("the group: {found:?}");
}
