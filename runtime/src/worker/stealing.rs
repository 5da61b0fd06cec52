//! Taking waiting threads from other CPUs: from whom first, from how many on, how often.
//!
//! A CPU with nothing to run asks its SMT siblings first, then those it shares a cache with, then its node, then the rest,
//! nearer nodes first. Of a victim's waiting threads it takes half. A victim that has fewer than the *threshold* of its
//! distance is left alone: one, unless [`set_steal_thresholds`] says otherwise, because a CPU that idles beside a waiting
//! thread is worse than a cold cache.
//!
//! A search that finds something which it does not get (another thief or the owner was faster) looks again after a pause.
//! The pause doubles with each look in vain, and begins the longer, the more of the searches before were in vain:
//! [`set_steal_back_off`].

use super::neighbours::{DISTANCES, index};
use super::{Counters, IDLE, Worker, reservation};
use crate::thread::control::ThreadPtr;
use crate::trace::points;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use isochron_core::idle_set::Claimed;
use isochron_core::run_queue::Steal;
use isochron_kernel::arch;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::topology::Distance;

/// Looks of one search.
const SEARCH_LOOKS: u32 = 4;

/// How often the pause doubles at most, over all.
const MAX_DOUBLINGS: u32 = 8;

/// The pause before the second look of a search, in spin hints, unless [`set_steal_back_off`] has changed it.
pub const DEFAULT_STEAL_BACK_OFF: u32 = 4;

/// The longest first pause.
pub const LONGEST_STEAL_BACK_OFF: u32 = 10_000;

/// The CPUs that steal and are stolen from. Relaxed, as all here: plain settings, which each CPU takes note of when it next
/// looks.
static ON: AtomicU64 = AtomicU64::new(!0);

static THRESHOLDS: [AtomicU32; DISTANCES] = [const { AtomicU32::new(1) }; DISTANCES];
/// Some threshold is above one.
static SELECTIVE: AtomicBool = AtomicBool::new(false);

static BACK_OFF: AtomicU32 = AtomicU32::new(DEFAULT_STEAL_BACK_OFF);

/// How many threads must wait at a CPU before one at some distance takes any: see [`set_steal_thresholds`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StealThresholds {
    /// Threads of one core.
    pub sibling: u32,
    /// Cores that share a cache.
    pub cache: u32,
    /// The same NUMA node.
    pub node: u32,
    /// Another node.
    pub far: u32,
}

impl StealThresholds {
    /// One, at every distance.
    pub const ONE: Self = Self { sibling: 1, cache: 1, node: 1, far: 1 };

    const fn in_order(self) -> [u32; DISTANCES] {
        [self.sibling, self.cache, self.node, self.far]
    }
}

impl Default for StealThresholds {
    fn default() -> Self {
        Self::ONE
    }
}

/// Why a setting of stealing was refused; then nothing is changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StealSettingError {
    /// That CPU does not run.
    NoSuchCpu(CpuId),
    /// A threshold is 0, or below that of a shorter distance.
    Thresholds(StealThresholds),
    /// A pause above [`LONGEST_STEAL_BACK_OFF`].
    BackOff(u32),
}

impl fmt::Display for StealSettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchCpu(cpu) => write!(f, "there is no CPU {cpu}"),
            Self::Thresholds(StealThresholds { sibling, cache, node, far }) => write!(
                f,
                "the thresholds {sibling}, {cache}, {node}, {far} are not all above 0, or fall with the distance"
            ),
            Self::BackOff(hints) => write!(f, "a pause of {hints} spin hints is above {LONGEST_STEAL_BACK_OFF}"),
        }
    }
}

impl core::error::Error for StealSettingError {}

/// Switches stealing on or off for one CPU: whether it takes threads from others, and others from it.
///
/// With it off, threads that are made or woken there stay there until they block, and who waits there waits for that CPU, even
/// while others are idle. What its queue has no room for (256 threads) goes to the others all the same.
///
/// # Errors
/// [`StealSettingError::NoSuchCpu`].
pub fn set_stealing(cpu: CpuId, on: bool) -> Result<(), StealSettingError> {
    if Worker::of(cpu).is_none() {
        return Err(StealSettingError::NoSuchCpu(cpu));
    }
    if on {
        ON.fetch_or(1 << cpu.index(), Ordering::Relaxed);
        Worker::prompt(cpu);
    } else {
        ON.fetch_and(!(1 << cpu.index()), Ordering::Relaxed);
    }
    Ok(())
}

