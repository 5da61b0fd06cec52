//! Two sides against each other: what changed, and whether that is more than the noise.
//!
//! A change is beyond the noise if it is larger than the spreads of both sides together, and than a step of the clock. Of
//! several reports the spread is from the least to the greatest figure, so their ranges are then apart by a gap: of three
//! reports a side that are all of the same thing, 14 figures in 1000 are that far apart by chance, of four 1.
//!
//! Of fewer than [`ENOUGH`] reports nobody can tell: what a run does by itself (a CPU that is faster or slower this time, a
//! neighbour) is the same in all of its samples. There the spread is what lies within a run (of a median, the middle half of the
//! samples; of a 99th percentile, what is between the 98th and the 99.5th), what is below it is the same, and what is above it
//! differs, for whatever reason. Instruction counts have no noise: one report is enough, and each difference counts.

use super::read::Which;
use super::side::{Centre, Side, agree};
use crate::error::Error;

/// So many reports a side tell what changes from run to run.
pub const ENOUGH: usize = 3;

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A time that grew, or a rate that shrank, beyond the noise.
    Slower,
    /// A time that shrank, or a rate that grew, beyond the noise.
    Faster,
    /// Something else that grew, beyond the noise.
    More,
    /// Something else that shrank, beyond the noise.
    Less,
    /// It differs, and the reports do not tell whether another run would as well.
    Differs,
    /// Not beyond the noise.
    Same,
}

impl Verdict {
    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::More => "more",
            Self::Less => "less",
            Self::Differs => "differs",
            Self::Same => "same",
        }
    }
}

/// One figure that both sides have.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The result.
    pub name: String,
    /// Which figure of it.
    pub which: Which,
    /// The unit.
    pub unit: String,
    /// Before and after.
    pub values: [f64; 2],
    /// What a difference must exceed, in the same unit; `None` where the reports do not tell.
    pub noise: Option<f64>,
    /// What it means.
    pub verdict: Verdict,
}

impl Change {
    /// By how much it grew, in percent of what it was; `None` if it was nothing.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        let [before, after] = self.values;
        (before != 0.0).then(|| (after - before) / before.abs() * 100.0)
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// What was compared.
    pub sides: [&'a Side; 2],
    /// What both have: what got slower first, the most first.
    pub changes: Vec<Change>,
    /// Figures that only the first has, and only the second.
    pub alone: [Vec<String>; 2],
}

impl Comparison<'_> {
    /// What got slower by more than `allow` percent.
    pub fn slower(&self, allow: f64) -> impl Iterator<Item = &Change> {
        let too_much = move |change: &&Change| change.percent().is_none_or(|percent| percent.abs() > allow);
        self.changes.iter().filter(|change| change.verdict == Verdict::Slower).filter(too_much)
    }
}

/// Compares.
///
/// # Errors
/// [`Error::Incomparable`] if the sides are not of the same run.
pub fn compare<'a>(before: &'a Side, after: &'a Side) -> Result<Comparison<'a>, Error> {
    if let (Some(one), Some(other)) = (before.reports().first(), after.reports().first()) {
        agree(one, other)?;
    }
    let enough = before.is_enough() && after.is_enough();
    let (first, second) = (before.names(), after.names());
    let mut changes: Vec<Change> = first
        .iter()
        .filter_map(|name| {
            let (a, b) = (before.centre(*name)?, after.centre(*name)?);
            Some(change(*name, a, b, enough))
        })
        .collect();
    // What matters most comes first; within that, what changed most.
    let weight = |change: &Change| (change.verdict as u8, -change.percent().unwrap_or(f64::INFINITY).abs());
    changes.sort_by(|a, b| weight(a).0.cmp(&weight(b).0).then(weight(a).1.total_cmp(&weight(b).1)));
    let only = |names: &[(&str, Which, &str)], others: &[(&str, Which, &str)]| {
        let mut only: Vec<String> = names.iter().filter(|n| !others.contains(n)).map(|n| n.0.to_owned()).collect();
        only.dedup();
        only
    };
    Ok(Comparison { sides: [before, after], changes, alone: [only(&first, &second), only(&second, &first)] })
}

fn change((name, which, unit): (&str, Which, &str), before: Centre, after: Centre, enough: bool) -> Change {
    let difference = after.value - before.value;
    let noise = before.spread.zip(after.spread).map(|(a, b)| (a + b).max(before.step).max(after.step));
    let verdict = match noise {
        _ if difference == 0.0 => Verdict::Same,
        None => Verdict::Differs,
        Some(noise) if difference.abs() <= noise => Verdict::Same,
        Some(_) if !enough => Verdict::Differs,
        Some(_) => match (is_time(unit), is_rate(unit), difference > 0.0) {
            (true, _, true) | (_, true, false) => Verdict::Slower,
            (true, _, false) | (_, true, true) => Verdict::Faster,
            (_, _, true) => Verdict::More,
            (_, _, false) => Verdict::Less,
        },
    };
    let (name, unit) = (name.to_owned(), unit.to_owned());
    Change { name, which, unit, values: [before.value, after.value], noise, verdict }
}

