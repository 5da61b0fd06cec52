//! Timing short things many at a time.

use super::{Overhead, Recorder, picoseconds};
use core::hint::black_box;
use isochron::Instant;

/// How a short thing is timed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Batches that are recorded: so many samples.
    pub samples: u64,
    /// Calls in a batch.
    pub batch: u64,
    /// Events in a call: a sample is a batch's time divided by `batch * events`.
    pub events: u64,
    /// Rounds of an empty loop that a call contains beside the one around it, to be taken off too: the partner's.
    pub partner_loops: u64,
}

impl Plan {
    /// One event a call, and nobody else's loop in it.
    #[must_use]
    pub const fn new(samples: u64, batch: u64) -> Self {
        Self { samples, batch, events: 1, partner_loops: 0 }
    }

    /// Batches that are run first and not recorded.
    #[must_use]
    pub const fn warm_up(&self) -> u64 {
        let part = self.samples / 16;
        if part < 4 { 4 } else { part }
    }

    /// How often [`batches`] calls what it times, the warm-up included: what a partner thread has to keep up with.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        (self.warm_up() + self.samples) * self.batch
    }

    /// The time of one batch in ps: from the reading of the clock before the first call to the one after the last.
    /// Nothing is taken off.
    #[inline(always)]
    pub fn time(&self, mut call: impl FnMut()) -> u64 {
        let begin = Instant::now();
        rounds(self.batch, &mut call);
        let end = Instant::now();
        picoseconds(end.ticks() - begin.ticks())
    }
}

/// Times `call` as planned, on the thread that this is called from: [`Plan::time`] of each batch, less one reading of
/// the clock and the loops' own rounds.
pub fn batches(overhead: &Overhead, plan: Plan, mut call: impl FnMut()) -> Recorder {
    let mut recorder = Recorder::new();
    let own_ps = overhead.clock() + overhead.loops(plan.batch * (1 + plan.partner_loops));
    let events = plan.batch * plan.events;
    for index in 0..plan.warm_up() + plan.samples {
        let ps = plan.time(&mut call).saturating_sub(own_ps);
        if index >= plan.warm_up() {
            // Rounded to the nearest: cutting off would take half a thousandth of a ns off every mean.
            recorder.record((ps + events / 2) / events);
        }
    }
    recorder
}

/// The loop whose rounds [`Overhead`] knows.
#[inline(always)]
pub fn rounds(count: u64, call: &mut impl FnMut()) {
    for _ in 0..count {
        call();
        // Keeps an empty loop, and keeps the calls apart.
        black_box(());
    }
}
