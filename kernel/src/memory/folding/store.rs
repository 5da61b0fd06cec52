//! Where records lie: one behind the other in frames, across their edges, so that nothing is left over.
//!
//! A frame begins with how many use it, one of them the store itself while it is the frame that the next record goes to; then comes
//! where the record that runs over its end goes on. A frame that nobody uses any more goes back at once.

use core::fmt;
use isochron_boot::layout::PAGE_SIZE;

/// How the store reaches memory.
pub trait StoreMemory {
    /// The word at this address of a frame of the store.
    fn word(&self, at: usize) -> u64;
    /// Sets it.
    fn set(&mut self, at: usize, word: u64);
}

/// The head of a frame: who uses it, and where it goes on.
const USERS: usize = 0;
const NEXT: usize = 8;
const HEAD: usize = 16;

/// The frames that a call has left over, which are the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Freed([usize; 3]);

impl Freed {
    fn push(&mut self, frame: usize) {
        let free = self.0.iter_mut().find(|place| **place == 0);
        *free.expect("a record lies in two frames at the most, and the next goes to one") = frame;
    }

    /// Their addresses.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().filter(|frame| *frame != 0)
    }
}

/// The records.
pub struct Store<M> {
    memory: M,
    /// Where the next record begins; 0 without a frame.
    at: usize,
    frames: usize,
    records: usize,
}

impl<M: fmt::Debug> fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("frames", &self.frames).field("records", &self.records).finish_non_exhaustive()
    }
}

const fn frame_of(at: usize) -> usize {
    at & !(PAGE_SIZE - 1)
}

impl<M: StoreMemory> Store<M> {
    /// No record.
    pub const fn new(memory: M) -> Self {
        Self { memory, at: 0, frames: 0, records: 0 }
    }

    /// What [`Reader`] reads from.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// How many there are.
    pub const fn records(&self) -> usize {
        self.records
    }

    /// Frames that they take.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// Whether a record of so many words, less than a frame has room for, needs a further frame.
    pub const fn needs_frame(&self, words: usize) -> bool {
        // The record's end may be the frame's: then the next begins in a new one.
        self.at == 0 || self.at + words * 8 >= frame_of(self.at) + PAGE_SIZE
    }

    /// Keeps a record: its place, a multiple of 8 and not 0. `frame` is a further one, 0 if it [needs none](Self::needs_frame).
    pub fn put(&mut self, record: &[u64], frame: usize) -> usize {
        debug_assert!(record.len() * 8 < PAGE_SIZE - HEAD && (frame != 0) == self.needs_frame(record.len()));
        if self.at == 0 {
            self.begin(frame);
        }
        let place = self.at;
        self.count(place, 1);
        for &word in record {
            self.memory.set(self.at, word);
            self.at += 8;
            if self.at.is_multiple_of(PAGE_SIZE) {
                let full = self.at - PAGE_SIZE;
                self.memory.set(full + NEXT, frame as u64);
                // The record keeps it.
                self.count(full, u64::MAX);
                self.begin(frame);
                self.count(frame, 1);
            }
        }
        if frame_of(place) != frame_of(self.at) && self.at == frame_of(self.at) + HEAD {
            // It ended where the frame did.
            self.count(self.at, u64::MAX);
        }
        self.records += 1;
        place
    }

    fn begin(&mut self, frame: usize) {
        self.memory.set(frame + USERS, 1);
        self.memory.set(frame + NEXT, 0);
        self.at = frame + HEAD;
        self.frames += 1;
    }

    /// Adds to the users of the frame that an address is in; how many there are then.
    fn count(&mut self, at: usize, add: u64) -> u64 {
        let users = self.memory.word(frame_of(at) + USERS).wrapping_add(add);
        self.memory.set(frame_of(at) + USERS, users);
        users
    }

    /// Forgets the record of so many words at `place`. The frames that nobody uses any more.
    pub fn remove(&mut self, place: usize, words: usize) -> Freed {
        let mut freed = Freed::default();
        let first = frame_of(place);
        let second = if place + words * 8 > first + PAGE_SIZE { self.memory.word(first + NEXT) as usize } else { 0 };
        for frame in [first, second] {
            if frame != 0 && self.count(frame, u64::MAX) == 0 {
                self.frames -= 1;
                freed.push(frame);
            }
        }
        self.records -= 1;
        if self.records == 0 {
            // The one that the next record would go to.
            self.frames -= 1;
            freed.push(frame_of(self.at));
            self.at = 0;
        }
        freed
    }
}

/// Reads on from a place, across the edges of frames.
pub struct Reader<'a, M> {
    memory: &'a M,
    at: usize,
}

impl<'a, M: StoreMemory> Reader<'a, M> {
    /// From the beginning of a record.
    pub const fn new(memory: &'a M, place: usize) -> Self {
        Self { memory, at: place }
    }

    /// The next word.
    pub fn read(&mut self) -> u64 {
        if self.at.is_multiple_of(PAGE_SIZE) {
            self.at = self.memory.word(self.at - PAGE_SIZE + NEXT) as usize + HEAD;
        }
        let word = self.memory.word(self.at);
        self.at += 8;
        word
    }
}
