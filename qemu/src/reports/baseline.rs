//! The instruction counts that the repository keeps, and holds every change to.
//!
//! `qemu/baseline/MACHINE.json` has the figures of a few runs with `--deterministic`, which are the same to the instruction
//! each time. A test makes the same runs and fails if one of them rose by more than [`ALLOWED`] percent. A change that costs
//! more and is worth it records so itself, by `cargo run -- report baseline`, in the same commit.

use super::SLOWER;
use super::judge::is_time;
use super::read::{Told, Which};
use crate::artefact::write_whole;
use crate::error::Error;
use crate::launch::quoted;
use crate::process::Guarded;
use crate::workspace::Workspace;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a figure may rise by without being recorded, in percent. Against what is recorded, so many small rises do not pass.
pub const ALLOWED: f64 = 3.0;

/// The machines that have a baseline: one for each architecture.
pub const MACHINES: [&str; 2] = ["virt", "q35"];

/// A run whose figures are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name in the file.
    pub name: &'static str,
    /// The program.
    pub app: &'static str,
    /// CPUs.
    pub cpus: u32,
    /// Arguments for the program.
    pub arguments: &'static [&'static str],
}

/// What happens on one CPU: switches, messages, threads, locks, timers.
pub const ONE_CPU: Run = Run {
    name: "one_cpu",
    app: "latency",
    cpus: 1,
    arguments: &[
        "samples=1000",
        "clock_read",
        "yield_alone",
        "yield_switch",
        "handover_round",
        "channel_round_same_cpu",
        "spawn_join",
        "mutex_uncontended",
        "rwlock_uncontended",
        "once_done",
        "alloc_free_64",
        "timer_wake_late",
        "timer_wake_late_beside_hog",
    ],
};

/// What goes from one CPU to another.
pub const TWO_CPUS: Run = Run {
    name: "two_cpus",
    app: "latency",
    cpus: 2,
    arguments: &["samples=1000", "channel_round_cross_cpu", "barrier_pair", "ipi_latency", "cross_cpu_wake"],
};

/// The heap, with CPUs that allocate at once.
pub const HEAP: Run = Run { name: "heap", app: "bench_heap", cpus: 8, arguments: &[] };

/// Tasks.
pub const FUTURES: Run = Run { name: "futures", app: "bench_futures", cpus: 1, arguments: &[] };

/// Threads that wait for a device.
pub const IO_WAIT: Run = Run { name: "io_wait", app: "io_wait", cpus: 1, arguments: &["300", "50"] };

/// All runs.
pub const RUNS: [Run; 5] = [ONE_CPU, TWO_CPUS, HEAP, FUTURES, IO_WAIT];

impl Run {
    /// What `isochron` is told for it, `--json` left out.
    #[must_use]
    pub fn command(&self, machine: &str) -> Vec<String> {
        let mut words = vec!["run".to_owned(), self.app.to_owned(), "--machine".into(), machine.to_owned()];
        words.extend(["--deterministic".to_owned(), "--cpus".into(), self.cpus.to_string()]);
        if machine == "virt" {
            // A counter that ticks once in an instruction: QEMU's usual one hides 16 of them.
            words.extend(["--qemu-arg".to_owned(), "-cpu cortex-a72,cntfrq=1000000000".into()]);
        }
        words.push("--".to_owned());
        words.extend(self.arguments.iter().map(|word| (*word).to_owned()));
        words
    }

    /// Makes the run: `program` is `isochron`, started in `root`; its report comes by way of `scratch`.
    ///
    /// # Errors
    /// [`Error::Tool`] with the end of what it said if it fails, [`Error::Interrupted`], and as [`Told::read`].
    pub fn measure(&self, program: &Path, root: &Path, machine: &str, scratch: &Path) -> Result<Told, Error> {
        let mut words = self.command(machine);
        words.splice(1..1, ["--json".to_owned(), scratch.to_string_lossy().into_owned()]);
        let (out, err) = (scratch.with_extension("out"), scratch.with_extension("err"));
        let open = |path: &Path| fs::File::create(path).map_err(Error::io("write", path));
        let mut command = Command::new(program);
        // Into files: what nobody reads must not fill a pipe.
        command.current_dir(root).args(words).stdin(Stdio::null()).stdout(open(&out)?).stderr(open(&err)?);
        let status = Guarded::start(&mut command)?.wait();
        let said = fs::read_to_string(&err).unwrap_or_default();
        let told = match status {
            Ok(status) if status.success() => Told::read(scratch),
            Ok(_) => {
                let last = said.trim().lines().next_back().unwrap_or("nothing").to_owned();
                Err(Error::Tool { doing: format!("{} on {machine}", self.app), said: last })
            }
            Err(error) => Err(error),
        };
        for path in [scratch, &out, &err] {
            let _ = fs::remove_file(path);
        }
        told
    }
}

