//! One side of a comparison: a report, or a folder of several of the same run.

use super::judge::ENOUGH;
use super::read::{Facts, Figure, Told, Which};
use crate::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Reports that agree in what was run.
#[derive(Clone, Debug)]
pub struct Side {
    reports: Vec<Told>,
}

/// What the reports of a side say about one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Centre {
    /// The middle of what they say.
    pub value: f64,
    /// How far the figure is spread: over the reports, or, if there is one, within it. `None`: it does not tell.
    pub spread: Option<f64>,
    /// The step in which it was read.
    pub step: f64,
}

impl Side {
    /// Reads a report, or all `*.json` of a folder.
    ///
    /// # Errors
    /// [`Error::Usage`] for a folder without reports, [`Error::Incomparable`] if they are not of the same run, and as
    /// [`Told::read`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            return Ok(Self { reports: vec![Told::read(path)?] });
        }
        let entries = fs::read_dir(path).map_err(Error::io("read", path))?;
        let json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(json).collect();
        paths.sort();
        let reports = paths.iter().map(|path| Told::read(path)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = reports.first() else {
            return Err(Error::Usage(format!("{} has no report in it (*.json)", path.display())));
        };
        for other in &reports[1..] {
            agree(first, other)?;
        }
        Ok(Self { reports })
    }

    /// A side of reports that were read already; none is a side without figures.
    #[must_use]
    pub fn of(reports: Vec<Told>) -> Self {
        Self { reports }
    }

    /// The reports.
    #[must_use]
    pub fn reports(&self) -> &[Told] {
        &self.reports
    }

    /// Whether they tell what changes from run to run: instruction counts do not.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.facts().is_some_and(|facts| facts.deterministic) || self.reports.len() >= ENOUGH
    }

    /// What was run.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.reports.first().map(|told| &told.facts)
    }

    /// The figures that any of them has, each once: result, which, unit.
    #[must_use]
    pub fn names(&self) -> Vec<(&str, Which, &str)> {
        let mut names = Vec::new();
        for figure in self.reports.iter().flat_map(|told| &told.figures) {
            let name = (figure.name.as_str(), figure.which, figure.unit.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// What they say about a figure, if any of them has it.
    #[must_use]
    pub fn centre(&self, (name, which, unit): (&str, Which, &str)) -> Option<Centre> {
        let is = |figure: &&Figure| figure.name == name && figure.which == which && figure.unit == unit;
        let found: Vec<&Figure> = self.reports.iter().filter_map(|told| told.figures.iter().find(is)).collect();
        let mut values: Vec<f64> = found.iter().map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let value = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
        let spread = match found[..] {
            // To the instruction.
            _ if self.facts().is_some_and(|facts| facts.deterministic) => Some(greatest - least),
            [only] => only.spread,
            _ => Some(greatest - least),
        };
        Some(Centre { value, spread, step: found.iter().map(|figure| figure.step).fold(0.0, f64::max) })
    }
}

/// Checks that two reports are of the same run.
///
/// # Errors
/// [`Error::Incomparable`] with the first thing in which they differ.
pub fn agree(one: &Told, other: &Told) -> Result<(), Error> {
    for ((what, first), (_, second)) in one.facts.named().into_iter().zip(other.facts.named()) {
        if first != second {
            let sides = [(one.path.clone(), first), (other.path.clone(), second)];
            return Err(Error::Incomparable { what, sides: Box::new(sides) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::{sample, told};
    use super::*;
    use serde_json::json;

    #[test]
    fn several_reports_know_how_far_they_are_apart() {
        let side = Side::of([104.0, 100.0, 101.0].map(|p50| told(&sample(p50, 1.0))).to_vec());
        assert_eq!(side.names().len(), 3);
        let centre = side.centre(("wake", Which::P50, "ns")).unwrap();
        assert_eq!((centre.value, centre.spread), (101.0, Some(4.0)));
        assert_eq!(side.centre(("wake", Which::P50, "ms")), None);
        let one = Side::of(vec![told(&sample(100.0, 1.0))]);
        assert_eq!(one.centre(("threads", Which::Value, "count")).unwrap().spread, None);
        assert_eq!(Side::of(Vec::new()).centre(("wake", Which::P50, "ns")), None);
    }

    #[test]
    fn counted_instructions_have_no_noise() {
        let mut report = sample(100.0, 1.0);
        report["deterministic"] = json!(true);
        let side = Side::of(vec![told(&report)]);
        assert_eq!(side.centre(("wake", Which::P50, "ns")).unwrap().spread, Some(0.0));
    }

    #[test]
    fn other_runs_are_told_apart() {
        let one = told(&sample(1.0, 1.0));
        for (key, value) in [("app", json!("hello")), ("cpus", json!(4)), ("deterministic", json!(true))] {
            let mut report = sample(1.0, 1.0);
            report[key] = value;
            let error = agree(&one, &told(&report)).unwrap_err();
            assert!(error.to_string().contains(key) && error.exit_code() == 2, "{error}");
        }
        assert!(agree(&one, &one).is_ok());
    }
}
