//! Threads that die: killed in whatever they are doing, or by a panic of their own. Their joiners learn why, what they held
//! passes on, and nobody waits for them for ever.
//!
//! Nothing of a thread that dies is unwound, so victims own nothing: what they use is here for ever. (Tasks that die: `mortals.rs`.)

use crate::child::{somewhere, work};
use crate::random::Random;
use isochron::core_algorithms::raw_rwlock::KNOWN;
use isochron::core_algorithms::sync::{AtomicU32, Ordering::Relaxed};
use isochron::future::timeout;
use isochron::kernel::arch::simulation;
use isochron::prelude::*;
use isochron::sync::{Barrier, OnceLock};
use isochron::thread::{Builder, Death, Hint, PreemptGuard, SlotSize, Thread, set_hint};

/// The longest wait that ends by itself, in nanoseconds.
const LONGEST: u64 = 40_000;

/// As many dead threads are known for sure.
const DEAD_AND_KNOWN: u32 = 4;

/// What victims use, and what they wait for in vain.
pub struct Place {
    pub mutex: Mutex<u64>,
    other: Mutex<()>,
    barging: Mutex<u64>,
    shared: RwLock<u64>,
    /// How many read, or are about to, or have died with it; and the most there were.
    readers: AtomicU32,
    most_readers: AtomicU32,
    once: [Once; 6],
    deaths: AtomicU32,
    never: Semaphore,
    nobody: Condvar,
    /// Of more than will ever come.
    barrier: Barrier,
    pub empty: channel::Receiver<u32>,
    pub full: channel::Sender<u32>,
    /// The executor that a mortal task was polled by.
    pub executor: Mutex<Option<Thread>>,
    /// The other ends, so that neither is closed.
    _ends: (channel::Sender<u32>, channel::Receiver<u32>),
}

static PLACE: OnceLock<Place> = OnceLock::new();

/// The one that there is.
pub fn place() -> &'static Place {
    PLACE.get_or_init(|| {
        let (sender, empty) = channel::bounded(1);
        let (full, receiver) = channel::rendezvous();
        Place {
            mutex: Mutex::new(0),
            other: Mutex::new(()),
            barging: Mutex::barging(0),
            shared: RwLock::new(0),
            readers: AtomicU32::new(0),
            most_readers: AtomicU32::new(0),
            once: [const { Once::new() }; 6],
            deaths: AtomicU32::new(0),
            never: Semaphore::new(0),
            nobody: Condvar::new(),
            barrier: Barrier::new(1_000),
            empty,
            full,
            executor: Mutex::new(None),
            _ends: (sender, receiver),
        }
    })
}

/// Before memory is counted: what is here for ever is there.
pub fn prepare() {
    // With what stands in for tasks in the queues of channels.
    let nothing = block_on(timeout(Duration::from_nanos(0), place().empty.recv_async()));
    assert!(nothing.is_err(), "nobody has sent");
}

/// At the end: nothing keeps a thread's block.
pub fn forget() {
    let executor = place().executor.lock().take();
    drop(executor);
}

/// What a victim does; it comes to its end only if nobody kills it in time, and it does not panic.
fn live(seed: u64, packed: bool) -> u64 {
    let mut random = Random::new(seed);
    let place = place();
    let moment = |random: &mut Random| Duration::from_nanos(random.within(0..LONGEST));
    for _ in 0..random.within(1..12) {
        match random.below(28) {
            // It has a handle of the thread's own, which is lost with a packed thread's stack, and keeps that.
            26 if !packed => block_on(future::sleep(moment(&mut random))),
            27 if !packed => _ = block_on(timeout(moment(&mut random), place.empty.recv_async())),
            0..3 => work(random.within(0..40)),
            3 => simulation::compute(random.within(0..100_000)),
            4..6 => yield_now(),
            6 => sleep(moment(&mut random)),
            7 => thread::park(),
            8 => _ = thread::park_timeout(moment(&mut random)),
            9..12 => {
                let mut guard = place.mutex.lock();
                *guard += 1;
                inside(place, &mut random);
                drop(guard);
            }
            12 => _ = place.mutex.lock_timeout(moment(&mut random)).map(|_| ()),
            13 => place.never.acquire(1).forget(),
            14 => _ = place.empty.recv(),
            15 => _ = place.full.send(7),
            16 => drop(place.nobody.wait(place.other.lock())),
            17 => _ = place.barrier.wait(),
            18 => {
                let guard = PreemptGuard::new();
                work(random.within(0..20));
                drop(guard);
            }
            20..22 => place.read(None, &mut random),
            22 => {
                let mut guard = place.shared.write();
                *guard += 1;
                inside(place, &mut random);
                drop(guard);
            }
            23 => {
                let mut guard = place.barging.lock();
                *guard += 1;
                inside(place, &mut random);
                drop(guard);
            }
            24..26 => place.once[random.below(place.once.len())].call_once(|| inside(place, &mut random)),
            // Nothing but the kill ends this; of a rank that leaves the killer his turns.
            19 if random.once_in(4) => {
                set_hint(if random.once_in(2) { Hint::Normal } else { Hint::Batch });
                loop {
                    simulation::compute(20_000);
                }
            }
            _ if random.once_in(2) => panic!("a victim's own"),
            _ => set_hint(crate::child::a_hint(&mut random)),
        }
    }
    seed
}

