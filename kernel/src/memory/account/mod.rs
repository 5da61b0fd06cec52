//! What groups of threads have taken, and how much they may.
//!
//! An *account* has a limit, perhaps one above it, and an arena: memory of the heap that only those take from who run on the
//! account. While a CPU has one set ([`set_current`]), what the heap hands out there comes out of its arena; while it has none,
//! which is the usual case, an allocation asks for one word of the CPU's block more, and nothing else is different. Blocks of
//! arenas lie in a window of their own, so that freeing one, by whomever, knows it by one bit of its address.
//!
//! | module | what | where it is tested |
//! | --- | --- | --- |
//! | [`ledger`] | bytes against a limit, and the levels on the way there | host |
//! | [`arena`] | the blocks of one account, all of which can be given back at once | host |
//! | `global` | accounts, one above the other, and the heap's way to them | guest |
//!
//! # What is charged
//! What is taken from the machine, not what the program asked for: spans of 16 KiB that small blocks are cut from, large blocks
//! with their header, and what the runtime charges by itself ([`Charge`]): stacks and the blocks of threads. So an account's
//! limit is one on memory, and an allocation out of a span that is there already costs no more than the arena's lock.
//!
//! A charge goes to the account and to all above it, or fails with nothing charged, and names who had no room.
//!
//! # Rejected
//! *A header before each block*: all blocks would pay for it. *The account in the span's header, in the common window*: freeing
//! would read a line of the span for each block, which is not in the cache. *Counting alone, without arenas*: then nothing
//! tells which blocks are a group's, and none can be given back when it is ended.

pub mod arena;
pub mod ledger;

#[cfg(any(isochron_bare, isochron_hosted))]
mod global;
#[cfg(any(isochron_bare, isochron_hosted))]
pub use global::{Account, Charge, current, set_current, suspended};
#[cfg(any(isochron_bare, isochron_hosted))]
pub(super) use global::{charged_stats, free};

pub use ledger::{MAX_LEVELS, Reached, Usage};
