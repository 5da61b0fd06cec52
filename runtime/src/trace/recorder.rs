//! What the points write into, and the word that says what they write.

use super::entry::{CPU_SHIFT, Classes, Entry, Left};
use super::points::{id, running};
use crate::thread::control::ThreadPtr;
use crate::worker::Worker;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use isochron_core::trace_ring::{TraceRing, Words};
use isochron_kernel::arch;
use isochron_kernel::cpu::{self, CpuId, this_cpu};
use isochron_kernel::irq::IrqLock;
use isochron_kernel::lock_rank;
use isochron_kernel::wire::trace::Event;

/// The ring of one CPU.
pub(crate) type Ring = TraceRing<'static>;

/// What a worker's CPU keeps for its points.
pub(crate) struct Hook {
    /// A copy of `ON`, for points that have the worker at hand.
    on: AtomicU32,
    /// The ring, while there is a session and nothing else to be done with a record.
    ring: AtomicPtr<Ring>,
    /// The ring, while there is a session.
    held: AtomicPtr<Ring>,
    /// The probe is being called.
    telling: Cell<bool>,
    /// Switches to a thread while somebody watched. Written by this CPU alone.
    switches: AtomicU64,
    /// How long preemption takes.
    pub delay: crate::probe::Delay,
}

/// The classes at whose points there is something to do: one bit is all that a point asks for while there is nothing.
///
/// Relaxed: a CPU that sees a new set a moment later has one record more or less.
static ON: AtomicU32 = AtomicU32::new(0);

/// The classes at whose points threads note when they begin to wait, and CPUs how often they switch.
const STAMPED: u32 = (Event::Spawned.class() | Event::SwitchedOut.class() | Event::Woken.class()) as u32;

/// They do. Relaxed, as `ON`.
static STAMPS: AtomicBool = AtomicBool::new(false);

/// What was asked for, by whom.
struct Asked {
    recorded: u16,
    stamps: bool,
    told: u16,
    call: Option<fn(&Entry)>,
}

static ASKED: IrqLock<Asked> =
    IrqLock::new(lock_rank::TRACING, Asked { recorded: 0, stamps: false, told: 0, call: None });

/// The same for the slow path. Relaxed, as `ON`.
static RECORDED: AtomicU32 = AtomicU32::new(0);
static TOLD: AtomicU32 = AtomicU32::new(0);
/// A `fn(&Entry)`, or null.
static CALL: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

#[inline(always)]
pub(super) fn is_wanted(event: Event) -> bool {
    ON.load(Ordering::Relaxed) & u32::from(event.class()) != 0
}

/// The thread waits for a CPU from now on, which somebody may want to know.
pub(super) fn waits(thread: ThreadPtr) {
    if STAMPS.load(Ordering::Relaxed) {
        // SAFETY: points are given threads that are alive.
        unsafe { thread.as_ref() }.waits_since.set_to_now();
    }
}

/// Tells the compiler that what follows is the way of a program that is recorded: it is laid out apart from the other, which keeps its
/// registers. The way itself is not a call: that would take a third more instructions.
#[cold]
#[inline(always)]
fn recording() {}

/// Writes the record, if there is nothing else to be done with it.
#[inline(always)]
fn write(worker: &Worker, what: u64, who: u64, argument: u64) -> bool {
    recording();
    let Some(ring) = worker.trace.ring() else { return false };
    // SAFETY: this is the ring's CPU, and interrupts are masked.
    unsafe { ring.write(Words { time: arch::clock::ticks_unordered(), what, who, argument }) };
    true
}