/// A figure's name in the file: `yield_switch.p50`, or `overhead_loop` of a single figure.
fn key(name: &str, which: Which) -> String {
    if which == Which::Value { name.to_owned() } else { format!("{name}.{}", which.name()) }
}

/// The figures of a report that are kept: all that are times, which here are instruction counts.
#[must_use]
pub fn figures(told: &Told) -> Vec<(String, f64)> {
    let times = told.figures.iter().filter(|figure| is_time(&figure.unit));
    times.map(|figure| (key(&figure.name, figure.which), figure.value)).collect()
}

/// How a run stands to its baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Rose by more than [`ALLOWED`] percent: name, recorded, found.
    pub rose: Vec<(String, f64, f64)>,
    /// Fell by as much, and would be worth recording.
    pub fell: Vec<(String, f64, f64)>,
    /// Recorded, and not measured any more.
    pub lost: Vec<String>,
    /// Measured, and not recorded.
    pub new: Vec<String>,
}

impl Standing {
    /// Compares what was found with what is recorded.
    #[must_use]
    pub fn of(recorded: &[(String, f64)], found: &[(String, f64)]) -> Self {
        let mut standing = Self::default();
        for (name, was) in recorded {
            let Some((_, is)) = found.iter().find(|(other, _)| other == name) else {
                standing.lost.push(name.clone());
                continue;
            };
            let (name, was, is) = (name.clone(), *was, *is);
            if is > was * (1.0 + ALLOWED / 100.0) {
                standing.rose.push((name, was, is));
            } else if is < was * (1.0 - ALLOWED / 100.0) {
                standing.fell.push((name, was, is));
            }
        }
        let known = |name: &str| recorded.iter().any(|(other, _)| other == name);
        standing.new = found.iter().map(|(name, _)| name.clone()).filter(|name| !known(name)).collect();
        standing
    }

    /// Whether a change with these figures may go in as it is.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.rose.is_empty() && self.lost.is_empty() && self.new.is_empty()
    }

    /// One line for each thing to tell.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let moved = |verb: &str, (name, was, is): &(String, f64, f64)| {
            if *was == 0.0 {
                return format!("{name} {verb} from 0 to {is}");
            }
            format!("{name} {verb} from {was} to {is} ({:+.1} %)", (is - was) / was * 100.0)
        };
        let rose = self.rose.iter().map(|figure| moved("rose", figure));
        let fell = self.fell.iter().map(|figure| moved("fell", figure));
        let lost = self.lost.iter().map(|name| format!("{name} is recorded and was not measured"));
        let new = self.new.iter().map(|name| format!("{name} is not recorded"));
        rose.chain(lost).chain(new).chain(fell).collect()
    }
}

/// What is recorded for one machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    path: PathBuf,
    runs: Map<String, Value>,
}

impl Baseline {
    /// Where it is kept.
    #[must_use]
    pub fn path(root: &Path, machine: &str) -> PathBuf {
        root.join("qemu/baseline").join(format!("{machine}.json"))
    }

