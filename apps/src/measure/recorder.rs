//! [`Recorder`]: from samples to records on the wire.

use alloc::boxed::Box;
use isochron_core::histogram::{Bucket, Histogram, buckets};
use isochron_wire::{Fixed, Record};

/// Bits of a sample that choose its bucket: percentiles are off by less than 1/128.
const PRECISION: u32 = 7;
/// Samples up to 2^47 ps (140 s) have buckets of their own.
const BITS: u32 = 47;
/// Buckets that are sent are wider: 32 to a power of two, so that a noisy distribution is not thousands of lines.
const SENT_PRECISION: u32 = 5;

/// A distribution in the making. Samples are in picoseconds, which are the thousandths of the nanoseconds reported.
#[derive(Debug, Default)]
pub struct Recorder {
    // On the heap: 41 KiB.
    histogram: Box<Histogram<PRECISION, { buckets(PRECISION, BITS) }>>,
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
    }

    /// Adds the same sample `count` times.
    pub fn record_n(&mut self, ps: u64, count: u64) {
        self.histogram.record_n(ps, count);
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.histogram.clear();
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.count()
    }

    /// The median in picoseconds, to less than 1 %; 0 without samples.
    #[must_use]
    pub fn median(&self) -> u64 {
        self.histogram.quantile(50_000)
    }

    /// Hands the distribution called `name` to `emit`, in ns: one [`Record::Distribution`], then its buckets. Nothing
    /// if there is no sample.
    pub fn emit(&self, name: &str, emit: &mut dyn FnMut(&Record<'_>)) {
        let histogram = &*self.histogram;
        if histogram.is_empty() {
            return;
        }
        emit(&Record::Distribution {
            name,
            unit: "ns",
            samples: histogram.count(),
            min: fixed(histogram.min()),
            mean: fixed(histogram.mean()),
            p50: fixed(histogram.quantile(50_000)),
            p99: fixed(histogram.quantile(99_000)),
            p999: fixed(histogram.quantile(99_900)),
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

    /// Sends the distribution to the host. A measure without a sample says so.
    #[cfg(isochron_bare)]
    pub fn send(&self, name: &str) {
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
    use std::vec::Vec;

    fn records(recorder: &Recorder) -> (Record<'static>, Vec<(i64, i64, u64)>) {
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
        let (distribution, parts) = records(&recorder);
        let Record::Distribution { samples, min, mean, p50, p99, p999, max, .. } = distribution else { panic!() };
        assert_eq!((samples, min.thousandths(), mean.thousandths(), max.thousandths()), (100_000, 1, 50_000, 100_000));
        for (got, exact) in [(p50, 50_000), (p99, 99_000), (p999, 99_900)] {
            let off = got.thousandths() - exact;
            assert!((0..=exact / 128 + 1).contains(&off), "{got:?} for {exact}");
        }
        assert_eq!(parts.iter().map(|part| part.2).sum::<u64>(), 100_000);
    }

    #[test]
    fn buckets_are_ordered_apart_and_few() {
        let mut recorder = Recorder::new();
        (0..40).for_each(|bit| (0..1000).for_each(|step| recorder.record((1 << bit) + (step << bit >> 10))));
        recorder.record(0);
        recorder.record_n(u64::MAX, 3);
        let (_, parts) = records(&recorder);
        assert!(parts.len() <= 40 * 32 + 2, "{}", parts.len());
        for pair in parts.windows(2) {
            assert!(pair[0].0 < pair[0].1 && pair[0].1 <= pair[1].0, "{pair:?}");
        }
        assert_eq!(parts.iter().map(|part| part.2).sum::<u64>(), 40_004);
    }
}
