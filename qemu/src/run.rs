//! `run`: build, boot, watch, report.

use crate::artefact::{write_json, write_whole};
use crate::backtrace::{Panic, calls};
use crate::build::Profile;
use crate::cli::RunArgs;
use crate::error::Error;
use crate::launch::Launch;
use crate::prepare::{HOSTED_RECORDS, Request, ensure};
use crate::report::Report;
use crate::stream::Event;
use crate::style::Style;
use crate::svg;
use crate::table;
use crate::trace::memory::SharedMemory;
use crate::trace::recorder::Recorder;
use crate::verdict;
use crate::watch::{Ending, Limits, Watched, watch};
use crate::workspace::Workspace;
use indicatif::{ProgressBar, ProgressStyle};
use isochron_wire::trace::area::Layout;
use isochron_wire::{Fixed, Record};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a program and gives the guest's exit code.
///
/// # Errors
/// Anything that [`Error`] names.
pub fn run(workspace: &Workspace, args: &RunArgs) -> Result<u8, Error> {
    let request = Request::check(workspace, args)?;
    for path in args.json.iter().chain(&args.trace) {
        check_place(path)?;
    }
    ensure(workspace, &request)?;
    let (mut launch, artefact) = request.prepare(workspace)?;
    let (out, err) = (Style::of(&io::stdout()), Style::of(&io::stderr()));
    eprintln!("{}", header(&request, err));

    let mut report = Report {
        app: request.program.name.clone(),
        machine: request.machine.name.into(),
        arch: request.machine.arch.name().into(),
        accel: request.accel_name().into(),
        cpus: request.cpus,
        deterministic: request.deterministic,
        commit: commit(workspace),
        profile: request.how.profile.name().into(),
        ..Report::default()
    };
    let recorder = match &args.trace {
        Some(path) => Some(record(&mut launch, &report, &artefact.elf, path)?),
        None => None,
    };
    let mut command = launch.command();
    let (mut panic, mut dying) = (None, None);
    let mut screen = Screen::new();
    let watched = watch(&mut command, Limits::seconds(request.timeout), &mut |event| match event {
        Event::Text(bytes) => screen.text(bytes),
        Event::Damaged(line, why) => screen.remark(&err.yellow(&format!("damaged record ({why}): {line}"))),
        Event::Record(Record::Progress { done, total, text }) => screen.progress(done, total, text),
        Event::Record(record) => {
            Panic::take(&mut panic, &record);
            if let Some(death) = Panic::take_death(&mut dying, &record) {
                screen.remark(death.render(&artefact.elf, &workspace.root, err).trim_end());
            }
            report.take(&record);
        }
    });
    screen.close();
    let watched = watched?;
    if request.how.profile == Profile::Sanitized && !watched.said.is_empty() {
        eprintln!("{}", watched.said);
    }
    if let Some(panic) = &panic {
        eprint!("{}", panic.render(&artefact.elf, &workspace.root, err));
    }
    let code = verdict::code(&watched, request.machine, report.exit, request.timeout, &request.again);
    let mut recorded = Ok(());
    if let (Some(recorder), Some(path)) = (recorder, &args.trace) {
        recorded = recorder.finish(&ending(&code, panic.as_ref())).map(|summary| {
            eprintln!("{}", err.dim(&format!("trace {}: {}", workspace.shown(path), summary.text())));
            let (written, dropped) = summary.totals();
            report.value("trace_records", "count", Fixed::from_int(written));
            report.value("trace_lost", "count", Fixed::from_int(dropped));
        });
    }
    let code = match code {
        Ok(code) => code,
        Err(error) => {
            let runner = if request.machine.is_hosted() { "run:" } else { "QEMU:" };
            explain(&watched, runner, &launch.typed(), err);
            return Err(error);
        }
    };
    report.value("image_size", "bytes", Fixed::from_int(artefact.image_size));
    for path in &mut report.paths {
        path.calls = calls(&artefact.elf, &workspace.root, &path.frames);
    }
    if panic.is_none() {
        publish(workspace, args, &report, out)?;
    }
    if code != 0 && panic.is_none() {
        eprintln!("{}", err.red(&format!("the guest ended with code {code}")));
    }
    // What the guest measured is there, even if its trace is not.
    recorded.map(|()| code)
}

/// Memory that the guest and this program have in common; `launch` is told of it.
///
/// # Errors
/// As [`SharedMemory::new`].
pub fn share(launch: &mut Launch) -> Result<SharedMemory, Error> {
    let nodes: Vec<u64> = if launch.machine.is_hosted() {
        vec![Layout { cpus: launch.cpus, records: HOSTED_RECORDS, clock_hz: 1 }.bytes() as u64]
    } else {
        launch.node_memory().iter().map(|mib| u64::from(*mib) << 20).collect()
    };
    let memory = SharedMemory::new(&nodes)?;
    launch.shared = memory.names(launch.machine);
    Ok(memory)
}

/// Begins to record, in memory that `launch` is told to share.
fn record(launch: &mut Launch, report: &Report, elf: &Path, path: &Path) -> Result<Recorder, Error> {
    let memory = share(launch)?;
    let facts = [
        ("app", report.app.clone()),
        ("machine", report.machine.clone()),
        ("arch", report.arch.clone()),
        ("accel", report.accel.clone()),
        ("cpus", report.cpus.to_string()),
        ("deterministic", report.deterministic.to_string()),
        ("commit", report.commit.clone().unwrap_or_default()),
        ("profile", report.profile.clone()),
    ];
    Recorder::start(memory, facts.map(|(name, fact)| (name.to_owned(), fact)).into(), elf, path)
}

