//! What a timer costs with 1, 10, ... of them outstanding, beside a binary heap: `bench_timers [MOST [OPERATIONS]]`.
//!
//! The wheel is the scheduler's own (`isochron_core::timer_wheel`), with its lock, but not the one that is in use.
//! Deadlines are random within one second. Of each size rounds are made, OPERATIONS in all:
//!
//! * `timer_insert_N`: N timers are set;
//! * `timer_cancel_N`: they are taken back in the order in which they were set; `timer_cancel_random_N`: in another order;
//! * `timer_expire_N`: N that are set are taken out, one after the other, as time goes on;
//! * `heap_insert_N`, `heap_expire_N`: the same with `BinaryHeap` of the standard library, which cannot cancel.
//!
//! Figures are means, of one operation; a reading of the clock is in each round, which shows in the small sizes. Under `--deterministic` they are instructions.
#![no_std]
#![no_main]

use core::cmp::Reverse;
use core::hint::black_box;
use core::ptr::NonNull;
use isochron::kernel::clock::ticks_to_ns;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::number;
use isochron_core::timer_wheel::{Timer, Timers};

extern crate alloc;
use alloc::collections::BinaryHeap;

const DEFAULT_MOST: u64 = 1_000_000;
const DEFAULT_OPERATIONS: u64 = 1_000_000;
/// The names of the figures for one size.
macro_rules! names {
    ($size:literal) => {
        [
            concat!("timer_insert_", $size),
            concat!("timer_cancel_", $size),
            concat!("timer_cancel_random_", $size),
            concat!("timer_expire_", $size),
            concat!("heap_insert_", $size),
            concat!("heap_expire_", $size),
        ]
    };
}
const NAMES: [[&str; 6]; 7] =
    [names!("1"), names!("10"), names!("100"), names!("1000"), names!("10000"), names!("100000"), names!("1000000")];

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let read = |index: usize, what, default, least, most| {
        words.get(index).map_or(Ok(default), |word| number(what, word, least, most).map_err(|error| error.to_string()))
    };
    let most = read(0, "the most timers", DEFAULT_MOST, 1, 1_000_000);
    let operations = read(1, "the number of operations", DEFAULT_OPERATIONS, 1, 1_000_000_000);
    let (most, operations) = match (most, operations) {
        (Ok(most), Ok(operations)) if words.len() <= 2 => (most, operations),
        (Err(error), _) | (_, Err(error)) => return bad(&error),
        _ => return bad("too many arguments: say bench_timers MOST OPERATIONS"),
    };
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "timers", "insert", "cancel", "random", "expire", "heap in", "heap out"
    );
    for (power, names) in NAMES.iter().enumerate() {
        let size = 10_u64.pow(power as u32);
        if size > most {
            break;
        }
        let figures = Bench::new(size as usize).run((operations / size).max(1));
        print!("{size:>8}");
        for (name, figure) in names.iter().zip(figures) {
            print!(" {figure:>8}");
            report::value(name, "ns", figure);
        }
        println!(" ns");
    }
    exit::PASSED
}

fn bad(what: &str) -> u8 {
    println!("bench_timers: {what}");
    2
}

/// A generator of numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Bench {
    wheel: Box<Timers<u64>>,
    timers: Vec<Timer<u64>>,
    /// All numbers of timers, mixed.
    order: Vec<u32>,
    /// Deadlines, from the beginning of a round.
    distances: Vec<u64>,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    now: u64,
}

impl Bench {
    fn new(size: usize) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut order: Vec<u32> = (0..size as u32).collect();
        for index in (1..size).rev() {
            order.swap(index, (random.number() % (index as u64 + 1)) as usize);
        }
        Self {
            wheel: Box::new(Timers::new()),
            timers: (0..size as u64).map(Timer::new).collect(),
            order,
            distances: (0..size).map(|_| random.number() % 1_000_000_000).collect(),
            heap: BinaryHeap::with_capacity(size),
            now: 1_000_000,
        }
    }

    /// The means over so many rounds, in nanoseconds; the first round, which warms up, is made twice.
    fn run(mut self, rounds: u64) -> [Fixed; 6] {
        let mut ticks = [0_u64; 6];
        for round in 0..=rounds {
            let once = [
                time(|| self.insert()),
                time(|| self.cancel_in_order()),
                {
                    self.insert();
                    time(|| self.cancel_at_random())
                },
                {
                    self.insert();
                    time(|| self.expire())
                },
                time(|| self.heap_insert()),
                time(|| self.heap_expire()),
            ];
            if round > 0 {
                (0..ticks.len()).for_each(|index| ticks[index] += once[index]);
            }
        }
        let operations = rounds * self.timers.len() as u64;
        ticks.map(|ticks| Fixed::from_ratio(ticks_to_ns(ticks), operations))
    }

    fn timer(&mut self, index: usize) -> NonNull<Timer<u64>> {
        NonNull::from(&mut self.timers[index])
    }

    fn insert(&mut self) {
        for index in 0..self.timers.len() {
            let (timer, deadline) = (self.timer(index), self.now + self.distances[index]);
            // SAFETY: not set; the vector is never moved while one of its timers is.
            unsafe { self.wheel.set(timer, deadline) };
        }
    }

    fn cancel_in_order(&mut self) {
        for index in 0..self.timers.len() {
            let timer = self.timer(index);
            // SAFETY: of this wheel.
            black_box(unsafe { self.wheel.cancel(timer) });
        }
    }

    fn cancel_at_random(&mut self) {
        for index in 0..self.timers.len() {
            let timer = self.timer(self.order[index] as usize);
            // SAFETY: of this wheel.
            black_box(unsafe { self.wheel.cancel(timer) });
        }
    }

    fn expire(&mut self) {
        let mut next = self.wheel.next_deadline();
        while let Some(now) = next {
            let (due, then) = self.wheel.take_due(now);
            if let Some(due) = due {
                due.done();
            }
            next = then;
            self.now = now;
        }
    }

    fn heap_insert(&mut self) {
        for index in 0..self.distances.len() {
            self.heap.push(Reverse((self.now + self.distances[index], index as u32)));
        }
    }

    fn heap_expire(&mut self) {
        while let Some(first) = self.heap.pop() {
            black_box(first);
        }
    }
}

/// How many ticks `f` takes.
fn time(f: impl FnOnce()) -> u64 {
    let begin = Instant::now();
    f();
    Instant::now().ticks() - begin.ticks()
}