/// Whether less of it is slower.
#[must_use]
pub fn is_rate(unit: &str) -> bool {
    unit.ends_with("/s")
}

/// Whether more of it is slower. Of counts, shares and bytes nobody but who asked for them knows what is good.
#[must_use]
pub fn is_time(unit: &str) -> bool {
    ["ns", "us", "ms", "s"].contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::{sample, told};
    use super::*;
    use serde_json::{Value, json};

    fn side(reports: impl IntoIterator<Item = Value>) -> Side {
        Side::of(reports.into_iter().map(|report| told(&report)).collect())
    }

    fn verdicts(before: &Side, after: &Side) -> Vec<(String, Which, Verdict)> {
        let comparison = compare(before, after).unwrap();
        comparison.changes.into_iter().map(|change| (change.name, change.which, change.verdict)).collect()
    }

    #[test]
    fn one_report_a_side_tells_what_differs_and_no_more() {
        let before = side([sample(100.0, 5.0)]);
        // Both middle halves are 10 wide.
        let found = verdicts(&before, &side([sample(119.0, 5.0)]));
        assert!(found.contains(&("wake".into(), Which::P50, Verdict::Same)), "{found:?}");
        let found = verdicts(&before, &side([sample(121.0, 6.0)]));
        assert!(found.contains(&("wake".into(), Which::P50, Verdict::Differs)), "{found:?}");
        assert!(found.contains(&("threads".into(), Which::Value, Verdict::Differs)), "{found:?}");
        assert_eq!(compare(&before, &side([sample(500.0, 5.0)])).unwrap().slower(0.0).count(), 0);
    }

    #[test]
    fn several_reports_are_judged_by_how_far_they_are_apart() {
        let before = side([100.0, 101.0, 102.0].map(|p50| sample(p50, 5.0)));
        let found = verdicts(&before, &side([103.0, 105.0, 104.0].map(|p50| sample(p50, 7.0))));
        assert!(found.contains(&("wake".into(), Which::P50, Verdict::Same)), "{found:?}");
        assert!(found.contains(&("threads".into(), Which::Value, Verdict::More)), "{found:?}");
        let found = verdicts(&before, &side([105.0, 107.0, 106.0].map(|p50| sample(p50, 5.0))));
        assert!(found.contains(&("wake".into(), Which::P50, Verdict::Slower)), "{found:?}");
    }

    #[test]
    fn instructions_count_each() {
        let exact = |p50: f64| {
            let mut report = sample(p50, 1.0);
            report["deterministic"] = json!(true);
            side([report])
        };
        let (before, after) = (exact(100.0), exact(101.0));
        let comparison = compare(&before, &after).unwrap();
        assert_eq!(comparison.slower(0.5).count(), 2);
        assert_eq!(comparison.slower(0.95).count(), 1);
        assert_eq!(comparison.slower(3.0).count(), 0);
    }

    #[test]
    fn a_step_of_the_clock_is_no_change() {
        let at = |p50: i64| {
            let mut report = sample(0.0, 1.0);
            (report["deterministic"], report["clock_hz"]) = (json!(true), json!(62_500_000));
            for name in ["min", "p50", "p99", "p999", "max"] {
                report["results"][0][name] = json!(p50);
            }
            side([report])
        };
        assert!(verdicts(&at(256), &at(272)).iter().all(|found| found.2 == Verdict::Same));
        assert!(verdicts(&at(256), &at(288)).iter().any(|found| found.2 == Verdict::Slower));
    }

    #[test]
    fn a_rate_that_shrinks_is_slower() {
        let at = |rate: f64| {
            let mut report = sample(100.0, rate);
            report["results"][1]["unit"] = json!("M/s");
            report
        };
        let before = side([at(12.0), at(12.1), at(12.2)]);
        let found = verdicts(&before, &side([at(11.0), at(11.1), at(11.2)]));
        assert_eq!(found[0], ("threads".into(), Which::Value, Verdict::Slower));
        let found = verdicts(&before, &side([at(13.0), at(13.1), at(13.2)]));
        assert_eq!(found[0], ("threads".into(), Which::Value, Verdict::Faster));
    }

    #[test]
    fn what_one_side_lacks_is_named() {
        let mut less = sample(1.0, 1.0);
        less["results"].as_array_mut().unwrap().remove(0);
        let (before, after) = (side([sample(1.0, 1.0)]), side([less]));
        assert_eq!(compare(&before, &after).unwrap().alone, [vec!["wake".to_owned()], vec![]]);
    }
}
