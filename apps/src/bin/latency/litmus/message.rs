//! One publishes its state and tells; the other, told, looks.

use super::{Counts, Limit, barrier};
use crate::suite::THERE;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use isochron::kernel::arch::cpu::spin_hint;
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::measure::{Line, on, spin_until};

/// The teller looks so rarely whether it is to stop.
const LOOKS_EVERY: u64 = 64;

#[derive(Default)]
struct Shared {
    state: Line<AtomicU64>,
    /// Which state was published.
    told: Line<AtomicU64>,
    stop: Line<AtomicBool>,
}

/// Rounds in which the state was older than what was told of. A round is a telling that was seen: the teller does not
/// wait for the reader, which may miss some.
pub fn run<const BARRIER: bool>(limit: Limit) -> Result<Counts, SpawnError> {
    let shared = Arc::new(Shared::default());
    let telling = Arc::clone(&shared);
    let teller = on(THERE, "litmus_teller", move || {
        let mut number = 0;
        while !telling.stop.0.load(Ordering::Relaxed) {
            for _ in 0..LOOKS_EVERY {
                number += 1;
                telling.state.0.store(number, Ordering::Relaxed);
                barrier::<BARRIER>();
                telling.told.0.store(number, Ordering::Relaxed);
            }
            spin_hint();
        }
    })?;
    let (mut done, mut stale, mut last) = (0, 0, 0);
    let running = limit.start();
    while running.goes_on(done) {
        let mut told = last;
        spin_until(|| {
            told = shared.told.0.load(Ordering::Relaxed);
            told != last
        });
        barrier::<BARRIER>();
        stale += u64::from(shared.state.0.load(Ordering::Relaxed) < told);
        last = told;
        done += 1;
    }
    shared.stop.0.store(true, Ordering::Relaxed);
    teller.join().unwrap();
    Ok(Counts { rounds: done, stale })
}
