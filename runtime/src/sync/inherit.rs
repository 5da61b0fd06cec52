//! Priority inheritance: who waits for a [`Mutex`](super::Mutex) lends its rank to whoever holds it up.
//!
//! # Protocol
//! Everybody who waits for a lock that has owners (a mutex, a reader-writer lock, a once) is on record, in one of a number of
//! lists that its own address chooses: which lock, and for a mutex which node. A contender for a mutex walks the chain: the lock's owner, what that waits for, whose that is, and so on. Each owner on the way
//! is to be boosted, and each waiter moves forward in its queue. An owner is only a number here: whether a thread of that
//! number still lives is not known, so nobody goes to it. What is to be boosted stands in a table, and every CPU is asked to
//! look: the one that runs the thread, or has it in a queue, finds it there, raises its rank, and moves it.
//!
//! A boost is [`Inheritance::most_levels`] at the most, and is over after [`Inheritance::decay`] (as seen when the thread is
//! queued, or its quantum ends), or when the thread gives the lock back.
//!
//! A walk that comes back to where it began, twice and over the same waits, is a **deadlock**: each of these threads waited
//! all the time between. Waits with a time-out do not count: they end.
//!
//! **A thread that dies** leaves a stone with its number in its list, and hands on the locks that others wait for. Locks that
//! nobody waited for are found by the next who comes, by the stone: it is there before the dying thread looks through the
//! records, and who comes is on record before it looks for the stone, so one of the two sees the other. A stone keeps the thread's block from being used again;
//! each list has room for [`STONES`].
//!
//! A program in which no thread has a rank above normal, nor one below, is never asked to look for anything.
//!
//! # Locks
//! A record's list, then the queue of the lock it names. The table of boosts is inside both, and inside a CPU's layers.
//!
//! # Rejected
//! *Going from the lock to its owner's block*: the owner may have ended and forgotten a guard. *One lock for all that is
//! here*: mutexes that have nothing to do with each other would wait for each other. *Ranks lent through reader-writer locks*:
//! they would have to be lent to all readers, of whom not all are known.

use crate::Duration;
use crate::thread::control::{Thread, ThreadPtr, ThreadRef};
use crate::thread::{count_one_more, current_ptr};
use crate::worker::{self, Worker, waiting};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use isochron_core::layers::Rank;
use isochron_core::lock_rank;
use isochron_core::raw_mutex::{Node, RawMutex};
use isochron_core::raw_once::RawOnce;
use isochron_core::raw_rwlock::{RawRwLock, Want};
use isochron_core::spinlock::SpinLock;
use isochron_core::wait_queue::Granted;
use isochron_kernel::arch;
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::irq;

/// Lists of waits.
const LISTS: usize = 64;
/// Stones that a list has room for; the oldest goes first.
const STONES: usize = 4;
/// The longest chain that is followed.
const LONGEST_CHAIN: usize = 64;
/// Threads that can be boosted at the same time.
const MOST_BOOSTED: usize = 32;

type Lock = RawMutex<ThreadPtr>;

/// How far a thread that holds a mutex is boosted for those who wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inheritance {
    /// Levels that a boost lifts a thread by at most; 0 for no boosts. Batch, normal, network and latency are one level each,
    /// and so is each real-time priority.
    pub most_levels: u32,
    /// How long a boost lasts.
    pub decay: Duration,
}

/// The inheritance, unless [`set_inheritance`] has changed it.
pub const DEFAULT_INHERITANCE: Inheritance = Inheritance { most_levels: 32, decay: Duration::from_millis(2) };

static MOST_LEVELS: AtomicU32 = AtomicU32::new(DEFAULT_INHERITANCE.most_levels);
static DECAY_NS: AtomicU64 = AtomicU64::new(DEFAULT_INHERITANCE.decay.as_nanos());

/// What is set.
#[must_use]
pub fn inheritance() -> Inheritance {
    Inheritance {
        most_levels: MOST_LEVELS.load(Ordering::Relaxed),
        decay: Duration::from_nanos(DECAY_NS.load(Ordering::Relaxed)),
    }
}

/// Sets it for all boosts that begin from now on.
pub fn set_inheritance(inheritance: Inheritance) {
    // Relaxed: plain numbers.
    MOST_LEVELS.store(inheritance.most_levels, Ordering::Relaxed);
    DECAY_NS.store(inheritance.decay.as_nanos(), Ordering::Relaxed);
}

