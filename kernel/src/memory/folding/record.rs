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
    // The word that follows the last one: if it comes next, nothing was left out.
    let mut following = 0;
    for (nth, &live) in live.0.iter().enumerate() {
        let mut rest = live;
        while rest != 0 {
            let at = nth * 64 + rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let content = word(at);
            let kind = kind_of(content, if at == following { before } else { 0 });
            record[at / 32] |= kind << (at % 32 * 2);
            if kind == HALF {
                put(record, units, content as u32);
                units += 1;
            } else if kind == WHOLE {
                put(record, units, content as u32);
                put(record, units + 1, (content >> 32) as u32);
                units += 2;
            }
            (before, following) = (content, at + 1);
        }
    }
    KINDS + units.div_ceil(2)
}

fn put(record: &mut [u64; MOST], unit: usize, content: u32) {
    let word = &mut record[KINDS + unit / 2];
    *word = if unit.is_multiple_of(2) { u64::from(content) } else { *word | u64::from(content) << 32 };
}

/// Reads a record, whose words `next` gives one after the other, and tells `put` each word of the page that is not zero. How many
/// words it had.
pub fn decode(mut next: impl FnMut() -> u64, mut put: impl FnMut(usize, u64)) -> usize {
    /// The lower bit of each pair.
    const PAIRS: u64 = 0x5555_5555_5555_5555;
    let mut kinds = [0; KINDS];
    kinds.fill_with(&mut next);
    let (mut taken, mut left, mut before, mut following) = (KINDS, None, 0, 0);
    let mut unit = || match left.take() {
        Some(unit) => unit,
        None => {
            let word = next();
            taken += 1;
            left = Some(word >> 32);
            word & 0xffff_ffff
        }
    };
    for (nth, &kinds) in kinds.iter().enumerate() {
        let mut rest = (kinds | kinds >> 1) & PAIRS;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            let at = nth * 32 + bit as usize / 2;
            let content = match kinds >> bit & 3 {
                AS_BEFORE if at == following => before,
                HALF => extended(unit()),
                WHOLE => unit() | unit() << 32,
                _ => 0,
            };
            put(at, content);
            (before, following) = (content, at + 1);
        }
    }
    taken
}
