//! The command line. Other programs call it: names, meanings and exit codes stay.

use crate::error::Error;
use crate::top::keys::Sort;
use clap::{Args, Parser, Subcommand, ValueEnum};
use isochron_wire::trace::{ALL_CLASSES, CLASSES, class_bits};
use std::ffi::OsString;
use std::path::PathBuf;

/// Isochron: programs on bare metal, measured to the nanosecond.
#[derive(Debug, Parser)]
#[command(name = "isochron", bin_name = "cargo run --", version, disable_help_subcommand = true, after_help = AFTER)]
pub struct Cli {
    /// What to do; nothing said: run the latency suite on ARM64 virt with 4 CPUs.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER: &str = "Exit codes: the guest's own (0 = passed, 101 = it panicked); 1 a failure here; 2 bad usage; 3 \
something is not installed; 4 a report got slower; 124 no end in time; 130 interrupted.";

/// A sub-command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a program, boot a machine with it, and show what it measured.
    Run(RunArgs),
    /// List programs and machines.
    List,
    /// Install what building and running need.
    Setup {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// What `debug` needs, too.
        #[arg(long)]
        debugger: bool,
    },
    /// Run the test kernels; each case inside them is one test.
    Test(TestArgs),
    /// Run Isochron as a process beside other schedulers, and show what each takes.
    Compare(CompareArgs),
    /// Show what `run --trace` has recorded.
    Trace(TraceArgs),
    /// Make something to boot a real machine from.
    Image(ImageArgs),
    /// Watch a program's CPUs and threads while it runs.
    Top(TopArgs),
    /// Look into a program with gdb: its CPUs, threads, run queues, timers and locks.
    Debug(DebugArgs),
    /// Compare what was measured: two reports, or the counts that the repository keeps.
    #[command(arg_required_else_help = false)]
    Report {
        /// What of it.
        #[command(subcommand)]
        what: ReportCommand,
    },
}

/// How the guest's instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Accel {
    /// QEMU's translator: everywhere.
    Tcg,
    /// Linux's hypervisor, for guests of the host's own architecture.
    Kvm,
    /// macOS's hypervisor, for guests of the host's own architecture.
    Hvf,
}

impl Accel {
    /// QEMU's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
            Self::Hvf => "hvf",
        }
    }
}

/// What looks over a program's shoulder.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Sanitizer {
    /// LLVM's AddressSanitizer: accesses beside what a pointer points to, and after its end.
    Address,
}

impl Sanitizer {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
        }
    }
}

/// What program runs on what machine.
#[derive(Clone, Debug, Args)]
pub struct GuestArgs {
    /// The program (see `list`).
    pub app: String,
    /// The machine (see `list`).
    #[arg(long, default_value = "virt", value_name = "NAME")]
    pub machine: String,
    /// CPUs of the machine.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub cpus: u32,
    /// Memory of the machine, in MiB [default: 256; raspi4b: 2048].
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// One instruction = 1 ns: the same run twice gives the same figures.
    #[arg(long)]
    pub deterministic: bool,
    /// Split memory and CPUs into N nodes.
    #[arg(long, value_name = "N")]
    pub numa: Option<u32>,
    /// Arguments for the program.
    #[arg(last = true, value_name = "APP-ARGS")]
    pub app_args: Vec<String>,
}

impl GuestArgs {
    /// The program on the machine that is the default.
    #[must_use]
    pub fn of(app: &str) -> Self {
        Self {
            app: app.to_owned(),
            machine: "virt".to_owned(),
            cpus: 4,
            memory: None,
            deterministic: false,
            numa: None,
            app_args: Vec::new(),
        }
    }
}