/// How the guest ended, for its trace.
fn ending(code: &Result<u8, Error>, panic: Option<&Panic>) -> String {
    match (code, panic) {
        (_, Some(panic)) => format!("panicked on CPU {} in thread '{}': {}", panic.cpu, panic.thread, panic.text),
        (Ok(code), None) => format!("ended with code {code}"),
        (Err(error), None) => error.to_string(),
    }
}

fn header(request: &Request, style: Style) -> String {
    let cpus = if request.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", request.cpus) };
    let mut facts = vec![
        format!("{} ({})", request.machine.name, request.machine.arch.name()),
        cpus,
        format!("{} MiB", request.memory),
        request.accel_name().to_owned(),
    ];
    facts.extend(request.numa.map(|n| format!("{n} NUMA nodes")));
    for (said, fact) in [(request.deterministic, "deterministic"), (request.how.trace, "with tracing")] {
        if said {
            facts.push(fact.into());
        }
    }
    format!("{} on {}", style.bold(&request.program.name), facts.join(" · "))
}

/// The end of the guest's console, and the command that ran it, for who looks for the cause.
fn explain(watched: &Watched, runner: &str, typed: &str, style: Style) {
    if matches!(watched.ending, Ending::Interrupted) {
        return;
    }
    // Histograms are many lines that tell nothing here.
    let tells = |line: &&str| !line.trim().is_empty() && !line.starts_with("bucket ");
    let lines: Vec<&str> = watched.tail.lines().filter(tells).collect();
    if lines.is_empty() {
        eprintln!("{}", style.dim("the guest printed nothing"));
    } else {
        eprintln!("{}", style.dim("the last of the guest's output:"));
        for line in &lines[lines.len().saturating_sub(20)..] {
            let cut: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
            eprintln!("  {cut}");
        }
    }
    eprintln!("{} {typed}", style.dim(runner));
}

/// Prints the table and writes the files.
fn publish(workspace: &Workspace, args: &RunArgs, report: &Report, style: Style) -> Result<(), Error> {
    let dir = workspace.out_dir(&report.app, &report.machine)?;
    let mut stdout = io::stdout().lock();
    let text = table::render(report, style);
    if !text.is_empty() {
        // A reader that has gone away (a closed pipe) is no failure of the run.
        let _ = write!(stdout, "\n{text}");
    }
    let json = args.json.clone().unwrap_or_else(|| dir.join("report.json"));
    write_json(&json, &report.json())?;
    let pictures = write_pictures(&dir, report)?;
    if report.has_results() || args.json.is_some() {
        let and = match pictures {
            0 => String::new(),
            1 => " · 1 histogram beside it".into(),
            n if args.json.is_some() => format!(" · {n} histograms in {}", workspace.shown(&dir)),
            n => format!(" · {n} histograms beside it"),
        };
        let _ = writeln!(stdout, "{}{and}", style.dim(&format!("report {}", workspace.shown(&json))));
    }
    Ok(())
}

/// Finds out before a long run that its report would have no place.
fn check_place(path: &Path) -> Result<(), Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::metadata(dir).map_err(Error::io("write", path))?;
    if path.is_dir() { Err(Error::io("write", path)(io::ErrorKind::IsADirectory.into())) } else { Ok(()) }
}

/// Writes a histogram for each distribution; those of results that no longer exist go.
fn write_pictures(dir: &Path, report: &Report) -> Result<usize, Error> {
    let mode = if report.deterministic { ", deterministic" } else { "" };
    let cpus = if report.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", report.cpus) };
    let about = format!("{} on {}, {cpus}, {}{mode}", report.app, report.machine, report.accel);
    let mut written: Vec<PathBuf> = Vec::new();
    for distribution in report.distributions() {
        if let Some(picture) = svg::histogram(distribution, &about) {
            let path = dir.join(format!("{}.svg", distribution.name));
            write_whole(&path, picture.as_bytes())?;
            written.push(path);
        }
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|e| e == "svg") && !written.contains(&path) {
            let _ = fs::remove_file(path);
        }
    }
    Ok(written.len())
}

/// The commit of the workspace, `-dirty` behind it if files differ; `None` outside git.
fn commit(workspace: &Workspace) -> Option<String> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        let output = command.arg("-C").arg(&workspace.root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    Some(if dirty { format!("{commit}-dirty") } else { commit })
}

/// The terminal while the guest runs: its text on stdout, its progress on stderr.
struct Screen {
    bar: Option<ProgressBar>,
    fancy: bool,
    gone: bool,
}

impl Screen {
    fn new() -> Self {
        Self { bar: None, fancy: io::stderr().is_terminal(), gone: false }
    }

    fn text(&mut self, bytes: &[u8]) {
        let write = || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        };
        if self.gone {
            return;
        }
        // Nobody reads any more: the run goes on for its report.
        self.gone = match &self.bar {
            Some(bar) => bar.suspend(write).is_err(),
            None => write().is_err(),
        };
    }

    fn remark(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn progress(&mut self, done: u32, total: u32, text: &str) {
        if !self.fancy {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(u64::from(total));
            let style = ProgressStyle::with_template("{bar:24.cyan} {pos}/{len} {msg} {elapsed:.dim}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        bar.set_length(u64::from(total));
        bar.set_position(u64::from(done));
        bar.set_message(text.to_owned());
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
