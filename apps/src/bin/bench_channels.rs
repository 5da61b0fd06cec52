//! How many messages a second go through one channel: `bench_channels [MESSAGES [CAPACITY [ROUNDS]]]`.
//!
//! A round of `channel_throughput_S_R`: S threads send MESSAGES numbers in all, R threads receive them. The clock runs
//! from before the first thread is made until all are joined, so what threads cost is in it, spread over all messages.
//! Threads are free to go to any CPU. Reported is the median of all rounds, for a channel of CAPACITY messages and for an
//! unbounded one; `channel_message_S_R` is the same as a time for each message, which under `--deterministic` on one
//! CPU counts instructions.
#![no_std]
#![no_main]

use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::number;

/// Senders and receivers, and what the results are called.
const SHAPES: [(u64, u64, &str); 3] = [(1, 1, "1_1"), (4, 1, "4_1"), (4, 4, "4_4")];

#[derive(Clone, Copy)]
struct Options {
    messages: u64,
    capacity: usize,
    rounds: u64,
}

#[isochron::main]
fn main() -> u8 {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            println!("bench_channels: {error}");
            return 2;
        }
    };
    let mut passed = true;
    for (senders, receivers, shape) in SHAPES {
        for bounded in [true, false] {
            let kind = if bounded { "" } else { "unbounded_" };
            match median(options, senders, receivers, bounded) {
                Some(time) => send(&format!("{kind}{shape}"), options.messages, time),
                None => {
                    println!("bench_channels: {kind}{shape}: messages were lost, or came twice");
                    passed = false;
                }
            }
        }
    }
    if passed { exit::PASSED } else { exit::FAILED }
}

fn options() -> Result<Options, String> {
    let words: Vec<&str> = isochron::args().collect();
    let read = |index: usize, what, usual, least, most| {
        words.get(index).map_or(Ok(usual), |word| number(what, word, least, most).map_err(|error| error.to_string()))
    };
    if words.len() > 3 {
        return Err("too many arguments: say bench_channels MESSAGES CAPACITY ROUNDS".into());
    }
    Ok(Options {
        messages: read(0, "MESSAGES", 200_000, 4, 1_000_000_000)? / 4 * 4,
        capacity: read(1, "CAPACITY", 1024, 0, 1 << 20)? as usize,
        rounds: read(2, "ROUNDS", 5, 1, 1000)?,
    })
}

fn send(name: &str, messages: u64, time: Duration) {
    let ns = time.as_nanos().max(1);
    report::value(&format!("channel_throughput_{name}"), "M/s", Fixed::from_ratio(messages * 1_000_000, ns * 1000));
    report::value(&format!("channel_message_{name}"), "ns", Fixed::from_ratio(ns, messages));
}

/// The middle of all rounds' times; `None` if something else came out than went in.
fn median(options: Options, senders: u64, receivers: u64, bounded: bool) -> Option<Duration> {
    let mut times = Vec::new();
    for _ in 0..options.rounds {
        times.push(round(options, senders, receivers, bounded)?);
    }
    times.sort_unstable();
    Some(times[times.len() / 2])
}

fn round(options: Options, senders: u64, receivers: u64, bounded: bool) -> Option<Duration> {
    let each = options.messages / senders;
    let begin = Instant::now();
    let (tx, rx) = if bounded { channel::bounded::<u64>(options.capacity) } else { channel::unbounded() };
    let receiving: Vec<_> = (0..receivers)
        .map(|_| {
            let rx = rx.clone();
            spawn(move || rx.iter().fold((0, 0), |(count, sum), number| (count + 1, sum + number)))
        })
        .collect();
    drop(rx);
    let sending: Vec<_> = (0..senders)
        .map(|sender| {
            let tx = tx.clone();
            spawn(move || (sender * each..(sender + 1) * each).all(|number| tx.send(number).is_ok()))
        })
        .collect();
    drop(tx);
    let sent = sending.into_iter().all(|thread| thread.join().unwrap_or(false));
    let got = receiving.into_iter().filter_map(|thread| thread.join().ok()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let time = begin.elapsed();
    (sent && got == (options.messages, (0..options.messages).sum())).then_some(time)
}