/// There is, or was, a thread below normal rank, which a normal one may have to lift.
static ANY_BATCH: AtomicBool = AtomicBool::new(false);

/// A thread is made, or makes itself, one of batch rank.
pub(crate) fn there_is_batch() {
    ANY_BATCH.store(true, Ordering::Relaxed);
}

/// What is waited for.
#[derive(Clone, Copy)]
pub(super) enum Awaited {
    /// A mutex, and where in its queue.
    Mutex(*const Lock, NonNull<Node<ThreadPtr>>),
    /// To read or to write.
    RwLock(*const RawRwLock<ThreadPtr>),
    /// The end of what another does.
    Once(*const RawOnce<ThreadPtr>),
}

/// One thread's wait for a lock; on its stack.
pub(super) struct Wait {
    waiter: usize,
    awaited: Awaited,
    /// It ends by itself.
    timed: bool,
    /// Tells it from other waits of the same thread.
    number: u64,
    next: *const Wait,
}

struct List {
    first: *const Wait,
    stones: [Option<ThreadRef>; STONES],
    next_stone: usize,
}

// SAFETY: the waits are used under the list's lock, and stay in place until they have left it.
unsafe impl Send for List {}

static WAITS: [SpinLock<List>; LISTS] = [const {
    SpinLock::new(lock_rank::WAITS, List { first: ptr::null(), stones: [const { None }; STONES], next_stone: 0 })
}; LISTS];

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

fn list(thread: usize) -> &'static SpinLock<List> {
    // Blocks are aligned to 64 bytes and mostly a few hundred apart; packed threads may be as far from each other as their slots
    // are large.
    &WAITS[(thread >> 6 ^ thread >> 12 ^ thread >> 18) % LISTS]
}

impl Wait {
    pub fn new(waiter: usize, awaited: Awaited, timed: bool) -> Self {
        // Relaxed: only that it differs counts.
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { waiter, awaited, timed, number, next: ptr::null() }
    }

    /// Puts it on record. Interrupts masked.
    ///
    /// # Safety
    /// It, its node and its lock stay in place until `leave`, which must follow.
    pub unsafe fn enter(&mut self) {
        list(self.waiter).with(|list| {
            self.next = list.first;
            list.first = self;
        });
    }

    /// Takes it off the record. Interrupts masked.
    pub fn leave(&self) {
        list(self.waiter).with(|list| {
            let mut at = &raw mut list.first;
            // SAFETY: what is in the list is in place, and its links belong to the list's lock.
            unsafe {
                while !ptr::eq(*at, self) {
                    if (*at).is_null() {
                        return;
                    }
                    at = &raw mut (*(*at).cast_mut()).next;
                }
                *at = self.next;
            }
        });
    }
}

impl List {
    fn find(&self, waiter: usize) -> Option<&Wait> {
        let mut at = self.first;
        // SAFETY: as in `Wait::leave`.
        while let Some(wait) = unsafe { at.as_ref() } {
            if wait.waiter == waiter {
                return Some(wait);
            }
            at = wait.next;
        }
        None
    }

    /// Takes a lock that somebody in this list waits for from `dying`, and says who has it now. `None`: there is none.
    fn abandon_one(&self, dying: usize) -> Option<Heirs> {
        let mut at = self.first;
        // SAFETY: as above.
        while let Some(wait) = unsafe { at.as_ref() } {
            if let Some(heirs) = wait.awaited.abandon(dying) {
                return Some(heirs);
            }
            at = wait.next;
        }
        None
    }

    fn has_stone(&self, thread: usize) -> bool {
        self.stones.iter().flatten().any(|stone| stone.as_ptr().addr().get() == thread)
    }
}

/// Whose waits end because a lock has passed on to them.
enum Heirs {
    One(Option<ThreadPtr>),
    Several(Granted<ThreadPtr, Want>),
}

impl Heirs {
    /// Wakes them. Interrupts masked.
    fn wake(self) {
        match self {
            Self::One(heir) => waiting::end_any(heir),
            Self::Several(granted) => waiting::end_granted(granted),
        }
    }
}

