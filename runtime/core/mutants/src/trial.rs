//! One mutant after the other: build, run the checks it names, judge.

use crate::change::replace_once;
use crate::libtest::{self, Verdict};
use crate::process::{self, End};
use crate::report::Outcome;
use crate::table::{Mutant, Test};
use crate::tree;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long one mutant may take, its build included. Each takes seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// How long the models may take without any change; they may have to build loom first.
const FIRST_LIMIT: Duration = Duration::from_secs(1800);

/// The copy and how it is tested.
pub struct Trial {
    folder: PathBuf,
    copy: PathBuf,
    whole: bool,
    /// Held as long as the trial lives: two of them would break each other's copy.
    _lock: File,
}

/// A test that was run.
struct Ran {
    test: String,
    verdict: Result<Verdict, Late>,
}

/// It was not done in time.
struct Late;

impl Trial {
    /// A fresh copy. With `whole`, all tests of a target are run and not only those that a mutant names.
    pub fn prepare(whole: bool) -> Result<Self, String> {
        let root = isochron_mutants::root();
        let folder = root.join("target/mutants");
        let copy = folder.join("tree");
        let lock = fs::create_dir_all(&folder)
            .and_then(|()| File::create(folder.join("lock")))
            .map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        lock.try_lock().map_err(|_| "another run of this tool is going on".to_owned())?;
        tree::bring_up_to_date(&root, &copy).map_err(|error| format!("runtime/core cannot be copied: {error}"))?;
        Ok(Self { folder, copy, whole, _lock: lock })
    }

    /// An error that names `mutant` if the source has no longer, or twice, what it changes.
    pub fn fits(&self, mutant: &Mutant) -> Result<(), String> {
        let (_, text) = self.source(mutant)?;
        mutated(mutant, &text).map(drop)
    }

    /// Runs what the mutants name without any of them: it must pass.
    pub fn unmutated(&self, mutants: &[&Mutant]) -> Result<(), String> {
        let tests: BTreeSet<Test> = mutants.iter().flat_map(|mutant| mutant.tests).copied().collect();
        let tests: Vec<Test> = tests.into_iter().collect();
        let ran = self.run(&tests, Instant::now() + FIRST_LIMIT)?.map_err(|error| format!("no build:\n{error}"))?;
        for Ran { test, verdict } in ran {
            match verdict {
                Ok(Verdict::Passed) => {}
                Ok(Verdict::Failed) => return Err(format!("{test} fails without any mutant")),
                Ok(Verdict::NotRun) => return Err(format!("there is no test {test}")),
                Err(Late) => return Err(format!("{test} takes too long without any mutant")),
            }
        }
        Ok(())
    }

    /// Tries `mutant`, and puts the copy right again.
    pub fn judge(&self, mutant: &Mutant) -> Result<(Outcome, Duration), String> {
        let start = Instant::now();
        let (path, text) = self.source(mutant)?;
        let write = |text: &str| fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
        write(&mutated(mutant, &text)?)?;
        let ran = self.run(mutant.tests, start + LIMIT);
        write(&text)?;
        let outcome = match ran? {
            Ok(ran) => outcome(mutant, ran),
            Err(error) => Outcome::NotCompiled(error),
        };
        Ok((outcome, start.elapsed()))
    }

