//! Requests through a pipeline of threads, beside work that may wait: `pipeline [REQUESTS [APART [WORK [HOGS]]]]`, times in us.
//!
//! A source sends a request every APART, whether or not the ones before are done (so a pipeline that falls behind shows). Each
//! goes through three stages, threads with a channel between them: parse, handle, reply; handling takes WORK of CPU time, the
//! others a tenth of it. HOGS threads compute meanwhile and never give way.
//!
//! * `pipeline_alone`: without the hogs;
//! * `pipeline_plain`: beside them, all of the normal sort;
//! * `pipeline_hints`: beside them, with the stages hinted `Latency` and the hogs `Batch`.
//!
//! All are the time from when the request was due to its reply.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use isochron::channel::{Receiver, Sender};
use isochron::kernel::wire::exit;
use isochron::prelude::*;
use isochron::thread::{Builder, Hint, SpawnError};
use isochron_apps::arguments::numbers;
use isochron_apps::measure::Recorder;

/// Requests that may wait between two stages.
const ROOM: usize = 64;

#[isochron::main]
fn main() -> u8 {
    let wanted = [
        ("the number of requests", 2000, 1, 1_000_000),
        ("the time between two", 200, 1, 1_000_000),
        ("the work of each", 50, 1, 1_000_000),
        ("the number of hogs", 2 * thread::cpu_count() as u64, 0, 10_000),
    ];
    let [requests, apart, work, hogs] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("pipeline: {error}");
            return 2;
        }
    };
    let load = Load { requests, apart: Duration::from_micros(apart), turns: work * turns_in_a_microsecond() };
    let ways = [
        ("pipeline_alone", 0, Hint::Normal, Hint::Normal),
        ("pipeline_plain", hogs, Hint::Normal, Hint::Normal),
        ("pipeline_hints", hogs, Hint::Latency, Hint::Batch),
    ];
    for (name, hogs, stages, others) in ways {
        match beside(hogs, others, || load.run(stages)) {
            Ok(mut latency) => {
                let (p50, p99) = (latency.percentile(50_000) / 1_000_000, latency.percentile(99_000) / 1_000_000);
                println!("{name:15} {p50:>6} us P50 {p99:>6} us P99");
                latency.send(name);
            }
            Err(error) => {
                println!("pipeline: {error}");
                return exit::FAILED;
            }
        }
    }
    exit::PASSED
}

/// Calls `run` while so many hogs are at work.
fn beside<T>(hogs: u64, hint: Hint, run: impl FnOnce() -> Result<T, SpawnError>) -> Result<T, SpawnError> {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..hogs)
        .map(|_| {
            let stop = stop.clone();
            Builder::new().name("hog").hint(hint).spawn(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect::<Result<_, _>>()?;
    let result = run();
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        let _ = hog.join();
    }
    result
}

/// What comes, and what is to be done for it.
#[derive(Clone, Copy)]
struct Load {
    requests: u64,
    apart: Duration,
    /// Work, in turns of a loop.
    turns: u64,
}

impl Load {
    /// How long each request took.
    fn run(self, hint: Hint) -> Result<Recorder, SpawnError> {
        let small = self.turns / 10;
        let (source, raw) = channel::bounded(ROOM);
        let (parser, parsed) = channel::bounded(ROOM);
        let (handler, handled) = channel::bounded(ROOM);
        let builder = || Builder::new().hint(hint);
        let stages = [
            builder().name("parse").spawn(move || stage(&raw, &parser, small))?,
            builder().name("handle").spawn(move || stage(&parsed, &handler, self.turns))?,
        ];
        let reply = builder().name("reply").spawn(move || {
            let mut latency = Recorder::new();
            for due in handled.iter() {
                compute(small);
                latency.record(Instant::now().duration_since(due).as_nanos() * 1000);
            }
            latency
        })?;
        let sending = builder().name("source").spawn(move || {
            let mut due = Instant::now() + self.apart;
            for _ in 0..self.requests {
                sleep_until(due);
                if source.send(due).is_err() {
                    break;
                }
                due += self.apart;
            }
        })?;
        let _ = sending.join();
        for stage in stages {
            let _ = stage.join();
        }
        Ok(reply.join().unwrap_or_default())
    }
}

/// Takes each request, works for it, and passes it on; until there are no more.
fn stage(from: &Receiver<Instant>, to: &Sender<Instant>, turns: u64) {
    for request in from.iter() {
        compute(turns);
        if to.send(request).is_err() {
            break;
        }
    }
}

/// Work that is the same however often the CPU is taken away.
fn compute(turns: u64) {
    for turn in 0..turns {
        black_box(turn);
    }
}

fn turns_in_a_microsecond() -> u64 {
    const TURNS: u64 = 1_000_000;
    let begun = Instant::now();
    compute(TURNS);
    (TURNS * 1000 / begun.elapsed().as_nanos().max(1)).max(1)
}
