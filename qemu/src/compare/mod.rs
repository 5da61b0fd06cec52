//! `compare`: Isochron as a process beside other schedulers, in turns.
//!
//! [`rows`] says what is measured and what is aimed at, [`contenders`] builds and starts the programs, [`figures`] keeps
//! what they print, [`render`] and [`plot`] show it; [`backed`] sees to it that all find the same memory. In each round every program that has a row runs it once, in a process
//! of its own, so that what disturbs the machine for a while disturbs all of them.

pub mod backed;
pub mod contenders;
pub mod figures;
pub mod growth;
pub mod plot;
pub mod render;
pub mod rows;

use crate::artefact::{write_json, write_whole};
use crate::cli::CompareArgs;
use crate::error::Error;
use crate::style::Style;
use crate::workspace::Workspace;
use contenders::Contenders;
use figures::Figures;
use indicatif::{ProgressBar, ProgressStyle};
use rows::{ROWS, Row};
use std::io::{self, IsTerminal, Write};

/// Rounds, if nothing is said.
pub const ROUNDS: u32 = 5;

/// Compares, and prints and writes what came out.
///
/// # Errors
/// [`Error::Usage`] for a row that does not exist, [`Error::Build`] if a program cannot be built, [`Error::Interrupted`].
pub fn command(workspace: &Workspace, args: &CompareArgs) -> Result<u8, Error> {
    if args.list {
        let text: String = ROWS.iter().map(|row| format!("{:<18} {}\n", row.name, row.about)).collect();
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(0);
    }
    if args.growth {
        return growth::command(workspace, args);
    }
    let chosen = choose(&args.only)?;
    let contenders = Contenders::build(workspace)?;
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { ROUNDS });
    let figures = measure(&contenders, &chosen, rounds)?;
    let style = Style::of(&io::stdout());
    let text = render::table(&figures, &chosen, style);
    let _ = io::stdout().write_all(text.as_bytes());
    let dir = workspace.out_dir("compare", "hosted")?;
    let json = args.json.clone().unwrap_or_else(|| dir.join("report.json"));
    write_json(&json, &figures.json(&chosen, rounds))?;
    let picture = dir.join("compare.svg");
    write_whole(&picture, plot::dots(&figures, &chosen).as_bytes())?;
    println!("{}", style.dim(&format!("report {} · plot {}", workspace.shown(&json), workspace.shown(&picture))));
    Ok(0)
}

/// The rows that were asked for; all, if none was.
fn choose(names: &[String]) -> Result<Vec<&'static Row>, Error> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
                let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                Error::Usage(format!("there is no row `{name}`: there are {}", known.join(", ")))
            })
        })
        .collect()
}

fn measure(contenders: &Contenders, chosen: &[&'static Row], rounds: u32) -> Result<Figures, Error> {
    let mut figures = Figures::default();
    let runs: usize = chosen.iter().map(|row| contenders.having(row.name).count()).sum();
    let bar = progress(runs as u64 * u64::from(rounds));
    for row in chosen {
        for round in 0..rounds {
            for contender in contenders.having(row.name) {
                // Once is enough: one that hangs would take its time in every round.
                if figures.has_failed(row.name, contender.name) {
                    bar.inc(1);
                    continue;
                }
                bar.set_message(format!("{} {} ({} of {rounds})", row.name, contender.name, round + 1));
                backed::have_memory_backed();
                match contender.run(row) {
                    Ok(values) => {
                        values.into_iter().for_each(|(name, value)| figures.add(&name, contender.name, value))
                    }
                    Err(Error::Interrupted) => return Err(Error::Interrupted),
                    Err(error) => figures.fail(row.name, contender.name, &error.to_string()),
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(figures)
}

fn progress(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        eprintln!("comparing: {length} runs");
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{bar:24.cyan} {pos}/{len} {msg} {elapsed:.dim}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