    fn source(&self, mutant: &Mutant) -> Result<(PathBuf, String), String> {
        let path = self.copy.join(tree::PACKAGE).join("src").join(mutant.file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {}: {error}", mutant.name(), mutant.file))?;
        Ok((path, text))
    }

    /// Builds the copy and runs `tests`, each in a process of its own. The inner error is the compiler's.
    fn run(&self, tests: &[Test], deadline: Instant) -> Result<Result<Vec<Ran>, String>, String> {
        let targets: BTreeSet<&str> = tests.iter().map(|test| test.target).collect();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build
            .current_dir(&self.copy)
            .args([
                "test",
                "--no-run",
                "--release",
                "--package",
                "isochron-core",
                "--message-format=json-render-diagnostics",
            ])
            .args(targets.iter().flat_map(|target| ["--test", target]))
            .env("RUSTFLAGS", "--cfg loom")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("CARGO_TARGET_DIR", self.folder.join("build"));
        let messages = match self.process(build, deadline)? {
            End::Exited { well: true, out, .. } => out,
            End::Exited { err, .. } => return Ok(Err(err)),
            End::TimedOut => return Err("the build takes too long".to_owned()),
        };
        let binaries = libtest::executables(&messages);
        let mut ran = Vec::new();
        for target in targets {
            let (_, binary) = binaries
                .iter()
                .find(|(name, _)| name == target)
                .ok_or_else(|| format!("Cargo built no test binary {target}"))?;
            let names = if self.whole {
                self.names(binary, deadline)?
            } else {
                tests.iter().filter(|test| test.target == target).map(|test| test.name.to_owned()).collect()
            };
            for test in names {
                let mut command = Command::new(binary);
                // More preemptions take hours and have found nothing that three do not.
                command.args(["--exact", &test]).env("LOOM_MAX_PREEMPTIONS", "3");
                let verdict = match self.process(command, deadline)? {
                    End::Exited { well, out, .. } => Ok(libtest::verdict(&out, &test, well)),
                    End::TimedOut => Err(Late),
                };
                ran.push(Ran { test, verdict });
            }
        }
        Ok(Ok(ran))
    }

    fn names(&self, binary: &Path, deadline: Instant) -> Result<Vec<String>, String> {
        let mut command = Command::new(binary);
        command.args(["--list", "--format", "terse"]);
        match self.process(command, deadline)? {
            End::Exited { well: true, out, .. } => Ok(libtest::names(&out).into_iter().map(str::to_owned).collect()),
            _ => Err(format!("{} does not list its tests", binary.display())),
        }
    }

    fn process(&self, command: Command, deadline: Instant) -> Result<End, String> {
        let program = command.get_program().display().to_string();
        process::run(command, &self.folder, deadline).map_err(|error| format!("{program} cannot be run: {error}"))
    }
}

/// The source with `mutant` in it, or an error that names it.
pub fn mutated(mutant: &Mutant, text: &str) -> Result<String, String> {
    replace_once(text, mutant.old, mutant.new).map_err(|misfit| format!("{}: {misfit}", mutant.name()))
}

/// Killed means: by every test that it names.
fn outcome(mutant: &Mutant, ran: Vec<Ran>) -> Outcome {
    let (mut by, mut missed) = (Vec::new(), Vec::new());
    for Ran { test, verdict } in ran {
        let named = mutant.tests.iter().any(|wanted| wanted.name == test);
        match verdict {
            Ok(Verdict::Failed) => by.push(test),
            Ok(_) if named => missed.push(test),
            Ok(_) => {}
            Err(Late) => return Outcome::TimedOut(test),
        }
    }
    if missed.is_empty() { Outcome::Killed { by } } else { Outcome::Survived { missed, by } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::mutant;

    const TESTS: &[Test] = &[Test { target: "loom_wake", name: "sleeps" }, Test { target: "loom_wake", name: "wakes" }];
    const MUTANT: Mutant = mutant("idle_set.rs", "no fence", "fence();", "", TESTS, "it sleeps for ever");

    fn judged(verdicts: [(&str, Verdict); 2]) -> Outcome {
        outcome(&MUTANT, verdicts.map(|(test, verdict)| Ran { test: test.to_owned(), verdict: Ok(verdict) }).into())
    }

    #[test]
    fn a_stale_mutant_is_named() {
        assert_eq!(mutated(&MUTANT, "store(); fence(); load();").unwrap(), "store();  load();");
        let problem = mutated(&MUTANT, "store(); load();").unwrap_err();
        assert!(problem.contains("idle_set.rs: no fence") && problem.contains("stale"), "{problem}");
        let problem = mutated(&MUTANT, "fence(); fence();").unwrap_err();
        assert!(problem.contains("idle_set.rs: no fence") && problem.contains("2 times"), "{problem}");
    }

    #[test]
    fn killed_means_by_every_test_that_is_named() {
        use Verdict::{Failed, Passed};
        let killed = judged([("sleeps", Failed), ("wakes", Failed)]);
        assert_eq!(killed, Outcome::Killed { by: vec!["sleeps".to_owned(), "wakes".to_owned()] });
        let survived = judged([("sleeps", Failed), ("wakes", Passed)]);
        assert_eq!(survived, Outcome::Survived { missed: vec!["wakes".to_owned()], by: vec!["sleeps".to_owned()] });
        let late = outcome(&MUTANT, vec![Ran { test: "sleeps".to_owned(), verdict: Err(Late) }]);
        assert_eq!(late, Outcome::TimedOut("sleeps".to_owned()));
    }
}
