//! What was measured: samples by figure and contender.

use super::contenders::{FLOOR, ISOCHRON};
use super::rows::{Figure, Goal, Row};
use serde_json::{Value, json};

/// The samples of one figure of one contender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The value in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let (low, high) = (self.0[(self.0.len() - 1) / 2], self.0[self.0.len() / 2]);
        f64::midpoint(low, high)
    }

    /// The least and the greatest.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        (self.0[0], self.0[self.0.len() - 1])
    }
}

/// All samples, in the order in which the contenders came.
#[derive(Debug, Default)]
pub struct Figures {
    samples: Vec<(String, &'static str, Vec<f64>)>,
    failed: Vec<(&'static str, &'static str, String)>,
}

impl Figures {
    /// Takes one sample.
    pub fn add(&mut self, figure: &str, contender: &'static str, value: f64) {
        match self.samples.iter_mut().find(|(name, of, _)| name == figure && *of == contender) {
            Some((_, _, values)) => values.push(value),
            None => self.samples.push((figure.into(), contender, vec![value])),
        }
    }

    /// Takes note of a run that failed; the first for each row and contender is kept.
    pub fn fail(&mut self, row: &'static str, contender: &'static str, why: &str) {
        if !self.has_failed(row, contender) {
            self.failed.push((row, contender, why.into()));
        }
    }

    /// Whether a run of this row and contender has failed.
    #[must_use]
    pub fn has_failed(&self, row: &str, contender: &str) -> bool {
        self.failed.iter().any(|(at, of, _)| *at == row && *of == contender)
    }

    /// The runs that failed: row, contender, why.
    #[must_use]
    pub fn failed(&self) -> &[(&'static str, &'static str, String)] {
        &self.failed
    }

    /// A contender's samples of a figure.
    #[must_use]
    pub fn of(&self, figure: &str, contender: &str) -> Option<Samples> {
        let found = self.samples.iter().find(|(name, of, _)| name == figure && *of == contender)?;
        Some(Samples::new(found.2.clone()))
    }

    /// The medians of all who have a figure.
    #[must_use]
    pub fn medians(&self, figure: &str) -> Vec<(&'static str, f64)> {
        let of = self.samples.iter().filter(|(name, ..)| name == figure);
        of.map(|(_, contender, values)| (*contender, Samples::new(values.clone()).median())).collect()
    }

    /// The best of the others: neither Isochron nor the floor.
    #[must_use]
    pub fn best_peer(&self, figure: &Figure) -> Option<(&'static str, f64)> {
        let peers = self.medians(figure.name).into_iter().filter(|(name, _)| ![ISOCHRON, FLOOR].contains(name));
        if figure.more_is_better() {
            peers.max_by(|a, b| a.1.total_cmp(&b.1))
        } else {
            peers.min_by(|a, b| a.1.total_cmp(&b.1))
        }
    }

    /// The figure that is aimed at, in the figure's unit, if this run can tell it.
    #[must_use]
    pub fn goal(&self, figure: &Figure) -> Option<f64> {
        match figure.goal {
            Goal::AtMost(value) | Goal::AtLeast(value) => Some(value),
            Goal::TimesFloor(times) => Some(self.of(figure.name, FLOOR)?.median() * times),
            Goal::TimesBest(times) => Some(self.best_peer(figure)?.1 * times),
        }
    }

    /// Whether Isochron's median reaches the goal; `None` if one of the two is not there.
    #[must_use]
    pub fn reached(&self, figure: &Figure) -> Option<bool> {
        let (ours, goal) = (self.of(figure.name, ISOCHRON)?.median(), self.goal(figure)?);
        Some(if figure.more_is_better() { ours >= goal } else { ours <= goal })
    }

    /// How many times better Isochron is than the best of the others.
    #[must_use]
    pub fn ratio(&self, figure: &Figure) -> Option<f64> {
        let (ours, best) = (self.of(figure.name, ISOCHRON)?.median(), self.best_peer(figure)?.1);
        Some(if figure.more_is_better() { ours / best } else { best / ours })
    }

    /// For programs.
    #[must_use]
    pub fn json(&self, rows: &[&'static Row], rounds: u32) -> Value {
        let figure = |figure: &Figure| {
            let contenders: Vec<Value> = self
                .medians(figure.name)
                .into_iter()
                .filter_map(|(name, median)| {
                    let (min, max) = self.of(figure.name, name)?.range();
                    Some(json!({"name": name, "median": median, "min": min, "max": max}))
                })
                .collect();
            json!({
                "name": figure.name, "unit": figure.unit, "more_is_better": figure.more_is_better(),
                "goal": self.goal(figure), "reached": self.reached(figure), "ratio_to_best_peer": self.ratio(figure),
                "contenders": contenders,
            })
        };
        let figures: Vec<Value> = rows.iter().flat_map(|row| row.figures).map(figure).collect();
        let failed: Vec<Value> = self
            .failed
            .iter()
            .map(|(row, contender, why)| json!({"row": row, "name": contender, "why": why}))
            .collect();
        json!({"schema": 1, "kind": "compare", "rounds": rounds, "figures": figures, "failed": failed})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ratios_and_goals() {
        let mut figures = Figures::default();
        for (contender, values) in [
            (ISOCHRON, [10.0, 12.0, 50.0]),
            (FLOOR, [5.0, 6.0, 7.0]),
            ("a", [20.0, 24.0, 30.0]),
            ("b", [99.0, 98.0, 97.0]),
        ] {
            values.into_iter().for_each(|value| figures.add("x", contender, value));
        }
        let less = Figure { name: "x", unit: "ns", goal: Goal::TimesFloor(2.0) };
        assert_eq!(figures.best_peer(&less), Some(("a", 24.0)));
        assert_eq!(
            (figures.goal(&less), figures.reached(&less), figures.ratio(&less)),
            (Some(12.0), Some(true), Some(2.0))
        );
        let more = Figure { goal: Goal::AtLeast(13.0), ..less };
        assert_eq!(figures.best_peer(&more), Some(("b", 98.0)));
        assert_eq!(figures.reached(&more), Some(false));
        assert_eq!(figures.of("x", ISOCHRON).map(|samples| samples.range()), Some((10.0, 50.0)));
        let unknown = Figure { name: "y", ..less };
        assert_eq!((figures.goal(&unknown), figures.reached(&unknown), figures.ratio(&unknown)), (None, None, None));
    }
}
