//! Folding: pages of packed slots whose threads all wait are kept as records of what matters in them, and their frames go back.
//!
//! An access to such a page is a fault, which puts its contents back in place, at the same address, in whatever frame there is. So
//! nobody has to know that a thread is folded: not who wakes or kills it, nor the timers and channels that are linked through its
//! stack, nor who borrows from it, nor the CPU that goes on with it. The protocol is that of [`isochron_core::page_word`]; what
//! is kept of a page says [`record`], where it lies [`store`].
//!
//! **Folding goes in three steps**, for as many pages as are wanted at once. [`Folder::shut`] takes pages away from who would touch
//! them, and leaves them as they are. [`Folder::settle`] makes every CPU forget them: on ARM64 the instruction for it is heard by
//! all; on x86-64 every other CPU is interrupted, once for all of them. [`Folder::fold`] then writes the records. A page that is
//! touched in between is back by one compare-and-swap, without memory, and is not folded. So the time between the steps is the time
//! that a page must have been left alone, at no cost for who parks, wakes and switches.
//!
//! **What matters** in a page the runtime says, who knows what threads are: it is asked before a page is shut, to find those that
//! are worth it, and again when nothing in it can change any more without its being opened.
//!
//! **Blocks of 2 MiB** are mapped by pages from the first fold on. On ARM64 the block goes away for a moment meanwhile.
//!
//! **Without memory.** An unfold takes a frame and gives back what its record took, in the end as many as it needs in three, so it
//! may fail where folding has been used to make room for something else. While anything is folded, frames are set aside for that:
//! 16, and one for each 16 pages. When half of them are used up, a thread that touches a folded page with interrupts on ends with
//! `OutOfMemory`; the other half is for code with interrupts masked, and when that is gone too, the machine ends: as with stacks
//! that grow.

#[cfg(isochron_bare)]
mod bare;
#[cfg(all(isochron_hosted, not(isochron_sim)))]
mod hosted;
pub mod record;
pub mod store;
#[cfg(test)]
mod tests;

#[cfg(isochron_bare)]
use bare as port;
#[cfg(isochron_bare)]
pub(crate) use bare::{Unfolding, is_folded, unfold};
#[cfg(all(isochron_hosted, not(isochron_sim)))]
use hosted as port;
#[cfg(all(isochron_hosted, not(isochron_sim)))]
pub(crate) use hosted::unfold;
pub use record::Live;

use record::MOST;

/// Whether a record of so many words leaves enough of a page to be worth it: a quarter.
#[cfg_attr(not(any(isochron_bare, isochron_hosted)), expect(dead_code, reason = "guests alone have pages"))]
const fn worth_it(words: usize) -> bool {
    words * 4 <= MOST * 3
}

/// Says which words of the page at an address matter, of whose contents there is a view somewhere else; `None` if it is not to be
/// folded now.
///
/// # Safety
/// The view shows a page of packed slots, and others may be writing there.
pub type Judge = unsafe fn(page: usize, view: *const u8) -> Option<Live>;

/// How much is folded now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Pages.
    pub pages: usize,
    /// Bytes that what they hold takes, with what is set aside to unfold them.
    pub bytes: usize,
}

#[cfg(any(isochron_bare, all(isochron_hosted, not(isochron_sim))))]
mod folder {
    use super::{Folded, Judge, port};
    use crate::irq;
    use crate::memory::{OutOfMemory, packed};
    use core::ops::Range;

    /// Who folds. There is one at a time.
    #[derive(Debug)]
    pub struct Folder(());

    impl Folder {
        /// # Safety
        /// There is none, or no other is used from here on.
        #[must_use]
        pub const unsafe fn new() -> Self {
            Self(())
        }

        /// Shuts those of the pages that `judge` would fold. How many they were.
        ///
        /// `pages` are some of a block, whole ones.
        pub fn shut(&mut self, pages: Range<usize>, judge: Judge) -> usize {
            port::shut(pages, judge)
        }

        /// Sees to it that no CPU knows the pages any more that were shut. False: one does not answer, and nothing may be folded.
        ///
        /// # Panics
        /// With interrupts masked: other CPUs are waited for.
        #[must_use]
        pub fn settle(&mut self) -> bool {
            assert!(!irq::are_masked(), "other CPUs are waited for with interrupts masked");
            port::settle()
        }

        /// Folds those of the pages that are shut still, and that `judge` would still fold. How many they were.
        ///
        /// # Errors
        /// [`OutOfMemory`]: some of them may be folded.
        ///
        /// # Safety
        /// They were settled since they were shut.
        pub unsafe fn fold(&mut self, pages: Range<usize>, judge: Judge) -> Result<usize, OutOfMemory> {
            port::fold(pages, judge)
        }
    }

    /// The addresses of packed slots that have memory, in blocks.
    pub fn blocks() -> impl Iterator<Item = Range<usize>> {
        packed::blocks()
    }

    /// How much is folded now.
    #[must_use]
    pub fn folded() -> Folded {
        let (pages, bytes) = port::stats();
        Folded { pages, bytes }
    }
}

#[cfg(any(isochron_bare, all(isochron_hosted, not(isochron_sim))))]
pub use folder::{Folder, blocks, folded};
