//! How late sleepers wake.

use crate::suite::{Context, HERE};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use isochron::kernel::report;
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron::worker;
use isochron_apps::measure::{Recorder, on, picoseconds};

const PERIOD: Duration = Duration::from_millis(1);

/// `timer_wake_late`: from the deadline to the first instruction after [`sleep_until`], on an idle CPU.
///
/// Deadlines are absolute, 1 ms apart. Each sample is one wake-up, to the clock's tick. The reading of the clock after the sleep is in it up
/// to the moment it reads: a part of `clock_read` that cannot be told from the rest, so nothing is taken off. 2000
/// samples, for they take 2 s; 8 warm up. If a wake-up is later than the next deadline, that deadline is skipped and
/// counted in a note.
pub fn alone(context: &Context<'_>) -> Result<(), SpawnError> {
    periodic(context, "timer_wake_late");
    Ok(())
}

/// `timer_wake_late_beside_hog`: the same, beside a thread bound to the same CPU that never yields.
///
/// The timer's interrupt has to take the CPU from it each time.
pub fn beside_hog(context: &Context<'_>) -> Result<(), SpawnError> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let hog = on(HERE, "hog", move || while !seen.load(Ordering::Relaxed) {})?;
    periodic(context, "timer_wake_late_beside_hog");
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    Ok(())
}

fn periodic(context: &Context<'_>, name: &str) {
    let mut recorder = Recorder::new();
    let mut skipped = 0u64;
    let mut deadline = Instant::now() + PERIOD;
    let (warm_up, samples) = (8, context.samples(2000));
    for index in 0..warm_up + samples {
        sleep_until(deadline);
        let woken = Instant::now();
        if index >= warm_up {
            recorder.record(picoseconds(woken.ticks().saturating_sub(deadline.ticks())));
        }
        deadline += PERIOD;
        while deadline <= Instant::now() {
            deadline += PERIOD;
            skipped += 1;
        }
    }
    recorder.send(name);
    if skipped > 0 {
        report::note(
            name,
            format_args!("{skipped} deadlines had passed before the thread could sleep, and were skipped"),
        );
    }
}

/// `quantum_length`: from the switch to a hog to the switch away from it, beside another hog of the same CPU, with the
/// quantum set to 100 us: how exactly preemption strikes.
///
/// Two threads that never yield, bound to the primary CPU, ask in a loop who ran last; who finds the other's name has just
/// been switched to. Each sample is the time between two such moments, to the clock's tick and to a turn of that loop.
/// 1000 samples; 16 warm up.
pub fn quantum_length(context: &Context<'_>) -> Result<(), SpawnError> {
    let usual = worker::quantum();
    let Ok(()) = worker::set_quantum(Duration::from_micros(100)) else { unreachable!("100 us is a quantum") };
    let (warm_up, samples) = (16, context.samples(1000));
    // Who ran last, and when that one began.
    let shared = Arc::new((AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Recorder::new()), AtomicU64::new(0)));
    let hogs = [1, 2].map(|me| {
        let shared = Arc::clone(&shared);
        on(HERE, "hog", move || {
            while shared.3.load(Ordering::Relaxed) < warm_up + samples {
                if shared.0.load(Ordering::Relaxed) == me {
                    continue;
                }
                // A preemption in the middle of this would make two samples of one.
                let _guard = thread::PreemptGuard::new();
                if shared.3.load(Ordering::Relaxed) >= warm_up + samples {
                    break;
                }
                let now = Instant::now_unordered().ticks();
                shared.0.store(me, Ordering::Relaxed);
                let began = shared.1.swap(now, Ordering::Relaxed);
                if shared.3.fetch_add(1, Ordering::Relaxed) >= warm_up {
                    shared.2.lock().record(picoseconds(now - began));
                }
            }
        })
    });
    for hog in hogs {
        hog?.join().unwrap();
    }
    core::mem::take(&mut *shared.2.lock()).send("quantum_length");
    let Ok(()) = worker::set_quantum(usual) else { unreachable!("it was a quantum before") };
    Ok(())
}
