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

/// Virtual nanoseconds for which a thread may be set aside: many of the periods of any group here, some of them for debts.
const LONGEST_ASIDE: u64 = 1_000_000_000;

/// How many threads are watched at once; others are not.
const SIZE: usize = 256;

/// How a thread stands: what the atomics of `isochron-core` say, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stands {
    /// It waits for a CPU.
    Runnable,
    /// It is on one.
    Running,
    /// It waits for something that somebody else sees to.
    Aside,
}

#[derive(Clone, Copy)]
struct Waits {
    /// Its state's address.
    thread: usize,
    since: u64,
    is_aside: bool,
}

struct Waiting {
    threads: [Cell<Waits>; SIZE],
    len: Cell<usize>,
}

// SAFETY: the process has one thread.
unsafe impl Sync for Waiting {}

static WAITING: Waiting =
    Waiting { threads: [const { Cell::new(Waits { thread: 0, since: 0, is_aside: false }) }; SIZE], len: Cell::new(0) };

/// A thread waits for a CPU from now on, or is on one, or is aside.
pub(super) fn note(thread: usize, note: u8) {
    if !world::has_begun() {
        return;
    }
    let stands = match note {
        0 => Stands::Runnable,
        1 => Stands::Running,
        _ => Stands::Aside,
    };
    let what = match stands {
        Stands::Runnable => What::Runnable,
        Stands::Running => What::Runs,
        Stands::Aside => What::Aside,
    };
    trace::note(what, thread, 0);
    let len = WAITING.len.get();
    let found = WAITING.threads[..len].iter().position(|slot| slot.get().thread == thread);
    let waits = Waits { thread, since: world::now(), is_aside: stands == Stands::Aside };
    match (found, stands) {
        (Some(index), Stands::Running) => {
            WAITING.threads[index].set(WAITING.threads[len - 1].get());
            WAITING.len.set(len - 1);
        }
        (Some(index), _) if WAITING.threads[index].get().is_aside != waits.is_aside => {
            WAITING.threads[index].set(waits);
        }
        (None, Stands::Runnable | Stands::Aside) if len < SIZE => {
            WAITING.threads[len].set(waits);
            WAITING.len.set(len + 1);
        }
        _ => {}
    }
}

/// Every CPU sleeps or computes, no IPI is on its way and no store is kept back: whoever waits now beside a sleeping CPU that may
/// run it was forgotten, whether or not somebody makes up for that later.
pub(super) fn check_at_rest() {
    for slot in &WAITING.threads[..WAITING.len.get()] {
        let Waits { thread, since, is_aside } = slot.get();
        if is_aside {
            continue;
        }
        let may_run = hooks::isochron_sim_may_run(thread);
        let sleeps = |cpu: &&PerCpu| {
            matches!(cpu.arch.does.get(), Does::Sleeps(_))
                && may_run & 1 << cpu.id.index() != 0
                && !interrupt::is_due(cpu)
        };
        if let Some(cpu) = world::cpus().find(sleeps) {
            simulation::fail(format_args!(
                "all is at rest, thread {:x} waits for a CPU since {since}, and CPU {} sleeps",
                trace::short(thread),
                cpu.id
            ));
        }
    }
}

/// Ends the run if a thread waits in vain.
pub(super) fn check() {
    let now = world::now();
    for slot in &WAITING.threads[..WAITING.len.get()] {
        let Waits { thread, since, is_aside } = slot.get();
        if is_aside && now - since > LONGEST_ASIDE {
            simulation::fail(format_args!("thread {:x} is set aside since {since}", trace::short(thread)));
        }
        if is_aside || now - since < PATIENCE {
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
