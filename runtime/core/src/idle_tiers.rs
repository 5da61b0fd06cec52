//! How long an idle CPU watches for work before it sleeps, and how that length follows what came of it.
//!
//! | tier | the CPU | left after | a claim costs |
//! | --- | --- | --- | --- |
//! | spin | looks at its state word | [`Limits::spin`] | one store |
//! | watch | waits on that word (`ldxr` and `wfe`, `pause`) | the watch length | one store |
//! | sleep | waits for an interrupt | | an interrupt |
//!
//! # The rule
//! An idle period that ends while the CPU watches leaves the watch length as it is. After one in which it slept, it goes by
//! the *cycle*, the time from the beginning of that period to the beginning of the next:
//! * up to [`Limits::near`]: the CPU sleeps and wakes all the time, and the interrupts are a good part of what it does. The
//!   length doubles, up to [`Limits::watch`];
//! * longer: it is halved, down to [`Limits::spin`].
//!
//! So a CPU that exchanges messages with another watches all the time, and one that waits for milliseconds hardly watches
//! at all. When things change, it is wrong for as many periods as the length has halves.
//!
//! # Rejected
//! *A fixed length*: right for one of the two. *A mean of the last periods*: one long sleep among hundreds of short ones
//! spoils it for dozens of them. *The length of the period alone*: it takes a reading of the clock on the way from the
//! interrupt to the thread, where every instruction is latency.

/// Lengths in ticks of the machine's counter, the same for all CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the first tier lasts.
    pub spin: u64,
    /// The most that the first two tiers last together. 0: they are left out, the CPU sleeps at once.
    pub watch: u64,
    /// Cycles up to this count as short ones.
    pub near: u64,
}

impl Limits {
    /// No watching at all: for CPUs that share a core, where it would keep others from running.
    pub const OFF: Self = Self { spin: 0, watch: 0, near: 0 };
}

/// How long one CPU watches the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLength(u64);

impl WatchLength {
    /// The longest, to begin with.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self(limits.watch)
    }

    /// In ticks.
    #[inline]
    #[must_use]
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// After an idle period in which the CPU slept, and `cycle` ticks from its beginning to that of the next.
    #[inline]
    #[must_use]
    pub fn after_sleep(self, limits: &Limits, cycle: u64) -> Self {
        if cycle <= limits.near {
            Self((self.0 * 2).max(limits.spin).min(limits.watch))
        } else {
            Self((self.0 / 2).max(limits.spin).min(limits.watch))
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { spin: 10, watch: 100, near: 400 };

    fn after(cycles: &[u64]) -> u64 {
        cycles.iter().fold(WatchLength::new(&LIMITS), |length, &cycle| length.after_sleep(&LIMITS, cycle)).ticks()
    }

    #[test]
    fn it_begins_long_and_stays_so_while_cycles_are_short() {
        assert_eq!(after(&[]), 100);
        assert_eq!(after(&[1, 400, 50]), 100);
    }

    #[test]
    fn long_sleeps_bring_it_down_to_the_spin() {
        assert_eq!(after(&[401]), 50);
        assert_eq!(after(&[10_000; 3]), 12);
        assert_eq!(after(&[10_000; 9]), 10);
    }

    #[test]
    fn short_ones_that_were_slept_over_bring_it_back() {
        let long = [10_000; 9];
        let then = |short: &[u64]| after(&[&long, short].concat());
        assert_eq!(then(&[400]), 20);
        assert_eq!(then(&[150, 150, 150]), 80);
        assert_eq!(then(&[150; 4]), 100);
    }

    #[test]
    fn off_is_off() {
        let mut length = WatchLength::new(&Limits::OFF);
        for cycle in [0, 1, 1_000_000, 3] {
            length = length.after_sleep(&Limits::OFF, cycle);
            assert_eq!(length.ticks(), 0);
        }
    }
}
