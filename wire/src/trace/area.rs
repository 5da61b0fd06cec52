//! The memory that both sides see: a page that says what is where, and then, CPU after CPU, a ring.
//!
//! ```text
//! 0             [`Layout`] in the first bytes of a page
//! PAGE          CPU 0: a page with the ring's counts at [`WRITTEN`], [`DROPPED`] and [`READ`]
//! 2 PAGE        its records, 32 bytes each
//! PAGE + stride CPU 1 ...
//! ```
//!
//! The guest writes the records, `written` and `dropped`; the host writes `read`. Who reads what when is the ring's protocol
//! (`isochron_core::trace_ring`); the offsets here are those of its fields, which the guest's side checks.
//!
//! In a machine's memory the area begins at a multiple of [`ALIGN`]: there the host looks for it.

use super::{RECORD_BYTES, VERSION};

/// Bytes between the places where an area may begin.
pub const ALIGN: usize = 1 << 20;

/// What the parts of an area are multiples of.
pub const PAGE: usize = 4096;

/// In a ring's first page: how many records were ever written, 8 bytes.
pub const WRITTEN: usize = 0;
/// How many were dropped.
pub const DROPPED: usize = 8;
/// How many were read.
pub const READ: usize = 128;

/// A writer looks at what was read once for each of so many parts of its ring.
pub const STEPS: u64 = 16;

/// The least records in a ring.
pub const MIN_RECORDS: u64 = 128;
/// The most records in a ring.
pub const MAX_RECORDS: u64 = 1 << 24;
/// The most CPUs.
pub const MAX_CPUS: u32 = 64;

/// How an area begins. No text, and no part of a program: a guest makes it out of two numbers.
const MAGIC: [u64; 2] = [0x6f73_6920_6563_6172, 0x0a1a_746e_6f72_6863];

/// What an area holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// CPUs with a ring: their numbers are below this.
    pub cpus: u32,
    /// Records in each ring, a power of two.
    pub records: u64,
    /// Ticks of the guest's clock in a second.
    pub clock_hz: u64,
}

impl Layout {
    /// Bytes that it has at the start of an area.
    pub const BYTES: usize = 40;

    /// Whether an area can be so.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.cpus >= 1
            && self.cpus <= MAX_CPUS
            && self.records.is_power_of_two()
            && self.records >= MIN_RECORDS
            && self.records <= MAX_RECORDS
            && self.clock_hz > 0
    }

    /// Bytes from one CPU's ring to the next one's.
    #[must_use]
    pub const fn stride(&self) -> usize {
        PAGE + self.records as usize * RECORD_BYTES
    }

    /// Where a CPU's ring begins.
    #[must_use]
    pub const fn ring(&self, cpu: u32) -> usize {
        PAGE + cpu as usize * self.stride()
    }

    /// Bytes of the whole.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.ring(self.cpus)
    }

    /// As it lies at the start of an area.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let head = u64::from(VERSION) | u64::from(self.cpus) << 32;
        for (at, word) in [MAGIC[0] ^ MAGIC[1], head, self.records, self.clock_hz].iter().enumerate() {
            bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        let sum = u64::from(super::file::sum(&bytes[..32]));
        bytes[32..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` if no area begins so.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| bytes[at * 8..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let layout = Self { cpus: (word(1) >> 32) as u32, records: word(2), clock_hz: word(3) };
        (layout.is_sound() && layout.encode() == *bytes).then_some(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found() {
        let layout = Layout { cpus: 4, records: 1 << 16, clock_hz: 62_500_000 };
        let bytes = layout.encode();
        assert_eq!(Layout::decode(&bytes), Some(layout));
        for at in 0..bytes.len() {
            let mut other = bytes;
            other[at] ^= 4;
            assert_eq!(Layout::decode(&other), None, "byte {at}");
        }
        assert_eq!((layout.ring(1), layout.bytes()), (PAGE * 2 + (2 << 20), PAGE + 4 * (PAGE + (2 << 20))));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = Layout { cpus: 1, records: 128, clock_hz: 1 };
        assert!(good.is_sound());
        for bad in [
            Layout { cpus: 0, ..good },
            Layout { cpus: 65, ..good },
            Layout { records: 100, ..good },
            Layout { records: 1 << 25, ..good },
            Layout { clock_hz: 0, ..good },
        ] {
            assert!(!bad.is_sound() && Layout::decode(&bad.encode()).is_none(), "{bad:?}");
        }
    }
}
