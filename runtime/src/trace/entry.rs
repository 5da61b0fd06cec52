//! What a record says, and how it lies in four words.

use crate::Instant;
use core::ops::BitOr;
use isochron_core::trace_ring::Words;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;

/// In place of a thread's number: the worker loop, or an interrupt that came while it ran.
pub const NOBODY: u64 = u64::MAX;

/// Why a thread left its CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Left {
    /// It let others go first; or it was made to, after [`What::Preempted`].
    Yield,
    /// It parked, for none of the reasons below.
    Park,
    /// It waits for a moment, or for something until then.
    Sleep,
    /// It waits in a channel's queue.
    Channel,
    /// It waits for a lock, a condition, or another thread's end.
    Wait,
    /// It ended.
    Exit,
}

/// Where a thread was put to wait for a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Queue {
    /// It is to be the next.
    Next,
    /// The end of the run queue.
    Own,
    /// The lists of threads with a rank or a group.
    Ranked,
    /// Handed to another CPU.
    Inbox,
    /// The list of a node.
    Injector,
    /// Behind a full queue, for threads that are bound.
    Behind,
}

/// How a thread came to the CPU that runs it, if not by that CPU's own queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Origin {
    /// Another CPU handed it over.
    Inbox,
    /// Out of a node's list.
    Injector,
    /// Stolen from a CPU of the same core.
    Sibling,
    /// Stolen from a CPU that shares a cache.
    Cache,
    /// Stolen from a CPU of the same node.
    Node,
    /// Stolen from another node.
    Far,
}

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// The thread was made.
    Spawned {
        /// By which thread.
        by: u64,
    },
    /// It has its stack and is about to run for the first time.
    Began,
    /// It leaves its CPU.
    SwitchedOut(Left),
    /// It was chosen and is about to be switched to.
    SwitchedIn {
        /// Where its control block lies: what [`What::LockWait`] names it by.
        block: u64,
    },
    /// Its own registers and stack are in use again.
    Running,
    /// It is taken off its CPU against its will: a switch follows if somebody else is to run.
    Preempted,
    /// It was parked, and somebody ended that.
    Woken {
        /// Who: the thread that ran where the wake-up came from, [`NOBODY`] for an idle CPU's interrupt.
        by: u64,
    },
    /// It waits for a CPU.
    Queued {
        /// Where.
        queue: Queue,
        /// On which CPU; that of the record for an injector.
        on: CpuId,
    },
    /// It came to this CPU.
    Taken {
        /// How.
        from: Origin,
        /// Origin which CPU, if stolen; else the CPU of the record.
        cpu: CpuId,
    },
    /// It was about to be switched away from, parked, when its wake-up came: it goes on.
    Stayed,
    /// An interrupt was sent to a CPU.
    IpiSent {
        /// To which.
        to: CpuId,
    },
    /// The handler of such an interrupt began.
    IpiTaken,
    /// The handler of the timer's interrupt began.
    Timer {
        /// When it was due.
        due: Instant,
    },
    /// The CPU has nothing to run.
    Idle,
    /// It looks for work again.
    Busy,
    /// The thread waits for a mutex.
    LockWait {
        /// The control block of the thread that has it; 0 if it was given back a moment ago.
        block: u64,
    },
    /// It has the mutex it waited for, or has given up.
    LockEnd,
    /// Its group has no time left: it is set aside.
    Throttled,
    /// The program's own.
    Mark {
        /// What it gave to [`mark`](super::mark).
        number: u64,
    },
}

/// Sorts of records, as a set.
///
/// ```ignore
/// let both = Classes::SWITCHES | Classes::WAKES;
/// assert!(both.contains(Classes::WAKES) && !both.contains(Classes::LOCKS));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Classes(u16);

impl Classes {
    /// None.
    pub const NONE: Self = Self(0);
    /// [`What::Spawned`], [`What::Began`].
    pub const THREADS: Self = Self(1);
    /// [`What::SwitchedOut`], [`What::SwitchedIn`], [`What::Preempted`], [`What::Stayed`].
    pub const SWITCHES: Self = Self(1 << 1);
    /// [`What::Running`].
    pub const ARRIVALS: Self = Self(1 << 2);
    /// [`What::Woken`], [`What::Queued`], [`What::Taken`].
    pub const WAKES: Self = Self(1 << 3);
    /// [`What::IpiSent`], [`What::IpiTaken`], [`What::Timer`].
    pub const INTERRUPTS: Self = Self(1 << 4);
    /// [`What::Idle`], [`What::Busy`].
    pub const IDLE: Self = Self(1 << 5);
    /// [`What::LockWait`], [`What::LockEnd`].
    pub const LOCKS: Self = Self(1 << 6);
    /// [`What::Throttled`].
    pub const GROUPS: Self = Self(1 << 7);
    /// [`What::Mark`].
    pub const MARKS: Self = Self(1 << 8);
    /// All of them.
    pub const ALL: Self = Self((1 << 9) - 1);

    /// Whether all of `other` is in it.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As bits.
    #[cfg(feature = "trace")]
    pub(super) const fn bits(self) -> u16 {
        self.0
    }
}

