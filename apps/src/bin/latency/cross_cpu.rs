//! From one CPU to another.

use crate::suite::{Context, THERE};
use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::{report, smp};
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::measure::{Line, Recorder, on, pause, picoseconds};

/// How long the other CPU gets to fall asleep again before it is woken.
const SETTLE: Duration = Duration::from_micros(20);

/// Wake-ups that are not recorded.
const WARM_UP: u64 = 64;

/// `ipi_latency`: from before an interrupt is sent to the second CPU, which sleeps, to its handler's first reading of
/// the clock. Both clocks are the same.
///
/// Each sample is one interrupt; one `clock_read` is taken off. 20 us lie between the answer and the next one.
pub fn ipi(context: &Context<'_>) -> Result<(), SpawnError> {
    let mut recorder = Recorder::new();
    let mut unanswered = 0u64;
    for index in 0..WARM_UP + context.samples(4000) {
        pause(SETTLE);
        match smp::probe(THERE) {
            Some((sent, handled)) if index >= WARM_UP => record(&mut recorder, context, sent, handled),
            Some(_) => {}
            None => unanswered += 1,
        }
    }
    recorder.send("ipi_latency");
    if unanswered > 0 {
        report::note("ipi_latency", format_args!("{unanswered} interrupts were not answered within 100 ms"));
    }
    Ok(())
}

/// `cross_cpu_wake`: from before the call of `unpark` on a thread that is parked on the second CPU, which sleeps, to
/// that thread's first instruction after `park`. Both clocks are the same.
///
/// Each sample is one wake-up; one `clock_read` is taken off. 20 us lie between the answer and the next one.
pub fn wake(context: &Context<'_>) -> Result<(), SpawnError> {
    let rounds = WARM_UP + context.samples(4000);
    // When the sleeper last woke, in ticks; 0: not since it was told to.
    let woken = Arc::new(Line(AtomicU64::new(0)));
    let answer = Arc::clone(&woken);
    let sleeper = on(THERE, "sleeper", move || {
        for _ in 0..rounds {
            park();
            answer.0.store(Instant::now().ticks(), Ordering::Relaxed);
        }
    })?;
    let thread = sleeper.thread();
    let mut recorder = Recorder::new();
    for index in 0..rounds {
        woken.0.store(0, Ordering::Relaxed);
        pause(SETTLE);
        let told = Instant::now().ticks();
        thread.unpark();
        let when = woken.written();
        if index >= WARM_UP {
            record(&mut recorder, context, told, when);
        }
    }
    sleeper.join().unwrap();
    recorder.send("cross_cpu_wake");
    Ok(())
}

fn record(recorder: &mut Recorder, context: &Context<'_>, begin: u64, end: u64) {
    recorder.record(picoseconds(end.saturating_sub(begin)).saturating_sub(context.overhead.clock()));
}
