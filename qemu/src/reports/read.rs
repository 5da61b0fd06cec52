//! A report of a run, read back from its file.

use crate::error::Error;
use crate::report::{FIGURES, SCHEMA};
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is taken for a report.
const MAX_REPORT: u64 = 64 << 20;

/// What is wrong with a file that should be a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is larger than any report.
    TooLarge,
    /// It is not JSON (or cut short): what the parser says.
    NotJson(String),
    /// It is another kind of report, such as that of `compare`.
    OtherKind(String),
    /// It is of another version of the form.
    OtherSchema(u64),
    /// It lacks something that every report has.
    Lacks(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "it has more than {} MiB", MAX_REPORT >> 20),
            Self::NotJson(why) => write!(f, "it is not JSON ({why})"),
            Self::OtherKind(kind) => write!(f, "it is a report of `{kind}`"),
            Self::OtherSchema(schema) => {
                write!(f, "its form has the version {schema}, and this program reads {SCHEMA}")
            }
            Self::Lacks(field) => write!(f, "it has no `{field}`"),
        }
    }
}

/// What was run, and where: two reports are compared if they agree in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The program.
    pub app: String,
    /// The machine.
    pub machine: String,
    /// Its instruction set.
    pub arch: String,
    /// How instructions were executed.
    pub accel: String,
    /// CPUs that were up.
    pub cpus: u64,
    /// One instruction = 1 ns.
    pub deterministic: bool,
}

impl Facts {
    /// The facts by name, as they stand in the file.
    #[must_use]
    pub fn named(&self) -> [(&'static str, String); 6] {
        [
            ("app", self.app.clone()),
            ("machine", self.machine.clone()),
            ("arch", self.arch.clone()),
            ("accel", self.accel.clone()),
            ("cpus", self.cpus.to_string()),
            ("deterministic", self.deterministic.to_string()),
        ]
    }
}

/// Which figure of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A single figure.
    Value,
    /// The median of a distribution.
    P50,
    /// Its 99th percentile.
    P99,
}

impl Which {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The result's name.
    pub name: String,
    /// Which figure of it.
    pub which: Which,
    /// The unit.
    pub unit: String,
    /// The figure itself.
    pub value: f64,
    /// How far it is spread within its own run, in the same unit; `None` where the report does not tell.
    pub spread: Option<f64>,
    /// The step in which it was read, in the same unit; 0 where it is a mean of many.
    pub step: f64,
}

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Where it was read.
    pub path: PathBuf,
    /// What was run.
    pub facts: Facts,
    /// The version of the source, if it was known.
    pub commit: Option<String>,
    /// The build profile of the guest.
    pub profile: String,
    /// Its figures, in its order.
    pub figures: Vec<Figure>,
}

