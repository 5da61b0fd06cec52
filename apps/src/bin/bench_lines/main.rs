//! What it is worth that the hot words of queues and locks are on cache lines of their own: `bench_lines [BATCHES]`.
//!
//! The same thing is done with the words apart, as the scheduler has them, and packed side by side, batch by batch in turns, so
//! that a change of the machine's pace meets both. Medians of BATCHES (400) batches, in ns for each operation, and their ratio:
//!
//! * `lines_queue_*`: the first CPU pushes to its run queue and pops, while the second looks there for something to steal, as an
//!   idle one does. The packed queue is the scheduler's own source, compiled once more with an `Aligned` that aligns nothing
//!   (`sync.rs`);
//! * `lines_locks_*`: two CPUs each take and leave a spin lock of their own, as sender and receiver of a channel do;
//! * `lines_words_*`: two CPUs each add to a counter of their own.
//!
//! It takes two CPUs that are really two. Under an emulator that runs them in turn, or counts instructions, there are no lines,
//! and the ratio says nothing.
#![no_std]
#![no_main]

#[path = "../../../../runtime/core/src/run_queue/mod.rs"]
#[allow(dead_code)]
mod run_queue;
mod sync;

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use isochron::kernel::irq;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::arguments::number;
use isochron_apps::measure::{Line, on};
use isochron_core::lock_rank;
use isochron_core::run_queue::{RunQueue as Apart, Steal};
use isochron_core::spinlock::SpinLock;
use run_queue::{RunQueue as Packed, Steal as PackedSteal};

const DEFAULT_BATCHES: u64 = 400;
/// Operations of a batch.
const OPERATIONS: u64 = 2_000;
/// As large as the scheduler's.
const SIZE: usize = 256;

/// What the second CPU does meanwhile.
const END: usize = 0;
const REST: usize = 1;
const APART: usize = 2;
const PACKED: usize = 3;

#[isochron::main]
fn main() -> u8 {
    let mut words = isochron::args();
    let batches = match words.next().map_or(Ok(DEFAULT_BATCHES), |word| number("batches", word, 2, 1_000_000)) {
        Ok(batches) if words.next().is_none() => batches,
        Ok(_) => {
            println!("bench_lines: too many arguments: say bench_lines BATCHES");
            return 2;
        }
        Err(error) => {
            println!("bench_lines: {error}");
            return 2;
        }
    };
    if thread::cpu_count() < 2 {
        report::note("bench_lines", format_args!("skipped: it needs 2 CPUs"));
        return exit::PASSED;
    }
    match queues(batches).and_then(|()| locks(batches)).and_then(|()| counters(batches)) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("bench_lines: {error}");
            exit::FAILED
        }
    }
}

