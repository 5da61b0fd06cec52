//! Fibonacci numbers with a fork at every node, beside the same without: `fork_join [N [ROUNDS]]`.
//!
//! Times are those of whole computations: the least of all rounds, because what disturbs a round only adds to it.
#![no_std]
#![no_main]

use core::hint::black_box;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::number;

const DEFAULT_N: u64 = 25;
const DEFAULT_ROUNDS: u64 = 5;

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let read = |index: usize, what, default, least, most| {
        words.get(index).map_or(Ok(default), |word| number(what, word, least, most).map_err(|error| error.to_string()))
    };
    let (n, rounds) =
        match (read(0, "N", DEFAULT_N, 1, 45), read(1, "the number of rounds", DEFAULT_ROUNDS, 1, 1_000_000)) {
            (Ok(n), Ok(rounds)) if words.len() <= 2 => (n as u32, rounds),
            (Err(error), _) | (_, Err(error)) => return bad(&error),
            _ => return bad("too many arguments: say fork_join N ROUNDS"),
        };
    let expected = sequential(n);
    // Each fork is one call that is not a leaf.
    let forks = calls(n) / 2;
    let one = least(rounds, || sequential(black_box(n)));
    let forked = least(rounds, || forking(black_box(n)));
    if forking(n) != expected {
        println!("fork_join: the forks make another number");
        return exit::FAILED;
    }
    let each = (forked.as_nanos() as i64 - one.as_nanos() as i64) as f64 / forks as f64;
    println!("fib({n}) = {expected}: {one} without forks, {forked} with {forks} of them ({each:.2} ns each)");
    report::value("fib_sequential", "ns", Fixed::from_int(one.as_nanos()));
    report::value("fib_fork_join", "ns", Fixed::from_int(forked.as_nanos()));
    report::value("fib_forks", "count", Fixed::from_int(forks));
    exit::PASSED
}

fn bad(what: &str) -> u8 {
    println!("fork_join: {what}");
    2
}

fn least(rounds: u64, mut f: impl FnMut() -> u64) -> Duration {
    (0..rounds)
        .map(|_| {
            let begin = Instant::now();
            black_box(f());
            begin.elapsed()
        })
        .min()
        .unwrap_or(Duration::ZERO)
}

fn sequential(n: u32) -> u64 {
    if n < 2 { n.into() } else { sequential(n - 1) + sequential(n - 2) }
}

fn forking(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = fork::join(|| forking(n - 1), || forking(n - 2));
    a + b
}

/// How many calls `sequential(n)` makes.
fn calls(n: u32) -> u64 {
    let (mut before, mut now) = (1, 1);
    for _ in 1..n {
        (before, now) = (now, before + now + 1);
    }
    now
}
