//! Distributions and series that take little memory, however much goes in.

use hdrhistogram::Histogram;

/// Times in ns: count, sum, and percentiles to within a hundredth.
#[derive(Clone, Debug)]
pub struct Times {
    histogram: Histogram<u64>,
    total: u128,
}

impl Default for Times {
    fn default() -> Self {
        // Two digits always fit, and the range grows by itself.
        let mut histogram = Histogram::new(2).expect("two digits are allowed");
        histogram.auto(true);
        Self { histogram, total: 0 }
    }
}

impl Times {
    /// Takes in one.
    pub fn record(&mut self, ns: u64) {
        // It grows as far as numbers go.
        let _ = self.histogram.record(ns);
        self.total += u128::from(ns);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Their sum, in ns.
    #[must_use]
    pub fn total(&self) -> u64 {
        u64::try_from(self.total).unwrap_or(u64::MAX)
    }

    /// The longest, to within a hundredth; 0 if there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        if self.count() == 0 { 0 } else { self.histogram.max() }
    }

    /// A percentile, 0 to 100; 0 if there is none.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> u64 {
        if self.count() == 0 { 0 } else { self.histogram.value_at_percentile(percent).min(self.max()) }
    }

    /// What is in it, in steps that grow by a factor of the square root of 2: from, to, how many. None that is empty.
    #[must_use]
    pub fn steps(&self) -> Vec<(u64, u64, u64)> {
        let mut steps: Vec<(u64, u64, u64)> = Vec::new();
        for value in self.histogram.iter_recorded() {
            let (ns, count) = (value.value_iterated_to(), value.count_since_last_iteration());
            let step = (2.0 * (ns.max(1) as f64).log2()).floor();
            let edge = |step: f64| (step / 2.0).exp2().round() as u64;
            match steps.last_mut().filter(|last| last.0 == edge(step)) {
                Some(last) => last.2 += count,
                None => steps.push((edge(step), edge(step + 1.0).max(edge(step) + 1), count)),
            }
        }
        steps
    }
}

/// The greatest value in each of a fixed number of columns of time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Series {
    columns: Vec<u64>,
    at: usize,
    now: u64,
}

impl Series {
    /// Of so many columns.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns: vec![0; columns.max(1)], at: 0, now: 0 }
    }

    /// It has a new value from a place on: 0 to 1 of the whole time.
    pub fn set(&mut self, place: f64, value: u64) {
        self.reach(place);
        self.now = value;
        let column = &mut self.columns[self.at];
        *column = value.max(*column);
    }

    /// It keeps its value up to a place.
    pub fn reach(&mut self, place: f64) {
        let column = (place.clamp(0.0, 1.0) * self.columns.len() as f64) as usize;
        while self.at < column.min(self.columns.len() - 1) {
            self.at += 1;
            self.columns[self.at] = self.now;
        }
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[u64] {
        &self.columns
    }

    /// The greatest of all.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.columns.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_near() {
        let mut times = Times::default();
        (1..=10_000).for_each(|ns| times.record(ns));
        assert_eq!((times.count(), times.total()), (10_000, 50_005_000));
        for (percent, want) in [(50.0, 5000.0), (99.0, 9900.0), (99.99, 9999.0), (100.0, 10_000.0)] {
            let got = times.percentile(percent) as f64;
            assert!((got / want - 1.0).abs() < 0.01, "{percent}: {got}");
        }
        assert_eq!(times.steps().iter().map(|step| step.2).sum::<u64>(), 10_000);
        assert!(times.steps().windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", times.steps());
        assert_eq!((Times::default().max(), Times::default().percentile(99.0)), (0, 0));
    }

    #[test]
    fn a_series_keeps_its_peaks() {
        let mut series = Series::new(4);
        series.set(0.1, 9);
        series.set(0.12, 2);
        series.set(0.8, 5);
        series.reach(1.0);
        assert_eq!((series.columns(), series.max()), (&[9, 2, 2, 5][..], 9));
    }
}
