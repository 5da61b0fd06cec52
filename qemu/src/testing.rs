//! `test`, and the harness behind `cargo test`: test kernels in QEMU, each case inside them shown as one test.
//!
//! A test kernel is a program in `tests/src/bin/`. What it wants is said in comments at the top of its source, see
//! [`directives`]. One boot runs all its cases, which it announces as records: `TestPlan`, then `TestBegin` and `TestEnd`
//! for each. A planned case that never ended has failed. The list of cases is known only when a kernel has run, so the
//! kernels run first, two at a time, with a line each on stderr; the tests are then listed with their outcomes. A filter
//! keeps away the kernels that cannot hold a matching case.
//!
//! A test is named `MACHINE-ARCH/cpusN/KERNEL::CASE`; a run without cases, or with an ending of its own to check, is the
//! test `MACHINE-ARCH/cpusN/KERNEL`.

pub mod directives;
mod judge;
mod select;

pub use judge::{Case, Outcome, judge};
pub use select::{Planned, plan, select};

use crate::backtrace::Panic;
use crate::build::{self, How, Profile};
use crate::cli::TestArgs;
use crate::error::Error;
use crate::machine::{Board, Machine};
use crate::prepare::{Request, architectures};
use crate::setup::{self, Wanted};
use crate::signals;
use crate::stream::Event;
use crate::style::Style;
use crate::watch::{Ending, Limits, watch};
use crate::workspace::{Program, Workspace};
use isochron_wire::Record;
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// QEMUs at a time: more would only disturb each other.
const PARALLEL: usize = 2;

/// The harness behind `cargo test`; gives the exit code.
#[must_use]
pub fn harness() -> u8 {
    let arguments = Arguments::from_args();
    // `cargo test FILTER` comes here with filters that are meant for other test programs.
    report(run(&arguments, &TestArgs::default(), false))
}

/// `cargo run -- test`.
///
/// # Errors
/// As [`harness`], but not printed; [`Error::Usage`] if nothing is chosen.
pub fn command(args: &TestArgs) -> Result<u8, Error> {
    let arguments = Arguments { filter: args.filter.clone(), ..Arguments::default() };
    run(&arguments, args, true)
}

fn report(result: Result<u8, Error>) -> u8 {
    result.unwrap_or_else(|error| {
        eprintln!("{} {error}", Style::of(&io::stderr()).red("isochron:"));
        error.exit_code()
    })
}

/// `must`: choosing nothing is an error.
fn run(arguments: &Arguments, args: &TestArgs, must: bool) -> Result<u8, Error> {
    let workspace = Workspace::find()?;
    let machine = args.machine.as_deref().or(args.sanitizer.map(|_| "hosted")).map(Machine::find).transpose()?;
    signals::catch();
    let planned = plan(&workspace, machine, args.sanitizer)?;
    let chosen = select(planned, arguments.filter.as_deref());
    if must && chosen.is_empty() {
        let filter = arguments.filter.as_deref().unwrap_or("");
        let on = machine.map_or(String::new(), |machine| format!(" on {}", machine.name));
        return Err(Error::Usage(format!(
            "no test is called '{filter}'{on}; `cargo run -- list` shows the test kernels"
        )));
    }
    if arguments.list {
        let trials = chosen.into_iter().map(|p| Trial::test(p.id, || Ok(()))).collect();
        return Ok(u8::from(libtest_mimic::run(arguments, trials).has_failed()));
    }
    let outcomes = execute(&workspace, &chosen)?;
    let trials = outcomes.into_iter().flat_map(|o| o.cases).map(trial).collect();
    Ok(if libtest_mimic::run(arguments, trials).has_failed() { 101 } else { 0 })
}

fn trial(case: Case) -> Trial {
    let ignored = case.ignored;
    let trial = Trial::test(case.name, move || case.failure.map_or(Ok(()), |text| Err(Failed::from(text))));
    trial.with_ignored_flag(ignored)
}

