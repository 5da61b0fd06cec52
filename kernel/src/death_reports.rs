//! How many deaths of threads are reported, so that a storm of them does not drown the console.
//!
//! A report is some 3 KiB, and its CPU takes no interrupts until the console has it. [`BURST`] of them may come at once, and
//! then one each second; the rest is counted. The next report says how many were left out before it, and the end of
//! the program how many in all (`deaths_unreported`).
//!
//! Rejected: *a shorter report for each*: ten thousand lines drown the console as well. *A queue that a thread prints*: the
//! last words are those of a thread that may have broken more than itself, and they should be out before others run.

/// So many reports may come at once.
pub const BURST: u64 = 16;

/// Then one in so many milliseconds.
pub const INTERVAL_MS: u64 = 1000;

/// Counts since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeathReports {
    /// Deaths by a panic or an exception that were reported.
    pub told: u64,
    /// Deaths of the same sort that were not, because too many came at once.
    pub left_out: u64,
}

/// What the allowance is worth after one more report at `now`, if that is within it: when it is whole again.
#[cfg_attr(not(any(isochron_bare, isochron_hosted)), allow(dead_code))]
const fn after_one_more(whole_at: u64, now: u64, interval: u64) -> Option<u64> {
    let from = if whole_at > now { whole_at } else { now };
    if from - now > (BURST - 1) * interval { None } else { Some(from + interval) }
}

#[cfg(any(isochron_bare, isochron_hosted))]
mod counts {
    use super::{DeathReports, INTERVAL_MS, after_one_more};
    use crate::arch;
    use crate::clock::ticks_in_ms;
    use core::fmt::Write;
    use core::sync::atomic::{AtomicU64, Ordering};
    use isochron_wire::{Fixed, Record};

    // Relaxed, all of them: counters, and one word that says all by itself.
    static TOLD: AtomicU64 = AtomicU64::new(0);
    static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
    /// How many of those left out the console has been told of.
    static TOLD_OF: AtomicU64 = AtomicU64::new(0);
    /// When the allowance is whole again, in ticks.
    static WHOLE_AT: AtomicU64 = AtomicU64::new(0);

    /// Counts a death. True: it is to be reported.
    pub(crate) fn count() -> bool {
        let (now, interval) = (arch::clock::ticks_unordered(), ticks_in_ms(INTERVAL_MS));
        let within = |whole_at| after_one_more(whole_at, now, interval);
        let told = WHOLE_AT.try_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        if told { &TOLD } else { &LEFT_OUT }.fetch_add(1, Ordering::Relaxed);
        told
    }

    /// How many were left out since this was asked last.
    pub(crate) fn left_out_since() -> u64 {
        let all = LEFT_OUT.load(Ordering::Relaxed);
        all.saturating_sub(TOLD_OF.swap(all, Ordering::Relaxed))
    }

    /// At the end of the program: what the console was never told.
    pub(crate) fn close(out: &mut impl Write) {
        let left_out = LEFT_OUT.load(Ordering::Relaxed);
        if left_out > 0 {
            let value = Fixed::from_int(left_out);
            let _ = Record::Value { name: "deaths_unreported", unit: "count", value }.encode(out);
        }
    }

    /// How many deaths were reported so far, and how many were not.
    #[must_use]
    pub fn death_reports() -> DeathReports {
        DeathReports { told: TOLD.load(Ordering::Relaxed), left_out: LEFT_OUT.load(Ordering::Relaxed) }
    }
}

#[cfg(any(isochron_bare, isochron_hosted))]
pub use counts::death_reports;
#[cfg(any(isochron_bare, isochron_hosted))]
pub(crate) use counts::{close, count, left_out_since};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_in_each_interval() {
        let (mut whole_at, mut told) = (0, Vec::new());
        // Ten a second for a minute; a second is 1000 ticks, and the clock has run for a while.
        for now in (5_000..65_000).step_by(100) {
            if let Some(next) = after_one_more(whole_at, now, 1000) {
                whole_at = next;
                told.push(now);
            }
        }
        // While the burst lasts, time goes on too.
        assert!((16..=18).contains(&told.iter().filter(|&&now| now < 7_000).count()), "{told:?}");
        assert_eq!(told.iter().filter(|&&now| now >= 15_000).count(), 50);
        // After a pause it is whole again.
        let at_once = (0..100).filter(|_| {
            let next = after_one_more(whole_at, 200_000, 1000);
            whole_at = next.unwrap_or(whole_at);
            next.is_some()
        });
        assert_eq!(at_once.count() as u64, BURST);
    }
}