impl Place {
    /// Reads, if that is to be had in time; nobody writes meanwhile.
    fn read(&self, timeout: Option<Duration>, random: &mut Random) {
        // Before it reads: so there are never more than that.
        let readers = self.readers.fetch_add(1, Relaxed) + 1;
        self.most_readers.fetch_max(readers, Relaxed);
        let guard = match timeout {
            Some(timeout) => self.shared.read_timeout(timeout).ok(),
            None => Some(self.shared.read()),
        };
        if let Some(guard) = guard {
            let before = *guard;
            match timeout {
                Some(_) => work(random.within(0..8)),
                None => inside(self, random),
            }
            assert_eq!(*guard, before, "somebody writes while another reads");
        }
        self.readers.fetch_sub(1, Relaxed);
    }
}

/// While a victim holds a lock.
fn inside(place: &Place, random: &mut Random) {
    match random.below(5) {
        0 => work(random.within(0..20)),
        1 => sleep(Duration::from_nanos(random.within(0..LONGEST))),
        2 => drop(place.other.lock()),
        3 => panic!("a victim's own, with a mutex"),
        _ => {}
    }
}

/// Makes a victim, kills it at some moment, and learns how it ended.
pub fn murder(random: &mut Random) {
    let seed = random.number();
    let packed = random.once_in(3);
    let spawn = |builder: Builder<'_>| {
        let body = move || live(seed, packed);
        if packed { builder.spawn_packed(SlotSize::Kib2, body) } else { builder.spawn(body) }
    };
    let victim = spawn(somewhere(Builder::new().name("victim"), random));
    // Somebody may have the CPU for itself.
    let Ok(victim) = victim.or_else(|_| spawn(Builder::new())) else { panic!("no victim") };
    match random.below(5) {
        0 => {}
        1 => work(random.within(0..100)),
        2 => yield_now(),
        _ => sleep(Duration::from_nanos(random.within(0..LONGEST))),
    }
    if random.once_in(3) {
        victim.thread().unpark();
    }
    victim.thread().kill();
    if random.once_in(4) {
        let thread = victim.thread();
        thread.kill();
        thread.unpark();
    }
    let end = victim.join();
    if end.is_err() {
        place().deaths.fetch_add(1, Relaxed);
    }
    assert!(
        matches!(end, Err(Death::Killed | Death::Panicked)) || end == Ok(seed),
        "a victim ended as nobody should: {end:?}"
    );
}

/// Takes one of the victims' locks, if it is to be had in time.
pub fn inherit(random: &mut Random) {
    let place = place();
    let moment = Duration::from_nanos(random.within(0..LONGEST));
    match random.below(6) {
        0 => place.read(Some(moment), random),
        1 => {
            if let Ok(mut guard) = place.shared.write_timeout(moment) {
                alone(&mut guard, random);
                place.shared.clear_orphaned();
            }
        }
        2 => {
            if let Ok(mut guard) = place.barging.lock_timeout(moment) {
                alone(&mut guard, random);
            }
        }
        3 => _ = place.once[random.below(place.once.len())].call_once_timeout(moment, || work(3)),
        _ => {
            if let Ok(mut guard) = place.mutex.lock_timeout(moment) {
                alone(&mut guard, random);
                if place.mutex.is_orphaned() {
                    place.mutex.clear_orphaned();
                }
            }
        }
    }
}

/// Nobody else changes it, a dead thread least of all.
fn alone(value: &mut u64, random: &mut Random) {
    let before = *value;
    work(random.within(0..8));
    assert_eq!(*value, before, "a dead thread goes on");
    *value += 1;
}

/// No victim is left: what they held is to be had, unless so many have died that some are forgotten.
pub fn check() {
    let place = place();
    if place.deaths.load(Relaxed) > DEAD_AND_KNOWN {
        return;
    }
    let long = Duration::from_millis(1);
    assert!(place.mutex.lock_timeout(long).is_ok(), "the mutex of the victims is taken");
    assert!(place.other.lock_timeout(long).is_ok(), "the other mutex of the victims is taken");
    assert!(place.barging.lock_timeout(long).is_ok(), "the barging mutex of the victims is taken");
    if place.most_readers.load(Relaxed) as usize <= KNOWN {
        assert!(place.shared.write_timeout(long).is_ok(), "the reader-writer lock of the victims is taken");
    }
    for once in &place.once {
        assert!(once.call_once_timeout(long, || ()).is_ok(), "a once of the victims is under way for ever");
    }
}
