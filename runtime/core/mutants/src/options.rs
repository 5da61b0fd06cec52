//! The command line.

use crate::table::Mutant;

/// What is printed for `--help`, and after a mistake.
pub const USAGE: &str = "\
usage: cargo run -p isochron-mutants -- [--list | --markdown] [--quick] [--whole] [FILTER]
  FILTER      only mutants whose file, change or tests contain this
  --quick     only the ten most telling
  --whole     run all tests of the targets that a mutant names, and show every one that fails
  --list      show the mutants and run nothing
  --markdown  show them as docs/memory-ordering.md does, and run nothing";

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Help,
    List,
    Markdown,
    Run,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub mode: Mode,
    pub quick: bool,
    pub whole: bool,
    pub filter: Option<String>,
}

impl Options {
    /// Whether `mutant` is meant.
    pub fn chooses(&self, mutant: &Mutant) -> bool {
        let matches = |word: &String| {
            mutant.name().contains(word.as_str()) || mutant.tests.iter().any(|test| test.name.contains(word.as_str()))
        };
        (!self.quick || mutant.quick) && self.filter.as_ref().is_none_or(matches)
    }
}

/// The options in `arguments`, or one line that says what is wrong.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { mode: Mode::Run, quick: false, whole: false, filter: None };
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => options.mode = Mode::Help,
            "--list" => options.mode = Mode::List,
            "--markdown" => options.mode = Mode::Markdown,
            "--quick" => options.quick = true,
            "--whole" => options.whole = true,
            flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
            _ if options.filter.is_some() => return Err(format!("one filter only, not {argument:?} too")),
            _ => options.filter = Some(argument),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Options, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_and_mistakes() {
        let options = parse_line("--quick idle").unwrap();
        assert_eq!((options.mode, options.quick, options.filter.as_deref()), (Mode::Run, true, Some("idle")));
        assert_eq!(parse_line("--list").unwrap().mode, Mode::List);
        assert!(parse_line("--fast").unwrap_err().contains("--fast"));
        assert!(parse_line("one two").unwrap_err().contains("two"));
    }

    #[test]
    fn a_filter_looks_at_file_change_and_tests() {
        let chosen = |filter: &str| {
            let options = parse_line(filter).unwrap();
            crate::table::all().filter(|mutant| options.chooses(mutant)).count()
        };
        assert_eq!(chosen(""), crate::table::all().count());
        assert!(chosen("raw_mutex.rs") > 0 && chosen("raw_mutex.rs") < chosen(""));
        assert!(chosen("mutex_excludes_and_publishes") > 0);
        assert_eq!(chosen("no_such_thing"), 0);
        assert_eq!(chosen("--quick"), 10);
    }
}
