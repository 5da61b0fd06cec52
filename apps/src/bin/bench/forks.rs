//! Fibonacci numbers with a fork at every node.

use crate::rows::{FIB, FIB_RESULT};
use isochron::kernel::report;
use isochron::kernel::wire::Fixed;
use isochron::prelude::*;

fn node(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = fork::join(|| node(n - 1), || node(n - 2));
    a + b
}

/// The least of five: as the programs beside it do.
pub fn fib(_: Option<usize>) {
    let round = |_| {
        let begin = Instant::now();
        assert_eq!(node(FIB), FIB_RESULT);
        begin.elapsed().as_nanos()
    };
    let least = (0..5).map(round).min().unwrap_or(0);
    report::value("fork_join", "ms", Fixed::from_ratio(least, 1_000_000));
}
