//! Breaks the scheduler on purpose, one place at a time, and checks that some seed finds each break.
//!
//! The mutants of `runtime/core/mutants` are for the model checks of single algorithms. These are for the whole, most of them
//! where algorithms meet: in the workers, of which no model knows.

mod table;
mod tree;

use crate::options::Options;
use crate::{build, run};
use std::fs;
use std::time::Instant;

pub use table::{MUTANTS, Mutant};

/// Seeds within which a mutant is to be found.
const SEEDS: u64 = 10_000;

/// Tries all that are chosen. True if each was found.
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
    let copy = folder.join("tree");
    let mut missed = Vec::new();
    for (at, mutant) in chosen.iter().enumerate() {
        tree::bring_up_to_date(&build::root(), &copy).map_err(|error| format!("the copy: {error}"))?;
        let file = copy.join(mutant.file);
        let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", mutant.file))?;
        let broken = mutant.applied(&text)?;
        fs::write(&file, broken).map_err(|error| format!("{}: {error}", mutant.file))?;
        let program = build::program(&copy, &folder.join("build"))?;
        let start = Instant::now();
        // In growing steps, so that one that is found at once costs little.
        let (mut from, mut found) = (0, None);
        while from < SEEDS && found.is_none() {
            let count = (from * 3).clamp(100, SEEDS - from);
            let options = Options { from, count, failures: 1, ..Options::default() };
            found = run::seeds_quietly(&program, &options)?.failed.into_iter().next();
            from += count;
        }
        let took = start.elapsed().as_secs_f64();
        match &found {
            Some(failure) => {
                let how = failure
                    .text
                    .lines()
                    // Some threads die as they should; what ends the run is told last.
                    .rfind(|line| ["broken: ", "panicked: ", "died: "].iter().any(|word| line.contains(word)));
                let how = how.unwrap_or("killed").trim();
                println!(
                    "[{}/{}] {}: found by seed {} in {took:.1} s: {how}",
                    at + 1,
                    chosen.len(),
                    mutant.name,
                    failure.seed
                );
            }
            None => {
                println!("[{}/{}] {}: NOT FOUND in {from} seeds, {took:.1} s", at + 1, chosen.len(), mutant.name);
                missed.push(mutant.name);
            }
        }
    }
    println!("{} mutants, {} not found", chosen.len(), missed.len());
    Ok(missed.is_empty())
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
