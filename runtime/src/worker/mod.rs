//! The worker of each CPU: how a thread comes to run, and how it stops.
//!
//! # Protocol
//! * A **thread switches to the next one directly**, on its own stack, with interrupts masked: `switch.rs`. What is to
//!   become of the thread that was left (queue it, park it, free it) goes with the switch, in a register, and is done by
//!   whoever runs next, on the *new* stack, because only then is the old context saved and may others have it.
//! * With nothing to run, it switches to the **worker loop** on the CPU's own stack, which searches, steals, and
//!   sleeps: `idle.rs`.
//! * **Waking** decides where a thread goes and who is told: `wake.rs`, `placement.rs`. Pushing against going to sleep is settled by the
//!   idle set's pair of fences; nobody sends an interrupt to a CPU that is awake, except to hand it a bound thread or
//!   to ask it to share out what only it can reach.
//! * **One preemption boundary**: `preempt.rs`. A thread is switched against its will only at the end of an interrupt,
//!   when `should_preempt` says so, on its own stack, by the same switch as a voluntary one.
//! * **Ranks**: threads with a hint or a priority wait in `layered.rs`'s lists; a flag in the run queue, in a word that is
//!   looked at anyway, says that somebody is there.
//! * **Groups** with a limit: `grouped.rs` gives their members time when they are popped, charges it when they leave, and sets
//!   them aside when there is none.
//! * **Tickless**: `timers.rs`. The one-shot timer is armed for the nearest timer or for the end of the running
//!   thread's quantum, and the latter only while another thread waits for this CPU.
//!
//! # Rejected
//! * *Always going through the worker's stack*: a second switch for every switch.
//! * *Queueing the old thread before its context is saved, with a flag that a thief spins on*: a thief waits for a CPU
//!   that an interrupt may hold.
//! * *A tick*: an interrupt a millisecond on every CPU, for nothing on most of them.

mod beginning;
pub(crate) mod channel_wait;
mod door;
#[cfg(isochron_sim)]
pub(crate) mod dump;
mod forking;
mod grouped;
mod idle;
mod injectors;
mod joining;
mod layered;
mod neighbours;
mod overflow;
mod placement;
mod preempt;
mod quantum;
mod reservation;
mod statistics;
mod stealing;
mod switch;
pub(crate) mod task_wait;
mod timers;
mod waiters;
pub(crate) mod waiting;
mod wake;
mod young;

pub(crate) use beginning::{spare_stack, thread_main};
#[cfg(isochron_sim)]
pub(crate) use dump::may_run;
pub(crate) use grouped::Rest;
pub use injectors::set_one_queue;
pub(crate) use placement::places;
pub use quantum::{BadQuantum, DEFAULT_QUANTUM, LONGEST_QUANTUM, SHORTEST_QUANTUM, quantum, set_quantum};
pub(crate) use reservation::{NotBindable, check_bindable, give_back_claims, has_this_cpu, pass_claim, reserve};
pub use statistics::{Statistics, statistics};
pub use stealing::{
    DEFAULT_STEAL_BACK_OFF, LONGEST_STEAL_BACK_OFF, StealSettingError, StealThresholds, set_steal_back_off,
    set_steal_thresholds, set_stealing, steal_thresholds, stealing,
};
pub(crate) use timers::{Action, Home, Next, TimerNode, block_until, set_timer, wake_in_time};
pub(crate) use waiters::waiting_at;
#[cfg(feature = "trace")]
pub(crate) use waiters::{idle_mask, switches_of};
pub(crate) use wake::{enqueue_woken, enqueue_woken_with, poke_all, start_anywhere, start_bound, unpark, wake};

use crate::group::refill::Refills;
use crate::thread::control::{Thread, ThreadPtr};
use crate::thread::packed;
use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicPtr, Ordering};
use isochron_core::idle_set::IdleSet;
use isochron_core::idle_tiers::{Limits, WatchLength};
use isochron_core::inbox::Inbox;
use isochron_core::injector::Injector;
use isochron_core::layers::Layers;
use isochron_core::run_queue::{Owner, RunQueue};
use isochron_core::timer_wheel::Timers;
use isochron_kernel::arch::context::Context;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::{CpuId, this_cpu};
use isochron_kernel::{irq, report, topology};
use neighbours::Neighbours;
use statistics::Counters;

