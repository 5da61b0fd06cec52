//! Both publish, both look: at least one must see.
//!
//! The two go in lockstep: a round begins when each has seen that the other is there, and each tells in its next
//! arrival whether it saw the other's state in the round before.

use super::{Counts, Limit, barrier};
use crate::suite::THERE;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::measure::{Line, on, spin_until};

/// In place of an arrival: there is no further round.
const END: u64 = u64::MAX;

/// One side: its state, and how far it is.
#[derive(Default)]
struct Side {
    /// The number of the last round that it published. Written plainly.
    state: Line<AtomicU64>,
    /// Twice the round it is ready for, plus 1 if it saw the other's state in the round before.
    arrived: Line<AtomicU64>,
}

impl Side {
    /// Says that this side is ready for `round` and waits for the other; what the other said, or `None` at the end.
    #[inline(always)]
    fn meet(&self, other: &Self, round: u64, saw: bool) -> Option<bool> {
        // Release: partner is the other side's acquire below.
        self.arrived.0.store(round * 2 + u64::from(saw), Ordering::Release);
        let mut answer = 0;
        spin_until(|| {
            // Acquire: partner is the other side's release above: its last round is over.
            answer = other.arrived.0.load(Ordering::Acquire);
            answer >= round * 2
        });
        (answer != END).then_some(answer & 1 == 1)
    }

    /// The race itself: whether this side sees the other's state of `round`.
    #[inline(always)]
    fn race<const BARRIER: bool>(&self, other: &Self, round: u64) -> bool {
        self.state.0.store(round, Ordering::Relaxed);
        barrier::<BARRIER>();
        other.state.0.load(Ordering::Relaxed) >= round
    }
}

/// Rounds in which neither side saw the other's new state.
pub fn run<const BARRIER: bool>(limit: Limit) -> Result<Counts, SpawnError> {
    let sides = Arc::new([Side::default(), Side::default()]);
    let shared = Arc::clone(&sides);
    let partner = on(THERE, "litmus_partner", move || {
        let [other, me] = &*shared;
        let (mut round, mut saw) = (1, true);
        while me.meet(other, round, saw).is_some() {
            saw = me.race::<BARRIER>(other, round);
            round += 1;
        }
    })?;
    let [me, other] = &*sides;
    let (mut done, mut stale, mut saw) = (0, 0, true);
    let running = limit.start();
    loop {
        // Its last word on the round before comes with its arrival for this one.
        let other_saw = me.meet(other, done + 1, saw).unwrap_or(true);
        stale += u64::from(!saw && !other_saw);
        if !running.goes_on(done) {
            break;
        }
        saw = me.race::<BARRIER>(other, done + 1);
        done += 1;
    }
    // The partner is past this meeting and in its race; it is told at the next one.
    me.arrived.0.store(END, Ordering::Release);
    partner.join();
    Ok(Counts { rounds: done, stale })
}
