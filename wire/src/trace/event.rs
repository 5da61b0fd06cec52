//! One record: what four words say.

/// In place of a thread's number: the worker loop, or an interrupt that came while it ran.
pub const NOBODY: u64 = u64::MAX;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 32;

/// Bytes of a thread's name in one [`Event::Named`].
pub const NAME_BYTES: usize = 8;

/// Lists the variants of an enum by number, so that a number from afar finds its variant.
macro_rules! numbered {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The one of that number.
            #[must_use]
            pub fn of(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }
    };
}

numbered! {
    /// What happened. In brackets: the reason, and the argument.
    Event {
        /// The thread was made (-, by which thread).
        Spawned,
        /// It has its stack and is about to run for the first time.
        Began,
        /// It leaves its CPU ([`Left`], -).
        SwitchedOut,
        /// It was chosen and is about to be switched to (-, where its control block lies).
        SwitchedIn,
        /// Its own registers and stack are in use again.
        Running,
        /// It is taken off its CPU against its will.
        Preempted,
        /// It was parked, and somebody ended that (-, who).
        Woken,
        /// It waits for a CPU ([`Queue`], which CPU).
        Queued,
        /// It came to this CPU ([`Origin`], which CPU it was stolen from).
        Taken,
        /// It was about to be switched away from, parked, when its wake-up came: it goes on.
        Stayed,
        /// An interrupt was sent to a CPU (-, which).
        IpiSent,
        /// The handler of such an interrupt began.
        IpiTaken,
        /// The handler of the timer's interrupt began (-, when it was due in ticks).
        Timer,
        /// The CPU has nothing to run.
        Idle,
        /// It looks for work again.
        Busy,
        /// The thread waits for a mutex (-, where that lies).
        LockWait,
        /// It has the mutex it waited for, or has given up (-, where that lies).
        LockEnd,
        /// Its group has no time left: it is set aside (-, the first 8 bytes of the group's name, as in [`Event::Named`]).
        Throttled,
        /// The program's own (-, its number).
        Mark,
        /// A part of the thread's name (which part from 0 on, 8 bytes, zeroes behind the last).
        Named,
        /// Of the mutex of the [`Event::LockWait`] before it: who has it (-, the control block of that thread; 0 if it was given
        /// back a moment ago).
        LockHeld,
        /// A device's handler begins (-, the interrupt's number).
        Interrupt,
        /// Memory was touched that has to be given first, such as the next page of a stack (-, the address).
        PageFault,
        /// Memory was refused ([`Supply`], how many bytes were asked for).
        Refused,
        /// A group's memory has reached a level that somebody wants to know of (-, in per cent of its limit).
        Pressure,
        /// A part of the program that it has named begins (-, where its label lies).
        SpanBegin,
        /// That ends (-, where its label lies).
        SpanEnd,
        /// A number that the program counts has a new value (-, the value); the upper half of the first word says which, by the
        /// lower half of its label's address.
        Count,
    }
}

numbered! {
    /// Why a thread left its CPU.
    Left {
        /// It let others go first; or it was made to, after [`Event::Preempted`].
        Yield,
        /// It parked, for none of the reasons below.
        Park,
        /// It waits for a moment, or for something until then.
        Sleep,
        /// It waits in a channel's queue.
        Channel,
        /// It waits for a lock or a condition.
        Wait,
        /// It ended.
        Exit,
        /// It waits for another thread's end.
        Join,
    }
}

numbered! {
    /// Where a thread was put to wait for a CPU.
    Queue {
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
}

numbered! {
    /// How a thread came to the CPU that runs it, if not by that CPU's own queue.
    Origin {
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
}

numbered! {
    /// Who refused memory.
    Supply {
        /// The machine has no more.
        Machine,
        /// The thread's group may have no more.
        Group,
    }
}

impl Event {
    /// The first word of a record, without a CPU.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, reason: u8) -> u64 {
        self as u64 | (reason as u64) << 8
    }
}

/// A record, its first word taken apart as far as every event has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// When, in ticks of the guest's clock.
    pub time: u64,
    /// On which CPU it was noted.
    pub cpu: u32,
    /// What happened.
    pub event: Event,
    /// The reason, see [`Event`].
    pub reason: u8,
    /// The upper half of the first word.
    pub extra: u32,
    /// The thread that it is about; for interrupts, the one that ran; [`NOBODY`] for none.
    pub thread: u64,
    /// The argument, see [`Event`].
    pub argument: u64,
}

impl Note {
    /// Reads a record of a CPU; `None` if it begins with no event that there is, or its reason is none.
    #[must_use]
    pub fn read(bytes: &[u8; RECORD_BYTES], cpu: u32) -> Option<Self> {
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let (time, what) = (word(0), word(8));
        let (event, reason) = (Event::of(what as u8)?, (what >> 8) as u8);
        let known = match event {
            Event::SwitchedOut => Left::of(reason).is_some(),
            Event::Queued => Queue::of(reason).is_some(),
            Event::Taken => Origin::of(reason).is_some(),
            Event::Refused => Supply::of(reason).is_some(),
            _ => true,
        };
        let note = Self { time, cpu, event, reason, extra: (what >> 32) as u32, thread: word(16), argument: word(24) };
        known.then_some(note)
    }
}

/// The argument of the [`Event::Named`] that has the part of `name` from a place on.
#[must_use]
pub fn name_word(name: &[u8], from: usize) -> u64 {
    let mut part = [0; NAME_BYTES];
    let rest = name.get(from..).unwrap_or_default();
    let length = rest.len().min(NAME_BYTES);
    part[..length].copy_from_slice(&rest[..length]);
    u64::from_le_bytes(part)
}

/// The bytes in the argument of an [`Event::Named`], without what is behind the name's end.
///
/// ```
/// use isochron_wire::trace::{name_part, name_word};
///
/// let (buffer, length) = name_part(name_word(b"logger", 0));
/// assert_eq!(&buffer[..length], b"logger");
/// ```
#[must_use]
pub fn name_part(word: u64) -> ([u8; NAME_BYTES], usize) {
    let bytes = word.to_le_bytes();
    (bytes, bytes.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (at, event) in Event::ALL.iter().enumerate() {
            assert_eq!((*event as usize, Event::of(at as u8)), (at, Some(*event)));
            assert!(event.class().trailing_zeros() < super::super::CLASSES.len() as u32);
        }
        assert_eq!(Event::of(Event::ALL.len() as u8), None);
    }

    #[test]
    fn what_makes_no_sense_is_no_record() {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&7u64.to_le_bytes());
        bytes[8..16].copy_from_slice(&(Event::Queued.word(Queue::Inbox as u8) | 5 << 32).to_le_bytes());
        let note = Note::read(&bytes, 3).unwrap();
        assert_eq!((note.time, note.cpu, note.event, note.reason, note.extra), (7, 3, Event::Queued, 3, 5));
        bytes[9] = 99;
        assert_eq!(Note::read(&bytes, 3), None);
        bytes[8] = 200;
        assert_eq!(Note::read(&bytes, 3), None);
    }
}
