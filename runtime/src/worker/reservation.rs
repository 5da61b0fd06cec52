//! CPUs that are given to one thread alone: see [`crate::thread::reserve_cpu`].
//!
//! One word says which CPUs are reserved; whoever places, wakes or steals looks at it where it looks at masks anyway, and the
//! CPU itself keeps no thread that another could run: its `keeps` names nobody, so every such thread takes the slow way,
//! through `placement.rs`, to another CPU. A CPU that has not seen the word yet may still send a thread here, which is then
//! sent on.
//!
//! Between the claim of a CPU and the moment when its thread is there, the claim is somebody's: the thread's that asked, and from
//! before it first runs the new thread's that the CPU is for. Who dies with one gives it back.

use super::{IDLE, Worker};
use crate::thread::control::{ThreadPtr, ThreadRef};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use isochron_core::MAX_CPUS;
use isochron_core::thread_state::State;
use isochron_kernel::cpu::{self, CpuId, CpuState};
use isochron_kernel::irq;

/// In [`Worker::keeps`]: no thread's home.
const NOBODY: u16 = u16::MAX;

/// The CPUs that are reserved. Relaxed, as all here: who reads an old value sends a thread to where it is sent on.
static RESERVED: AtomicU64 = AtomicU64::new(0);

/// Those of them whose thread is there.
static TAKEN_OVER: AtomicU64 = AtomicU64::new(0);

/// Whose the claim of a reserved CPU is as long as its thread is not there, by the address of that one's block; 0 for nobody's.
static CLAIMANTS: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];

/// The CPUs that are known to run and are not reserved.
static BINDABLE: AtomicU64 = AtomicU64::new(0);

/// What stands in the way of binding a thread to a CPU.
pub(crate) enum NotBindable {
    NoSuchCpu,
    Reserved,
}

/// Whether threads may be bound to `cpu`: one look at one word, mostly.
#[inline]
pub(crate) fn check_bindable(cpu: CpuId) -> Result<(), NotBindable> {
    if BINDABLE.load(Ordering::Relaxed) & 1 << cpu.index() != 0 { Ok(()) } else { check_slow(cpu) }
}

#[cold]
fn check_slow(cpu: CpuId) -> Result<(), NotBindable> {
    if !cpu::cpu(cpu).is_some_and(|found| found.state() == CpuState::Online) {
        Err(NotBindable::NoSuchCpu)
    } else if is_reserved(cpu) {
        Err(NotBindable::Reserved)
    } else {
        Ok(())
    }
}

/// Whether `cpu` is given to one thread alone.
pub(crate) fn is_reserved(cpu: CpuId) -> bool {
    reserved() & 1 << cpu.index() != 0
}

/// The reserved CPUs as bits.
#[inline]
pub(super) fn reserved() -> u64 {
    RESERVED.load(Ordering::Relaxed)
}

/// Takes `cpu` out of those that all share, for `claimant`, the running thread. False: somebody else has it.
pub(crate) fn reserve(cpu: CpuId, claimant: ThreadPtr) -> bool {
    // Nobody dies between the claim and the word that says whose it is.
    irq::without(|| {
        let bit = 1 << cpu.index();
        BINDABLE.fetch_and(!bit, Ordering::Relaxed);
        let ours = RESERVED.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        if ours {
            CLAIMANTS[cpu.index()].store(claimant.as_ptr().addr(), Ordering::Relaxed);
        }
        ours
    })
}

/// Whether the claim of `cpu` is that of `thread`: only who has it may find that so, and so change it.
fn is_claimant(cpu: usize, thread: ThreadPtr) -> bool {
    CLAIMANTS[cpu].load(Ordering::Relaxed) == thread.as_ptr().addr()
}

/// From now on the claim of `cpu` is that of `to`, if it was that of `from`, the running thread. Threads are also made for CPUs
/// that somebody else has claimed.
pub(crate) fn pass_claim(cpu: CpuId, from: ThreadPtr, to: ThreadPtr) {
    if is_claimant(cpu.index(), from) {
        CLAIMANTS[cpu.index()].store(to.as_ptr().addr(), Ordering::Relaxed);
    }
}

