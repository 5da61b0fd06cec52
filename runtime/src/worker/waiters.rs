//! Who waits for a CPU: for probes.

use super::Worker;
use isochron_kernel::cpu::CpuId;

#[cfg(feature = "trace")]
pub(crate) use imp::{idle_mask, switches_of};

/// How many threads wait for `cpu` in its own queue and lists, as far as another CPU can tell.
pub(crate) fn waiting_at(cpu: CpuId) -> Option<usize> {
    let worker = Worker::of(cpu)?;
    Some(worker.queue.len_hint() + worker.layers.len_hint() + usize::from(!worker.inbox.is_empty()))
}

#[cfg(feature = "trace")]
mod imp {
    use super::super::{IDLE, Worker};
    use crate::thread::control::ThreadPtr;
    use isochron_kernel::cpu::CpuId;

    /// The CPUs that have nothing to run, as bits.
    pub(crate) fn idle_mask() -> u64 {
        IDLE.idle_mask()
    }

    /// How often `cpu` has switched to a thread while somebody watched.
    pub(crate) fn switches_of(cpu: CpuId) -> u64 {
        Worker::of(cpu).map_or(0, |worker| worker.trace.switches())
    }

    impl Worker {
        /// Has a CPU look whether it is asked for evidence.
        pub(crate) fn ask(&self, cpu: CpuId) {
            self.poke(cpu);
        }

        /// Shows `look` each thread that waits for this CPU, but for those that a full queue has no room for. Interrupts
        /// masked.
        ///
        /// Those in the run queue are taken out one by one, looked at and put back: so nobody else has them meanwhile, and at
        /// the end they are in the order in which they would have run. If a thief takes one meanwhile, the first of them may
        /// end up as the last.
        pub(crate) fn look_at_waiting(&self, look: &mut dyn FnMut(ThreadPtr)) {
            self.settle_young();
            for _ in 0..self.queue.len_hint() {
                let Some(thread) = self.queue().pop() else { break };
                look(thread);
                // SAFETY: a queued thread is alive, and this CPU has it.
                let stays = unsafe { thread.as_ref() }.stays();
                let back = if stays { self.queue().push_pinned(thread) } else { self.queue().push(thread) };
                if back.is_err() {
                    // The one place was given up for another, that came from the part which others can steal from.
                    self.put(thread);
                }
            }
            self.layers.for_each(look);
        }
    }
}
