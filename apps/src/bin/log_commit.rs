//! A log that clients wait for, with and without a batch window: `log_commit [CLIENTS [COMMITS [WINDOW [FLUSH]]]]`, times in us.
//!
//! CLIENTS threads write a record each and wait until it is on disk, over and over, COMMITS times each. The disk takes FLUSH for
//! each flush, however much is flushed (it is a timer, as a disk is to who waits for its interrupt). One thread has the log:
//!
//! * `log_commit_each`: it flushes for each record by itself;
//! * `log_commit_batch`: it takes all that comes within WINDOW after the first record, and flushes once for all.
//!
//! Both are the time from a client's record to the answer that it is safe; `log_commit_flushes_...` say how many flushes it took.
#![no_std]
#![no_main]

use isochron::channel::{Receiver, Sender};
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::numbers;
use isochron_apps::measure::Recorder;

/// A client's own work between two commits.
const THINKS: Duration = Duration::from_micros(50);

#[isochron::main]
fn main() -> u8 {
    let wanted = [
        ("the number of clients", 64, 1, 10_000),
        ("the number of commits", 50, 1, 1_000_000),
        ("the window", 200, 1, 1_000_000),
        ("the time of a flush", 200, 1, 1_000_000),
    ];
    let [clients, commits, window, flush] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("log_commit: {error}");
            return 2;
        }
    };
    let flush = Duration::from_micros(flush);
    let ways = [
        ("log_commit_each", "log_commit_flushes_each", None),
        ("log_commit_batch", "log_commit_flushes_batch", Some(Duration::from_micros(window))),
    ];
    for (name, flushes_name, window) in ways {
        let (mut latency, flushes) = run(clients, commits, window, flush);
        let (p50, p99) = (latency.percentile(50_000) / 1_000_000, latency.percentile(99_000) / 1_000_000);
        println!("{name:17} {p50:>6} us P50 {p99:>6} us P99, {flushes} flushes");
        latency.send(name);
        report::value(flushes_name, "count", Fixed::from_int(flushes));
    }
    exit::PASSED
}

/// What the clients waited, and the number of flushes.
fn run(clients: u64, commits: u64, window: Option<Duration>, flush: Duration) -> (Recorder, u64) {
    let (log, records) = channel::bounded::<Sender<()>>(clients as usize);
    let disk = spawn(move || write(&records, window, flush));
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let log = log.clone();
            spawn(move || client(&log, commits))
        })
        .collect();
    drop(log);
    let mut latency = Recorder::new();
    for waited in clients.into_iter().filter_map(|client| client.join().ok()).flatten() {
        latency.record(waited);
    }
    (latency, disk.join().unwrap_or(0))
}

fn client(log: &Sender<Sender<()>>, commits: u64) -> Vec<u64> {
    let (safe, is_safe) = channel::bounded(1);
    let commit = |_| {
        let begun = Instant::now();
        log.send(safe.clone()).ok()?;
        is_safe.recv().ok()?;
        let waited = begun.elapsed().as_nanos() * 1000;
        sleep(THINKS);
        Some(waited)
    };
    (0..commits).filter_map(commit).collect()
}

/// The thread that has the log, until no client is left.
fn write(records: &Receiver<Sender<()>>, window: Option<Duration>, flush: Duration) -> u64 {
    let (mut batch, mut flushes) = (Vec::new(), 0);
    while let Ok(first) = records.recv() {
        batch.push(first);
        if let Some(window) = window {
            let closes = Instant::now() + window;
            while let Ok(more) = records.recv_deadline(closes) {
                batch.push(more);
            }
        }
        sleep(flush);
        flushes += 1;
        for client in batch.drain(..) {
            // It may have died.
            let _ = client.send(());
        }
    }
    flushes
}
