//! The kernel command line: `cores=2 log=info -- arguments of the program`.
//!
//! Keys stand before the first `--`, separated by blanks; the rest is the program's. Double quotes hold blanks
//! together. An unknown key is passed over and named (a Pi's firmware adds dozens of its own); a bad value of a known
//! key is an error that says what is allowed, because running with another setting than the one asked for would give
//! figures that mean something else.

use core::fmt;
use heapless::Vec;
use isochron_boot::layout::MAX_CPUS;

/// How much is logged.
pub use log::LevelFilter;

/// What the kernel takes from its command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine<'a> {
    /// `cores=`: how many CPUs to use at most.
    pub cores: usize,
    /// `log=`: the least important level that is printed.
    pub log: LevelFilter,
    /// `trace=`: for the runtime, which knows what it means.
    pub trace: Option<&'a str>,
    /// The program's arguments, unsplit: see [`split`].
    pub args: &'a str,
    /// Keys that mean nothing here.
    pub unknown: Vec<&'a str, 24>,
}

/// A known key with a value that is not allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadValue<'a> {
    /// The key.
    pub key: &'a str,
    /// Its value.
    pub value: &'a str,
    /// What would be allowed.
    pub allowed: &'static str,
}

impl fmt::Display for BadValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel command line: {}={} is not allowed; {}", self.key, self.value, self.allowed)
    }
}

impl<'a> CommandLine<'a> {
    /// Reads a command line.
    ///
    /// # Errors
    /// The first known key whose value is not allowed.
    pub fn parse(text: &'a str) -> Result<Self, BadValue<'a>> {
        let mut line = Self { cores: MAX_CPUS, log: LevelFilter::Warn, trace: None, args: "", unknown: Vec::new() };
        let mut words = split(text);
        while let Some(word) = words.next() {
            if word == "--" {
                line.args = words.rest();
                break;
            }
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "cores" => line.cores = cores(key, value)?,
                "log" => line.log = level(key, value)?,
                "trace" => line.trace = Some(value),
                _ => {
                    let _ = line.unknown.push(key);
                }
            }
        }
        Ok(line)
    }
}

fn cores<'a>(key: &'a str, value: &'a str) -> Result<usize, BadValue<'a>> {
    match value.parse() {
        _ if value == "all" => Ok(MAX_CPUS),
        Ok(count @ 1..=MAX_CPUS) => Ok(count),
        _ => Err(BadValue { key, value, allowed: "say `all` or a number from 1 to 64" }),
    }
}

fn level<'a>(key: &'a str, value: &'a str) -> Result<LevelFilter, BadValue<'a>> {
    value.parse().map_err(|_| BadValue { key, value, allowed: "say off, error, warn, info, debug or trace" })
}

/// The words of `text`: separated by blanks, except inside double quotes, which are taken off.
#[must_use]
pub fn split(text: &str) -> Words<'_> {
    Words { rest: text }
}

/// Iterator of [`split`].
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// What was not yet split.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.rest.trim_matches(is_blank)
    }
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\0'
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start_matches(is_blank);
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        if let Some(quoted) = text.strip_prefix('"') {
            // A quote that is never closed reaches to the end.
            let (word, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
            self.rest = rest;
            return Some(word);
        }
        let end = text.find(is_blank).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_the_default() {
        let line = CommandLine::parse("").unwrap();
        assert_eq!((line.cores, line.log, line.args), (MAX_CPUS, LevelFilter::Warn, ""));
        assert!(line.unknown.is_empty());
    }

    #[test]
    fn keys_and_arguments() {
        let line = CommandLine::parse(" cores=2 log=debug -- cores=9 \"two words\"  x\0").unwrap();
        assert_eq!((line.cores, line.log), (2, LevelFilter::Debug));
        assert!(split(line.args).eq(["cores=9", "two words", "x"]));
    }

    #[test]
    fn unknown_keys_are_named() {
        let line = CommandLine::parse("quiet coherent_pool=1M cores=all").unwrap();
        assert_eq!(line.unknown, ["quiet", "coherent_pool"]);
        assert_eq!(line.cores, MAX_CPUS);
    }

    #[test]
    fn bad_values_say_what_is_allowed() {
        for (text, key) in [
            ("cores=0", "cores"),
            ("cores=65", "cores"),
            ("cores=two", "cores"),
            ("cores", "cores"),
            ("log=loud", "log"),
        ] {
            let error = CommandLine::parse(text).unwrap_err();
            assert_eq!(error.key, key, "{text}");
            assert!(error.allowed.starts_with("say "));
        }
    }

    #[test]
    fn more_unknown_keys_than_are_kept() {
        let text = "a ".repeat(100);
        assert_eq!(CommandLine::parse(&text).unwrap().unknown.len(), 24);
    }

    #[test]
    fn what_is_for_the_runtime_is_kept_as_it_is() {
        assert_eq!(CommandLine::parse("trace=4096,7 -- trace=1").unwrap().trace, Some("4096,7"));
        assert_eq!(CommandLine::parse("-- trace=1").unwrap().trace, None);
    }

    #[test]
    fn an_open_quote_reaches_to_the_end() {
        assert!(split("a \"b c").eq(["a", "b c"]));
    }
}
