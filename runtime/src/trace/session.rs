//! Recording, from its start to its end: who has the rings.

use super::entry::{Classes, Entry};
use core::fmt;
use core::marker::PhantomData;
use isochron_core::trace_ring::Words;

/// Records in each CPU's ring, unless told otherwise: 2 MiB.
pub const DEFAULT_RECORDS: usize = 65536;

/// The most records in each CPU's ring: 512 MiB.
pub const MOST_RECORDS: usize = 1 << 24;

/// What is recorded, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Records in each CPU's ring, 32 bytes each: a power of two, 2 to [`MOST_RECORDS`].
    pub records: usize,
    /// The sorts that are recorded at first.
    pub classes: Classes,
}

impl Default for Settings {
    fn default() -> Self {
        Self { records: DEFAULT_RECORDS, classes: Classes::ALL }
    }
}

/// Why nothing is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceError {
    /// The program was built without the feature `trace`.
    NotBuiltIn,
    /// Somebody else is recording.
    Busy,
    /// A ring cannot have so many records.
    Records(usize),
    /// There is no memory for the rings.
    OutOfMemory,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => f.write_str("this program was built without tracing: it needs a line `//@ trace: yes`"),
            Self::Busy => {
                f.write_str("somebody else is recording: another part of the program, or the host (`--trace FILE`)")
            }
            Self::Records(given) => {
                write!(f, "a ring of {given} records is not a power of two between 2 and {MOST_RECORDS}")
            }
            Self::OutOfMemory => f.write_str("there is no memory for the rings"),
        }
    }
}

impl core::error::Error for TraceError {}

/// A recording that is under way. It ends when this is dropped.
///
/// There is one at a time.
#[derive(Debug)]
#[must_use = "recording ends when the session is dropped"]
pub struct Session {
    /// Made by [`start`] alone.
    _made: PhantomData<*const ()>,
}

/// Begins to record on every CPU.
///
/// # Errors
/// [`TraceError`]; then nothing has changed.
pub fn start(settings: &Settings) -> Result<Session, TraceError> {
    if !(2..=MOST_RECORDS).contains(&settings.records) || !settings.records.is_power_of_two() {
        return Err(TraceError::Records(settings.records));
    }
    imp::start(settings)?;
    Ok(Session { _made: PhantomData })
}

impl Session {
    /// Changes what is recorded from now on.
    pub fn set_classes(&self, classes: Classes) {
        imp::set_classes(classes);
    }

    /// Hands over what was recorded and makes room for more: CPU after CPU, for each in the order of time.
    pub fn drain(&mut self, mut take: impl FnMut(Entry)) {
        self.drain_words(|words| {
            if let Some(entry) = Entry::from_words(&words) {
                take(entry);
            }
        });
    }

    /// The same as it lies in the rings.
    pub fn drain_words(&mut self, mut take: impl FnMut(Words)) {
        imp::drain(&mut take);
    }

    /// How many records found no room, on all CPUs. Exact once nothing is recorded any more.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        imp::dropped()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        imp::stop();
    }
}

#[cfg(not(feature = "trace"))]
mod imp {
    use super::{Classes, Settings, TraceError, Words};

    pub fn start(_settings: &Settings) -> Result<(), TraceError> {
        Err(TraceError::NotBuiltIn)
    }
    pub fn set_classes(_classes: Classes) {}
    pub fn drain(_take: &mut dyn FnMut(Words)) {}
    pub fn dropped() -> u64 {
        0
    }
    pub fn stop() {}
}

#[cfg(feature = "trace")]
use super::rings as imp;
