//! A queue for each CPU with stealing, against one queue for all: `bench_queues [THREADS [WORK]]`.
//!
//! Every second CPU makes threads in batches of 64, each of which goes WORK times round a loop and ends, THREADS in all; the
//! others have nothing of their own. Figures are threads run in a millisecond:
//!
//! * `queues_local`: through the CPUs' own queues, as always;
//! * `queues_shared`: each thread through one queue for its node (`worker::set_one_queue`), the rest being the same;
//! * `queues_threshold_N`: own queues, with thieves that leave victims alone where fewer than N wait;
//! * `queues_back_off_N`: own queues, with N spin hints before the second look of a search (it doubles from there).
//!
//! And in ns, on one CPU while the others are kept busy, what a thread costs from its wake-up through its run of a few
//! instructions to its next wait, by where it waited for the CPU: `origin_own`, its own queue; `origin_shared`, the node's;
//! `origin_mixed`, every second one there. Means of 32 at a time. Under `--deterministic` say `--cpus 1`: what the busy ones
//! execute would count.
//!
//! `steals_sibling` to `steals_far` say from how far thieves took threads, over all.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::policy::Region;
use isochron::prelude::*;
use isochron::thread::{Builder, PreemptGuard, SpawnError};
use isochron::worker::{self, StealThresholds};
use isochron_apps::arguments::number;
use isochron_apps::measure::on;

const DEFAULT_THREADS: u64 = 20_000;
const DEFAULT_WORK: u64 = 500;
const BATCH: u64 = 64;
const TURNS: usize = 4;

const THRESHOLDS: [(&str, u32); 4] =
    [("queues_threshold_1", 1), ("queues_threshold_2", 2), ("queues_threshold_4", 4), ("queues_threshold_8", 8)];
const BACK_OFFS: [(&str, u32); 4] =
    [("queues_back_off_0", 0), ("queues_back_off_4", 4), ("queues_back_off_64", 64), ("queues_back_off_1024", 1024)];

/// Threads of one round of the second part, and rounds.
const SLEEPERS: u64 = 32;
const ROUNDS: u64 = 300;

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let read = |index: usize, what, default, least, most| {
        words.get(index).map_or(Ok(default), |word| number(what, word, least, most).map_err(|error| error.to_string()))
    };
    let (threads, work) = match (
        read(0, "the number of threads", DEFAULT_THREADS, 64, 10_000_000),
        read(1, "the work of each", DEFAULT_WORK, 0, 1_000_000),
    ) {
        (Ok(threads), Ok(work)) if words.len() <= 2 => (threads, work),
        (Err(error), _) | (_, Err(error)) => return bad(&error),
        _ => return bad("too many arguments: say bench_queues THREADS WORK"),
    };
    match run(threads, work) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("bench_queues: {error}");
            exit::FAILED
        }
    }
}

fn bad(error: &str) -> u8 {
    println!("bench_queues: {error}");
    2
}

fn run(threads: u64, work: u64) -> Result<(), Box<dyn core::error::Error>> {
    let label = Region::new(0)?;
    // In turns, so that a change of the machine's pace meets both; the first pair is not counted.
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        rates[0].push(throughput(threads, work, None)?);
        worker::set_one_queue(true);
        let shared = throughput(threads, work, Some(label));
        worker::set_one_queue(false);
        rates[1].push(shared?);
    }
    let [local, shared] = rates.map(|rates| median(&rates[1..]));
    tell("queues_local", local);
    tell("queues_shared", shared);
    report::value("queues_local_to_shared", "x", Fixed::from_ratio(local, shared.max(1)));
    for (name, threshold) in THRESHOLDS {
        let [sibling, cache, node, far] = [threshold; 4];
        worker::set_steal_thresholds(StealThresholds { sibling, cache, node, far })?;
        tell(name, throughput(threads, work, None)?);
    }
    worker::set_steal_thresholds(StealThresholds::default())?;
    for (name, hints) in BACK_OFFS {
        worker::set_steal_back_off(hints)?;
        tell(name, throughput(threads, work, None)?);
    }
    worker::set_steal_back_off(worker::DEFAULT_STEAL_BACK_OFF)?;
    for (name, every) in [("origin_own", 0), ("origin_mixed", 2), ("origin_shared", 1)] {
        origin(name, every, label)?;
    }
    steals();
    Ok(())
}