/// `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The program, and the machine.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// How instructions are executed.
    #[arg(long, value_enum, default_value_t = Accel::Tcg)]
    pub accel: Accel,
    /// Give up after so long [default: 120; with --deterministic 600].
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: Option<u64>,
    /// Write the report here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Let the runtime use only the first N CPUs.
    #[arg(long, value_name = "N")]
    pub cores: Option<u32>,
    /// Record what the scheduler does, into this file (see `trace`).
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Only these sorts of records, parted by commas [default: all].
    #[arg(long, value_name = "LIST", requires = "trace", value_parser = class_list)]
    pub trace_classes: Option<u16>,
    /// The least important that the kernel logs.
    #[arg(long, value_name = "LEVEL", value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    pub log: Option<String>,
    /// One more argument for QEMU; `"-OPTION VALUE"` is split at the first space.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
    /// Built with the checks of debug builds, above all the order of spin locks.
    #[arg(long)]
    pub checked: bool,
    /// ARM64: built with LSE atomics, and booted on a CPU that has them (a Cortex-A76).
    #[arg(long, conflicts_with = "checked")]
    pub lse: bool,
    /// Built with a heap that finds its misuse: blocks freed twice, overrun, or written after they were freed.
    #[arg(long, conflicts_with_all = ["checked", "lse"])]
    pub hardened: bool,
    /// On hosted: built with a sanitizer, by a nightly compiler, which is installed if it is not there.
    #[arg(long, value_enum, conflicts_with_all = ["checked", "lse", "hardened"])]
    pub sanitizer: Option<Sanitizer>,
}

impl RunArgs {
    /// What `run APP` without options means.
    #[must_use]
    pub fn of(app: &str) -> Self {
        Self {
            guest: GuestArgs::of(app),
            accel: Accel::Tcg,
            timeout: None,
            json: None,
            cores: None,
            trace: None,
            trace_classes: None,
            log: None,
            qemu_arg: Vec::new(),
            checked: false,
            lse: false,
            hardened: false,
            sanitizer: None,
        }
    }
}

/// Reads `--trace-classes`.
fn class_list(list: &str) -> Result<u16, String> {
    class_bits(list).map_err(|name| format!("no '{name}' among all, none, {}", CLASSES.join(", ")))
}

/// `test`.
#[derive(Clone, Debug, Default, Args)]
pub struct TestArgs {
    /// Only cases, kernels or machines whose name contains this; it also runs those that are not quick.
    pub filter: Option<String>,
    /// Only this machine.
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// The hosted ones, built with a sanitizer.
    #[arg(long, value_enum)]
    pub sanitizer: Option<Sanitizer>,
}

/// `compare`.
#[derive(Clone, Debug, Default, Args)]
pub struct CompareArgs {
    /// Only this row; again for more.
    #[arg(long, value_name = "ROW")]
    pub only: Vec<String>,
    /// How often each program runs each row [default: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,
    /// One round.
    #[arg(long)]
    pub quick: bool,
    /// How Isochron's own costs grow with the number of threads and CPUs, instead.
    #[arg(long)]
    pub growth: bool,
    /// Show the rows and run nothing.
    #[arg(long)]
    pub list: bool,
    /// Write the report here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `trace`.
#[derive(Clone, Debug, Args)]
pub struct TraceArgs {
    /// The recording.
    pub file: PathBuf,
    /// Where the report goes, a page of its own [default: FILE with .report.html].
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Where the trace for viewers goes [default: FILE with .chrome.json].
    #[arg(long, value_name = "FILE")]
    pub chrome: Option<PathBuf>,
    /// The most events in it.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub events: u64,
    /// Only what is later than so many milliseconds, in it.
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub from: Option<f64>,
    /// Only what is earlier.
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub to: Option<f64>,
    /// Columns of the heat map.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = bins)]
    pub bins: usize,
    /// How wide each is, in microseconds [default: each twice as wide as the one before].
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1..))]
    pub bin_us: Option<u64>,
    /// Write the figures here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|ms: &f64| ms.is_finite() && *ms >= 0.0);
    number.ok_or_else(|| "not a number of milliseconds".into())
}

