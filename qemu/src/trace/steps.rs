//! What a recording says, step by step: see [`follow`](super::follow).

use isochron_wire::trace::{Note, Origin, Queue};

/// Why a thread did not run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reason {
    /// It is new.
    New,
    /// It let others go first.
    Yield,
    /// It was taken off its CPU.
    Preempted,
    /// It parked.
    Park,
    /// It slept.
    Sleep,
    /// It waited for a channel.
    Channel,
    /// It waited for a mutex.
    Lock,
    /// It waited for a condition or another lock.
    Wait,
    /// It waited for another thread's end.
    Join,
    /// Its group had no time left.
    Throttled,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::New,
        Self::Yield,
        Self::Preempted,
        Self::Park,
        Self::Sleep,
        Self::Channel,
        Self::Lock,
        Self::Wait,
        Self::Join,
        Self::Throttled,
    ];

    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Yield => "yield",
            Self::Preempted => "preempted",
            Self::Park => "park",
            Self::Sleep => "sleep",
            Self::Channel => "channel",
            Self::Lock => "lock",
            Self::Wait => "wait",
            Self::Join => "join",
            Self::Throttled => "throttled",
        }
    }
}

/// Who ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Waker {
    /// That thread.
    Thread(u64),
    /// The timer of a CPU.
    Timer,
    /// An interrupt, or the end of a group's pause.
    Machine,
}

/// How a thread came to the CPU that runs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By a queue of that CPU.
    Queue(Queue),
    /// From elsewhere; stolen: from which CPU.
    From(Origin, u32),
    /// That is not known.
    Unknown,
}

impl Way {
    /// In a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue(Queue::Next) => "next slot",
            Self::Queue(Queue::Own) => "own queue",
            Self::Queue(Queue::Ranked) => "ranked list",
            Self::Queue(Queue::Inbox) | Self::From(Origin::Inbox, _) => "inbox",
            Self::Queue(Queue::Injector) | Self::From(Origin::Injector, _) => "node's list",
            Self::Queue(Queue::Behind) => "behind a full queue",
            Self::From(Origin::Sibling, _) => "stolen from a sibling",
            Self::From(Origin::Cache, _) => "stolen within a cache",
            Self::From(Origin::Node, _) => "stolen within a node",
            Self::From(Origin::Far, _) => "stolen from another node",
            Self::Unknown => "in turn",
        }
    }

    /// Whether it was stolen.
    #[must_use]
    pub const fn is_theft(self) -> bool {
        matches!(self, Self::From(Origin::Sibling | Origin::Cache | Origin::Node | Origin::Far, _))
    }
}

/// A mutex that a thread waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockWait {
    /// Where it lies.
    pub lock: u64,
    /// The thread that had it, if that is known.
    pub holder: Option<u64>,
}

/// A part of a thread's life that is over, or is as far as the recording goes. Times are ticks of the guest's clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Phase {
    /// Which thread.
    pub thread: u64,
    /// On which CPU; where it began, if it was on none.
    pub cpu: u32,
    /// Since when.
    pub from: u64,
    /// Until when.
    pub to: u64,
    /// The recording ends first.
    pub open: bool,
}

impl Phase {
    /// How many ticks it took.
    #[must_use]
    pub const fn ticks(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// What a thread does now. Times are ticks of the guest's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// It runs.
    Runs {
        /// Where.
        cpu: u32,
        /// Since when.
        since: u64,
    },
    /// It waits for a CPU.
    Ready {
        /// Which, if it is in a queue of one.
        cpu: Option<u32>,
        /// Since when.
        since: u64,
    },
    /// It waits for something else.
    Waits {
        /// For what.
        reason: Reason,
        /// Since when.
        since: u64,
    },
    /// It has come to its end.
    Gone,
}

/// Something that has come to its end. Times are ticks of the guest's clock.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step {
    /// A thread ran.
    Ran {
        /// When and where.
        phase: Phase,
        /// Why no longer; `None` if the recording ends.
        until: Option<Reason>,
        /// It has come to its end.
        exits: bool,
    },
    /// A thread waited for something.
    Waited {
        /// When.
        phase: Phase,
        /// For what.
        reason: Reason,
        /// Who ended that.
        waker: Option<Waker>,
        /// The mutex, if it was for one.
        lock: Option<LockWait>,
    },
    /// A thread waited for a CPU.
    Ready {
        /// When, and which CPU ran it.
        phase: Phase,
        /// What it had waited for before.
        after: Reason,
        /// How it came there.
        way: Way,
    },
    /// A thread was woken and ran.
    Woke {
        /// Which.
        thread: u64,
        /// By whom.
        waker: Waker,
        /// When, and on which CPU that was.
        woken: (u64, u32),
        /// When and where it ran.
        ran: (u64, u32),
    },
    /// So many threads wait for a CPU from now on.
    Depth {
        /// Which.
        cpu: u32,
        /// Since when.
        at: u64,
        /// How many.
        depth: u64,
    },
    /// A CPU had nothing to run.
    Idled {
        /// Which.
        cpu: u32,
        /// Since when.
        from: u64,
        /// Until when.
        to: u64,
    },
    /// A timer's handler began.
    Timer {
        /// On which CPU.
        cpu: u32,
        /// When it was due.
        due: u64,
        /// When it was.
        at: u64,
    },
    /// An interrupt went from a CPU to another.
    Ipi {
        /// From which.
        from: u32,
        /// To which.
        to: u32,
        /// When.
        sent: u64,
        /// When its handler began.
        taken: u64,
    },
    /// A thread was in a named part of the program.
    Span {
        /// Which, since when, until when.
        phase: Phase,
        /// The name's label.
        label: u64,
        /// How many others were around it.
        depth: u32,
    },
    /// A thread ran in the named parts that the follower says ([`spans`](super::follow::Follower::spans)).
    RanIn {
        /// Which.
        thread: u64,
        /// Since when.
        from: u64,
        /// Until when.
        to: u64,
    },
    /// A counter of the program's has a new value.
    Count {
        /// The lower half of its label's address.
        label: u32,
        /// Since when.
        at: u64,
        /// The value.
        value: u64,
    },
    /// Anything else.
    Noted {
        /// The record.
        note: Note,
    },
}
