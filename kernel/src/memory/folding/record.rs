//! A page as it is kept while it is folded: those of its words that matter, and of these what is in them.
//!
//! Two bits for each word of the page say how it is kept; then follow the contents, in units of four bytes. What nobody will read
//! (below the stack pointers of threads that wait) is kept as zeroes, which take nothing. Addresses of the image and small numbers
//! take one unit, what repeats the word before takes none.

use isochron_boot::layout::PAGE_SIZE;

/// Words of a page.
pub const WORDS: usize = PAGE_SIZE / 8;
/// Words that say how the others are kept.
const KINDS: usize = WORDS * 2 / 64;
/// The most words of a record.
pub const MOST: usize = KINDS + WORDS;

const ZERO: u64 = 0;
const AS_BEFORE: u64 = 1;
/// 32 bits, of which the highest is repeated.
const HALF: u64 = 2;
const WHOLE: u64 = 3;

/// Which words of a page matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live([u64; WORDS / 64]);

impl Live {
    /// None of them.
    #[must_use]
    pub const fn none() -> Self {
        Self([0; WORDS / 64])
    }

    /// All that lie in these bytes of the page matter.
    ///
    /// # Panics
    /// If they are not all in the page.
    pub fn keep(&mut self, bytes: core::ops::Range<usize>) {
        for word in bytes.start / 8..bytes.end.div_ceil(8) {
            self.0[word / 64] |= 1 << (word % 64);
        }
    }

    const fn has(&self, word: usize) -> bool {
        self.0[word / 64] >> (word % 64) & 1 != 0
    }
}

/// The lower half with its highest bit repeated.
const fn extended(word: u64) -> u64 {
    ((word << 32).cast_signed() >> 32).cast_unsigned()
}

const fn kind_of(word: u64, before: u64) -> u64 {
    if word == 0 {
        ZERO
    } else if word == before {
        AS_BEFORE
    } else if extended(word) == word {
        HALF
    } else {
        WHOLE
    }
}

/// Writes the record of a page whose words `word` tells. How many words it has.
pub fn encode(word: impl Fn(usize) -> u64, live: &Live, record: &mut [u64; MOST]) -> usize {
    record[..KINDS].fill(0);
    let (mut units, mut before) = (0, 0);
    for at in 0..WORDS {
        let content = if live.has(at) { word(at) } else { 0 };
        let kind = kind_of(content, before);
        record[at / 32] |= kind << (at % 32 * 2);
        if kind == HALF {
            put(record, units, content as u32);
            units += 1;
        } else if kind == WHOLE {
            put(record, units, content as u32);
            put(record, units + 1, (content >> 32) as u32);
            units += 2;
        }
        before = content;
    }
    KINDS + units.div_ceil(2)
}

fn put(record: &mut [u64; MOST], unit: usize, content: u32) {
    let word = &mut record[KINDS + unit / 2];
    *word = if unit.is_multiple_of(2) { u64::from(content) } else { *word | u64::from(content) << 32 };
}

/// Reads a record, whose words `next` gives one after the other, and tells `put` each word of the page. How many words it had.
pub fn decode(mut next: impl FnMut() -> u64, mut put: impl FnMut(usize, u64)) -> usize {
    let mut kinds = [0; KINDS];
    kinds.fill_with(&mut next);
    let (mut taken, mut left, mut before) = (KINDS, None, 0);
    let mut unit = || match left.take() {
        Some(unit) => unit,
        None => {
            let word = next();
            taken += 1;
            left = Some(word >> 32);
            word & 0xffff_ffff
        }
    };
    for at in 0..WORDS {
        let content = match kinds[at / 32] >> (at % 32 * 2) & 3 {
            ZERO => 0,
            AS_BEFORE => before,
            HALF => extended(unit()),
            _ => unit() | unit() << 32,
        };
        put(at, content);
        before = content;
    }
    taken
}
