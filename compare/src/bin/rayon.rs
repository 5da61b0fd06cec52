//! Fork and join by rayon.

use isochron_compare::rows::*;
use isochron_compare::{Out, main as run};
use std::time::Instant;

fn main() {
    run(&[("fork_join", fork_join)]);
}

fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = rayon::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn fork_join(out: &mut Out) {
    let ms = (0..5).map(|_| {
        let begin = Instant::now();
        assert_eq!(rayon::scope(|_| fib(FIB)), FIB_RESULT);
        begin.elapsed().as_secs_f64() * 1e3
    });
    out.value("fork_join", ms.fold(f64::MAX, f64::min));
}
