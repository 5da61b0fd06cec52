//! The order in which spin locks are taken: whoever holds some takes only one of a higher rank.
//!
//! In builds with debug assertions each CPU keeps a list of what it holds, and the first lock out of order is a panic that
//! names both locks, whether or not another CPU is in the way this time. Without debug assertions nothing of this is
//! there.
//!
//! Interrupts are masked while any of these locks is held, so the list is the CPU's own, and empty whenever a thread is
//! switched. What is taken before the CPU has its block is not on record.
//!
//! The ranks below 100 are those of `runtime/core/src/lock_rank.rs`; `docs/architecture.md` has the whole table, which a test
//! compares with these.

#[cfg(all(debug_assertions, any(isochron_bare, isochron_hosted)))]
pub use record::{none_held, opened, taken};

/// A lock's place in the order. Locks of higher ranks are taken later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRank {
    /// The place.
    pub order: u8,
    /// What it is called in a panic.
    pub name: &'static str,
    /// A CPU may hold several of this rank, whose order among themselves is kept otherwise.
    pub several: bool,
}

impl LockRank {
    /// The rank of a lock that no other of the same rank is taken with.
    #[must_use]
    pub const fn new(order: u8, name: &'static str) -> Self {
        Self { order, name, several: false }
    }
}

/// The death of one thread is being told.
pub const TELLING: LockRank = LockRank::new(100, "telling");
/// The blocks of an account.
pub const ARENA: LockRank = LockRank::new(104, "arena");
/// The books of an account.
pub const LEDGER: LockRank = LockRank::new(106, "ledger");
/// The stacks that CPUs share.
pub const STACKS: LockRank = LockRank::new(110, "stacks");
/// The packed slots that CPUs share.
pub const SLOTS: LockRank = LockRank::new(111, "packed slots");
/// The heap that CPUs share.
pub const HEAP: LockRank = LockRank::new(112, "heap");
/// What is folded.
pub const FOLDED: LockRank = LockRank::new(113, "folded");
/// The page tables.
pub const SPACE: LockRank = LockRank::new(114, "address space");
/// Free frames.
pub const FRAMES: LockRank = LockRank::new(116, "frames");
/// What is recorded, and who is told of it.
pub const TRACING: LockRank = LockRank::new(120, "tracing");
/// The console, which anybody may print to.
pub const CONSOLE: LockRank = LockRank::new(130, "console");

#[cfg(all(debug_assertions, any(isochron_bare, isochron_hosted)))]
mod record {
    use super::LockRank;
    use super::held::{Conflict, MOST};
    use crate::cpu::{self, this_cpu};
    use crate::irq;

    /// Tells that this CPU is about to take the lock at `address`.
    ///
    /// # Panics
    /// If it holds one that comes after it, or this one; if interrupts are not masked.
    #[track_caller]
    pub fn taken(rank: LockRank, address: usize) {
        if !cpu::has_this_cpu() {
            return;
        }
        let name = rank.name;
        assert!(irq::are_masked(), "the lock `{name}` is taken with interrupts on");
        match this_cpu().held.take(rank, address) {
            Ok(()) => {}
            Err(Conflict::Order(held)) => panic!(
                "the lock `{name}` (rank {}) is taken while `{}` (rank {}) is held: the wrong order",
                rank.order, held.name, held.order
            ),
            Err(Conflict::Again) => panic!("the lock `{name}` is taken by the CPU that holds it already"),
            Err(Conflict::TooMany) => panic!("the lock `{name}` is taken while {MOST} others are held"),
        }
    }

    /// Tells that this CPU is about to open the lock at `address`.
    pub fn opened(address: usize) {
        if cpu::has_this_cpu() {
            this_cpu().held.open(address);
        }
    }

    /// Whether this CPU holds no lock.
    #[must_use]
    pub fn none_held() -> bool {
        !cpu::has_this_cpu() || this_cpu().held.is_empty()
    }
}