fn bins(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|bins| (2..=64).contains(bins)).ok_or_else(|| "not a number from 2 to 64".into())
}

/// What `image` can make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ImageKind {
    /// A folder for the boot partition of a Raspberry Pi 4's SD card.
    Raspi4b,
    /// A disk image that boots a PC through BIOS and through UEFI.
    Pc,
}

/// `image`.
#[derive(Clone, Debug, Args)]
pub struct ImageArgs {
    /// For what.
    #[arg(long, value_enum)]
    pub machine: ImageKind,
    /// Into which folder [default: target/isochron/APP-MACHINE-image].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The program inside.
    #[arg(long, default_value = "hello", value_name = "NAME")]
    pub app: String,
    /// Arguments for the program.
    #[arg(last = true, value_name = "APP-ARGS")]
    pub app_args: Vec<String>,
}

/// `top`.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// The program, and the machine.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// Print the figures as a text, once, and end the program.
    #[arg(long)]
    pub once: bool,
    /// With --once: of so many seconds.
    #[arg(long, value_name = "S", default_value_t = 2.0, requires = "once", value_parser = seconds)]
    pub seconds: f64,
    /// A new picture every so many seconds.
    #[arg(long, value_name = "S", default_value_t = 1.0, conflicts_with = "once", value_parser = seconds)]
    pub every: f64,
    /// By what threads are sorted.
    #[arg(long, value_enum, default_value_t = Sort::Cpu)]
    pub sort: Sort,
    /// Only threads with this in their name.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// With --once: write the figures here.
    #[arg(long, value_name = "FILE", requires = "once")]
    pub json: Option<PathBuf>,
}

impl TopArgs {
    /// The run that is watched.
    #[must_use]
    pub fn run(&self) -> RunArgs {
        let classes = class_bits("threads,switches,wakes,idle,locks,groups,memory").unwrap_or(ALL_CLASSES);
        RunArgs {
            guest: self.guest.clone(),
            // Recorded as for a file, which nobody writes here.
            trace: Some(PathBuf::new()),
            trace_classes: Some(classes),
            ..RunArgs::of(&self.guest.app)
        }
    }
}

/// A time that one may wait for.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.05..=86400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds from 0.05 to 86400".into()),
    }
}

/// `debug`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "In gdb, `iso` lists the commands that know Isochron; the program stands before its first instruction: \
`break FUNCTION`, `continue`."
)]
pub struct DebugArgs {
    /// The program, and the machine.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// Built with the checks of debug builds, above all the order of spin locks.
    #[arg(long)]
    pub checked: bool,
    /// Do this in gdb and end; again for more.
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub command: Vec<String>,
    /// With --command: give up after so long [default: 120].
    #[arg(long, value_name = "SECS", requires = "command", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: Option<u64>,
    /// One more argument for QEMU; `"-OPTION VALUE"` is split at the first space.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_arg: Vec<String>,
}

impl DebugArgs {
    /// The run that is looked into.
    #[must_use]
    pub fn run(&self) -> RunArgs {
        RunArgs {
            guest: self.guest.clone(),
            checked: self.checked,
            qemu_arg: self.qemu_arg.clone(),
            ..RunArgs::of(&self.guest.app)
        }
    }
}

/// `report`.
#[derive(Clone, Debug, Subcommand)]
pub enum ReportCommand {
    /// Say what got slower or faster between two reports, and whether it is beyond the noise.
    Diff(DiffArgs),
    /// Record the instruction counts that every change is held to.
    Baseline(BaselineArgs),
}

