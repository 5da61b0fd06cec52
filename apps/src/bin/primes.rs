//! Counts primes in threads over a channel and tells the speed-up over one thread: `primes [THREADS [LIMIT]]`.
#![no_std]
#![no_main]

use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::number;

/// Numbers a thread looks at before it sends what it found: short enough that all end at nearly the same time.
const CHUNK: u32 = 500;

const DEFAULT_THREADS: u32 = 4;
const DEFAULT_LIMIT: u32 = 100_000;

#[isochron::main]
fn main() -> u8 {
    let (threads, limit) = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("primes: {error}");
            return 2;
        }
    };
    let (alone, one_thread) = timed(1, limit);
    let (found, time) = timed(threads, limit);
    println!("{found} primes in [2, {limit}], counted by {threads} threads in {time}");
    if found != alone {
        println!("primes: one thread found {alone}");
        return exit::FAILED;
    }
    let speed_up = Fixed::from_ratio(one_thread.as_nanos(), time.as_nanos());
    let thousandths = speed_up.thousandths();
    println!("One thread takes {one_thread}: {}.{:03} times as long.", thousandths / 1000, thousandths % 1000);
    report::value("primes_found", "count", Fixed::from_int(found));
    report::value("primes_threads", "count", Fixed::from_int(threads.into()));
    report::value("primes_time", "ns", Fixed::from_int(time.as_nanos()));
    report::value("primes_time_one_thread", "ns", Fixed::from_int(one_thread.as_nanos()));
    report::value("primes_speed_up", "x", speed_up);
    exit::PASSED
}

/// How many threads, and up to which number; or what is wrong.
fn arguments() -> Result<(u32, u32), String> {
    let words: Vec<&str> = isochron::args().collect();
    let read = |index: usize, what, default, least, most| match words.get(index) {
        None => Ok(default),
        Some(word) => number(what, word, least, most).map(|number| number as u32).map_err(|error| error.to_string()),
    };
    match words.get(2) {
        None => Ok((
            read(0, "the number of threads", DEFAULT_THREADS, 1, 1000)?,
            read(1, "the limit", DEFAULT_LIMIT, 2, 100_000_000)?,
        )),
        Some(extra) => Err(format!("`{extra}` is one argument too many: say primes THREADS LIMIT")),
    }
}

/// The primes in [2, `limit`] and the time that `threads` threads take to count them.
fn timed(threads: u32, limit: u32) -> (u64, Duration) {
    let begin = Instant::now();
    let found = count(threads, limit);
    (found, begin.elapsed())
}

fn count(threads: u32, limit: u32) -> u64 {
    let (tx, rx) = channel::bounded(threads as usize * 2);
    for thread in 0..threads {
        let tx = tx.clone();
        // Every thread takes each so-manieth chunk: large numbers take longer, and so all get their share of them.
        let mine = (0..=limit / CHUNK).skip(thread as usize).step_by(threads as usize);
        spawn(move || {
            for chunk in mine {
                let first = (chunk * CHUNK).max(2);
                let last = chunk.saturating_mul(CHUNK).saturating_add(CHUNK - 1).min(limit);
                let primes = (first..=last).filter(|&n| is_prime(n)).count() as u64;
                if tx.send(primes).is_err() {
                    return;
                }
            }
        })
        .detach();
    }
    // The receiver's end comes with the last sender's.
    drop(tx);
    rx.iter().sum()
}

fn is_prime(n: u32) -> bool {
    if n < 4 || n.is_multiple_of(2) {
        return n == 2 || n == 3;
    }
    let mut divisor = 3;
    while divisor * divisor <= n {
        if n.is_multiple_of(divisor) {
            return false;
        }
        divisor += 2;
    }
    true
}
