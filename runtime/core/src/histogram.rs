//! Latency histogram: any `u64`, a bounded relative error, a few instructions a sample, no allocation.
//!
//! # Structure
//! Log-linear: each power of two is cut into `2^PRECISION` equal buckets, and values below `2^PRECISION` have one
//! each. A bucket is at most `low / 2^PRECISION` wide, so a value read back is off by less than `1 / 2^PRECISION` of
//! itself. Minimum, maximum, count and mean are exact.

/// How many buckets a histogram with `precision` bits needs for all values below 2^`bits`.
#[must_use]
pub const fn buckets(precision: u32, bits: u32) -> usize {
    if bits <= precision { 1 << bits } else { ((bits - precision + 1) as usize) << precision }
}

/// Every `u64`, off by at most 1/64; 30 KiB.
pub type Wide = Histogram<6, { buckets(6, 64) }>;

/// Values below 2^40 (18 minutes in ns) off by at most 1/64, larger ones all in the last bucket; 17.5 KiB.
pub type Latency = Histogram<6, { buckets(6, 40) }>;

/// See the module's documentation. `BUCKETS` is [`buckets`]`(PRECISION, bits)`; values that do not fit are counted in
/// the last bucket. All zero when new, so a static of it takes no room in an image.
#[derive(Debug, Clone)]
pub struct Histogram<const PRECISION: u32, const BUCKETS: usize> {
    counts: [u64; BUCKETS],
    count: u64,
    sum: u128,
    /// Complement of the minimum, so that 0 stands for "none yet".
    not_min: u64,
    max: u64,
}

/// Some samples: `count` of them, from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The least value that falls here.
    pub low: u64,
    /// The greatest value that falls here.
    pub high: u64,
    /// How many did.
    pub count: u64,
}

impl<const PRECISION: u32, const BUCKETS: usize> Histogram<PRECISION, BUCKETS> {
    const VALID: () = assert!(PRECISION >= 1 && PRECISION <= 16 && BUCKETS >= 1 && BUCKETS <= buckets(PRECISION, 64));

    /// No samples.
    pub const fn new() -> Self {
        let () = Self::VALID;
        Self { counts: [0; BUCKETS], count: 0, sum: 0, not_min: 0, max: 0 }
    }

    /// Adds one sample.
    #[inline(always)]
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Adds the same sample `n` times.
    #[inline(always)]
    pub fn record_n(&mut self, value: u64, n: u64) {
        if n == 0 {
            return;
        }
        self.counts[index(PRECISION, value).min(BUCKETS - 1)] += n;
        self.count += n;
        self.sum += u128::from(value) * u128::from(n);
        self.not_min = self.not_min.max(!value);
        self.max = self.max.max(value);
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.not_min = self.not_min.max(other.not_min);
        self.max = self.max.max(other.max);
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum, self.not_min, self.max) = (0, 0, 0, 0);
    }

    /// How many samples there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// True if there is no sample.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The least sample, exact; 0 if there is none.
    pub const fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { !self.not_min }
    }

    /// The greatest sample, exact; 0 if there is none.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The mean, exact but for rounding down; 0 if there is none.
    pub const fn mean(&self) -> u64 {
        if self.count == 0 { 0 } else { (self.sum / self.count as u128) as u64 }
    }

    /// The sum of all samples.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// The value that `per_100k` of 100,000 samples do not exceed (50,000 is the median, 99,900 the 99.9th
    /// percentile), rounded up to the end of its bucket, but never beyond the greatest sample. 0 if there is none.
    #[must_use]
    pub fn quantile(&self, per_100k: u32) -> u64 {
        let rank = (u128::from(self.count) * u128::from(per_100k.min(100_000))).div_ceil(100_000).max(1);
        let mut below: u128 = 0;
        for bucket in self.iter() {
            below += u128::from(bucket.count);
            if below >= rank {
                return bucket.high.clamp(self.min(), self.max);
            }
        }
        0
    }

    /// The buckets that are not empty, from low to high.
    pub fn iter(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.counts.iter().enumerate().filter(|&(_, &count)| count > 0).map(|(index, &count)| Bucket {
            low: lowest(PRECISION, index),
            high: if index + 1 == BUCKETS { u64::MAX } else { lowest(PRECISION, index + 1) - 1 },
            count,
        })
    }
}

/// Below `2^precision` the value itself; above, the power of two and the `precision` bits after the leading one.
#[inline(always)]
const fn index(precision: u32, value: u64) -> usize {
    let shift = (63 - (value | 1).leading_zeros()).saturating_sub(precision);
    ((shift as usize) << precision) + (value >> shift) as usize
}

/// The least value in the bucket of `index`.
const fn lowest(precision: u32, index: usize) -> u64 {
    let shift = (index >> precision).saturating_sub(1) as u32;
    ((index - ((shift as usize) << precision)) as u64) << shift
}

impl<const PRECISION: u32, const BUCKETS: usize> Default for Histogram<PRECISION, BUCKETS> {
    fn default() -> Self {
        Self::new()
    }
}
