//! What a record says, and how it lies in four words.

use crate::Instant;
use core::ops::BitOr;
use isochron_core::trace_ring::Words;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::wire::trace::{ALL_CLASSES, Event};
pub use isochron_kernel::wire::trace::{Left, NOBODY, Origin, Queue, Supply};

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
        /// Where its control block lies: what [`What::LockHeld`] names it by.
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
        /// Where the mutex lies.
        lock: u64,
    },
    /// Of the mutex of the `LockWait` before it.
    LockHeld {
        /// The control block of the thread that has it; 0 if it was given back a moment ago.
        block: u64,
    },
    /// It has the mutex it waited for, or has given up.
    LockEnd {
        /// Where the mutex lies.
        lock: u64,
    },
    /// Its group has no time left: it is set aside.
    Throttled,
    /// The program's own.
    Mark {
        /// What it gave to [`mark`](super::mark).
        number: u64,
    },
    /// A part of the thread's name, as [`isochron_kernel::wire::trace::name_part`] takes it apart.
    Named {
        /// The bytes.
        part: u64,
    },
    /// A device's handler begins.
    Interrupt {
        /// The interrupt's number.
        number: u64,
    },
    /// Memory was touched that has to be given first, such as the next page of a stack.
    PageFault {
        /// Where.
        address: u64,
    },
    /// Memory was refused.
    Refused {
        /// By whom.
        by: Supply,
        /// How many bytes were asked for.
        bytes: u64,
    },
    /// A group's memory has reached a level that somebody wants to know of.
    Pressure {
        /// In per cent of its limit.
        percent: u64,
    },
    /// A part of the program that has a name begins.
    SpanBegin {
        /// Where its label lies.
        label: u64,
    },
    /// That ends.
    SpanEnd {
        /// Where its label lies.
        label: u64,
    },
    /// A number that the program counts has a new value.
    Count {
        /// The lower half of its label's address.
        label: u32,
        /// The value.
        value: u64,
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
    /// [`What::Spawned`], [`What::Began`], [`What::Named`].
    pub const THREADS: Self = Self(1);
    /// [`What::SwitchedOut`], [`What::SwitchedIn`], [`What::Preempted`], [`What::Stayed`].
    pub const SWITCHES: Self = Self(1 << 1);
    /// [`What::Running`].
    pub const ARRIVALS: Self = Self(1 << 2);
    /// [`What::Woken`], [`What::Queued`], [`What::Taken`].
    pub const WAKES: Self = Self(1 << 3);
    /// [`What::IpiSent`], [`What::IpiTaken`], [`What::Timer`], [`What::Interrupt`].
    pub const INTERRUPTS: Self = Self(1 << 4);
    /// [`What::Idle`], [`What::Busy`].
    pub const IDLE: Self = Self(1 << 5);
    /// [`What::LockWait`], [`What::LockHeld`], [`What::LockEnd`].
    pub const LOCKS: Self = Self(1 << 6);
    /// [`What::Throttled`].
    pub const GROUPS: Self = Self(1 << 7);
    /// [`What::Mark`], [`What::SpanBegin`], [`What::SpanEnd`], [`What::Count`].
    pub const MARKS: Self = Self(1 << 8);
    /// [`What::PageFault`], [`What::Refused`], [`What::Pressure`].
    pub const MEMORY: Self = Self(1 << 9);
    /// All of them.
    pub const ALL: Self = Self(ALL_CLASSES);

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

    /// Those of the bits that are classes.
    #[cfg(feature = "trace")]
    pub(super) const fn of_bits(bits: u16) -> Self {
        Self(bits & ALL_CLASSES)
    }
}

impl BitOr for Classes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
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
        let (event, reason) = (Event::of(words.what as u8)?, (words.what >> 8) as u8);
        let argument = words.argument;
        let what = match event {
            Event::Spawned => What::Spawned { by: argument },
            Event::Began => What::Began,
            Event::SwitchedOut => What::SwitchedOut(Left::of(reason)?),
            Event::SwitchedIn => What::SwitchedIn { block: argument },
            Event::Running => What::Running,
            Event::Preempted => What::Preempted,
            Event::Woken => What::Woken { by: argument },
            Event::Queued => What::Queued { queue: Queue::of(reason)?, on: cpu_of(argument)? },
            Event::Taken => What::Taken { from: Origin::of(reason)?, cpu: cpu_of(argument)? },
            Event::Stayed => What::Stayed,
            Event::IpiSent => What::IpiSent { to: cpu_of(argument)? },
            Event::IpiTaken => What::IpiTaken,
            Event::Timer => What::Timer { due: Instant::from_ticks(argument) },
            Event::Idle => What::Idle,
            Event::Busy => What::Busy,
            Event::LockWait => What::LockWait { lock: argument },
            Event::LockHeld => What::LockHeld { block: argument },
            Event::LockEnd => What::LockEnd { lock: argument },
            Event::Throttled => What::Throttled,
            Event::Mark => What::Mark { number: argument },
            Event::Named => What::Named { part: argument },
            Event::Interrupt => What::Interrupt { number: argument },
            Event::PageFault => What::PageFault { address: argument },
            Event::Refused => What::Refused { by: Supply::of(reason)?, bytes: argument },
            Event::Pressure => What::Pressure { percent: argument },
            Event::SpanBegin => What::SpanBegin { label: argument },
            Event::SpanEnd => What::SpanEnd { label: argument },
            Event::Count => What::Count { label: (words.what >> 32) as u32, value: argument },
        };
        Some(Self { time: Instant::from_ticks(words.time), cpu, thread: words.who, what })
    }
}

fn cpu_of(number: u64) -> Option<CpuId> {
    let number = usize::try_from(number).ok()?;
    (number < MAX_CPUS).then(|| CpuId::new(number))
}
