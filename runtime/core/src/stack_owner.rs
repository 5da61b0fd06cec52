//! Whose stack it is, for somebody who wants to know what of it is in use.
//!
//! A stack outlives its threads, and says which one has it. Who trims stacks looks at that thread: whether it waits, and from where on
//! it needs its stack. Meanwhile the thread must not be freed; so whoever looks marks the word, and the thread's end waits for it. Few
//! threads ever have to do with it: those on stacks that have grown.
//!
//! | word | what it means |
//! | --- | --- |
//! | 0 | nobody's: nothing in it is needed |
//! | an address | that thread's |
//! | and `LOOKED` | somebody looks at that thread, for a moment |
//! | and `KEPT` | that thread, or whoever is left, wants all of it to stay as it is |
//!
//! What is seen says nothing about the stack's contents by itself. Who trims shuts pages first ([`page_word`](crate::page_word)), and
//! has every CPU pass a barrier; what it sees after that of a thread that waits, or that there is none, was so at a time when every
//! access to those pages was a fault. If they are shut still when they are to be taken, nobody has been there since.
//!
//! # Rejected
//! *A counted reference to the thread*: it would be one more for each that ever grew, given back at an end that may never come. *The
//! thread that is woken waits for who looks*: all wake-ups would have to ask.

use crate::sync::{AtomicUsize, Ordering, const_unless_loom, spin_loop};

const LOOKED: usize = 1;
const KEPT: usize = 2;

/// See the module's documentation.
#[derive(Debug)]
#[repr(transparent)]
pub struct StackOwner(AtomicUsize);

/// What [`StackOwner::look`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nothing in it is needed.
    Nobody,
    /// All of it is to stay.
    Kept,
    /// The thread at this address, which stays until [`StackOwner::looked`].
    Of(usize),
}

impl StackOwner {
    const_unless_loom! {
        /// Nobody's.
        pub const fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// The thread at `owner`, a multiple of 4, is about to begin on it, or runs on it: if it is nobody's, it is that thread's.
    pub fn take(&self, owner: usize) {
        debug_assert!(owner.is_multiple_of(4));
        // Release: partner is the compare-and-swap in `look`: the thread's block.
        let _ = self.0.compare_exchange(0, owner, Ordering::Release, Ordering::Relaxed);
    }

    /// The owner wants all of it to stay, until it leaves. Waits for who looks.
    pub fn keep(&self) {
        self.replace(|owner| owner | KEPT);
    }

    /// The owner has left it. Waits for who looks at it.
    pub fn leave(&self) {
        self.replace(|_| 0);
    }

    /// The owner has left it, and others may have what is in it. Waits as `leave` does.
    pub fn lose(&self) {
        self.replace(|_| KEPT);
    }

    fn replace(&self, next: impl Fn(usize) -> usize) {
        loop {
            let word = self.0.load(Ordering::Relaxed) & !LOOKED;
            // Acquire: partner is `looked`: the look at the thread, whose block may be freed after this, is over.
            if self.0.compare_exchange(word, next(word), Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return;
            }
            spin_loop();
        }
    }

    /// Whose it is. Of [`Owner::Of`] the thread is kept, by one at a time, with interrupts masked, until [`looked`](Self::looked).
    pub fn look(&self) -> Owner {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            match word {
                0 => return Owner::Nobody,
                _ if word & (KEPT | LOOKED) != 0 => return Owner::Kept,
                // Acquire: partner is `take`.
                _ => match self.0.compare_exchange(word, word | LOOKED, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Owner::Of(word),
                    Err(now) => word = now,
                },
            }
        }
    }

    /// The look at the thread is over.
    pub fn looked(&self) {
        // Release: partner is `replace`.
        self.0.fetch_and(!LOOKED, Ordering::Release);
    }
}

impl Default for StackOwner {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stack_goes_from_one_to_the_next() {
        let owner = StackOwner::new();
        assert_eq!(owner.look(), Owner::Nobody);
        owner.take(64);
        owner.take(128);
        assert_eq!(owner.look(), Owner::Of(64));
        assert_eq!(owner.look(), Owner::Kept, "one at a time");
        owner.looked();
        owner.leave();
        assert_eq!(owner.look(), Owner::Nobody);
        owner.take(128);
        owner.keep();
        assert_eq!(owner.look(), Owner::Kept);
        owner.leave();
        owner.take(64);
        owner.lose();
        owner.take(128);
        assert_eq!(owner.look(), Owner::Kept, "it is nobody's any more");
    }
}
