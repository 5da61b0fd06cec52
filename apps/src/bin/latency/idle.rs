//! What a wake-up costs by how deep the CPU idles.

use crate::suite::{Context, THERE};
use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::report;
use isochron::kernel::wire::Fixed;
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron::worker::{self, Statistics};
use isochron_apps::measure::{Line, Recorder, on, pause, picoseconds};

type Count = fn(&Statistics) -> u64;

/// The tiers: the name of the measure, and what counts its wake-ups.
const TIERS: [(&str, Count); 3] = [
    ("idle_wake_spin", |found| found.woken_spinning),
    ("idle_wake_wfe", |found| found.woken_watching),
    ("idle_wake_wfi", |found| found.sleeps),
];

/// The longest time from the sleeper's park to its wake-up, and how many different ones are tried.
const LONGEST: Duration = Duration::from_nanos(2560);
const STEPS: u64 = 64;

/// Rounds in which not all tiers have their samples yet, for each sample that is wanted.
const PATIENCE: u64 = 40;

/// `idle_wake_spin`, `idle_wake_wfe`, `idle_wake_wfi`: as `cross_cpu_wake`, with the time that the second CPU has idled when it
/// is woken going from nothing to 2.6 us in turns. A sample belongs to the tier that the second CPU says it was woken from
/// (`worker::Statistics`); it is one wake-up, less one `clock_read`.
///
/// The single figures `idle_wake_spin_share` and so on say how many of 1000 wake-ups each tier had. A tier that is not there
/// (hosted CPUs that share cores do not watch) has no samples, and a note says so.
pub fn tiers(context: &Context<'_>) -> Result<(), SpawnError> {
    let wanted = context.samples(1000);
    let stop = Arc::new(Line(AtomicU64::new(0)));
    let woken = Arc::new(Line(AtomicU64::new(0)));
    let (told_to_stop, answer) = (stop.clone(), woken.clone());
    let sleeper = on(THERE, "sleeper", move || {
        while told_to_stop.0.load(Ordering::Relaxed) == 0 {
            park();
            answer.0.store(Instant::now().ticks(), Ordering::Relaxed);
        }
    })?;
    let thread = sleeper.thread();
    let mut samples = Vec::with_capacity((wanted * PATIENCE) as usize);
    let mut counts = [0_u64; 3];
    let mut before = counters();
    while counts.iter().any(|&count| count < wanted) && samples.len() < samples.capacity() {
        woken.0.store(0, Ordering::Relaxed);
        pause(Duration::from_nanos(LONGEST.as_nanos() * (samples.len() as u64 % STEPS) / STEPS));
        let told = Instant::now().ticks();
        thread.unpark();
        let when = woken.written();
        // Little is done from here to the next wake-up, so that it can be an early one: what is recorded waits.
        let after = counters();
        let up = [0, 1, 2].map(|tier: usize| after[tier] != before[tier]);
        before = after;
        // None went up: it had not parked yet. More than one: the wake-up before was late.
        let tier = match up {
            [true, false, false] => Some(0),
            [false, true, false] => Some(1),
            [false, false, true] => Some(2),
            _ => None,
        };
        if let Some(tier) = tier {
            counts[tier] += 1;
        }
        samples.push((tier, when.saturating_sub(told)));
    }
    stop.0.store(1, Ordering::Relaxed);
    thread.unpark();
    sleeper.join().unwrap();
    let mut recorders = [Recorder::new(), Recorder::new(), Recorder::new()];
    for (tier, ticks) in samples {
        if let Some(recorder) = tier.and_then(|tier| recorders.get_mut(tier)) {
            recorder.record(picoseconds(ticks).saturating_sub(context.overhead.clock()));
        }
    }
    for ((recorder, (name, _)), &count) in recorders.into_iter().zip(TIERS).zip(&counts) {
        if count > 0 {
            recorder.send(name);
        } else {
            report::note(name, format_args!("no wake-up came while the other CPU was in this tier"));
        }
        let share = Fixed::from_int(count * 1000 / counts.iter().sum::<u64>().max(1));
        report::value(&format!("{name}_share"), "per_mille", share);
    }
    Ok(())
}

fn counters() -> [u64; 3] {
    let found = worker::statistics(THERE).unwrap_or_default();
    TIERS.map(|(_, count)| count(&found))
}
