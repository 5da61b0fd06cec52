//! Breaks the scheduler on purpose, one place at a time, and checks that some seed finds each break.
//!
//! The mutants of `runtime/core/mutants` are for the model checks of single algorithms. These are for the whole, most of them
//! where algorithms meet: in the workers, of which no model knows.

mod record;
mod table;
mod tree;

use crate::options::Options;
use crate::{build, run};
use record::{Record, State};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

pub use table::{MUTANTS, Mutant};

/// Seeds within which a mutant is to be found.
const SEEDS: u64 = 10_000;

/// Tries all that are chosen, `options.jobs` at a time. True if each was found.
///
/// # Errors
/// If a mutant does not fit the source, or something cannot be built or run.
pub fn all(options: &Options) -> Result<bool, String> {
    let chosen = |mutant: &&Mutant| options.filter.as_ref().is_none_or(|word| mutant.name.contains(word.as_str()));
    let chosen: Vec<&Mutant> = MUTANTS.iter().filter(chosen).collect();
    if chosen.is_empty() {
        return Err("no mutant has that word in its name".to_owned());
    }
    let folder = build::root().join("target/sim-mutants");
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Told { done: 0, missed: 0 }));
    let work = |job: usize| {
        let place = Place { copy: folder.join(format!("tree-{job}")), build: folder.join(format!("build-{job}")) };
        while let Some(mutant) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let (state, is_old) = place.try_one(mutant, &folder.join("record"), options)?;
            let mut told = told.lock().map_err(|_| "another thread has panicked")?;
            told.done += 1;
            let (done, count, name) = (told.done, chosen.len(), mutant.name);
            let took = start.elapsed().as_secs_f64();
            let took = if is_old { "before".to_owned() } else { format!("in {took:.1} s") };
            match state {
                State::Found { seed, how } => println!("[{done}/{count}] {name}: found by seed {seed} {took}: {how}"),
                State::Searched(seeds) => {
                    println!("[{done}/{count}] {name}: NOT FOUND in {seeds} seeds, {took}");
                    told.missed += 1;
                }
            }
        }
        Ok::<(), String>(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.min(chosen.len())).map(|job| scope.spawn(move || work(job))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a thread has panicked".to_owned())?)
    })?;
    let Told { done, missed } = told.into_inner().map_err(|_| "a thread has panicked")?;
    println!("{done} mutants, {missed} not found");
    Ok(missed == 0)
}

struct Told {
    done: usize,
    missed: usize,
}

/// Where one job works: a copy of the sources, and what is built of it.
struct Place {
    copy: PathBuf,
    build: PathBuf,
}

impl Place {
    /// Looks for a seed that finds a mutant, from where an earlier run on the same sources came to. Whether all this was known
    /// before.
    fn try_one(&self, mutant: &Mutant, record: &Path, options: &Options) -> Result<(State, bool), String> {
        tree::bring_up_to_date(&build::root(), &self.copy).map_err(|error| format!("the copy: {error}"))?;
        let record = Record::of(mutant, &self.copy, record).map_err(|error| format!("the record: {error}"))?;
        let before = if options.again { State::Searched(0) } else { record.read() };
        let mut from = match before {
            State::Searched(seeds) if seeds < SEEDS => seeds,
            known => return Ok((known, true)),
        };
        let file = self.copy.join(mutant.file);
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", mutant.file))?;
        let broken = mutant.applied(&text)?;
        fs::write(&file, broken).map_err(|error| format!("{}: {error}", mutant.file))?;
        let program = build::program(&self.copy, &self.build)?;
        let available = || thread::available_parallelism().map_or(1, usize::from).div_ceil(options.jobs);
        let processes = options.processes.unwrap_or_else(available);
        // In growing steps, so that one that is found at once costs little.
        let mut state = State::Searched(from);
        while from < SEEDS && matches!(state, State::Searched(_)) {
            let count = (from * 3).clamp(100, SEEDS - from);
            let some = Options { from, count, failures: 1, processes: Some(processes), ..Options::default() };
            let found = run::seeds_quietly(&program, &some)?.failed.into_iter().next();
            from += count;
            state = found.map_or(State::Searched(from), |failure| State::Found {
                seed: failure.seed,
                how: how_it_ended(&failure.text).to_owned(),
            });
            record.write(&state).map_err(|error| format!("the record: {error}"))?;
            if let State::Searched(seeds) = state {
                eprintln!("    {}: none of {seeds} seeds", mutant.name);
            }
        }
        Ok((state, false))
    }
}

/// The line of a failed seed's output that says what was seen.
fn how_it_ended(text: &str) -> &str {
    // Some threads die as they should; what ends the run is told last.
    let tells = |line: &&str| ["broken: ", "panicked: ", "died: "].iter().any(|word| line.contains(word));
    text.lines().rfind(tells).unwrap_or("killed").trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_mutant_fits_the_source_as_it_is() {
        let misfits: Vec<String> = MUTANTS
            .iter()
            .filter_map(|mutant| {
                let text = fs::read_to_string(build::root().join(mutant.file)).expect("the file is there");
                mutant.applied(&text).err()
            })
            .collect();
        assert!(misfits.is_empty(), "{}", misfits.join("\n"));
        assert!(MUTANTS.iter().all(|mutant| mutant.old != mutant.new));
        let names: BTreeSet<&str> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
    }
}
