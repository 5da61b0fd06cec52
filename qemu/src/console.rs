//! A guest's console where somebody else has the terminal: read to its end, and what was said last.

use crate::stream::{Event, Stream};
use isochron_wire::{Record, text_lines};
use std::io::Read;

/// Reads a console to its end, and hands on what is in it.
pub fn follow(mut console: impl Read, on: &mut dyn FnMut(Event<'_>)) {
    let (mut stream, mut buffer) = (Stream::default(), vec![0; 4096]);
    while let Ok(count) = console.read(&mut buffer) {
        if count == 0 || stream.push(&buffer[..count], on).is_err() {
            break;
        }
    }
    stream.finish(on);
}

/// What a death or a panic says, in one line.
#[must_use]
pub fn obituary(record: &Record<'_>) -> Option<String> {
    match record {
        Record::Panic { cpu, thread, text } | Record::Death { cpu, thread, text } => {
            let text = text_lines(text).collect::<Vec<_>>().join(" ");
            Some(format!("thread '{thread}' on CPU {cpu}: {text}"))
        }
        _ => None,
    }
}

/// The last that a guest has said.
#[derive(Debug, Default)]
pub struct Said {
    /// The last line that is not empty, whole or not.
    pub last: String,
    /// The code that it ends with.
    pub exit: Option<u8>,
    line: String,
}

/// The longest line that is kept.
const LINE: usize = 400;

impl Said {
    /// Takes in the next of the console.
    pub fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(bytes) => {
                for c in String::from_utf8_lossy(bytes).chars() {
                    if c == '\n' {
                        self.line.clear();
                    } else if !c.is_control() && self.line.len() < LINE {
                        self.line.push(c);
                        self.last.clone_from(&self.line);
                    }
                }
            }
            Event::Record(Record::Exit { code }) => self.exit = Some(*code),
            Event::Record(record) => self.last = obituary(record).unwrap_or(std::mem::take(&mut self.last)),
            Event::Damaged(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_and_the_code_are_kept() {
        let mut said = Said::default();
        let text = format!("one\ntwo\x1b\n\n{}{}", Record::Exit { code: 3 }, "");
        follow(text.as_bytes(), &mut |event| said.take(&event));
        assert_eq!((said.last.as_str(), said.exit), ("two", Some(3)));
        let death = Record::Death { cpu: 1, thread: "a", text: "oh" }.to_string();
        follow(death.as_bytes(), &mut |event| said.take(&event));
        assert_eq!(said.last, "thread 'a' on CPU 1: oh");
    }
}
