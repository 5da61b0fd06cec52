//! A shortage of memory that a test asks for: one request, the n-th from now on, is refused, or that and all that follow.
//!
//! So a test can go through all places that ask for memory, one after the other. In builds without debug assertions the
//! questions are constants, and nothing is ever refused.
//!
//! All requests count, whichever thread or CPU makes them, so the n-th is the same in each run only where one thread asks at
//! a time.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Supply {
    /// Blocks of the heap, as programs ask for them.
    Heap = 1,
    /// Stacks.
    Stacks = 2,
    /// What heap and stacks grow by: frames, on the `hosted` port pages of the host.
    Frames = 3,
}

/// How many requests are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// One.
    One,
    /// All from that one on.
    Rest,
}

/// What came of a shortage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// Requests that were made.
    pub asked: usize,
    /// Those that were refused.
    pub refused: usize,
}

/// Whether this build can do it.
pub const AVAILABLE: bool = cfg!(debug_assertions);

// Relaxed, all of them: counters. Who begins and ends a shortage sees to it that the threads which it is meant for run in
// between.
/// The [`Supply`] that is short; 0 for none.
static SHORT: AtomicU8 = AtomicU8::new(0);
static FIRST: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// From now on, the `nth` request (from 1) is refused, perhaps with all after it. Takes the place of an earlier shortage.
pub fn begin(supply: Supply, nth: usize, extent: Extent) {
    SHORT.store(0, Ordering::Relaxed);
    FIRST.store(nth, Ordering::Relaxed);
    LAST.store(if extent == Extent::One { nth } else { usize::MAX }, Ordering::Relaxed);
    ASKED.store(0, Ordering::Relaxed);
    REFUSED.store(0, Ordering::Relaxed);
    SHORT.store(supply as u8, Ordering::Relaxed);
}

/// There is enough again.
pub fn end() -> Shortage {
    SHORT.store(0, Ordering::Relaxed);
    Shortage { asked: ASKED.load(Ordering::Relaxed), refused: REFUSED.load(Ordering::Relaxed) }
}

/// Whether a request is to be refused.
#[inline(always)]
pub(super) fn refuses(supply: Supply) -> bool {
    is_on(supply) && is_to_be_refused()
}

/// Whether requests of this sort are counted now.
#[inline(always)]
pub(super) fn is_on(supply: Supply) -> bool {
    AVAILABLE && SHORT.load(Ordering::Relaxed) == supply as u8
}

#[cold]
#[inline(never)]
fn is_to_be_refused() -> bool {
    let number = ASKED.fetch_add(1, Ordering::Relaxed) + 1;
    let refused = (FIRST.load(Ordering::Relaxed)..=LAST.load(Ordering::Relaxed)).contains(&number);
    REFUSED.fetch_add(usize::from(refused), Ordering::Relaxed);
    refused
}
