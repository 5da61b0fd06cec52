//! From what a kernel told, and how it ended, to tests that passed or failed.

use super::directives::Expect;
use super::select::Planned;
use crate::backtrace::Panic;
use crate::error::Error;
use crate::verdict;
use crate::watch::Watched;
use isochron_wire::{Outcome as CaseOutcome, ParseError, Record, text_lines};
use std::collections::BTreeMap;

/// What a kernel told about its cases.
#[derive(Debug, Default)]
pub struct Told {
    /// The number it announced.
    pub planned: Option<u32>,
    /// Name, and how it ended if it did.
    pub cases: Vec<(String, Option<(CaseOutcome, String)>)>,
    /// The first panic.
    pub panic: Option<Panic>,
    /// Threads that died alone: the first of them.
    pub deaths: Vec<Panic>,
    /// One about which not all is said.
    dying: Option<Panic>,
    /// The CPUs it said were up when it began.
    pub cpus: Option<u32>,
    /// The code it said it ends with.
    pub exit: Option<u8>,
    /// The first record that could not be read.
    pub damage: Option<String>,
    /// What was printed since the last case began: the last [`KEPT`] bytes.
    output: Vec<u8>,
    /// What was printed during each case that failed.
    failed_output: BTreeMap<String, String>,
}

/// Bytes of a case's output that are kept.
const KEPT: usize = 8 << 10;

/// Deaths that are kept.
const MAX_DEATHS: usize = 16;

impl Told {
    /// A case begins.
    pub fn begin(&mut self, name: &str) {
        self.cases.push((name.to_owned(), None));
        self.output.clear();
    }

    /// A record that may belong to the end of the guest, or of one of its threads.
    pub fn take_end(&mut self, record: &Record<'_>) {
        Panic::take(&mut self.panic, record);
        let death = Panic::take_death(&mut self.dying, record);
        self.deaths.extend(death.filter(|_| self.deaths.len() < MAX_DEATHS));
    }

    /// Ordinary output.
    pub fn text(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        let over = self.output.len().saturating_sub(KEPT);
        self.output.drain(..over);
    }

    /// A case ends.
    pub fn end(&mut self, name: &str, outcome: CaseOutcome, text: &str) {
        let text = text_lines(text).collect::<Vec<_>>().join("\n");
        if outcome == CaseOutcome::Failed {
            self.failed_output.insert(name.to_owned(), String::from_utf8_lossy(&self.output).into_owned());
        }
        match self.cases.iter_mut().find(|(n, end)| n == name && end.is_none()) {
            Some((_, end)) => *end = Some((outcome, text)),
            None => self.cases.push((name.to_owned(), Some((outcome, text)))),
        }
    }

    /// A line that was meant to be a record.
    pub fn damaged(&mut self, line: &str, why: ParseError) {
        self.damage.get_or_insert_with(|| format!("{why}: {line}"));
    }
}

/// One test for the harness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its whole name.
    pub name: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// Whether it was not run.
    pub ignored: bool,
}

/// A run's tests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The run.
    pub id: String,
    /// Its tests.
    pub cases: Vec<Case>,
    /// How long it took.
    pub seconds: f64,
    /// Boots.
    pub turns: u32,
}

impl Outcome {
    /// A run that could not take place.
    #[must_use]
    pub fn broken(id: &str, why: &str) -> Self {
        let case = Case { name: id.to_owned(), failure: Some(why.to_owned()), ignored: false };
        Self { id: id.to_owned(), cases: vec![case], ..Self::default() }
    }

    /// A run that this system cannot make.
    #[must_use]
    pub fn left_out(id: &str) -> Self {
        let case = Case { name: id.to_owned(), failure: None, ignored: true };
        Self { id: id.to_owned(), cases: vec![case], ..Self::default() }
    }

    /// Whether any test failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.cases.iter().any(|c| c.failure.is_some())
    }
}

