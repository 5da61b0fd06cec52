//! [`Recorder`]: from samples to records on the wire.

use alloc::boxed::Box;
use alloc::vec::Vec;
use isochron_core::histogram::{Bucket, Histogram, buckets};
use isochron_wire::{Fixed, Record};

/// Bits of a sample that choose its bucket: percentiles read from buckets are off by less than 1/128.
const PRECISION: u32 = 7;
/// Samples up to 2^47 ps (140 s) have buckets of their own.
const BITS: u32 = 47;
/// Buckets that are sent are wider: 32 to a power of two, so that a noisy distribution is not thousands of lines.
const SENT_PRECISION: u32 = 5;

/// So many samples are kept as they are, so that their percentiles are exact.
const KEPT: usize = 8192;

/// A distribution in the making. Samples are in picoseconds, which are the thousandths of the nanoseconds reported.
#[derive(Debug)]
pub struct Recorder {
    // On the heap: 41 KiB.
    histogram: Box<Histogram<PRECISION, { buckets(PRECISION, BITS) }>>,
    /// The first samples, as long as there is room for all of them.
    kept: Vec<u64>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { histogram: Box::default(), kept: Vec::with_capacity(KEPT) }
    }
}

impl Recorder {
    /// An empty one. It may need 41 KiB of stack while it is made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample of `ps` picoseconds.
    #[inline]
    pub fn record(&mut self, ps: u64) {
        self.histogram.record(ps);
        if self.kept.len() < KEPT {
            self.kept.push(ps);
        }
    }

    /// Adds the same sample `count` times.
    pub fn record_n(&mut self, ps: u64, count: u64) {
        self.histogram.record_n(ps, count);
        let room = (KEPT - self.kept.len()) as u64;
        self.kept.extend((0..count.min(room)).map(|_| ps));
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.histogram.clear();
        self.kept.clear();
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.count()
    }

    /// The smallest sample in picoseconds that `per_100k` of 100,000 samples do not exceed: exact up to 8192 samples, less
    /// than 1 % too large beyond; 0 without any.
    ///
    /// ```
    /// let mut recorder = isochron_apps::measure::Recorder::new();
    /// (1..=1000).for_each(|ps| recorder.record(ps));
    /// assert_eq!(recorder.percentile(99_000), 990);
    /// ```
    pub fn percentile(&mut self, per_100k: u32) -> u64 {
        self.kept.sort_unstable();
        self.quantile(per_100k)
    }

