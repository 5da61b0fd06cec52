//! What tasks cost: `bench_futures [COUNT]`.
//!
//! * `future_memory`: bytes of the heap for each of COUNT tasks that wait for a message on one channel, all in all, handle and place in
//!   the channel's queue included;
//! * `future_spawn_join`: a task is made and joined by a task, one after the other;
//! * `future_yield`: one of two tasks lets the other go first;
//! * `future_wake`: each of the COUNT tasks that wait is woken and comes to its end.
//!
//! Figures are means. Under `--deterministic` times are instructions; with one CPU (`--cpus 1`) they are those of the tasks alone.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::memory;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::number;

const DEFAULT_COUNT: u64 = 100_000;
const ROUNDS: u64 = 20_000;

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let count = match words[..] {
        [] => Ok(DEFAULT_COUNT),
        [word] => number("the number of tasks", word, 1, 10_000_000).map_err(|error| error.to_string()),
        _ => Err("say bench_futures COUNT".to_string()),
    };
    let count = match count {
        Ok(count) => count,
        Err(error) => {
            println!("bench_futures: {error}");
            return 2;
        }
    };
    spawn_join();
    yields();
    memory_and_wake(count);
    exit::PASSED
}

fn tell(name: &str, unit: &str, value: u64, of: u64) {
    let figure = Fixed::from_ratio(value, of);
    println!("{name:<18} {figure:>8} {unit}");
    report::value(name, unit, figure);
}

fn spawn_join() {
    let rounds = async {
        for n in 0..ROUNDS {
            assert_eq!(spawn_async(async move { n }).await, Ok(n));
        }
    };
    tell("future_spawn_join", "ns", timed(rounds), ROUNDS);
}

fn yields() {
    let yields = || async {
        for _ in 0..ROUNDS {
            future::yield_now().await;
        }
    };
    let both = async move {
        let other = spawn_async(yields());
        yields().await;
        other.await.expect("it ends");
    };
    tell("future_yield", "ns", timed(both), 2 * ROUNDS);
}

/// Nanoseconds that a task takes.
fn timed(work: impl Future<Output = ()> + Send + 'static) -> u64 {
    let timed = spawn_async(async {
        let begin = Instant::now();
        work.await;
        begin.elapsed().as_nanos()
    });
    timed.join().expect("it ends")
}

fn memory_and_wake(count: u64) {
    let (tx, rx) = channel::bounded::<()>(1);
    let begun = Arc::new(AtomicU64::new(0));
    // What is made once is made before.
    spawn_async(async {}).join().expect("it ends");
    let before = memory::stats().heap.used;
    let mut tasks = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let (rx, begun) = (rx.clone(), begun.clone());
        tasks.push(spawn_async(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            rx.recv_async().await.is_err()
        }));
    }
    while begun.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(1));
    }
    sleep(Duration::from_millis(1));
    // The handles among them: 8 bytes each.
    tell("future_memory", "bytes", memory::stats().heap.used.saturating_sub(before), count);
    let begin = Instant::now();
    drop(tx);
    for task in tasks {
        assert_eq!(task.join(), Ok(true));
    }
    tell("future_wake", "ns", begin.elapsed().as_nanos(), count);
}