/// Judges a run that is over.
#[must_use]
pub fn judge(planned: &Planned, told: &Told, watched: &Watched, backtrace: Option<&str>, typed: &str) -> Outcome {
    let request = &planned.request;
    let code = verdict::code(watched, request.machine, told.exit, request.timeout, &request.again);
    let whole = whole_run(&planned.expect, told, &code)
        .or_else(|| too_few_cpus(planned, told))
        .or_else(|| unsaid(&planned.says, &watched.tail, backtrace));
    let runner = if request.machine.is_hosted() { "run:  " } else { "QEMU: " };
    let commands = format!("again: {}\n{runner} {typed}", request.again);
    let rest = || {
        let backtrace = backtrace.map_or(String::new(), |b| format!("\n{b}"));
        format!("{backtrace}\nthe last of the guest's output:\n{}{commands}", last_lines(&watched.tail))
    };
    let mut cases: Vec<Case> = Vec::new();
    for (name, end) in &told.cases {
        let failure = match end {
            Some((CaseOutcome::Failed, text)) => {
                let printed = told.failed_output.get(name).map(|t| last_lines(t)).filter(|t| !t.is_empty());
                let printed = printed.map_or(String::new(), |t| format!("what it printed:\n{t}"));
                Some(format!("{text}\n{printed}{commands}"))
            }
            None if planned.expect == Expect::Pass => {
                let how = whole.clone().unwrap_or_else(|| "the guest ended".into());
                Some(format!("the case began and never ended: {how}{}", rest()))
            }
            _ => None,
        };
        let ignored = matches!(end, Some((CaseOutcome::Ignored, _)));
        cases.push(Case { name: format!("{}::{name}", planned.id), failure, ignored });
    }
    // The run itself is a test where nothing else would show how it ended.
    let explained = cases.iter().any(|c| c.failure.is_some());
    if cases.is_empty() || !planned.says.is_empty() || planned.expect != Expect::Pass || (whole.is_some() && !explained)
    {
        let failure = whole.map(|why| format!("{why}{}", rest()));
        cases.push(Case { name: planned.id.clone(), failure, ignored: false });
    }
    Outcome { id: planned.id.clone(), cases, seconds: watched.time.as_secs_f64(), turns: 1 }
}

/// The end of a text, indented.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].iter().map(|line| format!("  {line}\n")).collect()
}

/// Fewer CPUs than it was given, or more.
fn too_few_cpus(planned: &Planned, told: &Told) -> Option<String> {
    let given = planned.cores.unwrap_or(planned.request.cpus).min(planned.request.cpus);
    let up = told.cpus.filter(|up| *up != given)?;
    Some(format!("{up} CPUs were up, of {given}"))
}

/// What it should have said and did not.
fn unsaid(says: &[String], output: &str, panic: Option<&str>) -> Option<String> {
    let missing = says.iter().find(|text| !output.contains(*text) && !panic.is_some_and(|p| p.contains(*text)))?;
    Some(format!("it did not say '{missing}'"))
}

/// What is wrong with the run as a whole, if anything.
fn whole_run(expect: &Expect, told: &Told, code: &Result<u8, Error>) -> Option<String> {
    let panic = told.panic.as_ref().map(|p| p.text.as_str());
    match (expect, code) {
        (Expect::Timeout, Err(Error::TimedOut { .. })) => None,
        (Expect::Flood, Err(Error::Flood(_))) => None,
        (Expect::Flood, Ok(code)) => Some(format!("it should have printed without end, and ended with code {code}")),
        (Expect::Timeout, Ok(code)) => Some(format!("it should have gone on, and ended with code {code}")),
        (Expect::Panic(text), Ok(isochron_wire::exit::PANIC)) => match panic {
            Some(message) if message.contains(text.as_str()) => None,
            Some(message) => Some(format!("it panicked with '{message}', not with '{text}'")),
            None => Some("it ended as after a panic, but told of none".into()),
        },
        (Expect::Panic(_), Ok(code)) => Some(format!("it should have panicked, and ended with code {code}")),
        (Expect::Death(text), Ok(0)) if told.deaths.iter().any(|death| death.text.contains(text.as_str())) => {
            incomplete(told)
        }
        (Expect::Death(text), Ok(0)) => {
            let told: Vec<&str> = told.deaths.iter().map(|death| death.text.as_str()).collect();
            Some(format!("no thread died of '{text}', but of {told:?}"))
        }
        (Expect::Exit(want), Ok(code)) if want == code => None,
        (Expect::Exit(want), Ok(code)) => Some(format!("it should have ended with code {want}, not {code}")),
        (Expect::Pass, Ok(0)) => incomplete(told),
        (Expect::Pass | Expect::Death(_), Ok(code)) => Some(match panic {
            Some(message) => format!("it panicked: {message}"),
            None => format!("it ended with code {code}"),
        }),
        (_, Err(error)) => Some(error.to_string()),
    }
}

