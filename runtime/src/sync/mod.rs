//! Locks and other places where threads wait for each other.
//!
//! Whoever has to wait parks, and its CPU goes on with others. All are first come, first served (a mutex among threads of
//! the same rank); all can be made in a `static`; each wait has a form with a time-out. Of a thread that dies, mutexes,
//! reader-writer locks and what it was to do once pass on and are marked; units of a semaphore belong to nobody and are lost.
//!
//! | | for |
//! | --- | --- |
//! | [`Mutex`] | a value that one thread at a time uses |
//! | [`RwLock`] | a value that many read or one writes |
//! | [`Condvar`] | waiting until a value behind a mutex is as it should be |
//! | [`Semaphore`] | a number of units that threads take and give back |
//! | [`Barrier`] | a number of threads that wait until all have come |
//! | [`WaitGroup`] | waiting until a number of jobs are done |
//! | [`system_wide_barrier`] | taking the barriers out of a path that runs often |
//! | [`Once`], [`OnceLock`] | what is done, or made, once, by whoever comes first |

mod barrier;
mod barrier_all;
mod condvar;
mod inherit;
mod mutex;
mod once;
mod rwlock;
mod semaphore;
mod wait_group;

pub use barrier::Barrier;
pub use barrier_all::system_wide_barrier;
pub use condvar::Condvar;
pub use inherit::{DEFAULT_INHERITANCE, Inheritance, inheritance, set_inheritance};
pub(crate) use inherit::{abandon_locks, any_boosts, apply_boost, settle_boost, there_is_batch};
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceLock};
pub use rwlock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::{Semaphore, SemaphoreGuard, TooManyUnits};
pub use wait_group::{NotCounted, WaitGroup};

use core::fmt;

/// The time was over before the wait was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl core::error::Error for TimedOut {}
