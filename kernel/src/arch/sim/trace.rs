//! What happened last, for whoever looks for the cause of a failure.

use super::{serial, simulation, world};
use core::cell::Cell;
use core::fmt::Write;
use heapless::String;

/// How many events are kept.
const SIZE: usize = 4096;
/// How many of them are told when a run fails.
const TOLD: usize = 100;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Nothing,
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
    events: [Cell<Event>; SIZE],
    count: Cell<usize>,
}

// SAFETY: the process has one thread.
unsafe impl Sync for Ring {}

static RING: Ring = Ring {
    events: [const { Cell::new(Event { at: 0, cpu: 0, what: What::Nothing, a: 0, b: 0 }) }; SIZE],
    count: Cell::new(0),
};

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
    let count = RING.count.get();
    RING.events[count % SIZE].set(event);
    RING.count.set(count + 1);
    if simulation::traces() {
        print(event);
    }
}

fn print(event: Event) {
    let Event { at, cpu, what, a, b } = event;
    let mut line = String::<160>::new();
    // What does not fit is lost.
    let _ = write!(line, "{:>10}.{:03} us  cpu{cpu}  ", at / 1000, at % 1000);
    let _ = match what {
        What::Nothing => return,
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

/// Prints what happened last. `frame`: the frame pointer of whoever saw the failure.
pub(super) fn tell(frame: usize) {
    let mut text = String::<2048>::new();
    crate::hooks::isochron_sim_dump(&mut text);
    let _ = writeln!(text, "after {} points, with {:?}; the last events:", world::points(), world::manner());
    serial::write(text.as_bytes());
    tell_stack(frame);
    let count = RING.count.get();
    for index in count.saturating_sub(TOLD)..count {
        print(RING.events[index % SIZE].get());
    }
}

/// Prints the return addresses of the thread that ran when the failure was seen.
fn tell_stack(frame: usize) {
    crate::backtrace::walk(frame, &mut |pc| {
        let mut line = String::<32>::new();
        let _ = writeln!(line, "    called from {pc:#x}");
        serial::write(line.as_bytes());
    });
}