/// Threads that a CPU keeps to itself or offers; beyond that they go to the injector.
const QUEUE_SIZE: usize = 256;

/// Who sleeps.
static IDLE: IdleSet = IdleSet::new();

/// Every CPU's worker, once it runs.
static WORKERS: [AtomicPtr<Worker>; MAX_CPUS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

/// The scheduling loop of one CPU and all that it keeps.
///
/// `Cell`s are the CPU's own and are touched with interrupts masked.
#[repr(C, align(128))]
pub(crate) struct Worker {
    /// The worker loop's own context, while a thread runs.
    context: UnsafeCell<Context>,
    /// A switch is due as soon as it is allowed.
    preempt_due: Cell<bool>,
    /// Switches so far: tells the quantum whether the same thread still runs.
    switches: Cell<u32>,
    /// State of the one-shot timer.
    alarm: timers::Alarm,
    /// Which CPU.
    id: CpuId,
    next_id: Cell<u64>,
    /// When this CPU may next give away half of a fork, in ticks.
    next_fork: Cell<u64>,
    /// The injector of this CPU's node.
    injector: &'static Injector<Thread>,
    /// Which threads that any CPU may run stay here on the fast path: those whose home is this number.
    keeps: Cell<u16>,
    /// The thread that has this CPU for itself, counted.
    owner: Cell<Option<ThreadPtr>>,
    /// How long this CPU watches when it is next idle.
    watch_length: Cell<WatchLength>,
    limits: Limits,
    /// When the last idle period began, in ticks, and whether it came to sleeping.
    idle_since: Cell<u64>,
    slept: Cell<bool>,
    /// Where among those at one distance the next search begins.
    next_victim: Cell<u32>,
    /// Searches in vain since the last that was not.
    in_vain: Cell<u32>,
    /// What goes through the switch of a thread that yields and may run elsewhere: that somebody may wait for it, unless
    /// there is no other CPU.
    offers: usize,
    /// NUMA nodes of the machine.
    nodes: usize,
    neighbours: Neighbours,
    /// The last random number; see `channel_wait::any_of`.
    random: Cell<u32>,
    counters: Counters,
    /// Its ring of records.
    #[cfg(feature = "trace")]
    pub(crate) trace: crate::trace::Hook,
    /// The member of a group that runs here.
    grouped: grouped::Running,
    /// Those who were set aside here come back by this.
    refills: Refills,
    queue: RunQueue<ThreadPtr, QUEUE_SIZE>,
    inbox: Inbox<Thread>,
    /// Bound threads that the queue has no room for: see `overflow.rs`.
    overflow: overflow::Overflow,
    /// For threads that get no stack.
    last_resort: beginning::LastResort,
    /// The threads that wait here and are not of normal rank.
    layers: Layers<Thread>,
    timers: Timers<timers::Action>,
}

// SAFETY: `Cell`s are touched by the worker's own CPU alone, with interrupts masked (see `Worker::this`); the queue, the
// inbox and the timers are made for sharing.
unsafe impl Sync for Worker {}

impl Worker {
    /// Makes the worker of the CPU this runs on. Once, interrupts masked, before the CPU counts as online.
    pub fn install() {
        let cpu = this_cpu();
        let limits = idle::limits();
        let cpus = report::facts().cpus_described;
        let worker: &'static Self = Box::leak(Box::new(Self {
            context: UnsafeCell::new(Context::default()),
            preempt_due: Cell::new(false),
            switches: Cell::new(0),
            alarm: timers::Alarm::new(),
            id: cpu.id,
            next_id: Cell::new(0),
            next_fork: Cell::new(0),
            injector: injectors::of(cpu.id),
            keeps: Cell::new(cpu.id.index() as u16),
            owner: Cell::new(None),
            watch_length: Cell::new(WatchLength::new(&limits)),
            limits,
            idle_since: Cell::new(0),
            slept: Cell::new(false),
            next_victim: Cell::new(0),
            in_vain: Cell::new(0),
            offers: if cpus > 1 { switch::SHARE } else { 0 },
            nodes: topology::counts().nodes,
            neighbours: Neighbours::of(cpu.id, cpus),
            random: Cell::new((cpu.id.index() as u32 + 1).wrapping_mul(0x9E37_79B9)),
            counters: Counters::default(),
            #[cfg(feature = "trace")]
            trace: crate::trace::Hook::new(),
            grouped: grouped::Running::new(),
            refills: Refills::new(),
            queue: RunQueue::new(),
            inbox: Inbox::new(),
            overflow: overflow::Overflow::new(),
            last_resort: beginning::LastResort::new(),
            layers: Layers::new(),
            timers: Timers::new(),
        }));
        cpu.set_worker(core::ptr::from_ref(worker).cast());
        // Release: partner is the acquire in `of`.
        WORKERS[cpu.id.index()].store(core::ptr::from_ref(worker).cast_mut(), Ordering::Release);
    }

    /// The worker of the CPU this runs on. Interrupts are masked, or preemption is held off, for as long as it is used.
    #[inline(always)]
    pub fn this() -> &'static Self {
        // SAFETY: `install` ran on this CPU before any thread or interrupt could; workers live for ever.
        unsafe { &*this_cpu().worker().cast::<Self>() }
    }

    /// Another CPU's worker, if it runs.
    pub(crate) fn of(cpu: CpuId) -> Option<&'static Self> {
        // Acquire: partner is the release in `install`.
        let worker = WORKERS[cpu.index()].load(Ordering::Acquire);
        // SAFETY: null, or a worker, which lives for ever.
        unsafe { worker.as_ref() }
    }

    /// The owner's side of the run queue.
    #[inline(always)]
    fn queue(&self) -> Owner<'_, ThreadPtr, QUEUE_SIZE> {
        debug_assert!(irq::are_masked());
        // SAFETY: this is the queue's own CPU with interrupts masked (the contract of `this`), and no caller in this
        // module keeps one handle while it makes another.
        unsafe { self.queue.owner() }
    }

    /// A number for a new thread, unique since boot: each CPU has every 64th.
    pub fn next_thread_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id * MAX_CPUS as u64 + self.id.index() as u64
    }
}

