//! Fork and join by chili.

use chili::{Scope, ThreadPool};
use isochron_compare::rows::*;
use isochron_compare::{Out, main as run};
use std::time::Instant;

fn main() {
    run(&[("fork_join", fork_join)]);
}

fn fib(scope: &mut Scope<'_>, n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    let (a, b) = scope.join(|scope| fib(scope, n - 1), |scope| fib(scope, n - 2));
    a + b
}

fn fork_join(out: &mut Out) {
    let pool = ThreadPool::new();
    let mut scope = pool.scope();
    let ms = (0..5).map(|_| {
        let begin = Instant::now();
        assert_eq!(fib(&mut scope, FIB), FIB_RESULT);
        begin.elapsed().as_secs_f64() * 1e3
    });
    out.value("fork_join", ms.fold(f64::MAX, f64::min));
}
