//! The points at which something is recorded: one line each where it happens, and nothing at all without the feature.
//!
//! They are called with interrupts masked, where nothing else is said.

#[cfg(feature = "trace")]
use super::entry::Left;
use super::entry::{NOBODY, Origin, Queue, Supply};
#[cfg(feature = "trace")]
use crate::thread::control::Thread;
use crate::thread::control::{self, ThreadPtr};
use crate::worker::Worker;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::hooks::Noted;
use isochron_kernel::irq;
use isochron_kernel::wire::trace::Event;

/// Records an event, if the feature is there and its class is on. What it takes to say more is asked only then.
#[inline(always)]
fn emit(event: Event, reason: u8, who: impl FnOnce() -> u64, argument: impl FnOnce() -> u64) {
    #[cfg(feature = "trace")]
    if super::recorder::is_wanted(event) {
        super::recorder::record(event.word(reason), who(), argument());
    }
    #[cfg(not(feature = "trace"))]
    let _ = (event, reason, who, argument);
}

#[inline(always)]
pub(super) fn id(thread: ThreadPtr) -> u64 {
    // SAFETY: points are given threads that run, are being queued or are being switched to: they are alive.
    unsafe { thread.as_ref() }.id()
}

#[inline(always)]
pub(super) fn running() -> u64 {
    control::current_ptr().map_or(NOBODY, id)
}

/// Records the program's own event, with a number of its choice, for the running thread.
#[inline]
pub fn mark(number: u64) {
    if cfg!(feature = "trace") {
        irq::without(|| emit(Event::Mark, 0, running, || number));
    }
}

#[inline]
pub(super) fn span_begins(label: u64) {
    if cfg!(feature = "trace") {
        irq::without(|| emit(Event::SpanBegin, 0, running, || label));
    }
}

#[inline]
pub(super) fn span_ends(label: u64) {
    if cfg!(feature = "trace") {
        irq::without(|| emit(Event::SpanEnd, 0, running, || label));
    }
}

/// A counter's new value; `label` is the lower half of its label's address.
#[inline]
pub(super) fn count(label: u32, value: u64) {
    #[cfg(feature = "trace")]
    irq::without(|| {
        if super::recorder::is_wanted(Event::Count) {
            super::recorder::record(Event::Count.word(0) | u64::from(label) << 32, running(), value);
        }
    });
    #[cfg(not(feature = "trace"))]
    let _ = (label, value);
}

#[inline(always)]
pub(crate) fn spawned(thread: ThreadPtr) {
    #[cfg(feature = "trace")]
    if super::recorder::is_wanted(Event::Spawned) {
        recorded_spawned(thread);
    }
    #[cfg(not(feature = "trace"))]
    let _ = thread;
}

/// The thread is new; if it has a name, that is recorded too.
#[cfg(feature = "trace")]
#[cold]
#[inline(never)]
fn recorded_spawned(thread: ThreadPtr) {
    super::recorder::waits(thread);
    emit(Event::Spawned, 0, || id(thread), running);
    use isochron_kernel::wire::trace::{NAME_BYTES, name_word};
    // SAFETY: as in `id`; and whoever has made it holds it.
    let name = unsafe { thread.as_ref() }.name().unwrap_or("");
    for from in (0..name.len()).step_by(NAME_BYTES) {
        emit(Event::Named, (from / NAME_BYTES) as u8, || id(thread), || name_word(name.as_bytes(), from));
    }
}

#[inline(always)]
pub(crate) fn began(thread: ThreadPtr) {
    emit(Event::Began, 0, || id(thread), || 0);
}

/// The running thread lets others go first, and `next` is chosen: one question for both.
#[inline(always)]
pub(crate) fn yielded_to(worker: &Worker, me: ThreadPtr, next: ThreadPtr) {
    #[cfg(feature = "trace")]
    if worker.trace.is_on(Event::SwitchedOut) {
        super::recorder::yields_to(worker, me, next);
    }
    #[cfg(not(feature = "trace"))]
    let _ = (worker, me, next);
}

/// The running thread is about to leave its CPU: because it parks, or to be queued anew.
#[inline(always)]
pub(crate) fn leaving(worker: &Worker, me: ThreadPtr, parks: bool) {
    #[cfg(feature = "trace")]
    if worker.trace.is_on(Event::SwitchedOut) {
        // SAFETY: it is the running thread.
        let left = if parks { why(unsafe { me.as_ref() }) } else { Left::Yield };
        super::recorder::leaves(worker, me, left);
    }
    #[cfg(not(feature = "trace"))]
    let _ = (worker, me, parks);
}

/// The running thread is about to leave its CPU until another has ended.
#[inline(always)]
pub(crate) fn joins(worker: &Worker, me: ThreadPtr) {
    #[cfg(feature = "trace")]
    if worker.trace.is_on(Event::SwitchedOut) {
        super::recorder::leaves(worker, me, Left::Join);
    }
    #[cfg(not(feature = "trace"))]
    let _ = (worker, me);
}

#[cfg(feature = "trace")]
#[inline(always)]
fn why(thread: &Thread) -> Left {
    if thread.has_timer.get() {
        Left::Sleep
    } else if thread.is_queued.get() {
        Left::Channel
    } else if thread.may_be_linked() {
        Left::Wait
    } else {
        Left::Park
    }
}

#[inline(always)]
pub(crate) fn exited(worker: &Worker, me: ThreadPtr) {
    #[cfg(feature = "trace")]
    if worker.trace.is_on(Event::SwitchedOut) {
        super::recorder::leaves(worker, me, Left::Exit);
    }
    #[cfg(not(feature = "trace"))]
    let _ = (worker, me);
}

