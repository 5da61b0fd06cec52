//! What the scheduler did, record by record: for each CPU a ring that it alone writes.
//!
//! It is there in programs that are built with the feature `trace` (a line `//@ trace: yes` in the program's source, or
//! `cargo run -- run APP --trace FILE`, where the host takes the records); elsewhere every point where something would be recorded is nothing at all,
//! and [`start`] says [`TraceError::NotBuiltIn`].
//!
//! A record has the time (the CPU's counter, unordered), the CPU, a thread and what happened ([`What`]). Rings drop the newest
//! record when they are full, and count it. [`Classes`] says which sorts are recorded; it may be changed while threads run.
//! While nothing is recorded, a point costs a load and a branch.
//!
//! ```ignore
//! let mut trace = trace::start(&Settings::default())?;
//! work();
//! trace.drain(|entry| println!("{} CPU {} {:?}", entry.time.ticks(), entry.cpu, entry.what));
//! assert_eq!(trace.dropped(), 0);
//! ```

mod entry;
#[cfg(feature = "trace")]
mod export;
mod label;
pub(crate) mod points;
#[cfg(feature = "trace")]
mod recorder;
#[cfg(feature = "trace")]
mod rings;
mod session;

pub use entry::{Classes, Entry, Left, NOBODY, Origin, Queue, Supply, What};
#[cfg(feature = "trace")]
pub(crate) use export::begin_if_asked;
pub use label::{Label, Span};
pub use points::mark;
#[cfg(feature = "trace")]
pub(crate) use recorder::{Hook, Stamp, set_stamps, tell};
pub use session::{DEFAULT_RECORDS, MOST_RECORDS, Session, Settings, TraceError, start};
