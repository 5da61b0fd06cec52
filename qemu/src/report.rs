//! What a guest told, put together: the report.

use crate::cli::Accel;
use isochron_wire::{Fixed, Record, text_lines};
use serde_json::{Map, Number, Value, json};

/// The version of the report's form.
pub const SCHEMA: u32 = 1;

/// A distribution of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Which.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// How many samples.
    pub samples: u64,
    /// Smallest, mean, median, 99 %, 99.9 %, largest.
    pub figures: [Fixed; 6],
    /// The non-empty buckets, in order: from, up to, samples.
    pub buckets: Vec<(Fixed, Fixed, u64)>,
}

/// The names of [`Distribution::figures`].
pub const FIGURES: [&str; 6] = ["min", "mean", "p50", "p99", "p999", "max"];

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Of many samples.
    Distribution(Distribution),
    /// A single figure.
    Value {
        /// Which.
        name: String,
        /// Its unit.
        unit: String,
        /// The figure.
        value: Fixed,
    },
}

/// A matrix, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Which.
    pub name: String,
    /// The unit of the cells.
    pub unit: String,
    /// The rows; one that did not come is empty.
    pub rows: Vec<Vec<Fixed>>,
}

/// A call path that belongs to a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPath {
    /// The result.
    pub name: String,
    /// What happened there.
    pub text: String,
    /// Return addresses, innermost first.
    pub frames: Vec<u64>,
    /// The functions there, with their places, as far as they are known: see [`crate::backtrace::calls`].
    pub calls: Vec<String>,
}

/// The most addresses of a path that are kept.
const MAX_FRAMES: usize = 64;

/// The facts about the boot, by name, in the order they are shown.
pub const BOOT_FACTS: [&str; 6] =
    ["boot_to_main", "cpus_up", "memory_found", "memory_free", "image_size", "clock_error"];

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The program.
    pub app: String,
    /// The machine.
    pub machine: String,
    /// Its instruction set.
    pub arch: String,
    /// How instructions were executed.
    pub accel: String,
    /// CPUs that were up.
    pub cpus: u32,
    /// One instruction = 1 ns.
    pub deterministic: bool,
    /// Ticks of the guest's clock in a second.
    pub clock_hz: u64,
    /// The version of the source.
    pub commit: Option<String>,
    /// The build profile of the guest.
    pub profile: String,
    /// The results, in the order they came.
    pub results: Vec<Entry>,
    /// The matrices.
    pub matrices: Vec<Matrix>,
    /// The call paths.
    pub paths: Vec<CallPath>,
    /// The last record began a call path, or was an address of one.
    pub path_is_open: bool,
    /// Remarks: the result's name, the remark.
    pub notes: Vec<(String, String)>,
    /// The code that the guest said it ends with.
    pub exit: Option<u8>,
}

impl Report {
    /// Takes in a record, if it is one that belongs here.
    pub fn take(&mut self, record: &Record<'_>) {
        let open = std::mem::replace(&mut self.path_is_open, matches!(record, Record::Path { .. }));
        match *record {
            Record::Path { name, text } => self.paths.push(CallPath {
                name: name.to_owned(),
                text: text_lines(text).collect::<Vec<_>>().join(" "),
                frames: Vec::new(),
                calls: Vec::new(),
            }),
            Record::Frame { pc } if open => {
                self.path_is_open = true;
                if let Some(path) = self.paths.last_mut().filter(|path| path.frames.len() < MAX_FRAMES) {
                    path.frames.push(pc);
                }
            }
            Record::Start { cpus, clock_hz, .. } => (self.cpus, self.clock_hz) = (cpus, clock_hz),
            Record::Distribution { name, unit, samples, min, mean, p50, p99, p999, max } => {
                let figures = [min, mean, p50, p99, p999, max];
                let (name, unit) = (name.to_owned(), unit.to_owned());
                self.put(Entry::Distribution(Distribution { name, unit, samples, figures, buckets: Vec::new() }));
            }
            Record::Value { name, unit, value } => self.value(name, unit, value),
            Record::Bucket { name, low, high, count } => {
                let named = |e: &&mut Entry| e.name() == name;
                if let Some(Entry::Distribution(d)) = self.results.iter_mut().find(named) {
                    d.buckets.push((low, high, count));
                }
            }
            Record::Row { name, unit, row, cells } => self.row(name, unit, row, cells.iter().collect()),
            Record::Note { name, text } => {
                self.notes.push((name.to_owned(), text_lines(text).collect::<Vec<_>>().join("\n")));
            }
            Record::Exit { code } => self.exit = Some(code),
            _ => {}
        }
    }