    /// An empty one.
    #[must_use]
    pub fn new(root: &Path, machine: &str) -> Self {
        Self { path: Self::path(root, machine), runs: Map::new() }
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none, [`Error::Corrupt`] if it is none.
    pub fn read(root: &Path, machine: &str) -> Result<Self, Error> {
        let path = Self::path(root, machine);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let corrupt = |why: &str| Error::Corrupt { path: path.clone(), why: why.to_owned() };
        let file: Value = serde_json::from_str(&text).map_err(|e| corrupt(&e.to_string()))?;
        if file.get("schema") != Some(&json!(1)) || file.get("kind") != Some(&json!("baseline")) {
            return Err(corrupt("it is no baseline of version 1"));
        }
        let runs = file.get("runs").and_then(Value::as_object).ok_or_else(|| corrupt("it has no `runs`"))?.clone();
        Ok(Self { path, runs })
    }

    /// The figures that are recorded for a run; none if the run is new.
    #[must_use]
    pub fn figures(&self, run: &Run) -> Vec<(String, f64)> {
        let figures = self.runs.get(run.name).and_then(|run| run.get("figures")).and_then(Value::as_object);
        let number = |(name, value): (&String, &Value)| Some((name.clone(), value.as_f64()?));
        figures.into_iter().flatten().filter_map(number).collect()
    }

    /// Takes in what a run measured.
    pub fn record(&mut self, machine: &str, run: &Run, told: &Told) {
        let command: Vec<String> = run.command(machine).iter().map(|word| quoted(word)).collect();
        let figures: Map<_, _> = figures(told).into_iter().map(|(name, value)| (name, json!(value))).collect();
        let entry = json!({"command": format!("cargo run -- {}", command.join(" ")), "figures": figures});
        self.runs.insert(run.name.to_owned(), entry);
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<(), Error> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let file = json!({"schema": 1, "kind": "baseline", "runs": self.runs});
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        write_whole(&self.path, text.as_bytes())
    }
}

/// `report baseline`: makes all runs, says what moved, and records it unless `check` is said.
///
/// # Errors
/// As [`Run::measure`] and [`Baseline::write`].
pub fn command(workspace: &Workspace, check: bool) -> Result<u8, Error> {
    let program = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
    let scratch = workspace.out_dir("report", "baseline")?.join(format!("{}.json", std::process::id()));
    let mut rose = false;
    for (row, machine) in MACHINES.into_iter().enumerate() {
        let mut next = Baseline::new(&workspace.root, machine);
        let recorded = Baseline::read(&workspace.root, machine);
        if let (Err(error), true) = (&recorded, check) {
            eprintln!("{error}");
        }
        let recorded = recorded.unwrap_or_else(|_| next.clone());
        for (column, run) in RUNS.iter().enumerate() {
            let (at, all) = (row * RUNS.len() + column + 1, MACHINES.len() * RUNS.len());
            eprintln!("baseline {at}/{all}: {} ({}) on {machine}", run.name, run.app);
            let told = run.measure(&program, &workspace.root, machine, &scratch)?;
            let standing = Standing::of(&recorded.figures(run), &figures(&told));
            standing.lines().iter().for_each(|line| println!("{machine} {}: {line}", run.name));
            rose |= !standing.holds();
            next.record(machine, run, &told);
        }
        if !check && next != recorded {
            next.write()?;
            println!("recorded {}", workspace.shown(&next.path));
        }
    }
    Ok(if check && rose { SLOWER } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(figures: &[(&str, f64)]) -> Vec<(String, f64)> {
        figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn three_percent_may_pass() {
        let recorded = list(&[("a", 100.0), ("b", 100.0), ("c", 100.0), ("zero", 0.0)]);
        let standing = Standing::of(&recorded, &list(&[("a", 103.0), ("b", 103.1), ("c", 96.9), ("zero", 0.0)]));
        assert_eq!(standing.rose, [("b".to_owned(), 100.0, 103.1)]);
        assert_eq!(standing.fell, [("c".to_owned(), 100.0, 96.9)]);
        assert!(!standing.holds());
        assert_eq!(standing.lines(), ["b rose from 100 to 103.1 (+3.1 %)", "c fell from 100 to 96.9 (-3.1 %)"]);
        assert!(Standing::of(&recorded, &recorded).holds());
    }

    #[test]
    fn what_goes_or_comes_is_to_be_recorded() {
        let standing = Standing::of(&list(&[("gone", 1.0)]), &list(&[("came", 1.0)]));
        assert_eq!((standing.lost.len(), standing.new.len(), standing.holds()), (1, 1, false));
        let zero = Standing::of(&list(&[("a", 0.0)]), &list(&[("a", 2.0)]));
        assert_eq!(zero.lines(), ["a rose from 0 to 2"]);
    }

    #[test]
    fn what_is_written_is_read() {
        let root = std::env::temp_dir().join(format!("isochron-baseline-{}", std::process::id()));
        let told = super::super::read::tests::told(&super::super::read::tests::sample(52.125, 1.0));
        let mut baseline = Baseline::new(&root, "virt");
        baseline.record("virt", &ONE_CPU, &told);
        baseline.write().unwrap();
        let read = Baseline::read(&root, "virt").unwrap();
        assert_eq!(read.figures(&ONE_CPU), list(&[("wake.p50", 52.125), ("wake.p99", 61.925)]));
        assert!(read.figures(&HEAP).is_empty());
        fs::write(Baseline::path(&root, "virt"), "{}").unwrap();
        assert!(matches!(Baseline::read(&root, "virt"), Err(Error::Corrupt { .. })));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn runs_have_names_of_their_own() {
        for (at, run) in RUNS.iter().enumerate() {
            assert!(RUNS[at + 1..].iter().all(|other| other.name != run.name), "{}", run.name);
        }
    }
}
