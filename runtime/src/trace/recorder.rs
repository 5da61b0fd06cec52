//! What the points write into, and the word that says what they write.

use super::entry::{CPU_SHIFT, Classes, Entry};
use crate::worker::Worker;
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use isochron_core::trace_ring::{Place, TraceRing, Words};
use isochron_kernel::arch;
use isochron_kernel::cpu::{self, CpuId, this_cpu};
use isochron_kernel::irq::IrqLock;
use isochron_kernel::lock_rank;
use isochron_kernel::wire::trace::Event;

/// The ring of one CPU.
pub(crate) type Ring = TraceRing<&'static [Place]>;

/// What a worker's CPU keeps for its points.
pub(crate) struct Hook {
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

/// The classes at whose points there is something to do, and [`STAMPS`].
///
/// Relaxed: a CPU that sees a new set a moment later has one record more or less.
static ON: AtomicU32 = AtomicU32::new(0);

/// Threads note when they begin to wait, and CPUs how often they switch.
const STAMPS: u32 = 1 << 31;

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

#[inline(always)]
pub(super) fn stamps_are_wanted() -> bool {
    ON.load(Ordering::Relaxed) & STAMPS != 0
}

/// This CPU switches to a thread.
#[inline(always)]
pub(super) fn count_switch() {
    if stamps_are_wanted() {
        let switches = &Worker::this().trace.switches;
        switches.store(switches.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
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
            // Release: partner is the load in `record`. While somebody is told, records go the slow way.
            worker.trace.ring.store(if call.is_null() { held } else { ptr::null_mut() }, Ordering::Release);
        }
    }
    let stamps = if asked.stamps { STAMPS } else { 0 };
    ON.store(u32::from(asked.recorded | asked.told) | stamps, Ordering::Relaxed);
}

/// Writes a record into this CPU's ring. Interrupts are masked.
#[inline(never)]
pub(super) fn record(what: u64, who: u64, argument: u64) {
    // Acquire: partner is the release in `change`.
    let ring = Worker::this().trace.ring.load(Ordering::Acquire);
    // SAFETY: a ring that hangs here is freed only after every CPU has taken an interrupt since it was taken down.
    let Some(ring) = (unsafe { ring.as_ref() }) else { return record_and_tell(what, who, argument) };
    // SAFETY: this is the ring's CPU, and interrupts are masked.
    unsafe { ring.write(Words { time: arch::clock::ticks_unordered(), what, who, argument }) };
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
    // SAFETY: as in `record`.
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
            ring: AtomicPtr::new(ptr::null_mut()),
            held: AtomicPtr::new(ptr::null_mut()),
            telling: Cell::new(false),
            switches: AtomicU64::new(0),
            delay: crate::probe::Delay::new(),
        }
    }

    /// How often this CPU has switched to a thread while somebody watched.
    pub fn switches(&self) -> u64 {
        self.switches.load(Ordering::Relaxed)
    }
}