    /// Adds a single figure, or replaces the one of that name.
    pub fn value(&mut self, name: &str, unit: &str, value: Fixed) {
        self.put(Entry::Value { name: name.to_owned(), unit: unit.to_owned(), value });
    }

    /// The single figure of that name, with its unit.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<(&str, Fixed)> {
        self.results.iter().find_map(|e| match e {
            Entry::Value { name: n, unit, value } if n == name => Some((unit.as_str(), *value)),
            _ => None,
        })
    }

    /// The distributions.
    pub fn distributions(&self) -> impl Iterator<Item = &Distribution> {
        self.results.iter().filter_map(|e| if let Entry::Distribution(d) = e { Some(d) } else { None })
    }

    /// Whether there is anything that is worth a report.
    #[must_use]
    pub fn has_results(&self) -> bool {
        let plain = |e: &Entry| !BOOT_FACTS.contains(&e.name());
        self.results.iter().any(plain) || !self.matrices.is_empty()
    }

    /// Whether times in it are QEMU's, not a CPU's.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.accel == Accel::Tcg.name()
    }

    fn put(&mut self, entry: Entry) {
        match self.results.iter_mut().find(|e| e.name() == entry.name()) {
            Some(there) => *there = entry,
            None => self.results.push(entry),
        }
    }

    fn row(&mut self, name: &str, unit: &str, row: u32, cells: Vec<Fixed>) {
        // A matrix is core to core: there are no more rows than cells can be.
        if row as usize >= isochron_wire::MAX_CELLS {
            return;
        }
        if !self.matrices.iter().any(|m| m.name == name) {
            self.matrices.push(Matrix { name: name.to_owned(), unit: unit.to_owned(), rows: Vec::new() });
        }
        if let Some(matrix) = self.matrices.iter_mut().find(|m| m.name == name) {
            let rows = matrix.rows.len().max(row as usize + 1);
            matrix.rows.resize(rows, Vec::new());
            matrix.rows[row as usize] = cells;
        }
    }

    /// The report as JSON, keys in their documented order.
    #[must_use]
    pub fn json(&self) -> Value {
        let boot = BOOT_FACTS.iter().filter_map(|name| {
            let (unit, value) = self.fact(name)?;
            Some(((*name).to_owned(), json!({"unit": unit, "value": number(value)})))
        });
        let matrix = self.matrices.iter().map(|m| {
            let rows: Vec<Vec<Value>> = m.rows.iter().map(|r| r.iter().map(|c| number(*c)).collect()).collect();
            (m.name.clone(), json!({"unit": m.unit, "rows": rows}))
        });
        json!({
            "schema": SCHEMA,
            "app": self.app,
            "machine": self.machine,
            "arch": self.arch,
            "accel": self.accel,
            "cpus": self.cpus,
            "deterministic": self.deterministic,
            "clock_hz": self.clock_hz,
            "commit": self.commit,
            "profile": self.profile,
            "results": self.results.iter().map(Entry::json).collect::<Vec<_>>(),
            "boot": boot.collect::<Map<_, _>>(),
            "matrix": matrix.collect::<Map<_, _>>(),
            "paths": self.paths.iter().map(CallPath::json).collect::<Vec<_>>(),
            "notes": self.notes.iter().map(|(name, text)| json!({"name": name, "text": text})).collect::<Vec<_>>(),
        })
    }
}

impl CallPath {
    fn json(&self) -> Value {
        json!({"name": self.name, "text": self.text, "frames": self.frames, "calls": self.calls})
    }
}