/// Cases that were planned and never began, or records that were lost.
fn incomplete(told: &Told) -> Option<String> {
    let begun = told.cases.len();
    match told.planned {
        Some(count) if count as usize != begun => Some(match &told.damage {
            Some(damage) => {
                format!("{count} cases were planned and {begun} were told of; a record was damaged ({damage})")
            }
            None => format!("{count} cases were planned and {begun} were run"),
        }),
        None if begun > 0 => Some("cases were run without a plan".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::select::tests_support::planned;
    use crate::watch::Ending;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    fn watched(code: i32) -> Watched {
        let ending = Ending::Exited(ExitStatus::from_raw(code << 8));
        Watched { ending, tail: "last words\n".into(), said: String::new(), time: Duration::from_secs(1) }
    }

    fn told(planned: u32, exit: u8, cases: &[(&str, Option<CaseOutcome>)]) -> Told {
        let mut told = Told { planned: Some(planned), exit: Some(exit), ..Told::default() };
        for (name, end) in cases {
            told.begin(name);
            told.text(b"said by ");
            told.text(name.as_bytes());
            if let Some(outcome) = end {
                told.end(name, *outcome, "why");
            }
        }
        told
    }

    fn run(directives: &str, told: &Told, watched: &Watched) -> Vec<Case> {
        judge(&planned(directives), told, watched, None, "qemu").cases
    }

    use CaseOutcome::{Failed, Ignored, Passed};

    #[test]
    fn cases_become_tests() {
        let told = told(3, 0, &[("a", Some(Passed)), ("b", Some(Ignored)), ("m::c", Some(Passed))]);
        let cases = run("", &told, &watched(0));
        assert_eq!(cases.len(), 3);
        assert_eq!(cases[0].name, "virt-aarch64/cpus4/hello::a");
        assert!(cases[1].ignored && cases.iter().all(|c| c.failure.is_none()));
    }

    #[test]
    fn failures_come_with_the_guests_words_and_the_command() {
        let cases = run("", &told(2, 1, &[("a", Some(Passed)), ("b", Some(Failed))]), &watched(1));
        assert_eq!(cases.len(), 2);
        let text = cases[1].failure.as_ref().unwrap();
        assert!(
            text.starts_with("why\nwhat it printed:\n  said by b\n") && text.contains("cargo run -- run hello"),
            "{text}"
        );
    }

    #[test]
    fn what_never_ended_or_never_began_has_failed() {
        let mut cut = told(2, 0, &[("a", None)]);
        cut.exit = None;
        let timed_out = Watched { ending: Ending::TimedOut, ..watched(0) };
        let cases = run("", &cut, &timed_out);
        assert_eq!(cases.len(), 1);
        assert!(cases[0].failure.as_ref().unwrap().contains("never ended: no end after 120 s"));
        let cases = run("", &told(2, 0, &[("a", Some(Passed))]), &watched(0));
        assert!(cases[1].failure.as_ref().unwrap().contains("2 cases were planned and 1 were run"));
        assert!(run("", &told(1, 3, &[("a", Some(Passed))]), &watched(3))[1].failure.is_some());
    }

    #[test]
    fn what_must_be_said_and_how_many_must_be_up() {
        let mut told = told(1, 0, &[("works", Some(CaseOutcome::Passed))]);
        let watched = |tail: &str| Watched { tail: tail.into(), ..watched(0) };
        let failures = |told: &Told, tail: &str| {
            let cases = run("//@ machines: virt\n//@ cpus: 2\n//@ says: two words", told, &watched(tail));
            cases.into_iter().filter_map(|c| c.failure).collect::<Vec<_>>()
        };
        assert!(failures(&told, "a line\nwith two words in it").is_empty());
        assert!(failures(&told, "two\nwords")[0].contains("did not say 'two words'"));
        told.cpus = Some(1);
        assert!(failures(&told, "two words")[0].contains("1 CPUs were up, of 2"));
        told.cpus = Some(2);
        assert!(failures(&told, "two words").is_empty());
    }

    #[test]
    fn expected_endings() {
        let silent = |exit| Told { exit: Some(exit), ..Told::default() };
        let mut panicked = silent(101);
        panicked.panic = Some(Panic { text: "stack overflow in t".into(), ..Panic::default() });
        let failed = |d: &str, t: &Told, w: &Watched| run(d, t, w)[0].failure.is_some();
        let mut died = silent(0);
        died.deaths.push(Panic { text: "stack overflow in t".into(), ..Panic::default() });
        assert!(!failed("//@ expect: death \"overflow\"", &died, &watched(0)));
        assert!(failed("//@ expect: death \"deadlock\"", &died, &watched(0)));
        assert!(failed("//@ expect: death \"overflow\"", &silent(0), &watched(0)));
        died.exit = Some(1);
        assert!(failed("//@ expect: death \"overflow\"", &died, &watched(1)));
        assert!(!failed("//@ expect: panic \"overflow\"", &panicked, &watched(101)));
        assert!(failed("//@ expect: panic \"deadlock\"", &panicked, &watched(101)));
        assert!(failed("//@ expect: panic \"overflow\"", &silent(0), &watched(0)));
        assert!(failed("", &panicked, &watched(101)));
        assert!(!failed("//@ expect: exit 7", &silent(7), &watched(7)));
        assert!(failed("//@ expect: exit 7", &silent(0), &watched(0)));
        let timed_out = Watched { ending: Ending::TimedOut, ..watched(0) };
        assert!(!failed("//@ expect: timeout", &Told::default(), &timed_out));
        assert!(failed("//@ expect: timeout", &silent(0), &watched(0)));
        assert!(!failed("", &silent(0), &watched(0)));
    }
}
