//! What a full barrier costs where it is executed each time, and where it is not.

use crate::suite::Context;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};
use isochron::sync::system_wide_barrier;
use isochron::thread::SpawnError;
use isochron_apps::measure::Line;

/// `barrier_pair_full` and `barrier_pair_light`: a store to one word and a load of another, with a full barrier between
/// them, and with a compiler barrier; `barrier_system_wide`: the barrier on the other side that makes up for it, all CPUs
/// but this one asleep.
///
/// The pairs in batches of 256; the barrier singly, 200 samples, 8 warm up.
pub fn pairs(context: &Context<'_>) -> Result<(), SpawnError> {
    let (mine, other) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let mut round = 0;
    context.time("barrier_pair_full", context.plan(256), || {
        round += 1;
        mine.0.store(round, Ordering::Relaxed);
        // No partner: this measures what it costs.
        fence(Ordering::SeqCst);
        black_box(other.0.load(Ordering::Relaxed));
    });
    context.time("barrier_pair_light", context.plan(256), || {
        round += 1;
        mine.0.store(round, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        black_box(other.0.load(Ordering::Relaxed));
    });
    let mut plan = context.plan(1);
    plan.samples = context.samples(200);
    context.time("barrier_system_wide", plan, system_wide_barrier);
    Ok(())
}