/// `report diff`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing got slower, 4 something did; 1 a file is no report; 2 the reports are not of \
the same run."
)]
pub struct DiffArgs {
    /// The report before the change, or a folder with several.
    #[arg(value_name = "A")]
    pub before: PathBuf,
    /// The report after it, or a folder with several.
    #[arg(value_name = "B")]
    pub after: PathBuf,
    /// Show what is the same, too.
    #[arg(long)]
    pub all: bool,
    /// Slower by so much is no failure.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub allow: f64,
    /// Write the comparison here.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `report baseline`.
#[derive(Clone, Debug, Default, Args)]
pub struct BaselineArgs {
    /// Only say what moved, and end with 4 if something rose.
    #[arg(long)]
    pub check: bool,
}

/// A part of a whole that makes sense: not below nothing.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse() {
        Ok(percent) if (0.0..=1000.0).contains(&percent) => Ok(percent),
        _ => Err("a number from 0 to 1000".into()),
    }
}

/// What the arguments come to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them, once")]
pub enum Parsed {
    /// Something to do.
    Run(Command),
    /// A text to print, nothing else (`--help`, `--version`).
    Text(String),
}

/// Reads the arguments, the program's own name first.
///
/// # Errors
/// [`Error::Usage`] in one line.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    match Cli::try_parse_from(args) {
        Ok(cli) => Ok(Parsed::Run(cli.command.unwrap_or_else(|| Command::Run(RunArgs::of("latency"))))),
        Err(error) if !error.use_stderr() => Ok(Parsed::Text(error.render().ansi().to_string())),
        Err(error) => Err(Error::Usage(one_line(&error.render().to_string()))),
    }
}

/// Clap's message of several lines in one, without the usage at its end.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let lines = text.lines().map(str::trim).take_while(|l| !l.starts_with("Usage:") && !l.starts_with("For more"));
    let joined = lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
    joined.replace(":; ", ": ").replace("; tip: ", "; ").replace("; [possible", " [possible")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Parsed, Error> {
        parse(std::iter::once("isochron").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn nothing_said_is_the_latency_suite() {
        let Ok(Parsed::Run(Command::Run(run))) = args("") else { panic!() };
        let guest = &run.guest;
        assert_eq!((guest.app.as_str(), guest.machine.as_str(), guest.cpus), ("latency", "virt", 4));
        assert_eq!(run.accel, Accel::Tcg);
        let Ok(Parsed::Run(Command::Run(said))) = args("run latency") else { panic!() };
        assert_eq!(format!("{run:?}"), format!("{said:?}"));
    }

    #[test]
    fn all_of_run_is_understood() {
        let line = "run hello --machine q35 --cpus 2 --memory 64 --accel kvm --deterministic --numa 2 --timeout 9 \
                    --json r.json --qemu-arg -d --qemu-arg int -- --fast 3";
        let Ok(Parsed::Run(Command::Run(run))) = args(line) else { panic!() };
        assert_eq!(run.qemu_arg, ["-d", "int"]);
        assert_eq!(run.guest.app_args, ["--fast", "3"]);
        assert_eq!((run.guest.memory, run.guest.numa, run.timeout), (Some(64), Some(2), Some(9)));
    }

    #[test]
    fn bad_usage_is_one_line() {
        let bad = [
            "trace",
            "trace f --bins 1",
            "run a --trace",
            "run a --trace f --trace-classes spam",
            "run a --trace-classes all",
            "runn",
            "run",
            "run a --cpus x",
            "run a --accel warp",
            "run a --log loud",
            "run a --timeout 0",
            "image",
        ];
        let more = ["--bogus", "report", "report diff a", "report diff a b --allow lots", "report diff a b --allow -1"];
        for line in bad.into_iter().chain(more) {
            let error = args(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert_eq!(error.to_string().lines().count(), 1, "{line}: {error}");
        }
        assert!(args("run").unwrap_err().to_string().ends_with("not provided: <APP>"));
        assert!(args("run a --log loud").unwrap_err().to_string().contains("off, error, warn"));
        assert!(args("report").unwrap_err().to_string().contains("diff, baseline"));
        assert!(args("runn").unwrap_err().to_string().contains("'run'"));
        assert!(matches!(args("--help"), Ok(Parsed::Text(_))));
    }
}
