//! What crosses from guest to host: records, one a line, amid the ordinary text of the serial console.
//!
//! A guest prints whatever it likes. What the host program is to understand (results, test outcomes, a panic) is a
//! [`Record`], written as one line that a person can read as well:
//!
//! ```text
//! <0x1e>value boot_to_main ns 1234567.5 *5a0c91f3
//! ```
//!
//! byte `0x1e` (ASCII *record separator*, printed as nothing), the kind, fields with one space between, ` *`, and eight
//! hexadecimal digits of a checksum over all between the mark and the ` *`. The line ends with `\n` (or `\r\n`, as some
//! UART drivers make of it). Free text is always the last field; a newline in it is sent as `0x1f`, see [`text_lines`].
//! A line that was torn, for instance by two CPUs printing at once, fails its checksum and is reported as what it is.
//!
//! The guest's side needs no allocation and none of `core::fmt`'s number formatting: quantities are [`Fixed`] decimals.
//!
//! ```
//! use isochron_wire::{Fixed, Record};
//!
//! let mut line = String::new();
//! Record::Value { name: "boot_to_main", unit: "ns", value: Fixed::from_thousandths(1_234_567_500) }
//!     .encode(&mut line)
//!     .unwrap();
//! assert!(line.starts_with("\x1evalue boot_to_main ns 1234567.5 *"));
//! assert!(matches!(Record::parse(&line), Ok(Record::Value { name: "boot_to_main", .. })));
//! ```
//!
//! [`exit`] says how the guest's exit code travels through QEMU's exit status.
//! [`trace`] is what does not go over the console: the records of a trace.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod encode;
pub mod exit;
mod fixed;
mod parse;
mod record;
pub mod trace;

pub use encode::{encode_death, encode_note, encode_panic};
pub use fixed::Fixed;
pub use parse::ParseError;
pub use record::{Cells, CellsIter, MAX_CELLS, Outcome, Record, is_name, is_path, is_word, text_lines};

/// The version of this protocol, sent in [`Record::Start`].
pub const SCHEMA: u32 = 1;

/// The byte that starts a record's line.
pub const MARK: char = '\x1e';

/// The byte that stands for a newline inside free text.
pub const NEWLINE: char = '\x1f';

/// FNV-1a's start value, 32 bits.
const CHECKSUM_START: u32 = 0x811c_9dc5;

/// One more byte of the checksum (FNV-1a: it needs no table, and any single changed byte changes it).
const fn checksum_step(sum: u32, byte: u8) -> u32 {
    (sum ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// The checksum of a whole body.
fn checksum(body: &str) -> u32 {
    body.bytes().fold(CHECKSUM_START, checksum_step)
}
