//! How late a sleeper wakes up.

use crate::rows::SLEEPS;
use core::sync::atomic::{AtomicBool, Ordering};
use isochron::prelude::*;

fn sleeps(time: Duration) -> Vec<u64> {
    let one = |_| {
        let deadline = Instant::now() + time;
        sleep_until(deadline);
        (Instant::now() - deadline).as_nanos()
    };
    (0..SLEEPS).map(one).collect()
}

pub fn late(_: Option<usize>) {
    let mut late = spawn(|| sleeps(Duration::from_micros(100))).join().expect("it ends");
    crate::percentile("sleep_late", "us", 1000, &mut late, 50);
}

/// Hogs that never yield.
pub fn beside_hogs(_: Option<usize>) {
    static STOP: AtomicBool = AtomicBool::new(false);
    for _ in 0..4 {
        spawn(|| {
            while !STOP.load(Ordering::Relaxed) {
                core::hint::spin_loop()
            }
        })
        .detach();
    }
    let mut late = spawn(|| sleeps(Duration::from_millis(1))).join().expect("it ends");
    STOP.store(true, Ordering::Relaxed);
    crate::percentile("hogs_late_p50", "ms", 1_000_000, &mut late, 50);
    crate::percentile("hogs_late_p99", "ms", 1_000_000, &mut late, 99);
}
