//! How fast records are written, and what is lost of them: `bench_trace [MARKS] [end|panic|hang]`.
//!
//! A thread on each CPU writes MARKS (100000) records, numbered from 0, as fast as it can; what a record takes is the mean. With
//! `--trace FILE` the host takes them meanwhile, and says how many found no room; what it has is to be without gaps up to the
//! first of those. Then the program ends, panics, or never ends at all: the records are there in each case.
//@ trace: yes
#![no_std]
#![no_main]

use core::hint::spin_loop;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::Builder;
use isochron::trace;
use isochron_apps::arguments::number;

const DEFAULT_MARKS: u64 = 100_000;

#[isochron::main]
fn main() -> u8 {
    let mut words = isochron::args();
    let marks = match words.next().map_or(Ok(DEFAULT_MARKS), |word| number("marks", word, 1, 1 << 32)) {
        Ok(marks) => marks,
        Err(error) => {
            println!("bench_trace: {error}");
            return 2;
        }
    };
    let how = words.next().unwrap_or("end");
    if !["end", "panic", "hang"].contains(&how) || words.next().is_some() {
        println!("bench_trace: say bench_trace MARKS end, panic or hang");
        return 2;
    }
    let writers: Result<Vec<_>, _> = (0..thread::cpu_count()).map(|cpu| writer(CpuId::new(cpu), marks)).collect();
    let took: Option<Vec<_>> = writers.ok().and_then(|all| all.into_iter().map(|writer| writer.join().ok()).collect());
    let Some(took) = took else {
        println!("bench_trace: a writer could not be made, or died");
        return exit::FAILED;
    };
    let total: u64 = took.iter().map(|time| time.as_nanos()).sum();
    report::value("trace_mark", "ns", Fixed::from_ratio(total, marks * took.len() as u64));
    report::value("trace_marks", "count", Fixed::from_int(marks * took.len() as u64));
    match how {
        "panic" => panic!("as was asked for"),
        "hang" => loop {
            spin_loop();
        },
        _ => exit::PASSED,
    }
}

fn writer(cpu: CpuId, marks: u64) -> Result<JoinHandle<Duration>, thread::SpawnError> {
    Builder::new().name(&format!("writer on CPU {cpu}")).pinned(cpu).spawn(move || {
        let started = Instant::now();
        (0..marks).for_each(trace::mark);
        started.elapsed()
    })
}