impl Awaited {
    /// Takes the lock from `dying`, if that has it. Under the lock of a list that a wait for it is in.
    fn abandon(self, dying: usize) -> Option<Heirs> {
        // SAFETY: a lock on record is in place.
        unsafe {
            match self {
                Self::Mutex(lock, _) => ((*lock).owner() == Some(dying)).then(|| Heirs::One((*lock).orphan(dying))),
                Self::RwLock(lock) => (*lock).is_held_by(dying).then(|| Heirs::Several((*lock).orphan(dying))),
                Self::Once(once) => ((*once).runner() == Some(dying)).then(|| Heirs::One((*once).orphan(dying))),
            }
        }
    }
}

/// Whether that thread is known to be dead. Interrupts masked.
pub(super) fn is_dead(thread: usize) -> bool {
    list(thread).with(|list| list.has_stone(thread))
}

/// What a walk along the chain says.
#[derive(PartialEq, Eq)]
pub(super) enum Verdict {
    /// Somebody will give the lock back, as far as is known.
    Wait,
    /// The lock's owner is dead.
    Dead(usize),
    /// The owner waits, in the end, for the one who asks.
    Deadlock,
}

enum Walk {
    End,
    Dead(usize),
    /// With a sum over the waits on the way.
    Circle(u64),
}

/// Walks the chain for `me`, who waits for `lock` and is on record, and boosts who stands in it. `timed`: this wait ends by
/// itself. Interrupts masked.
pub(super) fn walk_chain(me: usize, rank: Rank, lock: &Lock, timed: bool) -> Verdict {
    match walk(me, rank, lock) {
        Walk::End => Verdict::Wait,
        Walk::Circle(_) if timed => Verdict::Wait,
        Walk::Dead(owner) => Verdict::Dead(owner),
        // Once more: only if no wait has ended in between, all of them were there at the same time.
        Walk::Circle(sum) => match walk(me, rank, lock) {
            Walk::Circle(again) if again == sum => Verdict::Deadlock,
            Walk::Dead(owner) => Verdict::Dead(owner),
            _ => Verdict::Wait,
        },
    }
}

fn walk(me: usize, rank: Rank, lock: &Lock) -> Walk {
    let (mut owner, mut first, mut sum, mut all_wait) = (lock.owner(), true, 0_u64, true);
    let lends = rank > Rank::NORMAL || rank == Rank::NORMAL && ANY_BATCH.load(Ordering::Relaxed);
    for _ in 0..LONGEST_CHAIN {
        let Some(holder) = owner else { return Walk::End };
        if holder == me {
            return if all_wait { Walk::Circle(sum) } else { Walk::End };
        }
        if lends {
            boost(holder, rank);
        }
        owner = match list(holder).with(|list| {
            if first && list.has_stone(holder) {
                return Err(());
            }
            let Some(wait) = list.find(holder) else { return Ok(None) };
            // Chains go over mutexes alone: of what else there is, not all owners are known.
            let Awaited::Mutex(lock, node) = wait.awaited else { return Ok(None) };
            // SAFETY: on record, so node and lock are in place.
            let (waits, next) = unsafe { ((*lock).raise(node, rank.to_bits()), (*lock).owner()) };
            sum = sum.wrapping_mul(31).wrapping_add(wait.number);
            all_wait &= !wait.timed;
            Ok(if waits { next } else { None })
        }) {
            Ok(next) => next,
            Err(()) => return Walk::Dead(holder),
        };
        first = false;
    }
    Walk::End
}

/// One thread that is to be boosted.
#[derive(Clone, Copy)]
struct Boost {
    thread: usize,
    rank: Rank,
    /// When it is over, in ticks.
    end: u64,
}

static BOOSTS: SpinLock<[Option<Boost>; MOST_BOOSTED]> = SpinLock::new(lock_rank::BOOSTS, [None; MOST_BOOSTED]);

/// How many stand there.
static BOOSTED: AtomicUsize = AtomicUsize::new(0);

/// Whether anybody is to be boosted: a hint.
#[inline(always)]
pub(crate) fn any_boosts() -> bool {
    BOOSTED.load(Ordering::Relaxed) != 0
}