/// `me` yields to `next`: both records, of one time.
#[inline(always)]
pub(super) fn yields_to(worker: &Worker, me: ThreadPtr, next: ThreadPtr) {
    recording();
    let is_written = worker.trace.ring().is_some_and(|ring| {
        let time = arch::clock::ticks_unordered();
        let out = Words { time, what: Event::SwitchedOut.word(Left::Yield as u8), who: id(me), argument: 0 };
        let (what, block) = switched_in(next);
        // SAFETY: as in `write`.
        unsafe { ring.write_both(out, Words { time, what, who: id(next), argument: block }) }
    });
    if !is_written {
        yields_slowly_to(worker, me, next);
    }
}

/// The same, one after the other.
#[cold]
#[inline(never)]
fn yields_slowly_to(worker: &Worker, me: ThreadPtr, next: ThreadPtr) {
    leaves(worker, me, Left::Yield);
    comes(worker, next);
}

/// `me` leaves its CPU.
#[inline(always)]
pub(super) fn leaves(worker: &Worker, me: ThreadPtr, left: Left) {
    if !write(worker, Event::SwitchedOut.word(left as u8), id(me), 0) {
        leaves_slowly(me, left);
    }
}

#[cold]
#[inline(never)]
fn leaves_slowly(me: ThreadPtr, left: Left) {
    if left == Left::Yield {
        waits(me);
    }
    record_and_tell(Event::SwitchedOut.word(left as u8), id(me), 0);
}

/// This CPU switches to `next`.
#[inline(always)]
pub(super) fn comes(worker: &Worker, next: ThreadPtr) {
    let (what, block) = switched_in(next);
    if !write(worker, what, id(next), block) {
        comes_slowly(worker, next);
    }
}

