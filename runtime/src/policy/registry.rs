//! Which policies there are, whose turn it is, and what became of it.

use super::{Place, Policy};
use crate::thread::control::{self, Thread, ThreadPtr};
use crate::worker;
use core::cmp::Reverse;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use heapless::Vec;
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::irq;

/// The most policies there can be: threads keep the number in four bits.
const MAX_POLICIES: usize = 15;

/// The most threads that can be asking a policy at one moment; more are placed without.
const MAX_ASKING: usize = 16;

/// A policy that threads can have: see [`PolicyId::register`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyId(u16);

/// Fifteen policies are registered; there is no room for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyError;

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_POLICIES} policies are registered, and there is no room for another")
    }
}

impl core::error::Error for PolicyError {}

/// How policies were asked, since boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Threads that a policy found a place for.
    pub placed: u64,
    /// It passed no CPU.
    pub none_passed: u64,
    /// It refused every place.
    pub all_refused: u64,
    /// The asking thread died in a hook.
    pub died: u64,
    /// It was not asked: too many were asking, or this was one of its own hooks' doing.
    pub not_asked: u64,
}

static PLACED: AtomicU64 = AtomicU64::new(0);
static NONE_PASSED: AtomicU64 = AtomicU64::new(0);
static ALL_REFUSED: AtomicU64 = AtomicU64::new(0);
static DIED: AtomicU64 = AtomicU64::new(0);
static NOT_ASKED: AtomicU64 = AtomicU64::new(0);

/// Counts of the module's life. Relaxed: nothing hangs on them.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What became of all questions so far.
#[must_use]
pub fn statistics() -> Statistics {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Statistics {
        placed: read(&PLACED),
        none_passed: read(&NONE_PASSED),
        all_refused: read(&ALL_REFUSED),
        died: read(&DIED),
        not_asked: read(&NOT_ASKED),
    }
}

type Known = &'static dyn Policy;

struct Registry {
    known: Vec<Known, MAX_POLICIES>,
    /// For threads that have none of their own.
    default: Option<Known>,
    /// Who asks, and for whom.
    asking: Vec<(ThreadPtr, ThreadPtr), MAX_ASKING>,
}

// SAFETY: policies are `Sync`; the threads are named, not touched, and the one that is placed belongs to its asker.
unsafe impl Send for Registry {}

static REGISTRY: SpinLock<Registry> =
    SpinLock::new(lock_rank::POLICIES, Registry { known: Vec::new(), default: None, asking: Vec::new() });

/// Some policy was set or registered. Relaxed: who does not see it yet places a thread as before.
static ANY: AtomicBool = AtomicBool::new(false);

fn with<R>(f: impl FnOnce(&mut Registry) -> R) -> R {
    irq::without(|| REGISTRY.with(f))
}

/// Whether policies are in use at all.
#[inline(always)]
pub(crate) fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Sets the policy of all threads that have none of their own, or takes it away.
pub fn set_default(policy: Option<&'static dyn Policy>) {
    with(|registry| registry.default = policy);
    if policy.is_some() {
        ANY.store(true, Ordering::Relaxed);
    }
}

impl PolicyId {
    /// Makes a policy one that threads can have, for ever.
    ///
    /// # Errors
    /// [`PolicyError`] after fifteen.
    pub fn register(policy: &'static dyn Policy) -> Result<Self, PolicyError> {
        let number = with(|registry| match registry.known.push(policy) {
            Ok(()) => Ok(registry.known.len()),
            Err(_) => Err(PolicyError),
        })?;
        ANY.store(true, Ordering::Relaxed);
        Ok(Self(number as u16))
    }

    /// Back from [`to_bits`](Self::to_bits).
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }

    /// As threads keep it: 0 means none.
    pub(crate) fn to_bits(of: Option<Self>) -> u16 {
        of.map_or(0, |id| id.0)
    }
}

/// The policy that decides about a thread.
pub(crate) fn of(thread: &Thread) -> Option<Known> {
    let own = usize::from(thread.policy_bits());
    with(|registry| match own {
        0 => registry.default,
        number => registry.known.get(number - 1).copied(),
    })
}

/// Asks a policy where `thread` is to go, which belongs to the caller. In a thread, interrupts on. `None`: wherever.
pub(crate) fn asked(policy: Known, thread: ThreadPtr) -> Option<CpuId> {
    let asker = control::current_ptr()?;
    let noted = with(|registry| {
        let in_a_hook = registry.asking.iter().any(|(who, _)| *who == asker);
        !in_a_hook && registry.asking.push((asker, thread)).is_ok()
    });
    if !noted {
        count(&NOT_ASKED);
        return None;
    }
    let found = ask(policy, thread);
    with(|registry| forget(registry, asker));
    found
}

fn forget(registry: &mut Registry, asker: ThreadPtr) -> Option<ThreadPtr> {
    let at = registry.asking.iter().position(|(who, _)| *who == asker)?;
    Some(registry.asking.swap_remove(at).1)
}

/// `asker` dies. If it was asking a policy, the thread that it was asking for is handed out.
pub(crate) fn rescue(asker: ThreadPtr) -> Option<ThreadPtr> {
    let orphan = if any() { with(|registry| forget(registry, asker)) } else { None };
    if orphan.is_some() {
        count(&DIED);
    }
    orphan
}

fn ask(policy: Known, thread: ThreadPtr) -> Option<CpuId> {
    // SAFETY: the caller's, and runnable: it is alive.
    let candidate = unsafe { thread.as_ref() }.candidate();
    let mut places: Vec<(i64, Place), MAX_CPUS> = Vec::new();
    for place in worker::places(candidate.home) {
        if policy.filter(&candidate, &place) {
            // As many as there are CPUs.
            let _ = places.push((policy.score(&candidate, &place), place));
        }
    }
    if places.is_empty() {
        count(&NONE_PASSED);
        return None;
    }
    while let Some(best) = best(&places) {
        let (_, place) = places.swap_remove(best);
        if policy.reserve(&candidate, &place) {
            count(&PLACED);
            return Some(place.cpu);
        }
    }
    count(&ALL_REFUSED);
    None
}

/// The best of them; see the rule for ties in the module's documentation.
fn best(places: &[(i64, Place)]) -> Option<usize> {
    let key = |(score, place): &(i64, Place)| {
        (*score, place.idle, Reverse((place.distance, place.waiting, place.cpu.index())))
    };
    (0..places.len()).max_by_key(|&at| key(&places[at]))
}