fn median(rates: &[u64]) -> u64 {
    let mut sorted = rates.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn tell(name: &str, per_second: u64) {
    println!("{name:22} {:>6} threads/ms", per_second / 1000);
    report::value(name, "1/ms", Fixed::from_ratio(per_second, 1000));
}

/// Threads in a second.
fn throughput(threads: u64, work: u64, label: Option<Region>) -> Result<u64, SpawnError> {
    let makers = thread::cpu_count().div_ceil(2) as u64;
    let begin = Instant::now();
    let making: Vec<_> = (0..makers)
        .map(|maker| {
            let batches = (threads / makers).div_ceil(BATCH);
            on(CpuId::new(maker as usize * 2), "maker", move || (0..batches).try_for_each(|_| batch(work, label)))
        })
        .collect::<Result<_, _>>()?;
    let done = (threads / makers).div_ceil(BATCH) * BATCH * makers;
    for maker in making {
        maker.join().unwrap_or(Ok(()))?;
    }
    Ok(done * 1_000_000_000 / begin.elapsed().as_nanos().max(1))
}

fn batch(work: u64, label: Option<Region>) -> Result<(), SpawnError> {
    let builder = label.map_or(Builder::new(), |label| Builder::new().region(label));
    let threads: Vec<_> = (0..BATCH)
        .map(|_| {
            builder.clone().spawn(move || {
                for turn in 0..work {
                    black_box(turn);
                }
            })
        })
        .collect::<Result<_, _>>()?;
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// What a woken thread costs, where each `every`-th waits in the shared queue (0: none).
fn origin(name: &'static str, every: u64, label: Region) -> Result<(), SpawnError> {
    let busy = Arc::new(AtomicBool::new(true));
    let hogs: Vec<_> = (1..thread::cpu_count())
        .map(|cpu| {
            let busy = busy.clone();
            on(CpuId::new(cpu), "hog", move || {
                let _here = PreemptGuard::new();
                while busy.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect::<Result<_, _>>()?;
    worker::set_one_queue(every > 0);
    let ns = on(CpuId::PRIMARY, "waker", move || wake_all(every, label))?.join().unwrap_or(Ok(Fixed::from_int(0)));
    worker::set_one_queue(false);
    busy.store(false, Ordering::Relaxed);
    hogs.into_iter().for_each(|hog| {
        let _ = hog.join();
    });
    let ns = ns?;
    println!("{name:22} {:>6} ns", ns.thousandths() / 1000);
    report::value(name, "ns", ns);
    Ok(())
}

fn wake_all(every: u64, label: Region) -> Result<Fixed, SpawnError> {
    let ran = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let waker = thread::current();
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|number| {
            let shared = every > 0 && number % every == 0;
            let builder = if shared { Builder::new().region(label) } else { Builder::new() };
            let (ran, stop, waker) = (ran.clone(), stop.clone(), waker.clone());
            builder.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    park();
                    if (ran.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(SLEEPERS) {
                        waker.unpark();
                    }
                }
            })
        })
        .collect::<Result<_, _>>()?;
    let threads: Vec<_> = sleepers.iter().map(|sleeper| sleeper.thread()).collect();
    sleep(Duration::from_millis(1));
    let mut total = 0;
    for round in 0..ROUNDS + 1 {
        if round == ROUNDS {
            stop.store(true, Ordering::Relaxed);
        }
        let begin = Instant::now();
        threads.iter().for_each(thread::Thread::unpark);
        park();
        total += if round < ROUNDS { begin.elapsed().as_nanos() } else { 0 };
    }
    sleepers.into_iter().for_each(|sleeper| {
        let _ = sleeper.join();
    });
    Ok(Fixed::from_ratio(total, ROUNDS * SLEEPERS))
}

/// How far stolen threads came.
fn steals() {
    const NAMES: [&str; 4] = ["steals_sibling", "steals_cache", "steals_node", "steals_far"];
    let mut sum = [0; 4];
    for cpu in (0..thread::cpu_count()).map(CpuId::new) {
        let found = worker::statistics(cpu).unwrap_or_default();
        sum.iter_mut().zip(found.steals_by_distance).for_each(|(sum, found)| *sum += found);
    }
    for (name, count) in NAMES.into_iter().zip(sum) {
        report::value(name, "count", Fixed::from_int(count));
    }
}
