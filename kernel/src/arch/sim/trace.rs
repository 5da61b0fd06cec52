//! What happened, for whoever looks for the cause of a failure.
//!
//! The events lie in memory that the copy of the process, in which a seed runs, shares with the process that it was copied from,
//! and that one prints them when the copy has ended, in whatever way. To print them as they come would take stack of whoever
//! runs, which grows by that, and so the run would be another one than that without a trace.

use super::{serial, world};
use core::cell::Cell;
use core::fmt::Write;
use core::ptr::{self, NonNull};
use heapless::String;

/// How many events are kept: more than the longest program has that comes to its end. What was never written to takes no memory.
const SIZE: usize = 1 << 22;
/// How many of them are told when a run fails.
const TOLD: usize = 100;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// The CPU waits for an interrupt.
    Sleeps,
    /// It took the IPI of kind `a`.
    TakesIpi,
    /// It sent one to CPU `b`.
    SendsIpi,
    /// Its timer struck.
    Timer,
    /// It takes the running thread off against its will.
    Preempts,
    /// Thread `a` waits for a CPU.
    Runnable,
    /// Thread `a` is on this CPU.
    Runs,
    /// Thread `a` is set aside.
    Aside,
    /// The program's own, with two numbers.
    Program,
}

#[derive(Clone, Copy)]
struct Event {
    at: u64,
    cpu: usize,
    what: What,
    a: usize,
    b: usize,
}

struct Ring {
    count: Cell<usize>,
    events: [Cell<Event>; SIZE],
}

struct Shared(Cell<Option<NonNull<Ring>>>);

// SAFETY: each process has one thread, and while a copy runs, the one that it was copied from waits for its end.
unsafe impl Sync for Shared {}

static RING: Shared = Shared(Cell::new(None));

/// From here on events are kept, the first first. Called before the process is copied.
///
/// # Panics
/// If the host has no memory.
pub(super) fn begin() {
    let ring = RING.0.get().unwrap_or_else(|| {
        let (rights, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: a new mapping, wherever the host has room.
        let found = unsafe { libc::mmap(ptr::null_mut(), size_of::<Ring>(), rights, kind, -1, 0) };
        assert!(found != libc::MAP_FAILED, "the host has no memory for a trace");
        NonNull::new(found.cast()).expect("a mapping is not at null")
    });
    RING.0.set(Some(ring));
    // SAFETY: mapped above and never unmapped; zeroes are a `Ring` whose events nobody reads before they are written.
    unsafe { (*ring.as_ptr()).count.set(0) };
}

fn ring() -> Option<&'static Ring> {
    // SAFETY: as in `begin`; all in it are cells.
    RING.0.get().map(|ring| unsafe { ring.as_ref() })
}

/// What a thread is called here: the end of its address.
pub(super) fn short(thread: usize) -> usize {
    thread >> 6 & 0xf_ffff
}

/// Notes an event of the CPU that runs.
pub(super) fn note(what: What, a: usize, b: usize) {
    if !world::has_begun() {
        return;
    }
    let cpu = world::running_cpu().map_or(0, |cpu| cpu.id.index());
    let event = Event { at: world::now(), cpu, what, a, b };
    let Some(ring) = ring() else { return };
    let count = ring.count.get();
    ring.events[count % SIZE].set(event);
    ring.count.set(count + 1);
}

/// Prints what a copy that has ended has left: all of it, or what happened last.
pub(super) fn print(all: bool) {
    let Some(ring) = ring() else { return };
    let count = ring.count.get();
    let first = count.saturating_sub(if all { SIZE } else { TOLD });
    for index in first..count {
        print_one(ring.events[index % SIZE].get());
    }
}

fn print_one(event: Event) {
    let Event { at, cpu, what, a, b } = event;
    let mut line = String::<160>::new();
    // What does not fit is lost.
    let _ = write!(line, "{:>10}.{:03} us  cpu{cpu}  ", at / 1000, at % 1000);
    let _ = match what {
        What::Sleeps => writeln!(line, "sleeps"),
        What::TakesIpi => writeln!(line, "takes IPI {a}"),
        What::SendsIpi => writeln!(line, "sends IPI {a} to cpu{b}"),
        What::Timer => writeln!(line, "timer"),
        What::Preempts => writeln!(line, "preempts"),
        What::Runnable => writeln!(line, "thread {:x} runnable", short(a)),
        What::Aside => writeln!(line, "thread {:x} set aside", short(a)),
        What::Runs => writeln!(line, "thread {:x} runs", short(a)),
        What::Program => writeln!(line, "program: {a} {b}"),
    };
    serial::write(line.as_bytes());
}

/// Says what there is to say of a failure, before the last events. `frame`: the frame pointer of whoever saw it.
pub(super) fn tell(frame: usize) {
    let mut text = String::<2048>::new();
    crate::hooks::isochron_sim_dump(&mut text);
    let _ = writeln!(text, "after {} points, with {:?}; the last events:", world::points(), world::manner());
    serial::write(text.as_bytes());
    tell_stack(frame);
}

/// Prints the return addresses of the thread that ran when the failure was seen.
fn tell_stack(frame: usize) {
    crate::backtrace::walk(frame, &mut |pc| {
        let mut line = String::<32>::new();
        let _ = writeln!(line, "    called from {pc:#x}");
        serial::write(line.as_bytes());
    });
}