#[cfg(all(debug_assertions, any(isochron_bare, isochron_hosted)))]
pub(crate) use held::Held;

#[cfg(all(debug_assertions, any(isochron_bare, isochron_hosted, test)))]
mod held {
    use super::LockRank;
    use core::cell::Cell;

    /// More than any path takes, but for a `select!` of channels, whose ends are 32 at the most.
    pub(crate) const MOST: usize = 48;

    #[derive(Clone, Copy)]
    struct Entry {
        rank: LockRank,
        address: usize,
    }

    /// The locks that a CPU holds.
    pub(crate) struct Held {
        entries: [Cell<Option<Entry>>; MOST],
    }

    /// Why a lock must not be taken now: the held lock that comes after it.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum Conflict {
        /// This one is of no lower rank.
        Order(LockRank),
        /// It is held already, by this very CPU.
        Again,
        /// So many that there is no room to record one more.
        TooMany,
    }

    impl Held {
        pub const fn new() -> Self {
            Self { entries: [const { Cell::new(None) }; MOST] }
        }

        /// A lock is taken, if that is in order.
        pub fn take(&self, rank: LockRank, address: usize) -> Result<(), Conflict> {
            for entry in self.entries.iter().filter_map(Cell::get) {
                if entry.address == address {
                    return Err(Conflict::Again);
                }
                let follows = rank.order > entry.rank.order || rank == entry.rank && rank.several;
                if !follows {
                    return Err(Conflict::Order(entry.rank));
                }
            }
            let Some(free) = self.entries.iter().find(|entry| entry.get().is_none()) else {
                return Err(Conflict::TooMany);
            };
            free.set(Some(Entry { rank, address }));
            Ok(())
        }

        /// A lock is opened; one that is not on record was taken before there was a record.
        pub fn open(&self, address: usize) {
            let found = self.entries.iter().find(|entry| entry.get().is_some_and(|entry| entry.address == address));
            if let Some(entry) = found {
                entry.set(None);
            }
        }

        pub fn is_empty(&self) -> bool {
            self.entries.iter().all(|entry| entry.get().is_none())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const LOW: LockRank = LockRank::new(1, "low");
        const HIGH: LockRank = LockRank::new(2, "high");
        const MANY: LockRank = LockRank { several: true, ..LockRank::new(3, "many") };

        #[test]
        fn upwards_is_in_order() {
            let held = Held::new();
            assert_eq!((held.take(LOW, 0x10), held.take(HIGH, 0x20), held.take(MANY, 0x30)), (Ok(()), Ok(()), Ok(())));
            assert_eq!(held.take(MANY, 0x40), Ok(()));
            for address in [0x20, 0x40, 0x10, 0x30] {
                assert!(!held.is_empty());
                held.open(address);
            }
            assert!(held.is_empty());
            held.open(0x50);
        }

        #[test]
        fn downwards_and_beside_are_not() {
            let held = Held::new();
            held.take(HIGH, 0x20).unwrap();
            assert_eq!(held.take(LOW, 0x10), Err(Conflict::Order(HIGH)));
            assert_eq!(held.take(HIGH, 0x30), Err(Conflict::Order(HIGH)));
            assert_eq!(held.take(HIGH, 0x20), Err(Conflict::Again));
            held.open(0x20);
            held.take(LOW, 0x10).unwrap();
            held.take(MANY, 0x30).unwrap();
            // One that is lower than the first of two held, whichever was taken last.
            held.open(0x10);
            assert_eq!(held.take(HIGH, 0x20), Err(Conflict::Order(MANY)));
            assert_eq!(held.take(MANY, 0x30), Err(Conflict::Again));
        }

        #[test]
        fn there_is_an_end() {
            let held = Held::new();
            (0..MOST).for_each(|address| held.take(MANY, address).unwrap());
            assert_eq!(held.take(MANY, MOST), Err(Conflict::TooMany));
        }
    }
}
