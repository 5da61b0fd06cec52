//! The guest's side: records to lines.
//!
//! All goes through one `dyn` writer and hand-made numbers, so that a guest that sends one kind of record links little
//! more than the loop that prints digits.

use crate::fixed::MAX_PRINTED;
use crate::{CHECKSUM_START, Fixed, MARK, NEWLINE, Record, checksum_step, is_name, is_path, is_word};
use core::fmt::{self, Write};

impl Record<'_> {
    /// Writes the record's whole line, newline included, in several pieces.
    ///
    /// A console that several CPUs print on should be held for the whole of it. Control characters in free text are
    /// replaced by `?`, tabs by spaces.
    ///
    /// # Errors
    /// What `out` returns, or [`fmt::Error`] before anything is written if a name or word breaks its rule or a row has
    /// more than [`crate::MAX_CELLS`] cells.
    pub fn encode(&self, out: &mut impl Write) -> fmt::Result {
        self.encode_dyn(out)
    }

    fn encode_dyn(&self, out: &mut dyn Write) -> fmt::Result {
        if !self.is_valid() {
            return Err(fmt::Error);
        }
        let mut line = Line::begin(out)?;
        match *self {
            Self::Start { schema, app, machine, arch, cpus, clock_hz } => {
                line.kind("start")?.number(schema.into())?.word(app)?.word(machine)?.word(arch)?;
                line.number(cpus.into())?.number(clock_hz)?;
            }
            Self::Distribution { name, unit, samples, min, mean, p50, p99, p999, max } => {
                line.kind("dist")?.word(name)?.word(unit)?.number(samples)?;
                for fixed in [min, mean, p50, p99, p999, max] {
                    line.fixed(fixed)?;
                }
            }
            Self::Value { name, unit, value } => {
                line.kind("value")?.word(name)?.word(unit)?.fixed(value)?;
            }
            Self::Bucket { name, low, high, count } => {
                line.kind("bucket")?.word(name)?.fixed(low)?.fixed(high)?.number(count)?;
            }
            Self::Row { name, unit, row, cells } => {
                line.kind("row")?.word(name)?.word(unit)?.number(row.into())?;
                for cell in cells {
                    line.fixed(cell)?;
                }
            }
            Self::Note { name, text } => {
                line.kind("note")?.word(name)?.text(text)?;
            }
            Self::Path { name, text } => {
                line.kind("path")?.word(name)?.text(text)?;
            }
            Self::Progress { done, total, text } => {
                line.kind("progress")?.number(done.into())?.number(total.into())?.text(text)?;
            }
            Self::TestPlan { count } => {
                line.kind("plan")?.number(count.into())?;
            }
            Self::TestBegin { name } => {
                line.kind("begin")?.word(name)?;
            }
            Self::TestEnd { name, outcome, text } => {
                line.kind("end")?.word(name)?.word(outcome.as_str())?.text(text)?;
            }
            Self::Panic { cpu, thread, text } => {
                line.kind("panic")?.number(cpu.into())?.text(thread)?.separator()?.text(text)?;
            }
            Self::Death { cpu, thread, text } => {
                line.kind("death")?.number(cpu.into())?.text(thread)?.separator()?.text(text)?;
            }
            Self::Buried => {
                line.kind("buried")?;
            }
            Self::Register { name, value } => {
                line.kind("register")?.word(name)?.address(value)?;
            }
            Self::Frame { pc } => {
                line.kind("frame")?.address(pc)?;
            }
            Self::Exit { code } => {
                line.kind("exit")?.number(code.into())?;
            }
        }
        line.finish()
    }

    fn is_valid(&self) -> bool {
        match *self {
            Self::Start { app, machine, arch, .. } => is_word(app) && is_word(machine) && is_word(arch),
            Self::Distribution { name, unit, .. } | Self::Value { name, unit, .. } => is_name(name) && is_word(unit),
            Self::Row { name, unit, cells, .. } => {
                is_name(name) && is_word(unit) && cells.iter().count() <= crate::MAX_CELLS
            }
            Self::Bucket { name, .. }
            | Self::Note { name, .. }
            | Self::Path { name, .. }
            | Self::Register { name, .. } => is_name(name),
            Self::TestBegin { name } | Self::TestEnd { name, .. } => is_path(name),
            _ => true,
        }
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.encode(f)
    }
}

/// Writes the line of a [`Record::Panic`] whose message is not yet a string: the panic path needs no buffer.
///
/// # Errors
/// What `out` or the message's own formatting returns.
pub fn encode_panic(out: &mut dyn Write, cpu: u32, thread: &str, message: fmt::Arguments<'_>) -> fmt::Result {
    encode_end(out, "panic", cpu, thread, message)
}

