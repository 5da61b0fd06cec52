//! What measuring itself costs, measured.

use super::{batch, picoseconds};
use isochron::Instant;

/// Rounds of one look: the one reading of the clock that is in it weighs 1/4096 of itself.
const ROUNDS: u64 = 4096;
/// Looks, of which the quickest counts: a disturbance makes one longer, nothing makes one shorter.
const LOOKS: usize = 33;

/// The suite's own cost, taken off what it measures.
#[derive(Clone, Copy, Debug)]
pub struct Overhead {
    clock_ps: u64,
    /// In thousandths of a picosecond: a round may take less than a nanosecond, and a batch has many.
    loop_fs: u64,
}

impl Overhead {
    /// Measures it, on the CPU that this runs on: less than 10 ms on real hardware.
    #[must_use]
    pub fn measure() -> Self {
        let empty = quickest_round(|| ());
        let clock = quickest_round(|| {
            let _ = Instant::now();
        });
        Self { clock_ps: clock.saturating_sub(empty) / 1000, loop_fs: empty }
    }

    /// From one reading of the clock to the next, with nothing between them, in ps.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.clock_ps
    }

    /// `rounds` rounds of the empty loop of [`super::batches`], in ps.
    #[inline]
    #[must_use]
    pub fn loops(&self, rounds: u64) -> u64 {
        self.loop_fs * rounds / 1000
    }
}

/// A round of the loop around `call`, in thousandths of a picosecond.
fn quickest_round(mut call: impl FnMut()) -> u64 {
    let look = |_| {
        let begin = Instant::now();
        batch::rounds(ROUNDS, &mut call);
        picoseconds(Instant::now().ticks() - begin.ticks())
    };
    (0..LOOKS).map(look).min().unwrap_or(0) * 1000 / ROUNDS
}
