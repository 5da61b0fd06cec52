//! What can go wrong, in one line each, and the exit code it ends with.

use crate::reports::read::Fault;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The exit code of a run whose guest did not end in time.
pub const TIMED_OUT: u8 = 124;
/// The exit code after Ctrl-C (or a polite kill).
pub const INTERRUPTED: u8 = 130;

/// A failure of the host program. A guest that ends with a code of its own is not one.
#[derive(Debug)]
pub enum Error {
    /// The command line asks for what does not exist; the text says what does.
    Usage(String),
    /// Something that must be installed is not.
    Missing {
        /// What, and why it was not installed right away.
        what: String,
        /// The one command that installs it.
        command: String,
    },
    /// Cargo could not build a guest; it has said why.
    Build {
        /// What was built.
        what: String,
    },
    /// A file or folder could not be read or written.
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An artefact is not what it should be.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file that should be a report of a run is none.
    NotAReport {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Two reports are not of the same run, so nothing in them can be compared.
    Incomparable {
        /// In what they differ, as it stands in the reports.
        what: &'static str,
        /// The files, and what each says.
        sides: Box<[(PathBuf, String); 2]>,
    },
    /// A program could not be started.
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another program failed at its part.
    Tool {
        /// What it was to do.
        doing: String,
        /// What it said last.
        said: String,
    },
    /// QEMU itself failed, or was killed, or the guest went away without a word.
    Machine(String),
    /// The guest did not end in time.
    TimedOut {
        /// The limit, in seconds.
        seconds: u64,
        /// How to run the same again.
        again: String,
    },
    /// The guest wrote more than anyone could read.
    Flood(String),
    /// Ctrl-C.
    Interrupted,
}

impl Error {
    /// The exit code that tells other programs.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Incomparable { .. } => 2,
            Self::Missing { .. } => 3,
            Self::TimedOut { .. } => TIMED_OUT,
            Self::Interrupted => INTERRUPTED,
            _ => 1,
        }
    }

    /// For `map_err` on file operations.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Machine(text) | Self::Flood(text) => f.write_str(text),
            Self::Missing { what, command } => write!(f, "{what}; install with: {command}"),
            Self::Build { what } => write!(f, "{what} could not be built; what cargo said stands above"),
            Self::Io { action, path, source } => write!(f, "cannot {action} {}: {}", path.display(), plain(source)),
            Self::Corrupt { path, why } => write!(f, "{} is corrupt: {why}", path.display()),
            Self::NotAReport { path, fault } => write!(f, "{} is no report of a run: {fault}", path.display()),
            Self::Incomparable { what, sides } => {
                let [(a, first), (b, second)] = &**sides;
                write!(f, "the reports differ in `{what}`: {first} in {}, {second} in {}", a.display(), b.display())
            }
            Self::Start { program, source } => write!(f, "cannot start {program}: {}", plain(source)),
            Self::Tool { doing, said } => write!(f, "{doing} failed: {said}"),
            Self::TimedOut { seconds, again } => {
                write!(f, "no end after {seconds} s: the guest was stopped; run it again with: {again}")
            }
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

/// The system's message without `(os error N)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_line_with_its_code() {
        let full = Error::io("write", Path::new("out/report.json"))(io::Error::from_raw_os_error(28));
        assert_eq!(full.to_string(), "cannot write out/report.json: no space left on device");
        assert_eq!(full.exit_code(), 1);
        let missing = Error::Missing { what: "QEMU is not installed".into(), command: "brew install qemu".into() };
        assert_eq!((missing.exit_code(), missing.to_string().lines().count()), (3, 1));
        assert_eq!(Error::TimedOut { seconds: 1, again: "x".into() }.exit_code(), 124);
        assert_eq!((Error::Usage(String::new()).exit_code(), Error::Interrupted.exit_code()), (2, 130));
    }
}