/// Parks the running thread until [`wake`]; may return early, once, for a wake-up that came before.
///
/// Inlined, as [`Worker::yield_irqoff`] is and for the same reason: the switch loses every register, and who calls this
/// in a loop then saves what it must once, around the loop.
///
/// # Panics
/// If it must not block here: in an interrupt handler, with interrupts masked, or while a `PreemptGuard` is held.
#[track_caller]
#[inline(always)]
pub(crate) fn block_current() {
    block(crate::thread::current_ptr());
}

/// As [`block_current`], for callers that know who they are.
#[track_caller]
#[inline(always)]
pub(crate) fn block(me: ThreadPtr) {
    let irq = allow_block(me);
    Worker::park(me);
    drop(irq);
}

/// As [`block`], for who waits for the end of another thread.
#[track_caller]
#[inline(always)]
pub(crate) fn block_to_join(me: ThreadPtr) {
    let irq = allow_block(me);
    Worker::park_to_join(me);
    drop(irq);
}

/// Masks interrupts, for a thread that may block here.
#[track_caller]
#[inline(always)]
fn allow_block(me: ThreadPtr) -> irq::UnmaskGuard {
    // SAFETY: the running thread's block is alive.
    let thread = unsafe { me.as_ref() };
    match irq::IrqGuard::new().until_unmasked() {
        Ok(irq) if !thread.is_held_off() && !packed::is_packed(me) => irq,
        irq => may_block(me, irq),
    }
}

/// Something about the running thread is not as usual: it must not block, or it is packed, and its stack is looked at.
#[cold]
#[inline(never)]
#[track_caller]
fn may_block(me: ThreadPtr, irq: Result<irq::UnmaskGuard, irq::IrqGuard>) -> irq::UnmaskGuard {
    if packed::is_packed(me) {
        // First: if it has overflowed, nothing else that is asked may be true.
        packed::check(me);
    }
    match irq {
        // SAFETY: the running thread's block is alive.
        Ok(irq) if !unsafe { me.as_ref() }.is_held_off() => irq,
        irq => {
            let masked = irq.is_err();
            drop(irq);
            assert!(!masked, "a thread must not block with interrupts masked");
            panic!("a thread must not block while preemption is held off");
        }
    }
}
