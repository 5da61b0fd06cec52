//! A page whose contents may lie elsewhere: one word says where they are, and every change of it is one step.
//!
//! The word is the page's entry in the tables that the hardware walks (or, in a process, one that stands for it), so that who uses
//! the page asks nothing: an access goes through, or faults, and the fault changes the word. One at a time folds pages; whoever comes
//! by unfolds them.
//!
//! | state | what it means | how it is written |
//! | --- | --- | --- |
//! | `Here` | accesses go through | what the caller says: bit 0 is set, or bits 1 and 2 are clear |
//! | `Shut` | the page is whole, in its frame, and accesses fault | the frame, and 1 in bits 1 and 2 |
//! | `Folded` | its contents are in a record, and it has no frame | the record's place, and 2 |
//! | `Busy` | somebody is about to open or to fold it, and will be done in a moment | 3 |
//!
//! | transition | by | |
//! | --- | --- | --- |
//! | `shut` | who folds | `Here` to `Shut` |
//! | `reopen` | anyone who faults; who folds, if it thinks better of it | `Shut` to `Here` |
//! | `fold` | who folds | `Shut` to `Folded` |
//! | `discard` | who trims a stack | `Shut` to a word that says that there is nothing |
//! | `hold`, `settle` | who folds, where contents can only be taken away after that | `Shut` to `Busy`, and `Busy` to `Folded` |
//! | `claim`, `open` | anyone who faults | `Folded` to `Busy`, and `Busy` to `Here` |
//!
//! Between `shut` and `fold` lies what makes every CPU forget that the page was there. From then on an access is a fault, and that
//! fault either takes the page out of `Shut`, so that `fold` fails and what was read of it is thrown away, or comes after `fold`. So
//! nothing that is written to the page is lost, and nobody waits for who folds. It may take its time between the two: a page that is
//! `Shut` still after an hour has not been touched for an hour.
//!
//! # Rejected
//! *A bit in the state word of the thread whose page it is*: a page holds parts of several threads, and is touched by others than its
//! threads: by who wakes them, by timers and channels that are linked through their stacks, by who borrows from them. All of these
//! would have to ask. *Unfolding without `Busy`, each who faults into a frame of its own*: one that was slow would put contents in
//! place that had been folded anew since. *Waiting in the fault until a fold is over*: who folds would have to mask interrupts all the
//! while.

use crate::sync::{AtomicU64, Ordering, const_unless_loom};

const STATE: u64 = 3 << 1;
const SHUT: u64 = 1 << 1;
const FOLDED: u64 = 2 << 1;
const BUSY: u64 = 3 << 1;
/// In every entry that the hardware takes for one.
const VALID: u64 = 1 << 0;

/// See the module's documentation.
#[derive(Debug)]
#[repr(transparent)]
pub struct PageWord(AtomicU64);

/// What a [`PageWord`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Accesses go through, or this is no page that is ever folded: the word as it is.
    Here(u64),
    /// The page is whole, in this frame, and accesses fault.
    Shut(u64),
    /// Its contents are in the record at this place.
    Folded(u64),
    /// Somebody will have changed it in a moment.
    Busy,
}

impl PageWord {
    /// What a word holds that is busy.
    pub const BUSY: u64 = BUSY;

    const_unless_loom! {
        /// A page that is there.
        pub const fn new(here: u64) -> Self {
            Self(AtomicU64::new(here))
        }
    }

    /// The word that an entry of a table is.
    #[cfg(not(any(loom, isochron_sim)))]
    #[inline(always)]
    #[must_use]
    pub const fn of(entry: &core::sync::atomic::AtomicU64) -> &Self {
        // SAFETY: it is that and nothing else: `transparent`.
        unsafe { &*core::ptr::from_ref(entry).cast() }
    }

    /// What it says now.
    #[inline]
    #[must_use]
    pub fn look(&self) -> Page {
        // Acquire: partner is the store in `open`. Where the hardware walks, this is what the walk does: the access to the page
        // depends on the entry.
        let word = self.0.load(Ordering::Acquire);
        match word & STATE {
            _ if word & VALID != 0 => Page::Here(word),
            SHUT => Page::Shut(word & !STATE),
            FOLDED => Page::Folded(word & !STATE),
            BUSY => Page::Busy,
            _ => Page::Here(word),
        }
    }

    /// A page that is there as `here` says, in `frame`, a multiple of 8, is shut. False: it is not like that.
    #[inline]
    pub fn shut(&self, here: u64, frame: u64) -> bool {
        debug_assert!(frame.is_multiple_of(8));
        // Relaxed: what the other CPUs did with the page before they forget it is ordered by what makes them forget.
        self.replace(here, frame | SHUT, Ordering::Relaxed)
    }

