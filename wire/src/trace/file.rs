//! A trace's file: a head, and then chunks, each with its length and a checksum.
//!
//! ```text
//! head    8 bytes  "isotrace"
//!         4 bytes  the version
//!         4 bytes  0
//! chunk   4 bytes  what it is: [`Kind`]
//!         4 bytes  bytes of the body
//!         4 bytes  checksum of the 8 bytes before, and of the body
//!         4 bytes  0
//!         body
//! ```
//!
//! | kind | body |
//! | --- | --- |
//! | facts | lines `key=value`: app, machine, arch, accel, cpus, clock_hz, commit, profile, deterministic, time |
//! | records | [`Batch`], then records of 32 bytes, as the guest wrote them |
//! | name | 8 bytes an address, then the text that lies or is meant there |
//! | end | 4 bytes the number of CPUs, 4 bytes 0; for each 8 bytes records written, 8 bytes dropped; a text: how the guest ended |
//!
//! A file is only ever added to. Whoever reads one that was cut or damaged has all chunks up to that place.

/// How a file begins.
pub const MAGIC: [u8; 8] = *b"isotrace";

/// Bytes of a file's head.
pub const HEAD: usize = 16;

/// Bytes of a chunk before its body.
pub const CHUNK_HEAD: usize = 16;

/// The longest body: more is a damaged length.
pub const MAX_BODY: usize = 4 << 20;

/// What a chunk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// About the run.
    Facts = 1,
    /// Records of one CPU.
    Records = 2,
    /// What an address in the records is called.
    Name = 3,
    /// All was written.
    End = 4,
}

impl Kind {
    /// The kind of that number.
    #[must_use]
    pub const fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Facts),
            2 => Some(Self::Records),
            3 => Some(Self::Name),
            4 => Some(Self::End),
            _ => None,
        }
    }
}

/// A file's head.
#[must_use]
pub fn head() -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&super::VERSION.to_le_bytes());
    head
}

/// What stands before a body.
#[must_use]
pub fn chunk_head(kind: Kind, body: &[u8]) -> [u8; CHUNK_HEAD] {
    let mut head = [0; CHUNK_HEAD];
    head[..4].copy_from_slice(&(kind as u32).to_le_bytes());
    head[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    let sum = sum_from(sum(&head[..8]), body);
    head[8..12].copy_from_slice(&sum.to_le_bytes());
    head
}

/// What a chunk's head says of its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkHead {
    /// What it is; `None`: nothing that this version knows.
    pub kind: Option<Kind>,
    /// Bytes of the body.
    pub length: usize,
    sum: u32,
    before: u32,
}

impl ChunkHead {
    /// Reads it; `None` if the length cannot be.
    #[must_use]
    pub fn read(head: &[u8; CHUNK_HEAD]) -> Option<Self> {
        let word = |at: usize| head[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let length = word(4) as usize;
        let found = Self { kind: Kind::of(word(0)), length, sum: word(8), before: sum(&head[..8]) };
        (length <= MAX_BODY && word(12) == 0).then_some(found)
    }

    /// Whether that is its body.
    #[must_use]
    pub fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.length && sum_from(self.before, body) == self.sum
    }
}

/// What stands before the records in a chunk of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Which CPU's.
    pub cpu: u32,
    /// How many records of that CPU came before.
    pub first: u64,
    /// How many records of that CPU were dropped before the last of these was written, or later.
    pub dropped: u64,
}

impl Batch {
    /// Its bytes in the body.
    pub const BYTES: usize = 24;

    /// As it lies in the body.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.cpu.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..].copy_from_slice(&self.dropped.to_le_bytes());
        bytes
    }

    /// Reads a body: this, and the bytes of the records.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<(Self, &[u8])> {
        let (head, records) = body.split_first_chunk::<{ Self::BYTES }>()?;
        let word = |at: usize| head[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let cpu = word(0) as u32;
        let whole = records.len() % super::RECORD_BYTES == 0 && cpu < super::area::MAX_CPUS;
        whole.then_some((Self { cpu, first: word(8), dropped: word(16) }, records))
    }
}

/// The checksum of some bytes.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    sum_from(crate::CHECKSUM_START, bytes)
}

/// The checksum goes on; four bytes at a time, since there are many.
fn sum_from(start: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum = words.iter().fold(start, |sum, word| {
        // Turned, or a change in a word's upper bits would stay there.
        (sum ^ u32::from_le_bytes(*word)).wrapping_mul(0x0100_0193).rotate_left(15)
    });
    rest.iter().fold(sum, |sum, byte| crate::checksum_step(sum, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_is_found() {
        let body: [u8; 70] = core::array::from_fn(|at| at as u8);
        let head = chunk_head(Kind::Records, &body);
        let read = ChunkHead::read(&head).unwrap();
        assert!(read.kind == Some(Kind::Records) && read.length == 70 && read.fits(&body));
        for bit in 0..70 * 8 {
            let mut other = body;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!read.fits(&other), "bit {bit}");
        }
        for bit in 0..CHUNK_HEAD * 8 {
            let mut other = head;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(ChunkHead::read(&other).is_none_or(|read| !read.fits(&body)), "bit {bit} of the head");
        }
    }

    #[test]
    fn batches() {
        let batch = Batch { cpu: 3, first: 17, dropped: 2 };
        let body = [&batch.encode()[..], &[0; 64]].concat();
        assert_eq!(Batch::read(&body), Some((batch, &[0; 64][..])));
        assert_eq!(Batch::read(&body[..60]), None);
        assert_eq!(Batch::read(&body[..10]), None);
    }
}
