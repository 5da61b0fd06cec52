//! Breaks `runtime/core` on purpose, one place at a time, and checks that a model check sees each break.
//!
//! ```text
//! cargo run -p isochron-mutants                  # all of them
//! cargo run -p isochron-mutants -- --quick       # the ten most telling
//! cargo run -p isochron-mutants -- idle_set      # those whose file, change or tests contain the word
//! ```
//! A mutant is one change to one file: a fence taken out, an ordering weakened, a compare-and-swap made a load and a
//! store, two steps in the other order. It names the model checks that must fail with it. The tool works on a copy of
//! `runtime/core` below `target/mutants`, first with no change at all, when all those checks must pass.
//!
//! Exit code: 0 if every mutant was killed by each check it names; 1 if one was not, did not compile, is stale or took
//! too long, or if a check fails without any change; 2 for bad usage.

mod change;
mod libtest;
mod options;
mod process;
mod report;
mod table;
mod tree;
mod trial;

use options::{Mode, Options};
use report::Outcome;
use std::process::ExitCode;
use table::Mutant;
use trial::Trial;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let chosen: Vec<&Mutant> = table::all().filter(|mutant| options.chooses(mutant)).collect();
    if chosen.is_empty() && options.mode != Mode::Help {
        eprintln!("no mutant matches {:?}; --list shows them all", options.filter.unwrap_or_default());
        return ExitCode::from(2);
    }
    match options.mode {
        Mode::Help => println!("{}", options::USAGE),
        Mode::List => print!("{}", report::list(&chosen)),
        Mode::Markdown => print!("{}", report::markdown(&chosen)),
        Mode::Run => match run(&chosen, &options) {
            Ok(true) => {}
            Ok(false) => return ExitCode::FAILURE,
            Err(problem) => {
                eprintln!("error: {problem}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}

/// True if every mutant was killed.
fn run(chosen: &[&Mutant], options: &Options) -> Result<bool, String> {
    let trial = Trial::prepare(options.whole)?;
    for mutant in chosen {
        trial.fits(mutant)?;
    }
    eprintln!("{} mutants; first the models without any of them", chosen.len());
    trial.unmutated(chosen)?;
    let mut results = Vec::new();
    for (at, mutant) in chosen.iter().enumerate() {
        let (outcome, time) = trial.judge(mutant)?;
        eprintln!("[{}/{}] {}: {outcome} ({:.1} s)", at + 1, chosen.len(), mutant.name(), time.as_secs_f64());
        results.push((*mutant, outcome));
    }
    print!("{}", report::results(&results));
    Ok(results.iter().all(|(_, outcome)| matches!(outcome, Outcome::Killed { .. })))
}