    /// The page that is shut in `frame` is there again as `here` says. False: it is not shut any more.
    #[inline]
    pub fn reopen(&self, frame: u64, here: u64) -> bool {
        // Relaxed: the page has not been changed.
        self.replace(frame | SHUT, here, Ordering::Relaxed)
    }

    /// The contents of the page that is shut in `frame` are in the record at `place`, a multiple of 8, and the frame is the
    /// caller's. False: it is not shut any more, and the record is worth nothing.
    #[inline]
    pub fn fold(&self, frame: u64, place: u64) -> bool {
        debug_assert!(place.is_multiple_of(8));
        // Release: partner is `claim`: the record is written, and the page was read before.
        self.replace(frame | SHUT, place | FOLDED, Ordering::Release)
    }

    /// Nobody needs what is in the page that is shut in `frame`: from here on the word is `gone`, and the frame is the caller's. False: it
    /// is not shut any more.
    #[inline]
    pub fn discard(&self, frame: u64, gone: u64) -> bool {
        // Relaxed: nothing is handed over; every access before the page was shut is over by what makes all CPUs forget it.
        self.replace(frame | SHUT, gone, Ordering::Relaxed)
    }

    /// As [`fold`](Self::fold), where the contents are yet to be taken away: until [`settle`](Self::settle) the page is busy.
    #[inline]
    pub fn hold(&self, frame: u64) -> bool {
        // Relaxed: it is `settle` that hands something over.
        self.replace(frame | SHUT, BUSY, Ordering::Relaxed)
    }

    /// The contents of a page that the caller [holds](Self::hold) have been taken away, and are in the record at `place`.
    #[inline]
    pub fn settle(&self, place: u64) {
        debug_assert!(place.is_multiple_of(8));
        // Release: partner is `claim`: the record is written, and the page empty.
        self.0.store(place | FOLDED, Ordering::Release);
    }

    /// The caller is to unfold the page from the record at `place`, and nobody else. False: somebody else does, or has.
    #[inline]
    pub fn claim(&self, place: u64) -> bool {
        // Acquire: partners are `fold` and `settle`: the record.
        self.replace(place | FOLDED, BUSY, Ordering::Acquire)
    }

    /// The page that the caller has [claimed](Self::claim) is there as `here` says.
    #[inline]
    pub fn open(&self, here: u64) {
        // Release: partner is the load in `look`, or the hardware's walk: who gets at the page finds its contents.
        self.0.store(here, Ordering::Release);
    }

    #[inline]
    fn replace(&self, from: u64, to: u64, order: Ordering) -> bool {
        self.0.compare_exchange(from, to, order, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_round() {
        let word = PageWord::new(0x5003);
        assert_eq!(word.look(), Page::Here(0x5003));
        assert!(!word.shut(0x6003, 0x5000) && word.shut(0x5003, 0x5000));
        assert_eq!(word.look(), Page::Shut(0x5000));
        assert!(!word.reopen(0x4000, 0x5003) && word.reopen(0x5000, 0x5003) && !word.fold(0x5000, 0x108));
        assert!(word.shut(0x5003, 0x5000) && word.fold(0x5000, 0x108));
        assert_eq!(word.look(), Page::Folded(0x108));
        assert!(!word.reopen(0x5000, 0x5003) && !word.claim(0x110) && word.claim(0x108) && !word.claim(0x108));
        assert_eq!(word.look(), Page::Busy);
        word.open(0x7003);
        assert_eq!(word.look(), Page::Here(0x7003));
        assert!(!word.discard(0x7000, 1 << 8) && word.shut(0x7003, 0x7000) && word.discard(0x7000, 1 << 8));
        assert_eq!(word.look(), Page::Here(1 << 8));
    }

    #[test]
    fn a_page_is_held_before_it_is_empty() {
        let word = PageWord::new(0);
        assert!(word.shut(0, 0) && word.hold(0) && !word.reopen(0, 0));
        assert_eq!(word.look(), Page::Busy);
        word.settle(0x40);
        assert!(word.claim(0x40));
        word.open(0);
        assert_eq!(word.look(), Page::Here(0));
    }

    #[test]
    fn other_entries_are_told_apart() {
        assert_eq!(PageWord::new(0).look(), Page::Here(0));
        assert_eq!(PageWord::new(1 << 8).look(), Page::Here(1 << 8));
        assert_eq!(PageWord::new(0x8000_0000_0000_1167).look(), Page::Here(0x8000_0000_0000_1167));
    }
}
