//! What the workers have, in words: for whoever looks for the cause of a failure in the simulation.

use super::{IDLE, Worker, reservation};
use crate::thread::control::{self, Thread};
use core::fmt::{self, Write};
use isochron_kernel::cpu;

/// The CPUs that may run a thread which waits, as bits: by where it is bound and what its group allows.
pub(crate) fn may_run(thread: &Thread) -> u64 {
    if let Some(cpu) = thread.pinned() {
        1 << cpu.index()
    } else if Worker::may_be_stolen(thread) {
        !reservation::reserved()
    } else {
        1 << thread.home().index()
    }
}

/// A line for the idle set and one for each CPU.
pub(crate) fn dump(out: &mut dyn Write) -> fmt::Result {
    let (idle, reserved) = (IDLE.idle_mask(), reservation::reserved());
    writeln!(out, "idle CPUs {idle:b}, reserved {reserved:b}, {} search", IDLE.searching())?;
    for worker in cpu::described().filter_map(|cpu| Worker::of(cpu.id)) {
        writeln!(
            out,
            "CPU {}: claimed {}, private {}, stealable {}, ranked {} ({} stealable), inbox {}, injectors {}",
            worker.id,
            IDLE.is_claimed(worker.id.index()),
            worker.queue.private_hint(),
            worker.queue.stealable_hint(),
            if worker.layers.is_empty_hint() { "none" } else { "some" },
            worker.layers.stealable_hint(),
            if worker.inbox.is_empty() { "empty" } else { "filled" },
            worker.injectors().map(|injector| injector.len_hint()).sum::<usize>(),
        )?;
    }
    // The one that runs where the failure was seen.
    if let Some(thread) = control::current_ptr() {
        // SAFETY: the running thread's block is alive.
        let it = unsafe { thread.as_ref() };
        writeln!(
            out,
            "thread {:x}: killed {}, preemption held off {} times, in a scope {}, queued {}, with a timer {}, linked {}",
            (&raw const it.state).addr() >> 6 & 0xf_ffff,
            it.state.is_killed(),
            it.preempt_depth.get(),
            !it.forks.get().is_null(),
            it.is_queued.get(),
            it.has_timer.get(),
            it.may_be_linked(),
        )?;
    }
    Ok(())
}
