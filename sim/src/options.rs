//! The command line.

use std::ops::Range;

/// What `--help` says.
pub const USAGE: &str = "\
Runs random programs on the simulated machine, one for each seed.

    cargo run -p isochron-sim --release -- [OPTIONS] [WORD]

    --seeds N        so many seeds (1000)
    --from N         the first of them (0)
    --seed N         this one alone
    --trace          prints what happens, with --seed
    --cpus N         1 to 8 CPUs; else 1 to 6, by the seed
    --stores on|off  whether stores are kept back as in a store buffer; else by the seed
    --failures N     stops a process after so many failures (3)
    --planted        the programs have a bug of their own, to see how one is told
    --mutants        breaks the scheduler, one place at a time, and checks that a seed finds each break;
                     with WORD, only where the name contains it. A run that was cut off goes on where it was, as long as
                     the sources are the same
    --jobs N         with --mutants: so many at a time, each with a build of its own (1)
    --again          with --mutants: also those of which is known what becomes of them
    --processes N    so many seeds at a time; else as many as the host has CPUs, shared among the jobs

Exit code: 0 if no seed failed (every mutant was found); 1 if one did; 2 for bad usage.";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Say what there is.
    Help,
    /// Run seeds.
    Seeds,
    /// Break things.
    Mutants,
}

/// The options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is to be done.
    pub mode: Mode,
    /// The first seed.
    pub from: u64,
    /// How many.
    pub count: u64,
    /// Whether events are printed as they come.
    pub trace: bool,
    /// How many CPUs, if that is not left to the seed.
    pub cpus: Option<usize>,
    /// Whether stores are kept back, if that is not left to the seed.
    pub stores: Option<bool>,
    /// After how many failures a process stops.
    pub failures: u64,
    /// Whether the programs have a bug of their own.
    pub planted: bool,
    /// Which mutants.
    pub filter: Option<String>,
    /// How many of them at a time.
    pub jobs: usize,
    /// Whether also those that are known.
    pub again: bool,
    /// How many seeds at a time, if that is not left to the host.
    pub processes: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Seeds,
            from: 0,
            count: 1000,
            trace: false,
            cpus: None,
            stores: None,
            failures: 3,
            planted: false,
            filter: None,
            jobs: 1,
            again: false,
            processes: None,
        }
    }
}

impl Options {
    /// The seeds.
    #[must_use]
    pub const fn seeds(&self) -> Range<u64> {
        self.from..self.from.saturating_add(self.count)
    }
}

/// Reads the arguments.
///
/// # Errors
/// One line that says what is wrong.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => options.mode = Mode::Help,
            "--mutants" => options.mode = Mode::Mutants,
            "--trace" => options.trace = true,
            "--planted" => options.planted = true,
            "--again" => options.again = true,
            "--jobs" => options.jobs = number(&argument, &value()?, 1..65)? as usize,
            "--processes" => options.processes = Some(number(&argument, &value()?, 1..1025)? as usize),
            "--seeds" => options.count = number(&argument, &value()?, 1..u64::MAX)?,
            "--from" => options.from = number(&argument, &value()?, 0..u64::MAX)?,
            "--seed" => (options.from, options.count) = (number(&argument, &value()?, 0..u64::MAX)?, 1),
            "--cpus" => options.cpus = Some(number(&argument, &value()?, 1..9)? as usize),
            "--failures" => options.failures = number(&argument, &value()?, 1..u64::MAX)?,
            "--stores" => {
                options.stores = Some(match value()?.as_str() {
                    "on" => true,
                    "off" => false,
                    other => return Err(format!("--stores is on or off, not {other}")),
                });
            }
            word if !word.starts_with('-') && options.filter.is_none() => options.filter = Some(word.to_owned()),
            other => return Err(format!("{other} is not an option")),
        }
    }
    if options.trace && options.count != 1 {
        return Err("--trace is for one seed: give it with --seed".to_owned());
    }
    if options.filter.is_some() && options.mode == Mode::Seeds {
        return Err("a word chooses mutants: give it with --mutants".to_owned());
    }
    if (options.again || options.jobs > 1) && options.mode == Mode::Seeds {
        return Err("--jobs and --again are for mutants: give them with --mutants".to_owned());
    }
    Ok(options)
}

fn number(name: &str, text: &str, allowed: Range<u64>) -> Result<u64, String> {
    text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| match allowed.end {
        u64::MAX => format!("{name} is a number from {} on, not {text}", allowed.start),
        end => format!("{name} is a number from {} to {}, not {text}", allowed.start, end - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_asked_for_is_what_is_done() {
        assert_eq!(parsed(""), Ok(Options::default()));
        let options = parsed("--seeds 20 --from 7 --cpus 3 --stores off --failures 1").unwrap();
        assert_eq!((options.seeds(), options.cpus, options.stores, options.failures), (7..27, Some(3), Some(false), 1));
        let options = parsed("--seed 5 --trace").unwrap();
        assert_eq!((options.seeds(), options.trace), (5..6, true));
        let options = parsed("--mutants fence --jobs 2 --again --processes 3").unwrap();
        assert_eq!(options.filter.as_deref(), Some("fence"));
        assert_eq!((options.jobs, options.again, options.processes), (2, true, Some(3)));
    }

    #[test]
    fn bad_usage_is_told_in_one_line() {
        for line in [
            "--seeds",
            "--seeds 0",
            "--seed x",
            "--cpus 0",
            "--cpus 9",
            "--stores maybe",
            "--trace",
            "word",
            "--what",
            "--jobs 2",
            "--again",
            "--processes 0",
        ] {
            let problem = parsed(line).unwrap_err();
            assert!(!problem.is_empty() && !problem.contains('\n'), "{line}: {problem}");
        }
    }
}