/// Gives back what `thread`, the running one or one that ends in its place, has claimed and not come to.
pub(crate) fn give_back_claims(thread: ThreadPtr) {
    let mut claimed = reserved() & !TAKEN_OVER.load(Ordering::Relaxed);
    while claimed != 0 {
        let cpu = claimed.trailing_zeros() as usize;
        claimed &= claimed - 1;
        if is_claimant(cpu, thread) {
            unreserve(CpuId::new(cpu));
        }
    }
}

/// Whether the thread that `cpu` was given to is there: then nobody disturbs it, and nobody waits there that could run
/// elsewhere. Before that, others wait there still, and may be taken from it.
pub(super) fn is_taken_over(cpu: CpuId) -> bool {
    TAKEN_OVER.load(Ordering::Relaxed) & 1 << cpu.index() != 0
}

/// Gives it back.
fn unreserve(cpu: CpuId) {
    let bit = 1 << cpu.index();
    CLAIMANTS[cpu.index()].store(0, Ordering::Relaxed);
    RESERVED.fetch_and(!bit, Ordering::Relaxed);
    BINDABLE.fetch_or(bit, Ordering::Relaxed);
}

/// Whether `thread`, the running one, has the CPU that it is on for itself.
pub(crate) fn has_this_cpu(thread: ThreadPtr) -> bool {
    irq::without(|| Worker::this().owner.get() == Some(thread))
}

impl Worker {
    /// This CPU runs threads from here on.
    pub(super) fn open(&self) {
        BINDABLE.fetch_or(1 << self.id.index(), Ordering::Relaxed);
    }

    /// On the CPU that `owner`, the running thread, has reserved, with interrupts masked: all others that may leave do so.
    pub(crate) fn take_over(&self, owner: ThreadRef) {
        self.keeps.set(NOBODY);
        TAKEN_OVER.fetch_or(1 << self.id.index(), Ordering::Relaxed);
        CLAIMANTS[self.id.index()].store(0, Ordering::Relaxed);
        self.owner.set(Some(owner.as_ptr()));
        // Its block is kept, so that it can be asked whether it still lives.
        core::mem::forget(owner);
        self.take_inbox();
        self.settle_young();
        // Not by rule: those that are bound come back at once, and would have every turn before the others.
        for _ in 0..self.queue().len() {
            let Some(thread) = self.queue().pop() else { break };
            self.make_runnable(thread);
        }
        let mut ranked = self.layers.take_all();
        while let Some(thread) = ranked.pop() {
            self.make_runnable(thread);
        }
        if !self.queue.has_items_hint() {
            self.alarm.nobody_waits();
        }
    }

    /// Whether this CPU is given to one thread alone.
    #[inline]
    pub(super) fn is_reserved(&self) -> bool {
        self.keeps.get() == NOBODY
    }

    /// The end of that, on the same CPU, interrupts masked.
    pub(crate) fn hand_back(&self) {
        if let Some(owner) = self.owner.take() {
            self.keeps.set(self.id.index() as u16);
            TAKEN_OVER.fetch_and(!(1 << self.id.index()), Ordering::Relaxed);
            unreserve(self.id);
            // SAFETY: counted in `take_over`.
            drop(unsafe { ThreadRef::from_counted(owner) });
        }
    }

    /// A thread that ended without giving its CPU back does not keep it: looked at when the CPU has nothing to run.
    #[inline]
    pub(super) fn look_after_owner(&self) {
        if self.is_reserved() {
            self.hand_back_if_dead();
        }
    }

    #[cold]
    fn hand_back_if_dead(&self) {
        // SAFETY: `take_over` keeps a reference.
        let is_dead = |owner: ThreadPtr| unsafe { owner.as_ref() }.state.state() == State::Exited;
        if self.owner.get().is_some_and(is_dead) {
            self.hand_back();
        }
    }

    /// The nearest CPU to a reserved one that is not: an idle one, if there is.
    #[cold]
    pub(super) fn nearest_shared(&self) -> CpuId {
        let (idle, reserved) = (IDLE.idle_mask(), reserved());
        let shared = || {
            let all = self.neighbours.all().iter().map(|&(cpu, _)| cpu);
            all.filter(|&cpu| reserved & 1 << cpu.index() == 0 && Self::of(cpu).is_some())
        };
        let found = shared().find(|cpu| idle & 1 << cpu.index() != 0).or_else(|| shared().next());
        // The primary is never reserved.
        found.unwrap_or(CpuId::PRIMARY)
    }
}