impl Entry {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Distribution(d) => &d.name,
            Self::Value { name, .. } => name,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Value { name, unit, value } => json!({"name": name, "unit": unit, "value": number(*value)}),
            Self::Distribution(d) => {
                let mut map = Map::new();
                map.insert("name".into(), json!(d.name));
                map.insert("unit".into(), json!(d.unit));
                map.insert("samples".into(), json!(d.samples));
                for (name, figure) in FIGURES.iter().zip(d.figures) {
                    map.insert((*name).into(), number(figure));
                }
                if !d.buckets.is_empty() {
                    let bucket = |(low, high, count): &(Fixed, Fixed, u64)| json!([number(*low), number(*high), count]);
                    map.insert("histogram".into(), d.buckets.iter().map(bucket).collect());
                }
                Value::Object(map)
            }
        }
    }
}

/// A whole number as one, anything else as the decimal it is.
fn number(value: Fixed) -> Value {
    if value.thousandths() % 1000 == 0 {
        return Value::Number(value.whole().into());
    }
    Number::from_f64(value.to_f64()).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn f(thousandths: i64) -> Fixed {
        Fixed::from_thousandths(thousandths)
    }

    /// A report with one of everything.
    pub(crate) fn sample() -> Report {
        let mut report = Report {
            app: "latency".into(),
            machine: "virt".into(),
            arch: "aarch64".into(),
            accel: "tcg".into(),
            profile: "guest".into(),
            ..Report::default()
        };
        let cells = [f(0), f(52_125)];
        for record in [
            Record::Start {
                schema: 1,
                app: "latency",
                machine: "virt",
                arch: "aarch64",
                cpus: 2,
                clock_hz: 62_500_000,
            },
            Record::Value { name: "boot_to_main", unit: "ns", value: f(1_500_000_000) },
            Record::Distribution {
                name: "yield_switch",
                unit: "ns",
                samples: 1000,
                min: f(57_000),
                mean: f(58_125),
                p50: f(58_000),
                p99: f(61_000),
                p999: f(1_250_000),
                max: f(2_000_000),
            },
            Record::Bucket { name: "yield_switch", low: f(50_000), high: f(60_000), count: 900 },
            Record::Bucket { name: "yield_switch", low: f(60_000), high: f(80_000), count: 95 },
            Record::Bucket { name: "yield_switch", low: f(1_000_000), high: f(2_000_001), count: 5 },
            Record::Value { name: "noise_gap_interrupts", unit: "count", value: f(0) },
            Record::Row { name: "line_transfer", unit: "ns", row: 1, cells: isochron_wire::Cells::new(&cells) },
            Record::Note { name: "ipi_latency", text: "skipped:\x1fone CPU" },
            Record::Exit { code: 0 },
        ] {
            report.take(&record);
        }
        report
    }

    #[test]
    fn json_keeps_the_documented_form() {
        let json = sample().json();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        let first =
            ["schema", "app", "machine", "arch", "accel", "cpus", "deterministic", "clock_hz", "commit", "profile"];
        assert_eq!(keys[..10], first);
        assert_eq!(keys[10], "results");
        assert_eq!(json["commit"], Value::Null);
        assert_eq!((json["clock_hz"].as_u64(), json["cpus"].as_u64()), (Some(62_500_000), Some(2)));
        let results = json["results"].as_array().unwrap();
        assert_eq!(results[0], json!({"name": "boot_to_main", "unit": "ns", "value": 1_500_000}));
        assert_eq!(results[1]["mean"], json!(58.125));
        assert_eq!(results[1]["histogram"][2], json!([1000, 2000.001, 5]));
        assert_eq!(json["boot"]["boot_to_main"]["value"], json!(1_500_000));
        assert_eq!(json["matrix"]["line_transfer"]["rows"], json!([[], [0, 52.125]]));
        assert_eq!(json["notes"][0], json!({"name": "ipi_latency", "text": "skipped:\none CPU"}));
    }

    #[test]
    fn the_same_name_twice_is_one_result() {
        let mut report = sample();
        report.value("noise_gap_interrupts", "count", f(3000));
        assert_eq!(report.fact("noise_gap_interrupts"), Some(("count", f(3000))));
        assert_eq!(report.results.len(), 3);
        assert!(report.has_results() && !Report::default().has_results());
    }
}
