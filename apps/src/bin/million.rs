//! A million threads that are alive at once: each is made, parks, is woken once, and is joined: `million [THREADS]`.
//!
//! They are packed: block and stack in one slot of 1 KiB. A million of them need a machine with 2 GiB:
//! `cargo run -- run million --memory 2048`.
//!
//! * `bytes_each`: what the machine has less, for each, while all are parked: slots, page tables, handles.
//! * `make_each`, `wake_each`: time by threads, from the first that is made to the last that has parked, and from the first
//!   `unpark` to the return of the last `join`.
//!
//! Then once more, and while all are parked they are folded:
//! * `folded_bytes_each`: what the machine has less, for each, then: records in place of slots.
//! * `folded_pages`, `fold_page`, `unfold_page`: how many pages that were; what it takes to fold one, and to touch one that is folded.
//! * `wake_folded_each`: as `wake_each`, of folded threads (but for an eighth, which were touched before).
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::boot::layout::PAGE_SIZE;
use isochron::kernel::wire::{Fixed, exit};
use isochron::kernel::{memory, report};
use isochron::prelude::*;
use isochron::thread::{self, Builder, JoinHandle, SlotSize, folded};
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
    report::value("threads", "count", Fixed::from_int(count));
    let before = memory::stats().free;
    let threads = parked(count, Some("make_each"))?;
    report::value("bytes_each", "bytes", each(before, count));
    wake(threads, "wake_each")?;

    let threads = parked(count, None)?;
    let (bytes, took) = timed(|| thread::fold_parked(Duration::ZERO));
    let pages = (bytes / PAGE_SIZE) as u64;
    report::value("folded_bytes_each", "bytes", each(before, count));
    report::value("folded_pages", "count", Fixed::from_int(pages));
    if pages > 0 {
        report::value("fold_page", "ns", Fixed::from_ratio(took.as_nanos(), pages));
        unfold_some(&threads);
    }
    wake(threads, "wake_folded_each")
}

/// What the machine has less than before, for each.
fn each(before: u64, count: u64) -> Fixed {
    Fixed::from_ratio(before.saturating_sub(memory::stats().free), count)
}

/// Has a look at an eighth of the threads, which unfolds the pages that they are in.
fn unfold_some(threads: &[JoinHandle<()>]) {
    let before = folded().pages;
    let (numbers, took) =
        timed(|| threads.iter().take(threads.len() / 8).map(|thread| thread.thread().id()).sum::<u64>());
    core::hint::black_box(numbers);
    let pages = before.saturating_sub(folded().pages) as u64;
    if pages > 0 {
        report::value("unfold_page", "ns", Fixed::from_ratio(took.as_nanos(), pages));
    }
}

/// Wakes each once, and waits for its end.
fn wake(threads: Vec<JoinHandle<()>>, name: &'static str) -> Result<(), String> {
    let count = threads.len() as u64;
    let (ends, took) = timed(|| {
        threads.iter().for_each(|thread| thread.thread().unpark());
        threads.into_iter().try_for_each(JoinHandle::join)
    });
    ends.map_err(|death| format!("a thread died: {death}"))?;
    report::value(name, "ns", Fixed::from_ratio(took.as_nanos(), count));
    match WOKEN.swap(0, Ordering::Relaxed) {
        woken if woken == count => Ok(()),
        woken => Err(format!("{woken} of {count} threads were woken")),
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

/// So many threads, all of which have begun, and wait.
fn parked(count: u64, name: Option<&'static str>) -> Result<Vec<JoinHandle<()>>, String> {
    let begin = Instant::now();
    BEGUN.store(0, Ordering::Relaxed);
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
    if let Some(name) = name {
        report::value(name, "ns", Fixed::from_ratio(begin.elapsed().as_nanos(), count));
    }
    match threads.iter().find(|thread| thread.is_finished()) {
        Some(ended) => Err(format!("{:?} has ended before it was woken", ended.thread())),
        None => Ok(threads),
    }
}
