//! `trace FILE`: a recording as summaries, and for other programs.

use super::chrome::Chrome;
use super::file::{Fault, TraceFile};
use super::findings::{self, Finding, time};
use super::follow::Follower;
use super::html::page;
use super::picture::{Picture, Settings};
use super::tables::{Table, tables};
use crate::artefact::write_whole;
use crate::cli::TraceArgs;
use crate::error::Error;
use crate::signals;
use crate::style::{Style, grouped};
use crate::table::{Row, columns};
use crate::workspace::Workspace;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// A recording that was read.
#[derive(Debug)]
pub struct Reading {
    /// The file, but for its records.
    pub file: TraceFile<BufReader<File>>,
    /// Its figures.
    pub picture: Picture,
    /// Records that were read.
    pub records: u64,
    /// Records that made no sense.
    pub strange: u64,
    /// What stands out.
    pub findings: Vec<Finding>,
    /// What was written for viewers, and how many events had no room there.
    pub chrome: Option<(PathBuf, u64)>,
}

/// What is written for viewers.
struct Wanted<'a> {
    path: &'a Path,
    most: u64,
    /// In ns since the start.
    window: (u64, u64),
}

/// Looks every so many records whether it is to end.
const LOOK: u64 = 1 << 14;

/// Does what the arguments say.
///
/// # Errors
/// [`Error::Usage`] for a window that is none, and what else [`Error`] names.
pub fn command(workspace: &Workspace, args: &TraceArgs) -> Result<u8, Error> {
    let ns = |ms: f64| (ms * 1e6) as u64;
    let window = (args.from.map_or(0, ns), args.to.map_or(u64::MAX, ns));
    if window.0 >= window.1 {
        return Err(Error::Usage("--from is not before --to".into()));
    }
    let chrome = args.chrome.clone().unwrap_or_else(|| args.file.with_extension("chrome.json"));
    let settings = Settings { bins: args.bins, bin_ns: args.bin_us.map(|us| us.saturating_mul(1000)) };
    let wanted = Wanted { path: &chrome, most: args.events, window };
    let reading = read(&args.file, settings, Some(&wanted))?;
    let style = Style::of(&io::stdout());
    // A reader that has gone away (a closed pipe) is no failure.
    let _ = io::stdout().lock().write_all(summary(&reading, style).as_bytes());
    let html = args.html.clone().unwrap_or_else(|| args.file.with_extension("report.html"));
    write_whole(&html, page(&reading).as_bytes())?;
    println!("\n{}", style.dim(&format!("report with pictures: {}", workspace.shown(&html))));
    if let Some(json) = &args.json {
        let text = serde_json::to_string_pretty(&report(&reading)).unwrap_or_default();
        write_whole(json, format!("{text}\n").as_bytes())?;
    }
    if let Some((path, left_out)) = &reading.chrome {
        let note = match left_out {
            0 => String::new(),
            n => format!(" ({} events more are left out: choose with --from, --to or --events)", grouped(*n)),
        };
        println!("{}", style.dim(&format!("for ui.perfetto.dev and other viewers: {}{note}", workspace.shown(path))));
    }
    Ok(0)
}

/// Reads a recording to its end, or up to what is wrong with it.
fn read(path: &Path, settings: Settings, wanted: Option<&Wanted<'_>>) -> Result<Reading, Error> {
    let mut file = TraceFile::open(path)?;
    let failed = || Error::io("read", path);
    let range = file.time_range().map_err(failed())?.unwrap_or((0, 0));
    let hz = file.clock_hz();
    let total: u64 = file.counts().iter().map(|counts| counts.written).sum();
    let names = file.names.clone();
    let mut picture = Picture::new(settings, hz, range);
    let mut chrome = match wanted {
        Some(wanted) => {
            let ticks = |ns: u64| {
                let ticks = u128::from(ns) * u128::from(hz) / 1_000_000_000;
                range.0.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
            };
            let out = File::create(wanted.path).map_err(Error::io("write", wanted.path))?;
            let window = (ticks(wanted.window.0), ticks(wanted.window.1));
            let out = BufWriter::with_capacity(1 << 20, out);
            Some(Chrome::new(out, &names, (hz, range.0), window, wanted.most))
        }
        None => None,
    };
    let bar = progress(total);
    let mut follower = Follower::default();
    let mut records = 0;
    let mut notes = file.notes().map_err(failed())?;
    for note in notes.by_ref() {
        follower.take(note, &mut |follower, step| {
            picture.take(follower, &step);
            if let Some(chrome) = &mut chrome {
                chrome.take(follower, &step);
            }
        });
        records += 1;
        if records % LOOK == 0 {
            bar.set_position(records);
            if signals::requested() {
                return Err(Error::Interrupted);
            }
        }
    }
    follower.finish(&mut |follower, step| {
        picture.take(follower, &step);
        if let Some(chrome) = &mut chrome {
            chrome.take(follower, &step);
        }
    });
    bar.finish_and_clear();
    let (strange, error) = (notes.strange, notes.failed.take());
    if let Some(error) = error {
        return Err(failed()(error));
    }
    picture.finish(&follower);
    picture.name_locks(&names);
    let chrome = match (chrome, wanted) {
        (Some(chrome), Some(wanted)) => {
            let left_out = chrome.finish(&follower).map_err(Error::io("write", wanted.path))?;
            Some((wanted.path.to_path_buf(), left_out))
        }
        _ => None,
    };
    let findings = findings::find(&picture);
    Ok(Reading { file, picture, records, strange, findings, chrome })
}