/// Sets up, builds and runs; the outcomes are in the order of `chosen`.
fn execute(workspace: &Workspace, chosen: &[Planned]) -> Result<Vec<Outcome>, Error> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let machines: Vec<&Machine> = chosen.iter().map(|p| p.request.machine).collect();
    let pi = machines.iter().any(|m| m.board == Board::Raspi4b);
    let mut wanted = Wanted { qemu: architectures(&machines), qemu_version: pi.then_some(9), ..Wanted::default() };
    for planned in chosen {
        let more = planned.request.wanted();
        wanted.firmware |= more.firmware;
        wanted.components.extend(more.components);
    }
    let (_, new_enough) = setup::ensure_or_old(workspace, &wanted, true)?;
    let mut built: BTreeMap<(&str, How, String), PathBuf> = BTreeMap::new();
    // One build for each target and way: machines share their guests.
    let mut targets: Vec<&Machine> = Vec::new();
    for machine in machines {
        if targets.iter().all(|m| m.target() != machine.target()) {
            targets.push(machine);
        }
    }
    for machine in targets {
        let target = machine.target();
        let mut ways: BTreeMap<How, Vec<&Program>> = BTreeMap::new();
        for planned in chosen.iter().filter(|p| p.request.machine.target() == target) {
            ways.entry(planned.request.how).or_default().push(&planned.request.program);
        }
        for (how, mut programs) in ways {
            programs.dedup();
            let made = build::build(workspace, &programs, machine, how)?;
            built.extend(made.into_iter().map(|(name, elf)| ((target, how, name), elf)));
        }
    }
    let (next, slots) = (AtomicUsize::new(0), Mutex::new(chosen.iter().map(|_| None).collect::<Vec<_>>()));
    let style = Style::of(&io::stderr());
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(chosen.len()) {
            scope.spawn(|| {
                // Relaxed: the counter hands out numbers and publishes nothing.
                while let Some(planned) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if signals::requested() {
                        return;
                    }
                    if planned.request.machine.board == Board::Raspi4b && !new_enough {
                        put(&slots, chosen, planned, Outcome::left_out(&planned.id));
                        continue;
                    }
                    let elf = &built[&elf_key(&planned.request)];
                    let outcome = boot(workspace, planned, elf);
                    eprintln!("{}", line(&outcome, style));
                    put(&slots, chosen, planned, outcome);
                }
            });
        }
    });
    if signals::requested() {
        return Err(Error::Interrupted);
    }
    Ok(slots.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().flatten().collect())
}

/// Where the ELF file of a request is found among those that were built.
fn elf_key(request: &Request) -> (&'static str, How, String) {
    (request.machine.target(), request.how, request.program.name.clone())
}

/// Keeps an outcome in its run's place.
fn put(slots: &Mutex<Vec<Option<Outcome>>>, chosen: &[Planned], planned: &Planned, outcome: Outcome) {
    let at = chosen.iter().position(|p| std::ptr::eq(p, planned));
    let mut slots = slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(slot) = at.and_then(|at| slots.get_mut(at)) {
        *slot = Some(outcome);
    }
}

/// Boots a kernel, as often as it asks for, until one run fails.
fn boot(workspace: &Workspace, planned: &Planned, elf: &std::path::Path) -> Outcome {
    let mut outcome = Outcome::default();
    for turn in 1..=planned.repeat.max(1) {
        let before = outcome.seconds;
        outcome =
            boot_once(workspace, planned, elf).unwrap_or_else(|error| Outcome::broken(&planned.id, &error.to_string()));
        outcome.seconds += before;
        outcome.turns = turn;
        if outcome.has_failed() {
            break;
        }
    }
    outcome
}

fn boot_once(workspace: &Workspace, planned: &Planned, elf: &std::path::Path) -> Result<Outcome, Error> {
    let request = &planned.request;
    let (launch, artefact) = request.launch(workspace, elf)?;
    let mut command = launch.command();
    let mut told = judge::Told::default();
    let watched = watch(&mut command, Limits::seconds(request.timeout), &mut |event| match event {
        Event::Text(bytes) => told.text(bytes),
        Event::Damaged(line, why) => told.damaged(line, why),
        Event::Record(record) => {
            told.take_end(&record);
            match record {
                Record::Start { cpus, .. } => told.cpus = Some(cpus),
                Record::TestPlan { count } => told.planned = Some(count),
                Record::TestBegin { name } => told.begin(name),
                Record::TestEnd { name, outcome, text } => told.end(name, outcome, text),
                Record::Exit { code } => told.exit = Some(code),
                _ => {}
            }
        }
    })?;
    if matches!(watched.ending, Ending::Interrupted) {
        return Err(Error::Interrupted);
    }
    let report = (request.how.profile == Profile::Sanitized && !watched.said.is_empty()).then(|| watched.said.clone());
    let render = |panic: &Panic| panic.render(&artefact.elf, &workspace.root, Style::plain());
    let backtrace = report.or_else(|| told.panic.as_ref().or(told.deaths.first()).map(render));
    Ok(judge(planned, &told, &watched, backtrace.as_deref(), &launch.typed()))
}

fn line(outcome: &Outcome, style: Style) -> String {
    let failed = outcome.cases.iter().filter(|c| c.failure.is_some()).count();
    let word = if failed > 0 { style.red("FAILED") } else { style.green("ok") };
    let turns = if outcome.turns > 1 { format!(", {} boots", outcome.turns) } else { String::new() };
    let many = match outcome.cases.len() {
        1 => "1 case".to_owned(),
        n => format!("{n} cases"),
    };
    style.dim(&format!("guest {} ... ", outcome.id)) + &format!("{word} ({many}{turns}, {:.1} s)", outcome.seconds)
}