/// Takes turns between the two layouts: `first` does the operations of one batch on the first CPU while `second` is called on the
/// second CPU over and over, both with [`APART`] or [`PACKED`].
fn compare(
    name: &str,
    batches: u64,
    first: impl Fn(usize) + Send + 'static,
    second: impl Fn(usize) + Send + 'static,
) -> Result<(), SpawnError> {
    let order = Arc::new((Line(AtomicUsize::new(REST)), Line(AtomicUsize::new(REST))));
    let his = order.clone();
    let other = on(CpuId::new(1), "lines_other", move || {
        loop {
            // Acquire: partner is the first CPU's release: what it did before is over.
            let turn = his.0.0.load(Ordering::Acquire);
            // Release: partner is the first CPU's acquire: so is what this one did.
            his.1.0.store(turn, Ordering::Release);
            match turn {
                END => return,
                REST => isochron::kernel::arch::cpu::spin_hint(),
                turn => second(turn),
            }
        }
    })?;
    let main = on(CpuId::PRIMARY, "lines_main", move || {
        let mut times = [const { Vec::new() }; 2];
        let say = |turn| {
            // Release: partner is the other's acquire.
            order.0.0.store(turn, Ordering::Release);
            // Acquire: partner is the other's release.
            while order.1.0.load(Ordering::Acquire) != turn {
                isochron::kernel::arch::cpu::spin_hint();
            }
        };
        for _ in 0..batches {
            for (turn, times) in [APART, PACKED].into_iter().zip(&mut times) {
                say(turn);
                let start = Instant::now();
                first(turn);
                times.push(start.elapsed().as_nanos());
            }
        }
        say(END);
        times
    })?;
    let Ok([apart, packed]) = main.join().map(|times| times.map(median)) else { return Ok(()) };
    let _ = other.join();
    let value = |layout, total| report::value(&format!("{name}_{layout}"), "ns", Fixed::from_ratio(total, OPERATIONS));
    value("apart", apart);
    value("packed", packed);
    report::value(&format!("{name}_packed_to_apart"), "x", Fixed::from_ratio(packed, apart.max(1)));
    Ok(())
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// See the head of this file.
fn queues(batches: u64) -> Result<(), SpawnError> {
    let queues = Arc::new((Apart::<u64, SIZE>::new(), Packed::<u64, SIZE>::new()));
    let his = queues.clone();
    let own = (Apart::<u64, SIZE>::new(), Packed::<u64, SIZE>::new());
    // SAFETY: of the owner's handles, here and below: each queue is one CPU's, which has interrupts masked as long as a handle
    // lives.
    let work = move |turn| {
        // SAFETY: see above.
        irq::without(|| unsafe {
            match turn {
                APART => {
                    let mut owner = queues.0.owner();
                    for item in 0..OPERATIONS {
                        let _ = black_box(owner.push(item));
                        black_box(owner.pop());
                    }
                }
                _ => {
                    let mut owner = queues.1.owner();
                    for item in 0..OPERATIONS {
                        let _ = black_box(owner.push(item));
                        black_box(owner.pop());
                    }
                }
            }
        });
    };
    let look = move |turn| {
        irq::without(|| {
            // Nothing is shared, so nothing is ever got: the look is what is wanted.
            // SAFETY: as above.
            let got = unsafe {
                match turn {
                    APART => matches!(his.0.steal_into(&mut own.0.owner()), Steal::Success(_)),
                    _ => matches!(his.1.steal_into(&mut own.1.owner()), PackedSteal::Success(_)),
                }
            };
            black_box(got);
        });
    };
    compare("lines_queue", batches, work, look)
}

/// A lock, and what it guards.
type Lock = SpinLock<u64>;

const fn lock() -> Lock {
    SpinLock::new(lock_rank::CHANNEL, 0)
}

fn take(lock: &Lock, times: u64) {
    irq::without(|| {
        for _ in 0..times {
            lock.with(|value| *value += 1);
        }
    });
}

fn locks(batches: u64) -> Result<(), SpawnError> {
    let locks = Arc::new(([Line(lock()), Line(lock())], Line([lock(), lock()])));
    let his = locks.clone();
    compare(
        "lines_locks",
        batches,
        move |turn| take(if turn == APART { &locks.0[0].0 } else { &locks.1.0[0] }, OPERATIONS),
        move |turn| take(if turn == APART { &his.0[1].0 } else { &his.1.0[1] }, 16),
    )
}

fn add(word: &AtomicU64, times: u64) {
    for _ in 0..times {
        word.fetch_add(1, Ordering::Relaxed);
    }
}

fn counters(batches: u64) -> Result<(), SpawnError> {
    let word = || AtomicU64::new(0);
    let words = Arc::new(([Line(word()), Line(word())], Line([word(), word()])));
    let his = words.clone();
    compare(
        "lines_words",
        batches,
        move |turn| add(if turn == APART { &words.0[0].0 } else { &words.1.0[0] }, OPERATIONS),
        move |turn| add(if turn == APART { &his.0[1].0 } else { &his.1.0[1] }, 16),
    )
}
