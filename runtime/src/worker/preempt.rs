//! The one place where a thread is switched against its will.

use super::{Counters, Worker};
use crate::thread::{control, somebody_is_doomed};
use crate::trace::points;
use isochron_kernel::irq;

impl Worker {
    /// Asked at the end of every interrupt.
    #[inline(always)]
    pub fn should_preempt(&self) -> bool {
        self.preempt_due.get()
            && match control::current_ptr() {
                // SAFETY: the running thread's block is alive.
                Some(thread) => !unsafe { thread.as_ref() }.is_held_off(),
                // The worker loop looks at its queue by itself.
                None => false,
            }
    }

    /// The boundary: on the running thread's stack, or in a packed thread's area, interrupts masked.
    pub fn preempt(&self) {
        self.preempt_due.set(false);
        if somebody_is_doomed() {
            Self::end_if_doomed();
        }
        Counters::bump(&self.counters.preemptions);
        points::preempted();
        Self::yield_irqoff();
    }

    /// Marks a switch as due, at the end of this interrupt or when preemption is possible again.
    pub(crate) fn ask_for_preemption(&self) {
        points::preemption_is_due(!self.preempt_due.get());
        self.preempt_due.set(true);
    }

    /// Makes up for a switch that came due while preemption was held off.
    pub fn preempt_if_due() {
        // A thread with its interrupts masked has reasons of its own; the next interrupt asks again.
        if irq::are_masked() {
            return;
        }
        let _irq = irq::IrqGuard::new();
        let worker = Self::this();
        if worker.should_preempt() {
            worker.preempt();
        }
    }
}
