//! Why a thread ended without a result.

use core::fmt;
use isochron_kernel::trap::FaultKind;

/// Why a thread or a task ended without a result: what [`JoinHandle::join`](super::JoinHandle::join) returns instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// Its code panicked.
    Panicked,
    /// There was no memory for its stack: when it was to run for the first time, or when the stack was to grow.
    OutOfMemory,
    /// Its stack was used up.
    StackOverflow,
    /// It touched memory that is not there for it, or ran an instruction that the CPU does not know, or the like.
    Fault(FaultKind),
    /// Somebody called [`Thread::kill`](super::Thread::kill), or a task's [`abort`](crate::future::Task::abort).
    Killed,
    /// Its group was over its limit on memory: it was refused some and could not cope, or another of its threads was. See
    /// [`group`](crate::group).
    OverLimit,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked => f.write_str("the thread panicked"),
            Self::OutOfMemory => f.write_str("there was no memory for the thread's stack"),
            Self::StackOverflow => f.write_str("the thread overflowed its stack"),
            Self::Fault(kind) => write!(f, "the thread was ended by an exception: {kind}"),
            Self::Killed => f.write_str("the thread was killed"),
            Self::OverLimit => f.write_str("the thread's group was over its limit on memory"),
        }
    }
}

impl core::error::Error for Death {}

/// All of them, by their numbers.
const ALL: [Death; 15] = {
    const fn page(write: bool, fetch: bool) -> Death {
        Death::Fault(FaultKind::Page { write, fetch })
    }
    [
        Death::Panicked,
        Death::OutOfMemory,
        Death::StackOverflow,
        Death::Killed,
        Death::OverLimit,
        page(false, false),
        page(true, false),
        page(false, true),
        page(true, true),
        Death::Fault(FaultKind::IllegalInstruction),
        Death::Fault(FaultKind::Alignment),
        Death::Fault(FaultKind::Breakpoint),
        Death::Fault(FaultKind::Division),
        Death::Fault(FaultKind::Asynchronous),
        Death::Fault(FaultKind::Other),
    ]
};

impl Death {
    /// The number of [`Death::Panicked`].
    pub(super) const PANICKED: u8 = 0;

    /// Its number, for a thread's block.
    pub(super) fn number(self) -> u8 {
        ALL.iter().position(|&death| death == self).map_or(Self::PANICKED, |number| number as u8)
    }

    /// The one with that number.
    pub(super) fn numbered(number: u8) -> Self {
        ALL.get(usize::from(number)).copied().unwrap_or(Self::Panicked)
    }
}
