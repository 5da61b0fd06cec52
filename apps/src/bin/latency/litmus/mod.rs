//! Whether a CPU can read another's state as it was before the other's last change, with and without the barrier.

mod message;
mod store_buffer;

use crate::suite::Context;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use isochron::kernel::report;
use isochron::kernel::wire::Fixed;
use isochron::thread::SpawnError;
use isochron::{Duration, Instant};
use isochron_apps::measure::Line;

/// Rounds of each form, unless `litmus=` says otherwise.
const ROUNDS: u64 = 200_000;
/// Unless `litmus=` says otherwise, a form ends after this time even with fewer rounds.
const TIME: Duration = Duration::from_secs(2);

/// `stale_read_litmus`: how often one CPU reads another's published state and gets an old one.
///
/// Two threads, bound to the first two CPUs, each on its own cache lines, in four forms:
/// * *store buffer*, the race of the scheduler's idle protocol: both publish their new state by a plain store, at the
///   same moment, then read the other's. At least one of them must see the other's new state. A round in which neither
///   does is counted by `stale_read_litmus`; with a full barrier (`dmb ish`, `mfence`) between store and load, by
///   `stale_read_litmus_barrier`, which must be 0. ARM64 and x86-64 both allow it without the barrier.
/// * *message passing*: one publishes its state by a plain store and then tells by a second one; the other, once told,
///   reads the state. An older state than the one told of is counted by `stale_read_litmus_message`; with the barrier
///   on both sides by `stale_read_litmus_message_barrier`, which must be 0. ARM64 allows it without, x86-64 never does.
///
/// `stale_read_litmus_rounds` are the rounds of each form: 200,000, or fewer if they take longer than 2 s, or exactly `litmus=`. It is
/// the smallest number of the four. `stale_read_litmus_barrier_cost` is what one full barrier after a store to a line of
/// this CPU's own costs: batches of 256, each less one of stores only.
pub fn stale_reads(context: &Context<'_>) -> Result<(), SpawnError> {
    let limit = Limit::new(context);
    let forms = [
        ("stale_read_litmus", store_buffer::run::<false>(limit)?),
        ("stale_read_litmus_barrier", store_buffer::run::<true>(limit)?),
        ("stale_read_litmus_message", message::run::<false>(limit)?),
        ("stale_read_litmus_message_barrier", message::run::<true>(limit)?),
    ];
    for (name, counts) in &forms {
        report::value(name, "count", Fixed::from_int(counts.stale));
        if limit.rounds != counts.rounds {
            report::note(name, format_args!("of {} rounds: its time was over", counts.rounds));
        }
    }
    let rounds = forms.iter().map(|(_, counts)| counts.rounds).min().unwrap_or(0);
    report::value("stale_read_litmus_rounds", "count", Fixed::from_int(rounds));
    report::note(
        "stale_read_litmus",
        format_args!("an emulator reorders as its host does, or not at all: read the counts on real hardware"),
    );
    barrier_cost(context);
    Ok(())
}

fn barrier_cost(context: &Context<'_>) {
    let line = Line(AtomicU64::new(0));
    let line = black_box(&line);
    let store = || line.0.store(1, Ordering::Relaxed);
    context.difference("stale_read_litmus_barrier_cost", context.plan(256), store, || {
        store();
        // It orders nothing here: its cost is the measure.
        fence(Ordering::SeqCst);
    });
}

/// How long a form goes on.
#[derive(Clone, Copy)]
struct Limit {
    rounds: u64,
    time: Duration,
}

impl Limit {
    fn new(context: &Context<'_>) -> Self {
        match context.options.litmus {
            None => Self { rounds: ROUNDS, time: TIME },
            Some(rounds) => Self { rounds, time: Duration::MAX },
        }
    }

    fn start(self) -> Running {
        Running { rounds: self.rounds, end: Instant::now() + self.time }
    }
}

struct Running {
    rounds: u64,
    end: Instant,
}

impl Running {
    /// Whether there is to be another round after `done` of them. The clock is read now and then.
    #[inline(always)]
    fn goes_on(&self, done: u64) -> bool {
        done < self.rounds && (!done.is_multiple_of(64) || Instant::now() < self.end)
    }
}

/// What a form found.
struct Counts {
    rounds: u64,
    stale: u64,
}

/// The barrier under test, or only the promise that the compiler keeps the order that is written.
#[inline(always)]
fn barrier<const BARRIER: bool>() {
    if BARRIER {
        // SeqCst: partner is the same call in the other thread.
        fence(Ordering::SeqCst);
    } else {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}
