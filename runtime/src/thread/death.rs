//! Why a thread ended without a result.

use core::fmt;
use isochron_kernel::trap::FaultKind;

/// Why a thread or a task ended without a result: what [`JoinHandle::join`](super::JoinHandle::join) returns instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Its code panicked.
    Panicked,
    /// There was no memory for its stack when it was to run for the first time.
    OutOfMemory,
    /// Its stack was used up.
    StackOverflow,
    /// It touched memory that is not there for it, or ran an instruction that the CPU does not know, or the like.
    Fault(FaultKind),
    /// Somebody called [`Thread::kill`](super::Thread::kill), or a task's [`abort`](crate::future::Task::abort).
    Killed,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("the thread panicked"),
            Self::OutOfMemory => f.write_str("there was no memory for the thread's stack"),
            Self::StackOverflow => f.write_str("the thread overflowed its stack"),
            Self::Fault(kind) => write!(f, "the thread was ended by an exception: {kind}"),
            Self::Killed => f.write_str("the thread was killed"),
        }
    }
}

impl core::error::Error for Death {}
