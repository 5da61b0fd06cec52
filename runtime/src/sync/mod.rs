//! Locks that let other threads run while one waits.

mod mutex;

pub use mutex::{Mutex, MutexGuard};