impl BitOr for Classes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a word says that begins a record: the events by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Event {
    Spawned,
    Began,
    SwitchedOut,
    SwitchedIn,
    Running,
    Preempted,
    Woken,
    Queued,
    Taken,
    Stayed,
    IpiSent,
    IpiTaken,
    Timer,
    Idle,
    Busy,
    LockWait,
    LockEnd,
    Throttled,
    Mark,
}

impl Event {
    const ALL: [Self; 19] = [
        Self::Spawned,
        Self::Began,
        Self::SwitchedOut,
        Self::SwitchedIn,
        Self::Running,
        Self::Preempted,
        Self::Woken,
        Self::Queued,
        Self::Taken,
        Self::Stayed,
        Self::IpiSent,
        Self::IpiTaken,
        Self::Timer,
        Self::Idle,
        Self::Busy,
        Self::LockWait,
        Self::LockEnd,
        Self::Throttled,
        Self::Mark,
    ];

    /// The sort it belongs to.
    #[cfg(feature = "trace")]
    pub const fn class(self) -> Classes {
        match self {
            Self::Spawned | Self::Began => Classes::THREADS,
            Self::SwitchedOut | Self::SwitchedIn | Self::Preempted | Self::Stayed => Classes::SWITCHES,
            Self::Running => Classes::ARRIVALS,
            Self::Woken | Self::Queued | Self::Taken => Classes::WAKES,
            Self::IpiSent | Self::IpiTaken | Self::Timer => Classes::INTERRUPTS,
            Self::Idle | Self::Busy => Classes::IDLE,
            Self::LockWait | Self::LockEnd => Classes::LOCKS,
            Self::Throttled => Classes::GROUPS,
            Self::Mark => Classes::MARKS,
        }
    }

    /// The event that a record's word begins with.
    pub fn of(what: u64) -> Option<Self> {
        Self::ALL.get(usize::from(what as u8)).copied()
    }

    /// The word of a record, but for its CPU.
    #[cfg(feature = "trace")]
    #[inline(always)]
    pub const fn word(self, reason: u8) -> u64 {
        self as u64 | (reason as u64) << 8
    }
}

/// Where a CPU's number lies in a record's word.
pub(super) const CPU_SHIFT: u32 = 16;

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When.
    pub time: Instant,
    /// On which CPU it was noted.
    pub cpu: CpuId,
    /// The thread that it is about; for interrupts, the one that ran; [`NOBODY`] for none.
    pub thread: u64,
    /// What happened.
    pub what: What,
}

impl Entry {
    /// What four words say; `None` if that is nothing.
    #[must_use]
    pub fn from_words(words: &Words) -> Option<Self> {
        let cpu = cpu_of(words.what >> CPU_SHIFT & 0xffff)?;
        let (event, reason) = (Event::of(words.what)?, (words.what >> 8) as u8);
        let argument = words.argument;
        let what = match event {
            Event::Spawned => What::Spawned { by: argument },
            Event::Began => What::Began,
            Event::SwitchedOut => What::SwitchedOut(*LEFT.get(usize::from(reason))?),
            Event::SwitchedIn => What::SwitchedIn { block: argument },
            Event::Running => What::Running,
            Event::Preempted => What::Preempted,
            Event::Woken => What::Woken { by: argument },
            Event::Queued => What::Queued { queue: *QUEUES.get(usize::from(reason))?, on: cpu_of(argument)? },
            Event::Taken => What::Taken { from: *ORIGINS.get(usize::from(reason))?, cpu: cpu_of(argument)? },
            Event::Stayed => What::Stayed,
            Event::IpiSent => What::IpiSent { to: cpu_of(argument)? },
            Event::IpiTaken => What::IpiTaken,
            Event::Timer => What::Timer { due: Instant::from_ticks(argument) },
            Event::Idle => What::Idle,
            Event::Busy => What::Busy,
            Event::LockWait => What::LockWait { block: argument },
            Event::LockEnd => What::LockEnd,
            Event::Throttled => What::Throttled,
            Event::Mark => What::Mark { number: argument },
        };
        Some(Self { time: Instant::from_ticks(words.time), cpu, thread: words.who, what })
    }
}

fn cpu_of(number: u64) -> Option<CpuId> {
    let number = usize::try_from(number).ok()?;
    (number < MAX_CPUS).then(|| CpuId::new(number))
}

const LEFT: [Left; 6] = [Left::Yield, Left::Park, Left::Sleep, Left::Channel, Left::Wait, Left::Exit];
const QUEUES: [Queue; 6] = [Queue::Next, Queue::Own, Queue::Ranked, Queue::Inbox, Queue::Injector, Queue::Behind];
const ORIGINS: [Origin; 6] =
    [Origin::Inbox, Origin::Injector, Origin::Sibling, Origin::Cache, Origin::Node, Origin::Far];

// The tables are in the order of the numbers.
const _: () = {
    let mut at = 0;
    while at < 6 {
        assert!(LEFT[at] as usize == at && QUEUES[at] as usize == at && ORIGINS[at] as usize == at);
        at += 1;
    }
    let mut at = 0;
    while at < Event::ALL.len() {
        assert!(Event::ALL[at] as usize == at);
        at += 1;
    }
};
