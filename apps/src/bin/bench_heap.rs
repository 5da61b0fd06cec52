//! What small blocks cost when they go from CPU to CPU, and when all CPUs allocate at once: `bench_heap [ROUNDS]`.
//!
//! 4096 blocks of 64 bytes, ns for each, while the other CPUs sleep:
//!
//! * `alloc_new_64`: the first time, out of memory that was in no block before;
//! * `free_remote_64`: freed on another CPU than the one that allocated them;
//! * `alloc_returned_64`: allocated again where they were allocated first.
//!
//! `mixed_N`, N = 1, 2, 4 and so on to the number of CPUs: each of N CPUs holds 128 blocks of 16 to 2304 bytes and ROUNDS times
//! gives one back and takes another. The time until the last is done, divided by all that they did together. Under
//! `--deterministic` CPUs take turns, so that is instructions for each pair, and `mixed_share` (`mixed_1` by that of all CPUs)
//! is 1 if CPUs do not slow each other down; where they run at the same time, it is up to N. Each is the least of 5: a CPU's turn
//! may end while it holds the lock, and others that want it then wait for all of theirs, which no real CPU does.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::mem::MaybeUninit;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::arguments::number;
use isochron_apps::measure::on;

const DEFAULT_ROUNDS: u64 = 10_000;
const BLOCKS: usize = 4096;
const TURNS: usize = 5;
const HELD: usize = 128;

type Block = Box<MaybeUninit<[u64; 8]>>;

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let rounds = words.first().map_or(Ok(DEFAULT_ROUNDS), |word| number("the rounds", word, 1, 1_000_000_000));
    let rounds = match rounds {
        Ok(rounds) if words.len() <= 1 => rounds,
        Err(error) => return bad(&error.to_string()),
        _ => return bad("too many arguments: say bench_heap ROUNDS"),
    };
    match remote().and_then(|()| together(rounds)) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("bench_heap: {error}");
            exit::FAILED
        }
    }
}

fn bad(error: &str) -> u8 {
    println!("bench_heap: {error}");
    2
}

fn tell(name: &str, time: Duration, count: u64) {
    let each = Fixed::from_ratio(time.as_nanos(), count);
    println!("{name:20} {each:>8} ns");
    report::value(name, "ns", each);
}

/// What a thread on a CPU gives back.
fn done_on<T: Send + 'static>(cpu: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, SpawnError> {
    match on(CpuId::new(cpu), "bench_heap", work)?.join() {
        Ok(result) => Ok(result),
        Err(death) => panic!("{death}"),
    }
}

/// Takes as many blocks as there is room for, and the time it took.
fn take(mut room: Vec<Block>) -> (Vec<Block>, Duration) {
    let begin = Instant::now();
    for _ in 0..BLOCKS {
        room.push(black_box(Box::new_uninit()));
    }
    (room, begin.elapsed())
}

fn remote() -> Result<(), SpawnError> {
    let other = thread::cpu_count() - 1;
    let room = Vec::with_capacity(BLOCKS);
    let (mut blocks, new) = done_on(0, || take(room))?;
    let (room, freed) = done_on(other, || {
        let begin = Instant::now();
        // The vector stays.
        blocks.drain(..).for_each(|block| drop(black_box(block)));
        (blocks, begin.elapsed())
    })?;
    let (_, again) = done_on(0, || take(room))?;
    for (name, time) in [("alloc_new_64", new), ("free_remote_64", freed), ("alloc_returned_64", again)] {
        tell(name, time, BLOCKS as u64);
    }
    Ok(())
}

/// Gives back one of many blocks and takes another, again and again.
fn mix(seed: u64, rounds: u64) {
    let mut held: Vec<Vec<u8>> = Vec::with_capacity(HELD);
    held.resize_with(HELD, Vec::new);
    let mut random = seed;
    for _ in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = (random >> 33) as usize % HELD;
        // Small ones more often.
        let most = 16 << ((random >> 50) % 8);
        held[place] = Vec::new();
        held[place] = black_box(Vec::with_capacity(most + (random >> 20) as usize % most / 8));
    }
}

fn together(rounds: u64) -> Result<(), SpawnError> {
    let round = |cpus: usize, rounds: u64| -> Result<Duration, SpawnError> {
        let begin = Instant::now();
        let threads = (0..cpus).map(|cpu| on(CpuId::new(cpu), "mixer", move || mix(cpu as u64, rounds)));
        let threads: Vec<_> = threads.collect::<Result<_, _>>()?;
        threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|death| panic!("{death}")));
        Ok(begin.elapsed())
    };
    let all = thread::cpu_count();
    // Spans are there.
    round(all, rounds / 4 + 1)?;
    let least = |cpus| -> Result<Duration, SpawnError> {
        let mut least = round(cpus, rounds)?;
        for _ in 1..TURNS {
            least = least.min(round(cpus, rounds)?);
        }
        Ok(least)
    };
    let alone = least(1)?;
    tell("mixed_1", alone, rounds);
    let mut most = alone.as_nanos();
    for (cpus, name) in [(2, "mixed_2"), (4, "mixed_4"), (8, "mixed_8"), (16, "mixed_16"), (32, "mixed_32")] {
        if cpus <= all {
            let time = least(cpus)?;
            tell(name, time, rounds * cpus as u64);
            most = time.as_nanos() / cpus as u64;
        }
    }
    let share = Fixed::from_ratio(alone.as_nanos(), most.max(1));
    println!("mixed_share          {share:>8}");
    report::value("mixed_share", "x", share);
    Ok(())
}
