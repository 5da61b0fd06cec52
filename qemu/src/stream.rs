//! The guest's serial console, byte by byte: records are taken out, everything else passes through.

use isochron_wire::{MARK, ParseError, Record};
use std::collections::VecDeque;

/// What was found in the stream.
#[derive(Debug)]
pub enum Event<'a> {
    /// Ordinary output, as it came, without carriage returns.
    Text(&'a [u8]),
    /// A record.
    Record(Record<'a>),
    /// A line that was meant to be a record and is not one.
    Damaged(&'a str, ParseError),
}

/// A line longer than anyone can read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineTooLong;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 64 << 10;

/// Bytes kept for error reports.
pub const TAIL: usize = 64 << 10;

/// Splits the stream; holds one unfinished record line and the tail, nothing more.
#[derive(Debug, Default)]
pub struct Stream {
    record: Option<Vec<u8>>,
    line: usize,
    tail: VecDeque<u8>,
}

impl Stream {
    /// Takes the next bytes and reports what is complete. Ordinary output is reported at once, even half a line.
    ///
    /// # Errors
    /// [`LineTooLong`] if a line passes [`MAX_LINE`]; what came before it has been reported.
    pub fn push(&mut self, bytes: &[u8], on: &mut dyn FnMut(Event<'_>)) -> Result<(), LineTooLong> {
        self.keep(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = if self.record.is_some() { self.record_bytes(rest, on)? } else { self.text_bytes(rest, on)? };
        }
        Ok(())
    }

    /// The end of the stream: a record without its end is damaged.
    pub fn finish(&mut self, on: &mut dyn FnMut(Event<'_>)) {
        if let Some(record) = self.record.take() {
            report(&record, on);
        }
    }

    /// The last of what came, from the start of a line on, marks and checksums taken out.
    #[must_use]
    pub fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().filter(|b| !matches!(b, b'\r' | 0x1e)).collect();
        let text = String::from_utf8_lossy(&bytes);
        let whole = match text.split_once('\n') {
            Some((_, whole)) if self.tail.len() == TAIL => whole,
            _ => &text,
        };
        whole.split_inclusive('\n').map(without_checksum).collect()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        let over = (self.tail.len() + bytes.len()).saturating_sub(TAIL);
        self.tail.drain(..over);
        self.tail.extend(bytes);
    }

    fn text_bytes<'b>(&mut self, bytes: &'b [u8], on: &mut dyn FnMut(Event<'_>)) -> Result<&'b [u8], LineTooLong> {
        let end = bytes.iter().position(|b| *b == MARK as u8).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        for part in text.split(|b| *b == b'\r') {
            if !part.is_empty() {
                on(Event::Text(part));
            }
        }
        for line in text.split_inclusive(|b| *b == b'\n') {
            self.line = if line.ends_with(b"\n") { 0 } else { self.line + line.len() };
            if self.line.max(line.len()) > MAX_LINE {
                return Err(LineTooLong);
            }
        }
        if !rest.is_empty() {
            self.record = Some(Vec::new());
            self.line = 0;
        }
        Ok(rest)
    }

    fn record_bytes<'b>(&mut self, bytes: &'b [u8], on: &mut dyn FnMut(Event<'_>)) -> Result<&'b [u8], LineTooLong> {
        let Some(record) = &mut self.record else { return Ok(bytes) };
        // A second mark before the end of the line: another CPU's record cut this one short.
        let torn = |(at, b): (usize, &u8)| *b == b'\n' || (*b == MARK as u8 && (at > 0 || !record.is_empty()));
        let end = bytes.iter().enumerate().position(torn);
        let part = end.map_or(bytes, |end| &bytes[..end]);
        if record.len() + part.len() > MAX_LINE {
            return Err(LineTooLong);
        }
        record.extend_from_slice(part);
        let Some(end) = end else { return Ok(&[]) };
        let record = std::mem::take(record);
        report(&record, on);
        if bytes[end] == b'\n' {
            self.record = None;
            return Ok(&bytes[end + 1..]);
        }
        Ok(&bytes[end..])
    }
}

/// A record's line as people read it.
fn without_checksum(line: &str) -> String {
    let body = line.trim_end_matches('\n');
    match body.rsplit_once(" *") {
        Some((text, sum)) if sum.len() == 8 && sum.bytes().all(|b| b.is_ascii_hexdigit()) => {
            let text = text.trim_end().replace(isochron_wire::NEWLINE, "\n    ");
            format!("{text}{}", &line[body.len()..])
        }
        _ => line.to_owned(),
    }
}

fn report(line: &[u8], on: &mut dyn FnMut(Event<'_>)) {
    match std::str::from_utf8(line) {
        Ok(line) => match Record::parse(line) {
            Ok(record) => on(Event::Record(record)),
            Err(error) => on(Event::Damaged(line.trim_start_matches(MARK), error)),
        },
        Err(_) => on(Event::Damaged(&String::from_utf8_lossy(line), ParseError::WrongChecksum)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stream: &mut Stream, pieces: &[&[u8]]) -> Result<Vec<String>, LineTooLong> {
        let (mut text, mut found) = (String::new(), Vec::new());
        let mut result = Ok(());
        {
            let mut on = |event: Event<'_>| match event {
                Event::Text(t) => text.push_str(std::str::from_utf8(t).unwrap()),
                Event::Record(r) => found.push(r.to_string().trim_end().rsplit_once(" *").unwrap().0[1..].to_owned()),
                Event::Damaged(line, error) => found.push(format!("damaged {line}: {error}")),
            };
            for piece in pieces {
                result = result.and_then(|()| stream.push(piece, &mut on));
            }
            stream.finish(&mut on);
        }
        found.insert(0, text);
        result.map(|()| found)
    }

    #[test]
    fn records_are_taken_out_wherever_the_pieces_break() {
        let bytes = format!(
            "boot\r\nhalf a line{}more\r\n{}last",
            Record::Exit { code: 3 },
            Record::TestBegin { name: "a" }.to_string().replace('\n', "\r\n")
        );
        let want = ["boot\nhalf a linemore\nlast", "exit 3", "begin a"];
        for size in 1..bytes.len() {
            let pieces: Vec<&[u8]> = bytes.as_bytes().chunks(size).collect();
            assert_eq!(all(&mut Stream::default(), &pieces).unwrap(), want, "pieces of {size}");
        }
    }

    #[test]
    fn broken_records_do_not_hide_the_next() {
        let good = Record::Exit { code: 0 }.to_string();
        let found =
            all(&mut Stream::default(), &[b"\x1eexit 0 *123", good.as_bytes(), b"\x1e\xff\n\x1evalue"]).unwrap();
        assert_eq!(found.len(), 5);
        assert!(found[1].starts_with("damaged exit 0 *123: the line is cut"), "{found:?}");
        assert_eq!(found[2], "exit 0");
        assert!(found[3].starts_with("damaged") && found[4].starts_with("damaged value: "), "{found:?}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut stream = Stream::default();
        let line = [b"x".repeat(1000), b"\n".to_vec()].concat();
        for _ in 0..1000 {
            stream.push(&line, &mut |_| {}).unwrap();
        }
        assert!(stream.tail.len() <= TAIL && stream.tail.capacity() <= 4 * TAIL);
        assert!(stream.tail().starts_with('x') && stream.tail().ends_with("x\n"));
        let long = vec![b'y'; 30_000];
        assert_eq!(all(&mut stream, &[&long, &long, &long]), Err(LineTooLong));
        assert_eq!(all(&mut Stream::default(), &[b"\x1e", &long, &long, &long]), Err(LineTooLong));
    }
}