/// Says that `thread` is to have at least `rank`, and has every CPU look for it. (If the table is full, it does without.)
fn boost(thread: usize, rank: Rank) {
    let decay = ns_to_ticks(inheritance().decay.as_nanos());
    let end = arch::clock::ticks_unordered().saturating_add(decay);
    let told = BOOSTS.with(|boosts| {
        if let Some(known) = boosts.iter_mut().flatten().find(|known| known.thread == thread) {
            let higher = known.rank < rank;
            if higher {
                *known = Boost { thread, rank, end };
            }
            return higher;
        }
        let free = boosts.iter_mut().find(|place| place.is_none());
        free.is_some_and(|place| {
            *place = Some(Boost { thread, rank, end });
            BOOSTED.fetch_add(1, Ordering::Relaxed);
            true
        })
    });
    if told {
        worker::poke_all();
    }
}

fn forget_boost(thread: usize) {
    if any_boosts() {
        BOOSTS.with(|boosts| {
            if let Some(known) = boosts.iter_mut().find(|known| known.is_some_and(|known| known.thread == thread)) {
                *known = None;
                BOOSTED.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }
}

/// Raises the rank of a thread that this CPU runs, or has taken from a queue, if it is to be boosted. Interrupts masked.
pub(crate) fn apply_boost(thread: ThreadPtr) {
    let known =
        BOOSTS.with(|boosts| boosts.iter().flatten().find(|known| known.thread == thread.as_ptr().addr()).copied());
    if let Some(known) = known {
        if arch::clock::ticks_unordered() >= known.end {
            forget_boost(known.thread);
        } else {
            // SAFETY: the caller has it, so it is alive.
            raise(unsafe { thread.as_ref() }, known.rank, known.end);
        }
    }
}

fn raise(thread: &Thread, rank: Rank, end: u64) {
    let most_levels = inheritance().most_levels;
    let base = thread.base_rank();
    let highest = (u32::from(base.to_bits()) + most_levels).min(u32::from(u16::MAX)) as u16;
    let rank = rank.min(Rank::from_bits(highest));
    if rank > thread.rank() {
        // In the lists for ranks, of which normal is none.
        let rank = if rank == Rank::NORMAL { Rank::NETWORK } else { rank };
        thread.begin_boost(rank, end);
    }
}

/// Ends the boost of a thread that this CPU runs or has taken from a queue, if its time is over. Interrupts masked.
pub(crate) fn settle_boost(thread: &Thread) {
    if thread.boost_end().is_some_and(|end| arch::clock::ticks_unordered() >= end) {
        thread.end_boost();
    }
}

/// The running thread has given a mutex back that others waited for.
pub(super) fn gave_back() {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    if !any_boosts() && thread.boost_end().is_none() {
        return;
    }
    let _irq = irq::IrqGuard::new();
    let me = me.as_ptr().addr();
    forget_boost(me);
    let Some(end) = thread.boost_end() else { return };
    thread.end_boost();
    // Others may wait for another one that it holds.
    let mut lent = None;
    for list in &WAITS {
        list.with(|list| {
            let mut at = list.first;
            // SAFETY: as in `Wait::leave`.
            while let Some(wait) = unsafe { at.as_ref() } {
                if let Awaited::Mutex(lock, _) = wait.awaited {
                    // SAFETY: on record, so the lock is in place.
                    let lock = unsafe { &*lock };
                    if lock.owner() == Some(me) {
                        lent = lent.max(lock.first_rank());
                    }
                }
                at = wait.next;
            }
        });
    }
    if let Some(rank) = lent {
        raise(thread, Rank::from_bits(rank), end);
    }
    Worker::this().ask_for_preemption();
}

/// The running thread is dying: hands on the locks that others wait for, and leaves a stone for the others. Interrupts
/// masked.
pub(crate) fn abandon_locks() {
    let pointer = current_ptr();
    let me = pointer.as_ptr().addr();
    forget_boost(me);
    // SAFETY: the running thread's block is alive.
    let stone = unsafe { count_one_more(pointer) };
    let oldest = list(me).with(|list| {
        let place = list.next_stone;
        list.next_stone = (place + 1) % STONES;
        list.stones[place].replace(stone)
    });
    drop(oldest);
    for list in &WAITS {
        while let Some(heirs) = list.with(|list| list.abandon_one(me)) {
            heirs.wake();
        }
    }
}
