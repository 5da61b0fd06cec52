//! What people see.

use crate::table::Mutant;
use std::fmt::{self, Write as _};

/// What became of a mutant.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every test that it names failed, and perhaps others.
    Killed { by: Vec<String> },
    /// Some test that it names passed.
    Survived { missed: Vec<String>, by: Vec<String> },
    /// It is no program.
    NotCompiled(String),
    /// This test did not end.
    TimedOut(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed { by } => write!(f, "killed by {}", by.join(", ")),
            Self::Survived { missed, by } if by.is_empty() => write!(f, "SURVIVED {}", missed.join(", ")),
            Self::Survived { missed, by } => {
                write!(f, "SURVIVED {} (killed by {})", missed.join(", "), by.join(", "))
            }
            Self::NotCompiled(error) => {
                let first = error.lines().find(|line| line.starts_with("error")).unwrap_or("error");
                write!(f, "DID NOT COMPILE: {first}")
            }
            Self::TimedOut(test) => write!(f, "TIMED OUT in {test}"),
        }
    }
}

/// The table at the end of a run.
pub fn results(results: &[(&Mutant, Outcome)]) -> String {
    let width = results.iter().map(|(mutant, _)| mutant.name().chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut killed = 0;
    for (mutant, outcome) in results {
        killed += usize::from(matches!(outcome, Outcome::Killed { .. }));
        let _ = writeln!(text, "{:width$}  {outcome}", mutant.name());
    }
    let _ = writeln!(text, "{killed} of {} mutants killed", results.len());
    text
}

/// All that is known about each mutant without running it.
pub fn list(mutants: &[&Mutant]) -> String {
    let mut text = String::new();
    for mutant in mutants {
        let quick = if mutant.quick { " [quick]" } else { "" };
        let _ = writeln!(text, "{}{quick}\n    {}", mutant.name(), mutant.why);
        for test in mutant.tests {
            let _ = writeln!(text, "    {}: {}", test.target, test.name);
        }
    }
    text
}

/// The rows of the table in `docs/memory-ordering.md`.
pub fn markdown(mutants: &[&Mutant]) -> String {
    mutants.iter().map(|mutant| format!("{}\n", row(mutant))).collect()
}

/// One of them.
pub fn row(mutant: &Mutant) -> String {
    let tests: Vec<String> = mutant.tests.iter().map(|test| format!("`{}`", test.name)).collect();
    format!("| `{}` | {} | {} | {} |", mutant.file, mutant.change, mutant.why, tests.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    #[test]
    fn results_are_counted_and_survivors_loud() {
        let mutant = table::all().next().unwrap();
        let killed = Outcome::Killed { by: vec!["one".to_owned()] };
        let survived = Outcome::Survived { missed: vec!["two".to_owned()], by: Vec::new() };
        let text = results(&[(mutant, killed), (mutant, survived)]);
        assert!(text.contains("killed by one") && text.contains("SURVIVED two"), "{text}");
        assert!(text.ends_with("1 of 2 mutants killed\n"), "{text}");
        let broken = Outcome::NotCompiled("warning: x\nerror[E0425]: no such name\n".to_owned());
        assert_eq!(broken.to_string(), "DID NOT COMPILE: error[E0425]: no such name");
    }

    #[test]
    fn the_document_lists_every_mutant_as_it_is() {
        let document = std::fs::read_to_string(isochron_mutants::root().join("docs/memory-ordering.md")).unwrap();
        let missing: Vec<String> =
            table::all().map(row).filter(|row| !document.lines().any(|line| line == row)).collect();
        assert!(missing.is_empty(), "not in docs/memory-ordering.md (see --markdown):\n{}", missing.join("\n"));
    }
}
