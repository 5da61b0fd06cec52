//! What a stack that grows as it is used costs, and what it saves: `stack_growth [THREADS]`.
//!
//! * `growth_each`: one page fault, from the access to the next instruction: pages of one stack in turn, less the same
//!   accesses once more.
//! * `trim_each`: giving one such page back, with all CPUs told where that has to be.
//! * `deep_cold`, `deep_warm`: `spawn` and `join` of a thread that touches 64 KiB of its stack, on one that has to grow for it and on
//!   one that has grown.
//! * `bytes_each`: what the machine has less for each of so many threads with stacks of 256 KiB that are parked: pages, tables, blocks.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::boot::layout::PAGE_SIZE;
use isochron::kernel::wire::{Fixed, exit};
use isochron::kernel::{memory, report};
use isochron::prelude::*;
use isochron::thread::{Builder, JoinHandle, current_cpu, stack_range, trim_stacks};
use isochron_apps::arguments::number;

const DEFAULT_THREADS: u64 = 1000;
/// Bytes at the top of a stack that it has from the beginning.
const FIRST: usize = 2 * PAGE_SIZE;
/// Pages that one stack grows by.
const PAGES: u64 = 200;
const DEEP: usize = 64 << 10;

static BEGUN: AtomicU64 = AtomicU64::new(0);

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let threads = match words[..] {
        [] => Ok(DEFAULT_THREADS),
        [word] => number("the number of threads", word, 1, 1_000_000).map_err(|error| error.to_string()),
        _ => Err("say stack_growth THREADS".to_string()),
    };
    match threads.and_then(measure) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("stack_growth: {error}");
            2
        }
    }
}

fn measure(threads: u64) -> Result<(), String> {
    // One CPU's stock of stacks is what is measured.
    isochron::thread::pin_to(current_cpu()).map_err(|error| error.to_string())?;
    let (first, again) = joined(deep(1 << 20, || (touch(PAGES), touch(PAGES)))?)?;
    report::value("growth_each", "ns", Fixed::from_ratio(first.saturating_sub(again), PAGES));

    let begin = Instant::now();
    let bytes = trim_stacks() as u64;
    let took = begin.elapsed().as_nanos();
    if bytes > 0 {
        report::value("trim_each", "ns", Fixed::from_ratio(took, bytes / PAGE_SIZE as u64));
    }

    let down = (DEEP - FIRST) / PAGE_SIZE;
    let (mut cold, mut warm) = (0, 0);
    const ROUNDS: u64 = 50;
    for _ in 0..ROUNDS {
        trim_stacks();
        for sum in [&mut cold, &mut warm] {
            let begin = Instant::now();
            joined(deep(256 << 10, move || touch(down as u64))?)?;
            *sum += begin.elapsed().as_nanos();
        }
    }
    report::value("deep_cold", "ns", Fixed::from_ratio(cold, ROUNDS));
    report::value("deep_warm", "ns", Fixed::from_ratio(warm, ROUNDS));
    parked(threads)
}

/// A thread on this CPU.
fn deep<T: Send + 'static>(size: usize, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, String> {
    Builder::new().pinned(current_cpu()).stack_size(size).spawn(body).map_err(|error| error.to_string())
}

fn joined<T>(thread: JoinHandle<T>) -> Result<T, String> {
    thread.join().map_err(|death| death.to_string())
}

/// Writes to so many pages of the running thread's stack, from the first that is not there from the beginning down. How long it
/// took.
fn touch(pages: u64) -> u64 {
    let edge = stack_range().end.next_multiple_of(PAGE_SIZE) - FIRST;
    let begin = Instant::now();
    for page in 1..=pages as usize {
        // SAFETY: so far down nothing of this thread's is on its stack.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(edge - page * PAGE_SIZE).write_volatile(1) };
    }
    begin.elapsed().as_nanos()
}

fn parked(count: u64) -> Result<(), String> {
    let mut threads = Vec::with_capacity(count as usize);
    trim_stacks();
    let before = memory::stats();
    for _ in 0..count {
        let body = || {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            park();
        };
        threads.push(Builder::new().stack_size(256 << 10).spawn(body).map_err(|error| error.to_string())?);
    }
    while BEGUN.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(1));
    }
    let after = memory::stats();
    report::value("threads", "count", Fixed::from_int(count));
    report::value("bytes_each", "bytes", Fixed::from_ratio(before.free.saturating_sub(after.free), count));
    for thread in threads {
        thread.thread().unpark();
        joined(thread)?;
    }
    Ok(())
}
