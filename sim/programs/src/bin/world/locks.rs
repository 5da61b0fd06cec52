//! Locks: who is inside is alone there, and sees what all before did.

use crate::child::work;
use crate::random::Random;
use isochron::core_algorithms::sync::{AtomicU64, Ordering::Relaxed};
use isochron::prelude::*;

/// Units of the semaphore.
const UNITS: u32 = 3;
/// Mutexes that are taken one inside the other.
const CHAIN: usize = 4;

/// A lock of each kind. The words beside them are changed by a load and a store, so that two inside at once lose one.
pub struct Locks {
    mutex: Mutex<()>,
    locked: AtomicU64,
    times_locked: AtomicU64,
    shared: RwLock<()>,
    written: AtomicU64,
    times_written: AtomicU64,
    semaphore: Semaphore,
    held: AtomicU64,
    condition: Condvar,
    tickets: Mutex<u32>,
    once: Once,
    times_done: AtomicU64,
    /// Free for whoever comes first.
    barging: Mutex<()>,
    barged: AtomicU64,
    times_barged: AtomicU64,
    /// Taken in this order, some of them, one inside the other: who waits lends its rank along the chain.
    chain: [Mutex<u64>; CHAIN],
    times_chained: AtomicU64,
    /// The mutex is passed by: a bug that is planted, to see that it is found.
    planted: bool,
}

fn add_slowly(word: &AtomicU64, random: &mut Random) {
    let before = word.load(Relaxed);
    work(random.within(0..8));
    if random.once_in(8) {
        yield_now();
    }
    if random.once_in(16) {
        sleep(Duration::from_nanos(random.within(0..5_000)));
    }
    assert_eq!(word.load(Relaxed), before, "somebody else is inside");
    word.store(before + 1, Relaxed);
}

impl Locks {
    /// Nobody has any.
    pub const fn new(planted: bool) -> Self {
        Self {
            mutex: Mutex::new(()),
            locked: AtomicU64::new(0),
            times_locked: AtomicU64::new(0),
            shared: RwLock::new(()),
            written: AtomicU64::new(0),
            times_written: AtomicU64::new(0),
            semaphore: Semaphore::new(UNITS),
            held: AtomicU64::new(0),
            condition: Condvar::new(),
            tickets: Mutex::new(0),
            once: Once::new(),
            times_done: AtomicU64::new(0),
            barging: Mutex::barging(()),
            barged: AtomicU64::new(0),
            times_barged: AtomicU64::new(0),
            chain: [const { Mutex::new(0) }; CHAIN],
            times_chained: AtomicU64::new(0),
            planted,
        }
    }

    /// Takes and leaves the mutex, unless it is not to be had in time.
    pub fn mutex(&self, random: &mut Random) {
        let guard = match random.below(4) {
            0 => self.mutex.try_lock(),
            1 => self.mutex.lock_timeout(Duration::from_nanos(random.within(0..20_000))).ok(),
            _ => Some(self.mutex.lock()),
        };
        // Dropped at once, or at the end.
        let held = guard.is_some();
        let _guard = guard.filter(|_| !self.planted);
        if held {
            add_slowly(&self.locked, random);
            self.times_locked.fetch_add(1, Relaxed);
        }
    }

    /// Takes and leaves the mutex that is not handed over.
    pub fn barging(&self, random: &mut Random) {
        let guard = if random.once_in(4) {
            self.barging.lock_timeout(Duration::from_nanos(random.within(0..20_000))).ok()
        } else {
            Some(self.barging.lock())
        };
        if guard.is_some() {
            add_slowly(&self.barged, random);
            self.times_barged.fetch_add(1, Relaxed);
        }
    }

    /// Takes some of the chain's mutexes, in their order, and gives them back in any.
    pub fn chain(&self, random: &mut Random) {
        let mut guards = Vec::with_capacity(CHAIN);
        for mutex in &self.chain[random.below(CHAIN - 1)..] {
            match random.below(6) {
                0 => {}
                1 => guards.extend(mutex.lock_timeout(Duration::from_nanos(random.within(0..20_000)))),
                _ => guards.push(mutex.lock()),
            }
            if random.once_in(3) {
                work(random.within(0..8));
            }
        }
        while !guards.is_empty() {
            let mut guard = guards.swap_remove(random.below(guards.len()));
            let before = *guard;
            work(random.within(0..4));
            *guard = before + 1;
            self.times_chained.fetch_add(1, Relaxed);
        }
    }

    /// Reads or writes under the read-write lock.
    pub fn shared(&self, random: &mut Random) {
        if random.once_in(3) {
            let _guard = self.shared.write();
            add_slowly(&self.written, random);
            self.times_written.fetch_add(1, Relaxed);
        } else {
            let _guard = self.shared.read();
            let before = self.written.load(Relaxed);
            work(random.within(0..8));
            assert_eq!(self.written.load(Relaxed), before, "somebody writes while another reads");
        }
    }

    /// Holds units of the semaphore for a while.
    pub fn semaphore(&self, random: &mut Random) {
        let units = random.within(1..u64::from(UNITS) + 1) as u32;
        let guard = if random.once_in(3) {
            self.semaphore.acquire_timeout(units, Duration::from_nanos(random.within(0..20_000))).ok()
        } else {
            Some(self.semaphore.acquire(units))
        };
        if guard.is_some() {
            let held = self.held.fetch_add(units.into(), Relaxed) + u64::from(units);
            assert!(held <= UNITS.into(), "{held} units of {UNITS} are held");
            work(random.within(0..8));
            self.held.fetch_sub(units.into(), Relaxed);
        }
    }

    /// Gives a ticket, and waits until it can take one: whoever waits has given one, so all come through.
    pub fn condition(&self, random: &mut Random) {
        *self.tickets.lock() += 1;
        if random.once_in(2) {
            self.condition.notify_one();
        } else {
            self.condition.notify_all();
        }
        let mut tickets = self.condition.wait_while(self.tickets.lock(), |tickets| *tickets == 0);
        *tickets -= 1;
    }

    /// Sees to it that something is done, once.
    pub fn once(&self, random: &mut Random) {
        self.once.call_once(|| add_slowly(&self.times_done, random));
        assert_eq!(self.times_done.load(Relaxed), 1, "what is to be done once");
    }

    /// Nobody is left: all is as often done as said.
    pub fn check(&self) {
        assert_eq!(self.locked.load(Relaxed), self.times_locked.load(Relaxed), "what was done under the mutex");
        assert_eq!(self.barged.load(Relaxed), self.times_barged.load(Relaxed), "what was done under the other mutex");
        let chained = self.chain.iter().map(|mutex| *mutex.lock()).sum::<u64>();
        assert_eq!(chained, self.times_chained.load(Relaxed), "what was done under mutexes inside mutexes");
        assert_eq!(self.written.load(Relaxed), self.times_written.load(Relaxed), "what was written");
        assert_eq!(self.semaphore.free(), UNITS, "units of the semaphore");
        assert_eq!(*self.tickets.lock(), 0, "tickets");
    }
}
