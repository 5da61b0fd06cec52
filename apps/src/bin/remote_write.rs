//! Samples that are sent to a remote store: `remote_write [SAMPLES [SHARDS [BATCH [TRIP]]]]`, the trip in us.
//!
//! A producer appends samples, ten at a time each 100 us; each goes by its number to one of SHARDS queues with room for 1024, where
//! it waits if it is full. A shard sends what waits, BATCH samples at the most, and waits for the answer, which takes TRIP
//! (a timer, as the network is to who waits for its interrupt); every tenth answer is a refusal, and the batch is sent again after a
//! pause that doubles.
//!
//! * `remote_write_single`: one shard, one sample at a time;
//! * `remote_write_batch`: one shard, in batches;
//! * `remote_write_shards`: SHARDS shards, in batches.
//!
//! All are the time from when a sample was due to when the remote store has it. `remote_write_lost` is how many it never got: 0.
#![no_std]
#![no_main]

use isochron::channel::Receiver;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::numbers;
use isochron_apps::measure::Recorder;

/// Samples that a shard has room for.
const ROOM: usize = 1024;
/// Samples that are appended at a time, and how far apart.
const AT_ONCE: u64 = 10;
const APART: Duration = Duration::from_micros(100);
/// The first pause after a refusal.
const PAUSE: Duration = Duration::from_micros(100);

#[isochron::main]
fn main() -> u8 {
    let wanted = [
        ("the number of samples", 4000, 1, 10_000_000),
        ("the number of shards", 4, 1, 1000),
        ("the largest batch", 100, 1, 1024),
        ("the trip", 500, 1, 1_000_000),
    ];
    let [samples, shards, batch, trip] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("remote_write: {error}");
            return 2;
        }
    };
    let mut lost = 0;
    for (name, shards, batch) in
        [("remote_write_single", 1, 1), ("remote_write_batch", 1, batch), ("remote_write_shards", shards, batch)]
    {
        let mut delay = run(samples, shards, batch as usize, Duration::from_micros(trip));
        let (p50, p99) = (delay.percentile(50_000) / 1_000_000, delay.percentile(99_000) / 1_000_000);
        println!("{name:20} {p50:>7} us P50 {p99:>7} us P99");
        lost += samples - delay.count();
        delay.send(name);
    }
    report::value("remote_write_lost", "count", Fixed::from_int(lost));
    if lost == 0 { exit::PASSED } else { exit::FAILED }
}

/// How long each sample took to be with the remote store.
fn run(samples: u64, shards: u64, batch: usize, trip: Duration) -> Recorder {
    let (queues, senders): (Vec<_>, Vec<_>) = (0..shards)
        .map(|_| {
            let (append, queue) = channel::bounded(ROOM);
            (append, spawn(move || send_all(&queue, batch, trip)))
        })
        .unzip();
    let mut due = Instant::now();
    for sample in 0..samples {
        if sample % AT_ONCE == 0 {
            due += APART;
            sleep_until(due);
        }
        if queues[(sample % shards) as usize].send(due).is_err() {
            break;
        }
    }
    drop(queues);
    let mut delay = Recorder::new();
    senders.into_iter().filter_map(|sender| sender.join().ok()).flatten().for_each(|ps| delay.record(ps));
    delay
}

/// A shard, until its queue is closed and empty.
fn send_all(queue: &Receiver<Instant>, most: usize, trip: Duration) -> Vec<u64> {
    let (mut done, mut batch, mut trips) = (Vec::new(), Vec::new(), 0u64);
    while let Ok(first) = queue.recv() {
        batch.push(first);
        batch.extend(queue.try_iter().take(most - 1));
        let mut pause = PAUSE;
        loop {
            sleep(trip);
            trips += 1;
            if !trips.is_multiple_of(10) {
                break;
            }
            sleep(pause);
            pause = Duration::from_nanos(pause.as_nanos() * 2);
        }
        let now = Instant::now();
        done.extend(batch.drain(..).map(|due| now.duration_since(due).as_nanos() * 1000));
    }
    done
}