    /// Hands the distribution called `name` to `emit`, in ns: one [`Record::Distribution`], then its buckets. Nothing
    /// if there is no sample.
    pub fn emit(&mut self, name: &str, emit: &mut dyn FnMut(&Record<'_>)) {
        if self.histogram.is_empty() {
            return;
        }
        self.kept.sort_unstable();
        let quantile = |per_100k| fixed(self.quantile(per_100k));
        let histogram = &*self.histogram;
        emit(&Record::Distribution {
            name,
            unit: "ns",
            samples: histogram.count(),
            min: fixed(histogram.min()),
            mean: fixed(histogram.mean()),
            p50: quantile(50_000),
            p99: quantile(99_000),
            p999: quantile(99_900),
            max: fixed(histogram.max()),
        });
        let mut send = |bucket: Bucket| {
            let Bucket { low, high, count } = bucket;
            emit(&Record::Bucket { name, low: fixed(low), high: fixed(high.saturating_add(1)), count });
        };
        let mut open: Option<Bucket> = None;
        for fine in histogram.iter() {
            let wide = widen(fine);
            open = match open {
                Some(bucket) if bucket.low == wide.low => Some(Bucket { count: bucket.count + fine.count, ..wide }),
                Some(bucket) => {
                    send(bucket);
                    Some(wide)
                }
                None => Some(wide),
            };
        }
        open.into_iter().for_each(&mut send);
    }

    /// The smallest sample that `per_100k` of 100,000 samples do not exceed: exact while all samples are kept, and else
    /// the end of its bucket. Needs the kept ones sorted.
    fn quantile(&self, per_100k: u32) -> u64 {
        if self.kept.len() as u64 != self.histogram.count() {
            return self.histogram.quantile(per_100k);
        }
        let rank = (self.kept.len() as u64 * u64::from(per_100k)).div_ceil(100_000).max(1);
        self.kept.get(rank as usize - 1).copied().unwrap_or(0)
    }

    /// Sends the distribution to the host. A measure without a sample says so.
    #[cfg(any(isochron_bare, isochron_hosted))]
    pub fn send(mut self, name: &str) {
        use isochron::kernel::report;
        if self.histogram.is_empty() {
            report::note(name, format_args!("no samples"));
        }
        self.emit(name, &mut |record| report::send(record));
    }
}

/// The bucket that is sent for `fine`.
fn widen(fine: Bucket) -> Bucket {
    let shift = fine.low.checked_ilog2().unwrap_or(0).saturating_sub(SENT_PRECISION);
    let low = fine.low >> shift << shift;
    Bucket { low, high: (low + ((1 << shift) - 1)).max(fine.high), count: fine.count }
}

/// Picoseconds as nanoseconds with three places.
fn fixed(ps: u64) -> Fixed {
    Fixed::from_thousandths(i64::try_from(ps).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(recorder: &mut Recorder) -> (Record<'static>, Vec<(i64, i64, u64)>) {
        let (mut distribution, mut parts) = (None, Vec::new());
        recorder.emit("it", &mut |record| match *record {
            Record::Bucket { low, high, count, .. } => parts.push((low.thousandths(), high.thousandths(), count)),
            Record::Distribution { unit, samples, min, mean, p50, p99, p999, max, .. } => {
                let copy = Record::Distribution { name: "it", unit: "ns", samples, min, mean, p50, p99, p999, max };
                assert_eq!(unit, "ns");
                distribution = Some(copy);
            }
            _ => panic!("unexpected record"),
        });
        (distribution.expect("a distribution"), parts)
    }

    #[test]
    fn nothing_is_sent_for_nothing() {
        Recorder::new().emit("it", &mut |record| panic!("{record:?}"));
    }

    #[test]
    fn figures_of_a_ramp() {
        let mut recorder = Recorder::new();
        (1..=100_000).for_each(|ps| recorder.record(ps));
        let (distribution, parts) = records(&mut recorder);
        let Record::Distribution { samples, min, mean, p50, p99, p999, max, .. } = distribution else { panic!() };
        assert_eq!((samples, min.thousandths(), mean.thousandths(), max.thousandths()), (100_000, 1, 50_000, 100_000));
        for (got, exact) in [(p50, 50_000), (p99, 99_000), (p999, 99_900)] {
            let off = got.thousandths() - exact;
            assert!((0..=exact / 128 + 1).contains(&off), "{got:?} for {exact}");
        }
        assert_eq!(parts.iter().map(|part| part.2).sum::<u64>(), 100_000);
    }

    #[test]
    fn few_samples_have_exact_percentiles() {
        let mut recorder = Recorder::new();
        (0..1000).rev().for_each(|step| recorder.record(1_000_003 + step * 7));
        recorder.record_n(90_000_001, 9);
        let (Record::Distribution { p50, p99, p999, .. }, _) = records(&mut recorder) else { panic!() };
        // The 505th, 999th and 1008th of 1009.
        let exact = [1_000_003 + 504 * 7, 1_000_003 + 998 * 7, 90_000_001];
        assert_eq!([p50, p99, p999].map(Fixed::thousandths), exact);
    }

    #[test]
    fn buckets_are_ordered_apart_and_few() {
        let mut recorder = Recorder::new();
        (0..40).for_each(|bit| (0..1000).for_each(|step| recorder.record((1 << bit) + (step << bit >> 10))));
        recorder.record(0);
        recorder.record_n(u64::MAX, 3);
        let (_, parts) = records(&mut recorder);
        assert!(parts.len() <= 40 * 32 + 2, "{}", parts.len());
        for pair in parts.windows(2) {
            assert!(pair[0].0 < pair[0].1 && pair[0].1 <= pair[1].0, "{pair:?}");
        }
        assert_eq!(parts.iter().map(|part| part.2).sum::<u64>(), 40_004);
    }
}
