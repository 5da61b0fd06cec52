//! What a program that is to be simulated does: it boots, forks for each seed, and lets chance have its way.

use super::trace::{self, What};
use super::{power, serial, world};
use crate::wire::exit;
use core::fmt::{self, Write};
use heapless::String;

/// Seconds that one run may take: far beyond what any takes.
const PATIENCE_S: libc::c_uint = 60;

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With this code.
    Code(u8),
    /// By this signal: `SIGALRM` if it took too long.
    Signal(i32),
}

/// From here on chance has its way, as the seed wants it. Equal seeds, in equal states of the program, give equal runs.
///
/// `stores` says whether stores are kept back, if that is not left to the seed.
pub fn begin(seed: u64, stores: Option<bool>) {
    world::begin(seed, stores);
}

/// Ends the run: something is wrong.
pub fn fail(message: fmt::Arguments<'_>) -> ! {
    world::end();
    let mut line = String::<256>::new();
    let _ = writeln!(line, "broken: {message}");
    serial::write(line.as_bytes());
    power::exit(exit::FAILED)
}

/// An event of the program's own, for the trace.
pub fn note(a: usize, b: usize) {
    trace::note(What::Program, a, b);
}

/// Uses the CPU for so many nanoseconds, more if the thread is taken off it meanwhile: for code that does something and
/// touches nothing of the machine's.
pub fn compute(ns: u64) {
    let end = world::now() + ns;
    while world::now() < end {
        world::compute_until(end);
    }
}

/// How many points there were since [`begin`].
#[must_use]
pub fn points() -> u64 {
    world::points()
}

/// Calls `run` in a copy of this process, which ends with its answer, and waits for that. Then the events of its run are
/// printed, with `trace` all of them, else the last ones if it failed.
///
/// # Panics
/// If the host makes no process, or has no memory.
pub fn in_a_copy(trace: bool, run: impl FnOnce() -> u8) -> End {
    trace::begin();
    // SAFETY: the process has one thread, so its copy is whole.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: takes a number. The signal's default is to end the process.
            unsafe { libc::alarm(PATIENCE_S) };
            power::exit(run())
        }
        child => {
            assert!(child > 0, "the host makes no process");
            let mut status = 0;
            // SAFETY: writes to a word of ours.
            while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {}
            let end = if libc::WIFEXITED(status) {
                End::Code(libc::WEXITSTATUS(status) as u8)
            } else {
                End::Signal(libc::WTERMSIG(status))
            };
            if trace || end != End::Code(exit::PASSED) {
                trace::print(trace);
            }
            end
        }
    }
}