/// Whether `cpu` steals and is stolen from.
#[must_use]
pub fn stealing(cpu: CpuId) -> bool {
    ON.load(Ordering::Relaxed) & 1 << cpu.index() != 0
}

/// Sets how many threads must wait at a CPU before one at each distance takes any.
///
/// Threads with a hint or a priority above normal are taken from any distance, whatever their number.
///
/// # Errors
/// [`StealSettingError::Thresholds`].
pub fn set_steal_thresholds(thresholds: StealThresholds) -> Result<(), StealSettingError> {
    let new = thresholds.in_order();
    if new[0] == 0 || !new.is_sorted() {
        return Err(StealSettingError::Thresholds(thresholds));
    }
    for (cell, threshold) in THRESHOLDS.iter().zip(new) {
        cell.store(threshold, Ordering::Relaxed);
    }
    SELECTIVE.store(thresholds != StealThresholds::ONE, Ordering::Relaxed);
    Ok(())
}

/// The thresholds as they are set.
#[must_use]
pub fn steal_thresholds() -> StealThresholds {
    let [sibling, cache, node, far] = [0, 1, 2, 3].map(threshold);
    StealThresholds { sibling, cache, node, far }
}

/// Sets the pause before the second look of a search, in spin hints. It doubles with each look in vain. 0: no pause.
///
/// # Errors
/// [`StealSettingError::BackOff`].
pub fn set_steal_back_off(hints: u32) -> Result<(), StealSettingError> {
    if hints > LONGEST_STEAL_BACK_OFF {
        return Err(StealSettingError::BackOff(hints));
    }
    BACK_OFF.store(hints, Ordering::Relaxed);
    Ok(())
}

fn threshold(distance: usize) -> u32 {
    THRESHOLDS[distance].load(Ordering::Relaxed)
}

/// The CPUs that take part in sharing work out, as bits.
#[inline]
fn participants() -> u64 {
    ON.load(Ordering::Relaxed) & !reservation::reserved()
}

/// At how many of the distances a CPU takes one of `waiting` threads.
#[inline]
fn reach(waiting: impl FnOnce() -> usize) -> usize {
    if !SELECTIVE.load(Ordering::Relaxed) {
        return DISTANCES;
    }
    let waiting = waiting();
    (0..DISTANCES).take_while(|&distance| threshold(distance) as usize <= waiting).count()
}

impl Worker {
    /// Whether this CPU takes part in sharing work out.
    #[inline]
    pub(super) fn steals(&self) -> bool {
        participants() & 1 << self.id.index() != 0
    }

    /// Whether others may take from it what waits here: also while it is given to a thread that has not come yet, behind
    /// whom nobody else is to wait.
    #[inline]
    fn is_open(&self) -> bool {
        ON.load(Ordering::Relaxed) & 1 << self.id.index() != 0
    }

    /// After a push that others could take: claims a sleeper, the nearest, if nobody searches.
    #[inline]
    pub(super) fn pick_idle(&self) -> Option<Claimed> {
        let reach = reach(|| self.queue.len_hint() + self.layers.stealable_hint());
        IDLE.pick_idle(participants(), &self.neighbours.masks()[..reach])
    }

    /// A search's looks, until one finds something or there is nothing to find.
    pub(super) fn look_around(&self) -> Option<ThreadPtr> {
        for look in 0..SEARCH_LOOKS {
            if look > 0 {
                self.back_off(look);
            }
            self.take_share_of_injectors();
            let found = self.pop().or_else(|| self.steal());
            if found.is_some() {
                self.in_vain.set(0);
                return found;
            }
            if !self.anything_to_steal() {
                break;
            }
        }
        self.in_vain.set((self.in_vain.get() + 1).min(MAX_DOUBLINGS));
        None
    }

    /// The pause before a search's next look, over as soon as there is something in this CPU's own queues.
    ///
    /// Interrupts are taken meanwhile: the pause can be long, and a CPU that finds the same work out of its reach over and over
    /// comes to no sleep, so its timers and what others hand to it would wait.
    fn back_off(&self, look: u32) {
        let doublings = (self.in_vain.get() + look - 1).min(MAX_DOUBLINGS);
        // SAFETY: on the worker's stack, where sleep takes interrupts too. No lock is held, and between two looks nothing is
        // kept that a handler may change.
        unsafe { arch::irq::unmask() };
        // One at least: on x86-64 an interrupt is taken behind the instruction that follows.
        for _ in 0..(BACK_OFF.load(Ordering::Relaxed) << doublings).max(1) {
            arch::cpu::spin_hint();
            if self.queue.len_hint() > 0 || !self.layers.is_empty_hint() || !self.inbox.is_empty() {
                break;
            }
        }
        let _ = arch::irq::mask();
    }

