//! What a traced guest and the host share: records in memory that both see, and the file that they become.
//!
//! A guest that is told to (`trace=` on its command line) keeps its rings in an [`area`] of its memory; the host, which has
//! that memory mapped, takes records out while the guest runs, and after its end. It writes them to a [`file`].
//!
//! All numbers in both are little-endian. [`VERSION`] stands in both, and a reader takes no other.

pub mod area;
mod classes;
mod event;
pub mod file;

pub use classes::{ALL_CLASSES, CLASSES, class_bits};
pub use event::{Event, Left, NAME_BYTES, NOBODY, Note, Origin, Queue, RECORD_BYTES, Supply, name_part, name_word};

/// The version of everything here.
pub const VERSION: u32 = 1;