/// As [`encode_panic`], for [`Record::Death`].
///
/// # Errors
/// As [`encode_panic`].
pub fn encode_death(out: &mut dyn Write, cpu: u32, thread: &str, message: fmt::Arguments<'_>) -> fmt::Result {
    encode_end(out, "death", cpu, thread, message)
}

fn encode_end(out: &mut dyn Write, kind: &str, cpu: u32, thread: &str, message: fmt::Arguments<'_>) -> fmt::Result {
    let mut line = Line::begin(out)?;
    line.kind(kind)?.number(cpu.into())?.text(thread)?.separator()?.text("")?;
    Text(&mut line).write_fmt(message)?;
    line.finish()
}

/// Writes the line of a [`Record::Note`] whose text is not yet a string.
///
/// # Errors
/// What `out` or the text's own formatting returns, or [`fmt::Error`] if `name` is no name.
pub fn encode_note(out: &mut dyn Write, name: &str, text: fmt::Arguments<'_>) -> fmt::Result {
    if !is_name(name) {
        return Err(fmt::Error);
    }
    let mut line = Line::begin(out)?;
    line.kind("note")?.word(name)?.text("")?;
    Text(&mut line).write_fmt(text)?;
    line.finish()
}

/// A line in the making, with the checksum of what is on it so far.
struct Line<'w> {
    out: &'w mut dyn Write,
    sum: u32,
}

impl<'w> Line<'w> {
    fn begin(out: &'w mut dyn Write) -> Result<Self, fmt::Error> {
        out.write_char(MARK)?;
        Ok(Self { out, sum: CHECKSUM_START })
    }

    fn raw(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.sum = checksum_step(self.sum, byte);
        }
        self.out.write_str(text)
    }

    fn kind(&mut self, kind: &str) -> Result<&mut Self, fmt::Error> {
        self.raw(kind)?;
        Ok(self)
    }

    fn word(&mut self, word: &str) -> Result<&mut Self, fmt::Error> {
        self.raw(" ")?;
        self.raw(word)?;
        Ok(self)
    }

    fn number(&mut self, mut value: u64) -> Result<&mut Self, fmt::Error> {
        let mut buffer = [0; 20];
        let mut at = buffer.len();
        loop {
            at -= 1;
            buffer[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.word(core::str::from_utf8(&buffer[at..]).unwrap_or(""))
    }

    /// An address or register: sixteen hexadecimal digits.
    fn address(&mut self, value: u64) -> Result<&mut Self, fmt::Error> {
        let mut buffer = [0; 16];
        hex(value, &mut buffer);
        self.raw(" 0x")?;
        self.raw(core::str::from_utf8(&buffer).unwrap_or(""))?;
        Ok(self)
    }

    fn fixed(&mut self, value: Fixed) -> Result<&mut Self, fmt::Error> {
        self.word(value.print(&mut [0; MAX_PRINTED]))
    }

    /// Free text, after the space that parts it from what came before.
    fn text(&mut self, text: &str) -> Result<&mut Self, fmt::Error> {
        self.raw(" ")?;
        Text(self).write_str(text)?;
        Ok(self)
    }

    /// The end of a text that is not the last field.
    fn separator(&mut self) -> Result<&mut Self, fmt::Error> {
        self.raw("\x1f")?;
        Ok(self)
    }

    fn finish(self) -> fmt::Result {
        let mut buffer = *b" *00000000\n";
        hex(u64::from(self.sum), &mut buffer[2..10]);
        self.out.write_str(core::str::from_utf8(&buffer).unwrap_or("\n"))
    }
}

/// Free text on its way onto a line: newlines become [`NEWLINE`], what else a console would obey is taken out.
struct Text<'l, 'w>(&'l mut Line<'w>);

impl Write for Text<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|b| b < b' ' || b == 0x7f) {
            // A byte below 0x80 is a character of its own in UTF-8, so both cuts are on boundaries.
            self.0.raw(&rest[..at])?;
            self.0.raw(match rest.as_bytes()[at] {
                b'\n' => const { NEWLINE_STR },
                b'\t' => " ",
                _ => "?",
            })?;
            rest = &rest[at + 1..];
        }
        self.0.raw(rest)
    }
}

const NEWLINE_STR: &str = {
    assert!(NEWLINE == '\x1f');
    "\x1f"
};

/// The last digits of `value`, as many as `digits` is long.
fn hex(mut value: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}
