//! A thread waits for the end of another, mostly one that it has just made: the short ways there and back.

use super::switch::{AFTER_JOIN, COMMIT_PARK, INJECTOR_PERIOD, REAP};
use super::{Worker, enqueue_woken_with};
use crate::kernel::arch;
use crate::thread::control::ThreadPtr;
use crate::trace::{Queue, points};
use isochron_core::thread_state::ParkDecision;
use isochron_kernel::irq;

impl Worker {
    /// As [`park`](Self::park), for a thread that waits for the end of another.
    #[inline(always)]
    pub fn park_to_join(me: ThreadPtr) {
        // SAFETY: the running thread's block is alive.
        match unsafe { me.as_ref() }.state.begin_park() {
            ParkDecision::PermitTaken => {}
            ParkDecision::Park => Self::this().leave::<AFTER_JOIN>(me, COMMIT_PARK),
        }
    }

    /// As [`leave_for_ever`](Self::leave_for_ever); and `joiner`, who waited for this and has just been woken, is next if it is bound to this CPU and would be
    /// the next to come out of the queue.
    #[inline(always)]
    pub fn leave_for_joiner(me: ThreadPtr, joiner: ThreadPtr) -> ! {
        let worker = Self::this();
        // SAFETY: a woken thread is alive.
        let known = unsafe { joiner.as_ref() };
        let switches = worker.switches.get().wrapping_add(1);
        let next = usize::from(known.pinned_raw()) == worker.id.index()
            && !switches.is_multiple_of(INJECTOR_PERIOD)
            && worker.queue().try_pass_next();
        if !next {
            Self::leave_beside_joiner(me, joiner)
        }
        points::woken(joiner);
        points::queued(joiner, Queue::Next, worker.id);
        points::exited(worker, me);
        points::switched_in(worker, joiner);
        let free = known.state.set_running();
        debug_assert!(free, "a thread is to run on two CPUs");
        worker.switches.set(switches);
        // SAFETY: as in `about_to_run` and `leave_for_ever`: it was parked, so its context is saved.
        unsafe {
            arch::cpu::set_current_thread(joiner.as_ptr().cast());
            arch::context::jump(known.context.get(), Self::message(me, REAP))
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_beside_joiner(me: ThreadPtr, joiner: ThreadPtr) -> ! {
        enqueue_woken_with(joiner, irq::KeptMasked);
        Self::leave_for_ever(me)
    }
}
