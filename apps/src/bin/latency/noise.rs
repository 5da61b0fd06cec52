//! How quiet a core is.

use crate::suite::Context;
use isochron::kernel::report;
use isochron::kernel::wire::Fixed;
use isochron::prelude::*;
use isochron::thread::{ReserveError, SpawnError, current_cpu};
use isochron::worker;
use isochron_apps::measure::{Recorder, on, picoseconds};

/// Gaps of fewer ticks are counted by their exact length, which costs the loop a few instructions; longer ones are
/// rare enough to go into the recorder at once.
const COUNTED: usize = 1024;

/// In ps: from where on a gap is counted by `noise_gap_count` and `noise_gap_count_5us`.
const THRESHOLDS: [u64; 2] = [1_000_000, 5_000_000];

/// What was under way on the core gets so long to end.
const SETTLE: Duration = Duration::from_millis(5);

/// `noise_gap`: the gaps that a thread sees which has the last CPU to itself and does nothing but read the clock.
///
/// A gap is the difference between two readings in a row, taken without barriers ([`Instant::now_unordered`]). So the
/// usual gap is one round of the loop, some nanoseconds, and nothing is taken off; a much longer one means that
/// something else had the core. Every gap is a sample, and the maximum is the longest. There are as many samples as
/// rounds fit into the time (1 s, or `noise_ms=`).
///
/// Results of their own: `noise_gap_count` and `noise_gap_count_5us`, the gaps longer than 1 us and 5 us, and
/// `noise_gap_interrupts`, the interrupts that the CPU counted between the first reading and the last.
///
/// The CPU is given to the thread alone (`Builder::spawn_exclusive`), except where there is only one; then all other threads
/// of the suite are parked meanwhile. The thread first sleeps for 5 ms, then warms up for 1 ms.
pub fn gap(context: &Context<'_>) -> Result<(), SpawnError> {
    let last = CpuId::new(context.cpus - 1);
    let time = Duration::from_millis(context.options.noise_ms);
    let mut watch = Watch::new();
    let watching = move || {
        sleep(SETTLE);
        watch.run(Duration::from_millis(1));
        watch.forget();
        watch.run(time);
        watch
    };
    let watch = if last == CpuId::PRIMARY {
        on(last, "noise", watching)?
    } else {
        let builder = thread::Builder::new().name("noise");
        builder.spawn_exclusive(last, watching).map_err(|error| match error {
            ReserveError::Spawn(error) => error,
            // Nobody else reserves any.
            _ => SpawnError::Reserved(last),
        })?
    }
    .join()
    .unwrap();
    let mut above = [0; 2];
    let mut recorder = watch.long;
    for (ticks, &count) in watch.counted.iter().enumerate() {
        let ps = picoseconds(ticks as u64);
        recorder.record_n(ps, count);
        above[0] += if ps > THRESHOLDS[0] { count } else { 0 };
        above[1] += if ps > THRESHOLDS[1] { count } else { 0 };
    }
    recorder.send("noise_gap");
    for (name, count) in [
        ("noise_gap_count", above[0] + watch.above[0]),
        ("noise_gap_count_5us", above[1] + watch.above[1]),
        ("noise_gap_interrupts", watch.interrupts),
    ] {
        report::value(name, "count", Fixed::from_int(count));
    }
    Ok(())
}

/// What the watching thread saw.
struct Watch {
    /// Gaps of so many ticks.
    counted: Vec<u64>,
    /// The gaps that are too long for that.
    long: Recorder,
    /// Of those, how many are above each of [`THRESHOLDS`].
    above: [u64; 2],
    interrupts: u64,
}

impl Watch {
    /// On the caller's stack, which has to have room for a [`Recorder`] in the making.
    fn new() -> Self {
        Self { counted: vec![0; COUNTED], long: Recorder::new(), above: [0; 2], interrupts: 0 }
    }

    fn forget(&mut self) {
        self.counted.fill(0);
        self.long.clear();
        self.above = [0; 2];
    }

    fn run(&mut self, time: Duration) {
        let before = interrupts_here();
        let end = (Instant::now() + time).ticks();
        let mut last = Instant::now_unordered().ticks();
        while last < end {
            let now = Instant::now_unordered().ticks();
            let gap = now.saturating_sub(last);
            last = now;
            if let Some(count) = self.counted.get_mut(gap as usize) {
                *count += 1;
            } else {
                self.record_long(picoseconds(gap));
                // So that the recording is not seen as a gap.
                last = Instant::now_unordered().ticks();
            }
        }
        self.interrupts = interrupts_here() - before;
    }

    #[cold]
    fn record_long(&mut self, ps: u64) {
        self.long.record(ps);
        for (above, threshold) in self.above.iter_mut().zip(THRESHOLDS) {
            *above += u64::from(ps > threshold);
        }
    }
}

/// Interrupts of every kind that this CPU has taken: exact, since it is asked on that very CPU.
fn interrupts_here() -> u64 {
    worker::statistics(current_cpu()).map_or(0, |statistics| statistics.interrupts)
}
