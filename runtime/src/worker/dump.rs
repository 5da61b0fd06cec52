//! What the workers have, in words: for whoever looks for the cause of a failure in the simulation.

use super::{IDLE, Worker};
use core::fmt::{self, Write};
use isochron_kernel::cpu;

/// A line for the idle set and one for each CPU.
pub(crate) fn dump(out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "idle CPUs {:b}, {} search", IDLE.idle_mask(), IDLE.searching())?;
    for worker in cpu::described().filter_map(|cpu| Worker::of(cpu.id)) {
        writeln!(
            out,
            "CPU {}: claimed {}, private {}, stealable {}, ranked {} ({} stealable), inbox {}, injectors {}",
            worker.id,
            IDLE.is_claimed(worker.id.index()),
            worker.queue.private_hint(),
            worker.queue.stealable_hint(),
            if worker.layers.is_empty() { "none" } else { "some" },
            worker.layers.stealable_hint(),
            if worker.inbox.is_empty() { "empty" } else { "filled" },
            worker.injectors().map(|injector| injector.len_hint()).sum::<usize>(),
        )?;
    }
    Ok(())
}
