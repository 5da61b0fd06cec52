//! [`Record`]: everything a guest can tell, in one type.

use crate::{Fixed, NEWLINE};

/// The most cells in one [`Record::Row`].
pub const MAX_CELLS: usize = 64;

/// How a test case ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should; the record's text says how.
    Failed,
    /// Not run here; the record's text says why.
    Ignored,
}

impl Outcome {
    /// The word on the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Ignored => "ignored",
        }
    }
}

/// One line's content. Names are snake_case ([`is_name`]; those of tests may be paths, [`is_path`]), other words hold
/// neither spaces nor control characters ([`is_word`]), text is free.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Record<'a> {
    /// The guest's program begins: sent once, before any result.
    Start {
        /// The version of the protocol, [`crate::SCHEMA`].
        schema: u32,
        /// The program.
        app: &'a str,
        /// The board, as the guest recognised it.
        machine: &'a str,
        /// `aarch64` or `x86_64`.
        arch: &'a str,
        /// CPUs that are up.
        cpus: u32,
        /// Ticks of the clock in a second.
        clock_hz: u64,
    },
    /// A measured distribution.
    Distribution {
        /// Which.
        name: &'a str,
        /// The unit of the figures.
        unit: &'a str,
        /// How many samples it was made of.
        samples: u64,
        /// The smallest sample.
        min: Fixed,
        /// The arithmetic mean.
        mean: Fixed,
        /// The median.
        p50: Fixed,
        /// 99 of 100 samples are no larger.
        p99: Fixed,
        /// 999 of 1000 samples are no larger.
        p999: Fixed,
        /// The largest sample.
        max: Fixed,
    },
    /// A single figure.
    Value {
        /// Which.
        name: &'a str,
        /// Its unit; `count` for a number of things.
        unit: &'a str,
        /// The figure.
        value: Fixed,
    },
    /// One non-empty bucket of a distribution's histogram, in the distribution's unit.
    Bucket {
        /// The distribution.
        name: &'a str,
        /// The smallest value that falls into the bucket.
        low: Fixed,
        /// The first value above it.
        high: Fixed,
        /// Samples inside.
        count: u64,
    },
    /// One row of a matrix.
    Row {
        /// The matrix.
        name: &'a str,
        /// The unit of the cells.
        unit: &'a str,
        /// The row's number, from 0.
        row: u32,
        /// The cells, at most [`MAX_CELLS`].
        cells: Cells<'a>,
    },
    /// A remark that belongs to the result of that name, for instance why it was skipped.
    Note {
        /// The result.
        name: &'a str,
        /// The remark.
        text: &'a str,
    },
    /// How far the guest is, for the person who waits.
    Progress {
        /// Steps behind it.
        done: u32,
        /// Steps in all.
        total: u32,
        /// What it does now.
        text: &'a str,
    },
    /// So many test cases will run.
    TestPlan {
        /// Their number.
        count: u32,
    },
    /// A test case begins.
    TestBegin {
        /// The case.
        name: &'a str,
    },
    /// A test case ended.
    TestEnd {
        /// The case.
        name: &'a str,
        /// How.
        outcome: Outcome,
        /// Why, unless it passed.
        text: &'a str,
    },
    /// A call path that belongs to the result of that name; [`Record::Frame`] lines follow, innermost first.
    Path {
        /// The result.
        name: &'a str,
        /// What happened there.
        text: &'a str,
    },
    /// A panic, from [`crate::encode_panic`]; [`Record::Register`] and [`Record::Frame`] lines follow.
    Panic {
        /// The CPU it happened on.
        cpu: u32,
        /// The thread it happened in; no newline inside.
        thread: &'a str,
        /// The message, with its place in the source.
        text: &'a str,
    },
    /// A thread has died and the others go on, from [`crate::encode_death`]; lines as after a panic follow, and
    /// [`Record::Buried`] after the last of them.
    Death {
        /// The CPU it happened on.
        cpu: u32,
        /// The thread it happened in; no newline inside.
        thread: &'a str,
        /// The message, with its place in the source.
        text: &'a str,
    },
    /// All is said about the thread that has died.
    Buried,
    /// A register at the panic.
    Register {
        /// Its name, as the architecture's manual has it, in small letters.
        name: &'a str,
        /// Its value.
        value: u64,
    },
    /// A return address: of the panicking thread's stack, or of a call path; innermost first.
    Frame {
        /// The address.
        pc: u64,
    },
    /// The last record: the guest ends with this code.
    Exit {
        /// The code, see [`crate::exit`].
        code: u8,
    },
}

/// The cells of a [`Record::Row`]: a slice where it is made, the line's own text where it was received.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a>(pub(crate) Source<'a>);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Slice(&'a [Fixed]),
    Line(&'a str),
}

impl<'a> Cells<'a> {
    /// Cells to send.
    #[must_use]
    pub const fn new(cells: &'a [Fixed]) -> Self {
        Self(Source::Slice(cells))
    }

    /// The cells in order; a received row was checked when it was parsed.
    #[must_use]
    pub fn iter(self) -> CellsIter<'a> {
        CellsIter(self.0)
    }
}

impl<'a> IntoIterator for Cells<'a> {
    type Item = Fixed;
    type IntoIter = CellsIter<'a>;
    fn into_iter(self) -> CellsIter<'a> {
        self.iter()
    }
}

impl PartialEq for Cells<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The iterator over [`Cells`].
#[derive(Clone, Debug)]
pub struct CellsIter<'a>(Source<'a>);

impl Iterator for CellsIter<'_> {
    type Item = Fixed;
    fn next(&mut self) -> Option<Fixed> {
        match &mut self.0 {
            Source::Slice(cells) => {
                let (first, rest) = cells.split_first()?;
                *cells = rest;
                Some(*first)
            }
            Source::Line("") => None,
            Source::Line(line) => {
                let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
                *line = rest;
                Fixed::parse(first)
            }
        }
    }
}

/// Whether `name` is snake_case: small ASCII letters, digits and underscores, a letter first.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether `name` is one or more snake_case names with `::` between.
#[must_use]
pub fn is_path(name: &str) -> bool {
    name.split("::").all(is_name)
}

/// Whether `word` is not empty and holds neither spaces nor control characters.
#[must_use]
pub fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b > b' ' && b != 0x7f)
}

/// The lines of a record's free text.
///
/// ```
/// assert!(isochron_wire::text_lines("a\x1fb").eq(["a", "b"]));
/// ```
pub fn text_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split([NEWLINE, '\n'])
}
