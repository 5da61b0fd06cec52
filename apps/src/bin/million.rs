//! A million threads that are alive at once: each is made, parks, is woken once, and is joined: `million [THREADS]`.
//!
//! They are packed: block and stack in one slot of 1 KiB. A million of them need a machine with 2 GiB:
//! `cargo run -- run million --memory 2048`.
//!
//! * `bytes_each`: what the machine has less, for each, while all are parked: slots, page tables, handles.
//! * `make_each`, `wake_each`: time by threads, from the first that is made to the last that has parked, and from the first
//!   `unpark` to the return of the last `join`.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::wire::{Fixed, exit};
use isochron::kernel::{memory, report};
use isochron::prelude::*;
use isochron::thread::{Builder, JoinHandle, SlotSize};
use isochron_apps::arguments::number;

const DEFAULT_THREADS: u64 = 1_000_000;

/// Threads that have begun, and threads that were woken.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static WOKEN: AtomicU64 = AtomicU64::new(0);

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let threads = match words[..] {
        [] => Ok(DEFAULT_THREADS),
        [word] => number("the number of threads", word, 1, 100_000_000).map_err(|error| error.to_string()),
        _ => Err("say million THREADS".to_string()),
    };
    match threads.and_then(measure) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("million: {error}");
            2
        }
    }
}

fn measure(count: u64) -> Result<(), String> {
    let before = memory::stats();
    let begin = Instant::now();
    let threads = parked(count)?;
    let made = begin.elapsed();
    let after = memory::stats();
    if let Some(ended) = threads.iter().find(|thread| thread.is_finished()) {
        return Err(format!("{:?} has ended before it was woken", ended.thread()));
    }
    report::value("threads", "count", Fixed::from_int(count));
    report::value("bytes_each", "bytes", Fixed::from_ratio(before.free.saturating_sub(after.free), count));
    report::value("make_each", "ns", Fixed::from_ratio(made.as_nanos(), count));

    let begin = Instant::now();
    threads.iter().for_each(|thread| thread.thread().unpark());
    for thread in threads {
        thread.join().map_err(|death| format!("a thread died: {death}"))?;
    }
    report::value("wake_each", "ns", Fixed::from_ratio(begin.elapsed().as_nanos(), count));
    match WOKEN.load(Ordering::Relaxed) {
        woken if woken == count => Ok(()),
        woken => Err(format!("{woken} of {count} threads were woken")),
    }
}

/// So many threads, all of which have begun, and wait.
fn parked(count: u64) -> Result<Vec<JoinHandle<()>>, String> {
    let mut threads = Vec::new();
    threads.try_reserve_exact(count as usize).map_err(|_| "no memory for the handles".to_string())?;
    for number in 0..count {
        let thread = Builder::new().spawn_packed(SlotSize::Kib1, || {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            park();
            WOKEN.fetch_add(1, Ordering::Relaxed);
        });
        threads.push(thread.map_err(|error| format!("thread {number} of {count}: {error}"))?);
    }
    while BEGUN.load(Ordering::Relaxed) < count {
        yield_now();
    }
    // The last of them may be on their way, on another CPU.
    sleep(Duration::from_millis(1));
    Ok(threads)
}