fn progress(total: u64) -> ProgressBar {
    if !io::stderr().is_terminal() || total < 1_000_000 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{bar:24.cyan} {human_pos}/{human_len} records {elapsed:.dim}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Reading {
    /// A fact about the run, or a dash.
    #[must_use]
    pub fn fact(&self, name: &str) -> &str {
        self.file.facts.get(name).map_or("-", String::as_str)
    }

    /// Records that found no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.file.counts().iter().map(|counts| counts.dropped).sum()
    }

    /// What is to be known before the figures are believed, a sentence each.
    #[must_use]
    pub fn cautions(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(Fault { at, why }) = &self.file.fault {
            all.push(format!("the file was read up to byte {}: {why}", grouped(*at)));
        }
        if self.lost() > 0 {
            let on = self.file.counts().iter().enumerate().filter(|(_, counts)| counts.dropped > 0).fold(
                String::new(),
                |text, (cpu, counts)| {
                    format!("{text}{}{} on CPU {cpu}", if text.is_empty() { "" } else { ", " }, grouped(counts.dropped))
                },
            );
            all.push(format!(
                "records were lost ({on}): what a thread did then is not known, and times around it may be wrong"
            ));
        }
        if self.strange > 0 {
            all.push(format!("{} records made no sense and were passed over", grouped(self.strange)));
        }
        let emulated = self.fact("accel") == "tcg";
        if emulated && self.fact("deterministic") == "true" {
            all.push("one instruction counts as 1 ns: times are instructions".into());
        } else if emulated {
            all.push("measured under emulation (TCG): compare ratios, not absolute times".into());
        }
        all
    }
}

/// The recording in a terminal.
fn summary(reading: &Reading, style: Style) -> String {
    let mut out = format!("{}\n", style.bold(&title(reading)));
    let ending = reading.file.end.as_ref().map_or("", |end| end.ending.as_str());
    if !ending.is_empty() {
        out += &format!("the guest {}{ending}\n", if ending.starts_with("no end") { "was ended: " } else { "" });
    }
    for caution in reading.cautions() {
        out += &format!("{}\n", style.yellow(&caution));
    }
    if !reading.findings.is_empty() {
        out += &format!("\n{}\n", style.bold("What stands out"));
        for finding in &reading.findings {
            out += &format!("  {} {}\n", style.red(&format!("{}:", finding.kind)), finding.text);
        }
    }
    for table in tables(&reading.picture, &reading.file.names) {
        out += &format!("\n{}\n{}", style.bold(table.title), render(&table, style));
    }
    out
}

/// What was recorded, in a line.
#[must_use]
pub fn title(reading: &Reading) -> String {
    format!(
        "{} on {} ({}), {} CPUs: {} records in {}, {} threads",
        reading.fact("app"),
        reading.fact("machine"),
        reading.fact("arch"),
        reading.picture.cpus.len(),
        grouped(reading.records),
        time(reading.picture.length()),
        grouped(reading.picture.threads.len() as u64),
    )
}

fn render(table: &Table, style: Style) -> String {
    let row = |cells: Vec<String>| Row { cells, after: String::new() };
    let head = row(table.head.iter().map(|head| (*head).to_owned()).collect());
    columns(&head, &table.rows.iter().map(|cells| row(cells.clone())).collect::<Vec<_>>(), style)
}

/// The recording for other programs.
fn report(reading: &Reading) -> Value {
    let picture = &reading.picture;
    let times = |times: &super::figures::Times| {
        let at = |percent| times.percentile(percent);
        json!({"samples": times.count(), "total": times.total(), "p50": at(50.0), "p99": at(99.0), "p999": at(99.9),
               "p9999": at(99.99), "max": times.max()})
    };
    let cpu = |(number, cpu): (usize, &super::picture::CpuFigures)| {
        json!({"cpu": number, "ran": cpu.ran, "idle": cpu.idle, "switches": cpu.switches, "preempted": cpu.preempted,
               "stolen": cpu.stolen, "most_waiting": cpu.depth.max(), "delay": times(&cpu.delays), "heat": cpu.heat})
    };
    let mut threads: Vec<_> = picture.threads.iter().collect();
    threads.sort_by_key(|(number, thread)| (std::cmp::Reverse(thread.ran), **number));
    let thread = |(number, thread): &(&u64, &super::picture::ThreadFigures)| {
        json!({"thread": number, "name": thread.name, "ran": thread.ran, "runs": thread.runs,
               "preempted": thread.preempted, "longest_run": thread.longest_run, "ready": thread.ready,
               "worst_delay": thread.worst, "waited": thread.waited, "woke": thread.woke, "gone": thread.gone})
    };
    let finding = |finding: &Finding| {
        json!({"kind": finding.kind, "text": finding.text, "thread": finding.thread, "lock": finding.lock,
               "cpu": finding.cpu, "ns": finding.ns})
    };
    let waits = picture.reasons.iter().map(|(reason, figures)| {
        json!({"reason": reason.name(), "wait": times(&figures.waits), "delay": times(&figures.delays)})
    });
    let locks = picture.locks.values().map(|lock| json!({"name": lock.name, "wait": times(&lock.waits)}));
    let fault = reading.file.fault.as_ref().map(|fault| json!({"at": fault.at, "why": fault.why}));
    json!({
        "schema": 1,
        "facts": reading.file.facts,
        "ending": reading.file.end.as_ref().map(|end| &end.ending),
        "fault": fault,
        "records": reading.records,
        "lost": reading.lost(),
        "length_ns": picture.length(),
        "findings": reading.findings.iter().map(finding).collect::<Vec<_>>(),
        "delay": times(&picture.delays),
        "cpus": picture.cpus.iter().enumerate().map(cpu).collect::<Vec<_>>(),
        "waits": waits.collect::<Vec<_>>(),
        "locks": locks.collect::<Vec<_>>(),
        "threads": threads.iter().take(1000).map(thread).collect::<Vec<_>>(),
    })
}