#[inline(always)]
pub(crate) fn switched_in(worker: &Worker, next: ThreadPtr) {
    #[cfg(feature = "trace")]
    if worker.trace.is_on(Event::SwitchedIn) {
        super::recorder::comes(worker, next);
    }
    #[cfg(not(feature = "trace"))]
    let _ = (worker, next);
}

/// The first thing after a switch.
#[inline(always)]
pub(crate) fn arrived() {
    #[cfg(feature = "trace")]
    if super::recorder::is_wanted(Event::Running) {
        super::recorder::record_here(Event::Running.word(0), running(), 0);
    }
}

#[inline(always)]
pub(crate) fn preempted() {
    emit(Event::Preempted, 0, running, || 0);
    #[cfg(feature = "trace")]
    Worker::this().trace.delay.end();
}

#[inline(always)]
pub(crate) fn woken(thread: ThreadPtr) {
    #[cfg(feature = "trace")]
    if super::recorder::is_wanted(Event::Woken) {
        super::recorder::wakes(thread);
    }
    #[cfg(not(feature = "trace"))]
    let _ = thread;
}

#[inline(always)]
pub(crate) fn queued(thread: ThreadPtr, queue: Queue, on: CpuId) {
    #[cfg(feature = "trace")]
    if super::recorder::is_wanted(Event::Queued) {
        super::recorder::record_here(Event::Queued.word(queue as u8), id(thread), on.index() as u64);
    }
    #[cfg(not(feature = "trace"))]
    let _ = (thread, queue, on);
}

/// The thread came out of an inbox or an injector.
#[inline(always)]
pub(crate) fn taken(thread: ThreadPtr, from: Origin, here: CpuId) {
    emit(Event::Taken, from as u8, || id(thread), || here.index() as u64);
}

/// The thread was stolen, over one of the distances by number.
#[inline(always)]
pub(crate) fn stolen(thread: ThreadPtr, victim: CpuId, distance: usize) {
    emit(Event::Taken, Origin::Sibling as u8 + distance as u8, || id(thread), || victim.index() as u64);
}

#[inline(always)]
pub(crate) fn stayed(me: ThreadPtr) {
    emit(Event::Stayed, 0, || id(me), || 0);
}

#[inline(always)]
pub(crate) fn ipi_sent(to: CpuId) {
    emit(Event::IpiSent, 0, running, || to.index() as u64);
}

#[inline(always)]
pub(crate) fn ipi_taken() {
    emit(Event::IpiTaken, 0, running, || 0);
    #[cfg(feature = "trace")]
    crate::probe::answer_if_asked();
}

#[inline(always)]
pub(crate) fn timer(due: u64) {
    emit(Event::Timer, 0, running, || due);
    #[cfg(feature = "trace")]
    Worker::this().trace.delay.timer(due);
}

/// The timer's handler has done its work.
#[inline(always)]
pub(crate) fn timer_is_over() {
    #[cfg(feature = "trace")]
    Worker::this().trace.delay.timer(0);
}

/// The running thread is to be taken off its CPU; `first`: that was not so before.
#[inline(always)]
pub(crate) fn preemption_is_due(first: bool) {
    #[cfg(feature = "trace")]
    if first {
        Worker::this().trace.delay.begin();
    }
    #[cfg(not(feature = "trace"))]
    let _ = first;
}

#[inline(always)]
pub(crate) fn idle() {
    emit(Event::Idle, 0, || NOBODY, || 0);
}

#[inline(always)]
pub(crate) fn busy() {
    emit(Event::Busy, 0, || NOBODY, || 0);
}

/// The running thread waits for a mutex; `owner` tells the number of the one that has it: its block's address.
#[inline(always)]
pub(crate) fn lock_wait<T: ?Sized>(lock: &T, owner: impl FnOnce() -> Option<usize>) {
    emit(Event::LockWait, 0, running, || address(lock));
    emit(Event::LockHeld, 0, running, || owner().unwrap_or(0) as u64);
}

#[inline(always)]
pub(crate) fn lock_end<T: ?Sized>(lock: &T) {
    emit(Event::LockEnd, 0, running, || address(lock));
}

#[inline(always)]
fn address<T: ?Sized>(of: &T) -> u64 {
    core::ptr::from_ref(of).addr() as u64
}

#[inline(always)]
pub(crate) fn throttled(thread: ThreadPtr, group: u64) {
    emit(Event::Throttled, 0, || id(thread), || group);
}

/// What a record says of a group: how its name begins.
#[inline(always)]
pub(crate) fn group_word(name: &str) -> u64 {
    #[cfg(feature = "trace")]
    let word = isochron_kernel::wire::trace::name_word(name.as_bytes(), 0);
    #[cfg(not(feature = "trace"))]
    let word = {
        let _ = name;
        0
    };
    word
}

/// What the kernel has seen.
#[inline(always)]
pub(crate) fn noted(noted: Noted) {
    match noted {
        Noted::Unexpected(number) => emit(Event::Interrupt, 0, running, || number.into()),
        Noted::PageFault(address) => emit(Event::PageFault, 0, running, || address as u64),
        Noted::NoMemory(bytes) => emit(Event::Refused, Supply::Machine as u8, running, || bytes as u64),
    }
}

/// The running thread was refused memory by one of its groups. Interrupts may be on.
#[inline(always)]
pub(crate) fn refused(bytes: usize) {
    if cfg!(feature = "trace") {
        irq::without(|| emit(Event::Refused, Supply::Group as u8, running, || bytes as u64));
    }
}

/// A group's memory has reached a level. Interrupts may be on.
#[inline(always)]
pub(crate) fn pressure(percent: u8) {
    if cfg!(feature = "trace") {
        irq::without(|| emit(Event::Pressure, 0, running, || percent.into()));
    }
}
