//! Fork and join: two halves of a piece of work at once, and threads that borrow from the one that waits for them.
//!
//! ```ignore
//! fn fib(n: u32) -> u64 {
//!     if n < 2 {
//!         return n.into();
//!     }
//!     let (a, b) = fork::join(|| fib(n - 1), || fib(n - 2));
//!     a + b
//! }
//! ```
//!
//! # Protocol
//! [`join`] makes no thread. It hangs the second half into a list of the running thread's own, does the first half, and
//! then mostly finds the second where it left it, and does it too: a few stores, no atomic. Only while a CPU is idle does
//! the thread give work away, at its next `join`, and then the *oldest* half it has, which is mostly the largest: it becomes
//! a thread like any other, and goes to the idle CPU by the scheduler's own ways. Whoever comes to join a half that was
//! given away parks until that thread's end, and its CPU has other things to do meanwhile.
//!
//! So all of the list is the owner's: nobody takes from it behind its back, and nothing has to be ordered between CPUs but
//! the spawn and the join. A CPU gives away one half every [`INTERVAL`] at the most (later, if finding it took long): the
//! cost of threads stays a small part of the work, however small its pieces are. A second CPU that has got a half gives away
//! pieces of it in turn, so many idle CPUs are busy after a few intervals.
//!
//! The list also tells that others may hold references into the thread's stack. A thread that dies in the middle of it (by
//! a panic, say) keeps its stack for ever: [`stack_is_lent`].
//!
//! # Rejected
//! *A deque that idle CPUs steal from*, as in most such libraries: an atomic read-modify-write or a fence for each pop, for
//! thieves that are mostly not there. *A thread for each fork*: 50 times the cost at the leaves. *Giving away by the clock
//! alone*: threads on a machine that has nobody to run them.

mod job;
mod scope;

pub use job::join;
pub(crate) use job::{Pending, stack_is_lent};
pub(crate) use scope::ScopeState;
pub use scope::{Scope, ScopedJoinHandle, scope};

use crate::Duration;

/// How often a CPU gives away a half, at the most.
pub const INTERVAL: Duration = Duration::from_micros(5);