impl Told {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::NotAReport`] if it is none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let mut text = Vec::new();
        file.take(MAX_REPORT + 1).read_to_end(&mut text).map_err(Error::io("read", path))?;
        let fault = |fault| Error::NotAReport { path: path.to_path_buf(), fault };
        if text.len() as u64 > MAX_REPORT {
            return Err(fault(Fault::TooLarge));
        }
        let report: Value = serde_json::from_slice(&text).map_err(|e| fault(Fault::NotJson(e.to_string())))?;
        Self::parse(path, &report).map_err(fault)
    }

    /// Takes a report out of its JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(path: &Path, report: &Value) -> Result<Self, Fault> {
        if let Some(kind) = report.get("kind").and_then(Value::as_str) {
            return Err(Fault::OtherKind(kind.chars().filter(|c| !c.is_control()).take(40).collect()));
        }
        let schema = report.get("schema").and_then(Value::as_u64).ok_or(Fault::Lacks("schema"))?;
        if schema != u64::from(SCHEMA) {
            return Err(Fault::OtherSchema(schema));
        }
        let text = |key| report.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(Fault::Lacks(key));
        let facts = Facts {
            app: text("app")?,
            machine: text("machine")?,
            arch: text("arch")?,
            accel: text("accel")?,
            cpus: report.get("cpus").and_then(Value::as_u64).ok_or(Fault::Lacks("cpus"))?,
            deterministic: report.get("deterministic").and_then(Value::as_bool).ok_or(Fault::Lacks("deterministic"))?,
        };
        let hertz = report.get("clock_hz").and_then(Value::as_f64).unwrap_or(0.0);
        let tick = if hertz > 0.0 { 1e9 / hertz } else { 0.0 };
        let results = report.get("results").and_then(Value::as_array).ok_or(Fault::Lacks("results"))?;
        let figures = results.iter().map(|result| figures(result, tick)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            path: path.to_path_buf(),
            facts,
            commit: text("commit").ok(),
            profile: text("profile").unwrap_or_default(),
            figures: figures.into_iter().flatten().collect(),
        })
    }
}

/// The figures of one result that are compared.
fn figures(result: &Value, tick: f64) -> Result<Vec<Figure>, Fault> {
    let text = |key| result.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(Fault::Lacks(key));
    let number = |key| result.get(key).and_then(Value::as_f64);
    let (name, unit) = (text("name")?, text("unit")?);
    let figure =
        |which, value, spread, step| Figure { name: name.clone(), which, unit: unit.clone(), value, spread, step };
    if let Some(value) = number("value") {
        return Ok(vec![figure(Which::Value, value, None, 0.0)]);
    }
    let (p50, p99) = (number("p50").ok_or(Fault::Lacks("value"))?, number("p99").ok_or(Fault::Lacks("p99"))?);
    // Samples of single events are multiples of the clock's tick, means of many are not. The mean says nothing of that.
    let samples = FIGURES.iter().filter(|name| **name != "mean").filter_map(|name| number(name));
    // A tick of 1 ns hides nothing that anyone counts.
    let single = unit == "ns" && tick > 1.5 && samples.into_iter().all(|sample| is_multiple(sample, tick));
    let step = if single { tick } else { 0.0 };
    let histogram = Histogram::of(result);
    let width = |low, high| histogram.as_ref().map(|h| h.at(high) - h.at(low));
    Ok(vec![figure(Which::P50, p50, width(0.25, 0.75), step), figure(Which::P99, p99, width(0.98, 0.995), step)])
}

/// Whether a printed figure (three places) is a whole number of ticks.
fn is_multiple(sample: f64, tick: f64) -> bool {
    (sample / tick - (sample / tick).round()).abs() * tick <= 0.001
}

/// The histogram of a result: from, up to, samples; in order.
struct Histogram(Vec<(f64, f64, f64)>);

impl Histogram {
    fn of(result: &Value) -> Option<Self> {
        let bar = |bar: &Value| Some((bar.get(0)?.as_f64()?, bar.get(1)?.as_f64()?, bar.get(2)?.as_f64()?));
        let bars: Option<Vec<_>> = result.get("histogram")?.as_array()?.iter().map(bar).collect();
        bars.filter(|bars| !bars.is_empty()).map(Self)
    }

    /// The value that a part of all samples does not exceed, evenly spread within its bar.
    fn at(&self, part: f64) -> f64 {
        let wanted = self.0.iter().map(|(.., count)| count).sum::<f64>() * part;
        let mut passed = 0.0;
        for (low, high, count) in &self.0 {
            if *count > 0.0 && passed + count >= wanted {
                return low + (high - low) * (wanted - passed) / count;
            }
            passed += count;
        }
        self.0.last().map_or(0.0, |(_, high, _)| *high)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A report of a native run with one distribution, evenly spread over 20 ns around `p50`, and one figure.
    pub(crate) fn sample(p50: f64, value: f64) -> Value {
        json!({
            "schema": 1, "app": "latency", "machine": "hosted", "arch": "x86_64", "accel": "native", "cpus": 2,
            "deterministic": false, "clock_hz": 2_000_000_000u64, "commit": "abc", "profile": "guest",
            "results": [
                {"name": "wake", "unit": "ns", "samples": 1000, "min": p50 - 10.0, "mean": p50, "p50": p50,
                 "p99": p50 + 9.8, "p999": p50 + 9.98, "max": p50 + 10.0,
                 "histogram": [[p50 - 10.0, p50, 500], [p50, p50 + 10.0, 500]]},
                {"name": "threads", "unit": "count", "value": value},
            ],
        })
    }

    pub(crate) fn told(report: &Value) -> Told {
        Told::parse(Path::new("r.json"), report).unwrap()
    }

    #[test]
    fn figures_and_their_spread() {
        let told = told(&sample(100.0, 3.0));
        let found: Vec<_> = told.figures.iter().map(|f| (f.name.as_str(), f.which, f.value)).collect();
        assert_eq!(found, [("wake", Which::P50, 100.0), ("wake", Which::P99, 109.8), ("threads", Which::Value, 3.0)]);
        assert!((told.figures[0].spread.unwrap() - 10.0).abs() < 1e-9, "{told:?}");
        assert!((told.figures[1].spread.unwrap() - 0.3).abs() < 1e-9, "{told:?}");
        assert_eq!(told.figures[2].spread, None);
    }

    #[test]
    fn single_events_are_known_by_the_tick() {
        let mut report = sample(0.0, 0.0);
        report["clock_hz"] = json!(62_500_000);
        let result = &mut report["results"][0];
        for (name, value) in [("min", 256), ("mean", 257), ("p50", 256), ("p99", 272), ("p999", 272), ("max", 288)] {
            result[name] = json!(value);
        }
        assert_eq!(told(&report).figures[0].step, 16.0);
        report["results"][0]["p50"] = json!(256.5);
        assert_eq!(told(&report).figures[0].step, 0.0);
    }

    #[test]
    fn what_is_no_report_is_said() {
        let of = |report: Value| Told::parse(Path::new("r"), &report).unwrap_err();
        assert_eq!(of(json!({"kind": "compare"})), Fault::OtherKind("compare".into()));
        assert_eq!(of(json!({"schema": 7})), Fault::OtherSchema(7));
        assert_eq!(of(json!([1, 2])), Fault::Lacks("schema"));
        let mut report = sample(1.0, 1.0);
        report["results"][0]["p99"] = json!("fast");
        assert_eq!(of(report.clone()), Fault::Lacks("p99"));
        report.as_object_mut().unwrap().remove("machine");
        assert_eq!(of(report), Fault::Lacks("machine"));
    }
}