#[cold]
#[inline(never)]
fn comes_slowly(worker: &Worker, next: ThreadPtr) {
    if STAMPS.load(Ordering::Relaxed) {
        let switches = &worker.trace.switches;
        switches.store(switches.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    let (what, block) = switched_in(next);
    record_and_tell(what, id(next), block);
}

#[inline(always)]
fn switched_in(next: ThreadPtr) -> (u64, u64) {
    (Event::SwitchedIn.word(0), next.as_ptr().addr() as u64)
}

/// `thread`, which was parked, is woken by the running one.
#[inline(always)]
pub(super) fn wakes(thread: ThreadPtr) {
    if !write(Worker::this(), Event::Woken.word(0), id(thread), running()) {
        wakes_slowly(thread);
    }
}

#[cold]
#[inline(never)]
fn wakes_slowly(thread: ThreadPtr) {
    waits(thread);
    record_and_tell(Event::Woken.word(0), id(thread), running());
}

/// As [`record`], where it is frequent.
#[inline(always)]
pub(super) fn record_here(what: u64, who: u64, argument: u64) {
    if !write(Worker::this(), what, who, argument) {
        record_and_tell(what, who, argument);
    }
}

/// Sets the classes that are recorded.
pub(super) fn set(classes: Classes) {
    change(|asked| asked.recorded = classes.bits());
}

/// Whether threads note when they begin to wait.
pub(crate) fn set_stamps(on: bool) {
    change(|asked| asked.stamps = on);
}

/// Sets who is told of what.
pub(crate) fn tell(classes: Classes, call: fn(&Entry)) {
    change(|asked| {
        asked.told = classes.bits();
        asked.call = (classes != Classes::NONE).then_some(call);
    });
}

/// Gives CPUs their rings, or takes them away; `ring` says which.
pub(super) fn hang(mut ring: impl FnMut(CpuId) -> *mut Ring) {
    for cpu in cpu::online() {
        if let Some(worker) = Worker::of(cpu.id) {
            // Release: partner is the load in `record_and_tell`.
            worker.trace.held.store(ring(cpu.id), Ordering::Release);
        }
    }
    change(|_| ());
}

fn change(how: impl FnOnce(&mut Asked)) {
    let mut asked = ASKED.lock();
    how(&mut asked);
    let call = asked.call.map_or(ptr::null_mut(), |call| call as *mut ());
    // Release: partner is the load in `record_and_tell`, of who has seen the class.
    CALL.store(call, Ordering::Release);
    RECORDED.store(asked.recorded.into(), Ordering::Relaxed);
    TOLD.store(asked.told.into(), Ordering::Relaxed);
    for cpu in cpu::online() {
        if let Some(worker) = Worker::of(cpu.id) {
            let held = worker.trace.held.load(Ordering::Relaxed);
            // Release: partner is the load in `Hook::ring`. While somebody is told, or watches, records go the slow way.
            let slow = asked.stamps || !call.is_null();
            worker.trace.ring.store(if slow { ptr::null_mut() } else { held }, Ordering::Release);
        }
    }
    STAMPS.store(asked.stamps, Ordering::Relaxed);
    let on = u32::from(asked.recorded | asked.told) | if asked.stamps { STAMPED } else { 0 };
    ON.store(on, Ordering::Relaxed);
    for worker in cpu::online().filter_map(|cpu| Worker::of(cpu.id)) {
        worker.trace.on.store(on, Ordering::Relaxed);
    }
}

/// Writes a record into this CPU's ring. Interrupts are masked.
#[inline(never)]
pub(super) fn record(what: u64, who: u64, argument: u64) {
    record_here(what, who, argument);
}

/// The same, for whoever is told too.
#[cold]
#[inline(never)]
fn record_and_tell(what: u64, who: u64, argument: u64) {
    let words = Words { time: arch::clock::ticks_unordered(), what, who, argument };
    let here = (this_cpu().id.index() as u64) << CPU_SHIFT;
    let Some(entry) = Entry::from_words(&Words { what: what | here, ..words }) else { return };
    let class = Event::of(what as u8).map_or(0, |event| u32::from(event.class()));
    let hook = &Worker::this().trace;
    // Acquire: partner is the release in `hang`.
    let ring = hook.held.load(Ordering::Acquire);
    // SAFETY: as in `Hook::ring`.
    if let Some(ring) = unsafe { ring.as_ref() }
        && RECORDED.load(Ordering::Relaxed) & class != 0
    {
        // SAFETY: as in `record`.
        unsafe { ring.write(words) };
    }
    // Acquire: partner is the release in `change`.
    let call = CALL.load(Ordering::Acquire);
    if TOLD.load(Ordering::Relaxed) & class != 0 && !call.is_null() && !hook.telling.replace(true) {
        // SAFETY: `change` stores a function of this type, or null.
        let call = unsafe { core::mem::transmute::<*mut (), fn(&Entry)>(call) };
        call(&entry);
        hook.telling.set(false);
    }
}

/// A moment, in ticks; 0 if nobody watched when it was.
#[derive(Default)]
pub(crate) struct Stamp(AtomicU64);

impl Stamp {
    pub fn set_to_now(&self) {
        self.0.store(arch::clock::ticks_unordered(), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Hook {
    /// Without a ring.
    pub const fn new() -> Self {
        Self {
            on: AtomicU32::new(0),
            ring: AtomicPtr::new(ptr::null_mut()),
            held: AtomicPtr::new(ptr::null_mut()),
            telling: Cell::new(false),
            switches: AtomicU64::new(0),
            delay: crate::probe::Delay::new(),
        }
    }

    /// Whether there is something to do at the points of that event's class.
    #[inline(always)]
    pub(super) fn is_on(&self, event: Event) -> bool {
        self.on.load(Ordering::Relaxed) & u32::from(event.class()) != 0
    }

    /// The ring, if there is nothing to be done with a record but to write it there. Interrupts are masked for as long as it is used.
    #[inline(always)]
    fn ring(&self) -> Option<&Ring> {
        // Acquire: partner is the release in `change`.
        let ring = self.ring.load(Ordering::Acquire);
        // SAFETY: a ring that hangs here is freed only after every CPU has taken an interrupt since it was taken down.
        unsafe { ring.as_ref() }
    }

    /// How often this CPU has switched to a thread while somebody watched.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }
}
