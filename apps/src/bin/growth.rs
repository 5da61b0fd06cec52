//! What a switch, a wake-up and a steal cost with so many threads there: `growth [THREADS]`; CPUs as the machine has them.
//!
//! * `switch`: all threads take turns on CPU 0; time by yields.
//! * `wake`: all threads are parked, are woken one after another by a thread of CPU 0, run, and park again; time by threads.
//! * `steal`: the same, but the thread that wakes stays on CPU 0 and lets nobody else run there, so that the other CPUs
//!   have to fetch all of them (with two CPUs or more).
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::{Builder, JoinHandle, PreemptGuard};
use isochron_apps::arguments::number;

const DEFAULT_THREADS: u64 = 1000;
/// Yields that are timed, all threads together, if the threads are not more.
const YIELDS: u64 = 100_000;
/// Wake-ups that are timed, all rounds together.
const WAKES: u64 = 20_000;

static DONE: AtomicU64 = AtomicU64::new(0);
static BEGUN: AtomicU64 = AtomicU64::new(0);

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let threads = match words[..] {
        [] => Ok(DEFAULT_THREADS),
        [word] => number("the number of threads", word, 1, 10_000_000).map_err(|error| error.to_string()),
        _ => Err("say growth THREADS".to_string()),
    };
    let threads = match threads {
        Ok(threads) => threads,
        Err(error) => {
            println!("growth: {error}");
            return 2;
        }
    };
    if thread::pin_to(CpuId::new(0)).is_err() {
        return exit::FAILED;
    }
    report::value("threads", "count", Fixed::from_int(threads));
    tell("switch", switch(threads.max(2)));
    tell("wake", wake(threads, true));
    if thread::cpu_count() > 1 {
        tell("steal", wake(threads, false));
    }
    exit::PASSED
}

fn tell(name: &str, (time, count): (Duration, u64)) {
    report::value(name, "ns", Fixed::from_ratio(time.as_nanos(), count));
}

fn made(here: bool, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let builder = Builder::new().stack_size(4096);
    let builder = if here { builder.pinned(CpuId::new(0)) } else { builder };
    match builder.spawn(body) {
        Ok(thread) => thread,
        Err(error) => panic!("a thread cannot be made: {error}"),
    }
}

fn ended(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("it ends by itself");
    }
}

fn switch(threads: u64) -> (Duration, u64) {
    let turns = (YIELDS / threads).max(3);
    let all: Vec<_> = (0..threads)
        .map(|_| {
            made(true, move || {
                park();
                (0..turns).for_each(|_| yield_now());
            })
        })
        .collect();
    yield_now();
    let begin = {
        // Nobody takes a turn before the clock runs, however long this takes.
        let _here = PreemptGuard::new();
        all.iter().for_each(|thread| thread.thread().unpark());
        Instant::now()
    };
    ended(all);
    (begin.elapsed(), threads * turns)
}

fn wake(threads: u64, here: bool) -> (Duration, u64) {
    let rounds = (WAKES / threads).max(1);
    DONE.store(0, Ordering::Relaxed);
    BEGUN.store(0, Ordering::Relaxed);
    let all: Vec<_> = (0..threads)
        .map(|_| {
            made(here, move || {
                BEGUN.fetch_add(1, Ordering::Relaxed);
                for _ in 0..rounds {
                    park();
                    DONE.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while BEGUN.load(Ordering::Relaxed) < threads {
        yield_now();
    }
    // The last of them park.
    sleep(Duration::from_millis(1));
    let mut time = Duration::ZERO;
    for round in 1..=rounds {
        let begin = Instant::now();
        for thread in &all {
            thread.thread().unpark();
        }
        while DONE.load(Ordering::Relaxed) < round * threads {
            if here {
                yield_now();
            } else {
                // What an emulator takes as a sign to go on with another CPU.
                isochron::kernel::arch::cpu::spin_hint();
            }
        }
        time = time + begin.elapsed();
        // Those that have counted are on their way to park again.
        if !here {
            sleep(Duration::from_micros(10 + threads / 10));
        }
    }
    ended(all);
    (time, rounds * threads)
}
