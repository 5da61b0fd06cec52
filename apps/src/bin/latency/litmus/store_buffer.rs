//! Both publish, both look: at least one must see.
//!
//! The two go in lockstep: a round begins when each has seen that the other is there. One may be through a round, and
//! say that it is there for the next one, before the other has begun it; never further.

use super::{Counts, Limit, barrier};
use crate::suite::THERE;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    progress: Line<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The round it is ready for.
    arrived: AtomicU64,
    /// Whether it saw the other's state, for the last even round and the last odd one.
    saw: [AtomicBool; 2],
}

impl Side {
    /// Says that this side is ready for `round` and waits for the other; false if the other has ended it.
    #[inline(always)]
    fn meet(&self, other: &Self, round: u64) -> bool {
        // Release: partner is the other side's acquire below.
        self.progress.0.arrived.store(round, Ordering::Release);
        let mut answer = 0;
        spin_until(|| {
            // Acquire: partner is the other side's release above: what it saw in the round before is there.
            answer = other.progress.0.arrived.load(Ordering::Acquire);
            answer >= round
        });
        answer != END
    }

    /// The race itself: publishes this side's new state and notes whether the other's is seen.
    #[inline(always)]
    fn race<const BARRIER: bool>(&self, other: &Self, round: u64) {
        self.state.0.store(round, Ordering::Relaxed);
        barrier::<BARRIER>();
        let saw = other.state.0.load(Ordering::Relaxed) >= round;
        self.progress.0.saw[round as usize % 2].store(saw, Ordering::Relaxed);
    }

    /// Whether it saw the other's state in `round`. Asked after the meeting for the round after: the next word on a
    /// round of the same parity is written after the meeting that follows.
    fn saw(&self, round: u64) -> bool {
        self.progress.0.saw[round as usize % 2].load(Ordering::Relaxed)
    }
}

/// Rounds in which neither side saw the other's new state.
pub fn run<const BARRIER: bool>(limit: Limit) -> Result<Counts, SpawnError> {
    let sides = Arc::new([Side::default(), Side::default()]);
    let shared = Arc::clone(&sides);
    let partner = on(THERE, "litmus_partner", move || {
        let [other, me] = &*shared;
        let mut round = 1;
        while me.meet(other, round) {
            me.race::<BARRIER>(other, round);
            round += 1;
        }
    })?;
    let [me, other] = &*sides;
    let (mut done, mut stale) = (0, 0);
    let running = limit.start();
    loop {
        me.meet(other, done + 1);
        // The word on the round before is in: both have arrived for this one.
        stale += u64::from(done > 0 && !me.saw(done) && !other.saw(done));
        if !running.goes_on(done) {
            break;
        }
        done += 1;
        me.race::<BARRIER>(other, done);
    }
    // Release: partner is the acquire in `meet`. The partner may be in the round that was just met for; it finds this
    // at its next meeting.
    me.progress.0.arrived.store(END, Ordering::Release);
    partner.join().unwrap();
    Ok(Counts { rounds: done, stale })
}
