//! The threads that wait for a CPU, and that none waits in vain while a CPU sleeps that could run it.

use super::cpu::Does;
use super::trace::{self, What};
use super::{interrupt, simulation, world};
use crate::cpu::PerCpu;
use crate::hooks;
use core::cell::Cell;

/// Virtual nanoseconds for which a thread may wait while a CPU sleeps all the while: the longest way of an IPI and the
/// longest time that a CPU is held, some times over.
const PATIENCE: u64 = 3_000_000;

/// How many threads are watched at once; others are not.
const SIZE: usize = 256;

struct Waiting {
    /// Its state's address, and since when it waits.
    threads: [Cell<(usize, u64)>; SIZE],
    len: Cell<usize>,
}

// SAFETY: the process has one thread.
unsafe impl Sync for Waiting {}

static WAITING: Waiting = Waiting { threads: [const { Cell::new((0, 0)) }; SIZE], len: Cell::new(0) };

/// A thread waits for a CPU from now on, or is on one.
pub(super) fn note(thread: usize, is_running: bool) {
    if !world::has_begun() {
        return;
    }
    trace::note(if is_running { What::Runs } else { What::Runnable }, thread, 0);
    let len = WAITING.len.get();
    let found = WAITING.threads[..len].iter().position(|slot| slot.get().0 == thread);
    match (found, is_running) {
        (Some(index), true) => {
            WAITING.threads[index].set(WAITING.threads[len - 1].get());
            WAITING.len.set(len - 1);
        }
        (None, false) if len < SIZE => {
            WAITING.threads[len].set((thread, world::now()));
            WAITING.len.set(len + 1);
        }
        _ => {}
    }
}

/// Ends the run if a thread waits in vain.
pub(super) fn check() {
    let now = world::now();
    for slot in &WAITING.threads[..WAITING.len.get()] {
        let (thread, since) = slot.get();
        if now - since < PATIENCE {
            continue;
        }
        let may_run = hooks::isochron_sim_may_run(thread);
        let idle = |cpu: &&PerCpu| match cpu.arch.does.get() {
            Does::Sleeps(from) => {
                may_run & 1 << cpu.id.index() != 0 && now - from > PATIENCE && !interrupt::is_due(cpu)
            }
            _ => false,
        };
        if let Some(cpu) = world::cpus().find(idle) {
            simulation::fail(format_args!(
                "thread {:x} has waited for a CPU since {since}, and CPU {} has slept for as long",
                trace::short(thread),
                cpu.id
            ));
        }
    }
}
