//! The histogram against a sorted list.
#![cfg(not(loom))]

use isochron_core::histogram::{Histogram, Latency, Wide, buckets};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..200_u64,
        any::<u64>(),
        (0..64_u32, 0..3_u64).prop_map(|(shift, less)| (1_u64 << shift).wrapping_sub(less))
    ]
}

fn wide(values: &[u64]) -> Wide {
    let mut histogram = Wide::new();
    values.iter().for_each(|&value| histogram.record(value));
    histogram
}

#[test]
fn empty_reads_zero() {
    let histogram = Wide::new();
    let read = (histogram.count(), histogram.min(), histogram.max(), histogram.mean(), histogram.quantile(50_000));
    assert_eq!(read, (0, 0, 0, 0, 0));
    assert_eq!(histogram.iter().count(), 0);
}

#[test]
fn buckets_cover_everything_without_gap_or_overlap() {
    fn check<const P: u32, const B: usize>() {
        let mut histogram = Histogram::<P, B>::new();
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) + (1 << shift) / 3, u64::MAX >> shift] {
                histogram.record(value);
            }
        }
        let mut next = 0;
        for bucket in histogram.iter() {
            assert!(bucket.low >= next && bucket.high >= bucket.low);
            if bucket.high != u64::MAX {
                assert!(bucket.high - bucket.low <= bucket.low >> P, "{bucket:?} is too wide");
                next = bucket.high + 1;
            }
        }
        assert_eq!(histogram.iter().map(|bucket| bucket.count).sum::<u64>(), 192);
    }
    check::<6, { buckets(6, 64) }>();
    check::<1, { buckets(1, 64) }>();
    if !cfg!(miri) {
        check::<10, { buckets(10, 64) }>();
    }
    check::<6, { buckets(6, 40) }>();
}

#[test]
fn what_does_not_fit_is_counted_and_the_maximum_stays_exact() {
    let mut histogram = Latency::new();
    histogram.record((1 << 40) - 1);
    histogram.record(u64::MAX - 7);
    assert_eq!((histogram.count(), histogram.max(), histogram.quantile(100_000)), (2, u64::MAX - 7, u64::MAX - 7));
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 300 };

proptest! {
    #[test]
    fn agrees_with_a_sorted_list(mut values in prop::collection::vec(value(), 1..STEPS), per_100k in 0..=100_000_u32) {
        let histogram = wide(&values);
        values.sort_unstable();
        let sum: u128 = values.iter().map(|&value| u128::from(value)).sum();
        prop_assert_eq!(histogram.min(), values[0]);
        prop_assert_eq!(histogram.max(), *values.last().unwrap());
        prop_assert_eq!(u128::from(histogram.mean()), sum / values.len() as u128);
        let rank = (values.len() * per_100k as usize).div_ceil(100_000).max(1);
        let (exact, read) = (values[rank - 1], histogram.quantile(per_100k));
        prop_assert!(read >= exact && read - exact <= exact / 64, "{} read as {}", exact, read);
        let mut rest = values.as_slice();
        for bucket in histogram.iter() {
            let (here, after) = rest.split_at(bucket.count as usize);
            prop_assert!(here.iter().all(|value| (bucket.low..=bucket.high).contains(value)));
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn merging_is_recording_both(a in prop::collection::vec(value(), 0..STEPS / 3), b in prop::collection::vec(value(), 0..STEPS / 3)) {
        let mut merged = wide(&a);
        merged.merge(&wide(&b));
        let both = wide(&[a, b].concat());
        prop_assert!(merged.iter().eq(both.iter()));
        prop_assert_eq!(
            (merged.count(), merged.sum(), merged.min(), merged.max()),
            (both.count(), both.sum(), both.min(), both.max())
        );
    }
}