    /// The workers of those that this CPU steals from at one distance.
    fn victims(&self, distance: usize) -> impl Iterator<Item = &'static Self> + '_ {
        let cpus = self.neighbours.at(distance);
        let first = self.next_victim.get() as usize % cpus.len().max(1);
        cpus[first..]
            .iter()
            .chain(&cpus[..first])
            .filter_map(|&(cpu, _)| Self::of(cpu))
            .filter(|victim| victim.is_open())
    }

    /// One round over the other CPUs, the nearest first: for threads with a rank, then for others.
    fn steal(&self) -> Option<ThreadPtr> {
        if !self.steals() {
            return None;
        }
        for distance in 0..DISTANCES {
            for victim in self.victims(distance) {
                if victim.layers.stealable_hint() > 0
                    && let Some(thread) = victim.steal_layered()
                {
                    points::stolen(thread, victim.id, distance);
                    return Some(self.stolen(thread, distance));
                }
            }
        }
        for distance in 0..DISTANCES {
            for victim in self.victims(distance) {
                if victim.queue.stealable_hint() >= threshold(distance) as usize
                    && let Steal::Success(thread) = victim.queue.steal_into(&mut self.queue())
                {
                    // The rest of the batch has come to the end of this CPU's queue.
                    let queue = self.queue();
                    (0..).map_while(|ahead| queue.peek_ahead(ahead)).for_each(|thread| {
                        points::stolen(thread, victim.id, distance);
                        self.settle(thread);
                    });
                    points::stolen(thread, victim.id, distance);
                    return Some(self.stolen(thread, distance));
                }
            }
        }
        self.next_victim.set(self.next_victim.get().wrapping_add(1));
        None
    }

    fn stolen(&self, thread: ThreadPtr, distance: usize) -> ThreadPtr {
        Counters::bump(&self.counters.steals[distance]);
        self.settle(thread);
        thread
    }

    /// Whether another CPU has something that this one would take now.
    pub(super) fn anything_to_steal(&self) -> bool {
        self.steals()
            && (0..DISTANCES).any(|distance| {
                self.victims(distance).any(|victim| {
                    victim.queue.stealable_hint() >= threshold(distance) as usize || victim.layers.stealable_hint() > 0
                })
            })
            || !self.is_reserved() && self.injectors().any(|injector| injector.len_hint() > 0)
    }

    /// The same for a CPU that is about to sleep, after its fence. Asks those who keep to themselves what it could take to
    /// share.
    pub(super) fn anything_to_steal_or_ask_for(&self) -> bool {
        if !self.is_reserved() && self.injectors().any(|injector| injector.len_hint() > 0) {
            return true;
        }
        if !self.steals() {
            return false;
        }
        for &(cpu, distance) in self.neighbours.all() {
            // Mostly nobody waits there at all, which is told by one line of the other's.
            if let Some(other) = Self::of(cpu)
                && let Some(waiting) = other.queue.look()
                && self.take_or_ask(other, distance, waiting)
            {
                return true;
            }
        }
        false
    }

    #[cold]
    fn take_or_ask(&self, other: &Self, distance: Distance, (shared, private): (usize, usize)) -> bool {
        if !other.is_open() {
            return false;
        }
        let least = threshold(index(distance)) as usize;
        if shared >= least || other.layers.stealable_hint() > 0 {
            return true;
        }
        if private > 0 && shared + private >= least && !reservation::is_taken_over(other.id) {
            // It answers by sharing and waking a sleeper: this CPU, if nobody is nearer.
            self.poke(other.id);
        }
        false
    }

    /// Has `cpu` look for work, and share what it has.
    fn prompt(cpu: CpuId) {
        isochron_kernel::irq::without(|| {
            let claimed = IDLE.claim(cpu.index());
            let this = Self::this();
            match claimed {
                Some(claimed) => this.notify(claimed),
                None => this.poke(cpu),
            }
        });
    }
}
