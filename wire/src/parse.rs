//! The host's side: lines to records, without copying.

use crate::fixed::decimal;
use crate::record::Source;
use crate::{Cells, Fixed, MARK, MAX_CELLS, NEWLINE, Outcome, Record, checksum, is_name, is_path, is_word};
use core::fmt;

/// Why a line is not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// It does not start with [`MARK`]: ordinary output.
    NotARecord,
    /// It does not end with a checksum: cut short.
    NoChecksum,
    /// The checksum is of other bytes: damaged.
    WrongChecksum,
    /// A kind that this version does not know.
    UnknownKind,
    /// Fewer fields than the kind has.
    MissingField,
    /// More fields than the kind has.
    ExtraField,
    /// A field that should be a number of a certain range is not.
    BadNumber,
    /// A field that should be a name or word is not.
    BadName,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotARecord => "not a record",
            Self::NoChecksum => "the line is cut short: no checksum",
            Self::WrongChecksum => "the checksum does not fit the line",
            Self::UnknownKind => "unknown kind of record",
            Self::MissingField => "a field is missing",
            Self::ExtraField => "more fields than expected",
            Self::BadNumber => "a number is malformed or out of range",
            Self::BadName => "a name is malformed",
        })
    }
}

impl core::error::Error for ParseError {}

impl<'a> Record<'a> {
    /// Reads one line, with or without its `\n` or `\r\n`.
    ///
    /// # Errors
    /// [`ParseError::NotARecord`] for ordinary output; any other for a line that was meant to be a record and cannot be
    /// trusted.
    pub fn parse(line: &'a str) -> Result<Self, ParseError> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = line.strip_prefix(MARK).ok_or(ParseError::NotARecord)?;
        let (body, sum) = line.rsplit_once(" *").ok_or(ParseError::NoChecksum)?;
        if sum.len() != 8 || !sum.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(ParseError::NoChecksum);
        }
        if u32::from_str_radix(sum, 16) != Ok(checksum(body)) {
            return Err(ParseError::WrongChecksum);
        }
        let mut fields = Fields(Some(body));
        let record = fields.record()?;
        if fields.0.is_some() { Err(ParseError::ExtraField) } else { Ok(record) }
    }
}

/// What is left of a line: `None` once the last field is taken.
struct Fields<'a>(Option<&'a str>);

impl<'a> Fields<'a> {
    fn record(&mut self) -> Result<Record<'a>, ParseError> {
        Ok(match self.next()? {
            "start" => Record::Start {
                schema: self.small()?,
                app: self.word()?,
                machine: self.word()?,
                arch: self.word()?,
                cpus: self.small()?,
                clock_hz: self.number()?,
            },
            "dist" => Record::Distribution {
                name: self.name()?,
                unit: self.word()?,
                samples: self.number()?,
                min: self.fixed()?,
                mean: self.fixed()?,
                p50: self.fixed()?,
                p99: self.fixed()?,
                p999: self.fixed()?,
                max: self.fixed()?,
            },
            "value" => Record::Value { name: self.name()?, unit: self.word()?, value: self.fixed()? },
            "bucket" => {
                Record::Bucket { name: self.name()?, low: self.fixed()?, high: self.fixed()?, count: self.number()? }
            }
            "row" => Record::Row { name: self.name()?, unit: self.word()?, row: self.small()?, cells: self.cells()? },
            "note" => Record::Note { name: self.name()?, text: self.text() },
            "path" => Record::Path { name: self.name()?, text: self.text() },
            "progress" => Record::Progress { done: self.small()?, total: self.small()?, text: self.text() },
            "plan" => Record::TestPlan { count: self.small()? },
            "begin" => Record::TestBegin { name: self.path()? },
            "end" => Record::TestEnd { name: self.path()?, outcome: self.outcome()?, text: self.text() },
            "panic" => {
                let (cpu, thread, text) = self.end_of_thread()?;
                Record::Panic { cpu, thread, text }
            }
            "death" => {
                let (cpu, thread, text) = self.end_of_thread()?;
                Record::Death { cpu, thread, text }
            }
            "buried" => Record::Buried,
            "register" => Record::Register { name: self.name()?, value: self.address()? },
            "frame" => Record::Frame { pc: self.address()? },
            "exit" => Record::Exit { code: u8::try_from(self.number()?).map_err(|_| ParseError::BadNumber)? },
            _ => return Err(ParseError::UnknownKind),
        })
    }

    fn end_of_thread(&mut self) -> Result<(u32, &'a str, &'a str), ParseError> {
        let cpu = self.small()?;
        let (thread, text) = self.text().split_once(NEWLINE).ok_or(ParseError::MissingField)?;
        Ok((cpu, thread, text.strip_prefix(' ').ok_or(ParseError::MissingField)?))
    }

    fn next(&mut self) -> Result<&'a str, ParseError> {
        let rest = self.0.ok_or(ParseError::MissingField)?;
        let (field, rest) = rest.split_once(' ').map_or((rest, None), |(field, rest)| (field, Some(rest)));
        self.0 = rest;
        Ok(field)
    }

    fn text(&mut self) -> &'a str {
        self.0.take().unwrap_or("")
    }

    fn checked(&mut self, rule: fn(&str) -> bool) -> Result<&'a str, ParseError> {
        let field = self.next()?;
        if rule(field) { Ok(field) } else { Err(ParseError::BadName) }
    }

    fn name(&mut self) -> Result<&'a str, ParseError> {
        self.checked(is_name)
    }

    fn path(&mut self) -> Result<&'a str, ParseError> {
        self.checked(is_path)
    }

    fn word(&mut self) -> Result<&'a str, ParseError> {
        self.checked(is_word)
    }

    fn number(&mut self) -> Result<u64, ParseError> {
        decimal(self.next()?).ok_or(ParseError::BadNumber)
    }

    fn small(&mut self) -> Result<u32, ParseError> {
        u32::try_from(self.number()?).map_err(|_| ParseError::BadNumber)
    }

    fn fixed(&mut self) -> Result<Fixed, ParseError> {
        Fixed::parse(self.next()?).ok_or(ParseError::BadNumber)
    }

    fn address(&mut self) -> Result<u64, ParseError> {
        let digits = self.next()?.strip_prefix("0x").ok_or(ParseError::BadNumber)?;
        if digits.len() != 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseError::BadNumber);
        }
        u64::from_str_radix(digits, 16).map_err(|_| ParseError::BadNumber)
    }

    fn cells(&mut self) -> Result<Cells<'a>, ParseError> {
        let line = self.text();
        if !line.is_empty() {
            let mut count = 0;
            for cell in line.split(' ') {
                count += 1;
                if Fixed::parse(cell).is_none() || count > MAX_CELLS {
                    return Err(ParseError::BadNumber);
                }
            }
        }
        Ok(Cells(Source::Line(line)))
    }

    fn outcome(&mut self) -> Result<Outcome, ParseError> {
        match self.next()? {
            "passed" => Ok(Outcome::Passed),
            "failed" => Ok(Outcome::Failed),
            "ignored" => Ok(Outcome::Ignored),
            _ => Err(ParseError::BadName),
        }
    }
}
