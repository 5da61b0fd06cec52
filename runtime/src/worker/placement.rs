//! Where a thread goes that any CPU may run.
//!
//! A thread has a *home*: the CPU in whose queue it was last. A CPU that makes a thread runnable which is at home with it
//! keeps it, on the fast path. Another thread goes
//! 1. home, if its home is idle;
//! 2. else to the nearest idle CPU of its home's node;
//! 3. else stays with the CPU that made it runnable, if that is in its home's node: what it was woken for is in that cache,
//!    it runs there next, and nobody need be interrupted for it;
//! 4. else home, to wait there: its memory is in that node.
//!
//! Wherever it then waits, a CPU that runs out of work finds it (`stealing.rs`).

use super::{Counters, IDLE, Worker, injectors, reservation};
use crate::policy::{self, Place};
use crate::thread::control::ThreadPtr;
use crate::trace::points;
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::topology::{self, Distance};

/// The CPUs that a policy may choose from, and how they stand: all that run and are not given to one thread alone.
pub(crate) fn places(home: CpuId) -> impl Iterator<Item = Place> {
    let (idle, reserved) = (IDLE.idle_mask(), reservation::reserved());
    cpu::online().map(|cpu| cpu.id).filter(move |cpu| reserved & 1 << cpu.index() == 0).filter_map(move |cpu| {
        let worker = Worker::of(cpu)?;
        Some(Place {
            cpu,
            region: policy::region_of(cpu),
            idle: idle & 1 << cpu.index() != 0,
            waiting: worker.queue.len_hint(),
            distance: topology::distance(home, cpu),
        })
    })
}

/// Asks the policy of a thread that any CPU may run, in a thread, with interrupts on. False: it has none, or that has no
/// answer, and the thread is still the caller's.
#[cold]
#[inline(never)]
pub(super) fn by_policy<const FIRST: bool>(thread: ThreadPtr) -> bool {
    // SAFETY: a runnable thread is alive, and this one is the caller's.
    let known = unsafe { thread.as_ref() };
    if known.is_pinned() {
        return false;
    }
    let Some(target) = policy::of(known).and_then(|policy| policy::asked(policy, thread)) else { return false };
    isochron_kernel::irq::without(|| Worker::this().send_to::<FIRST>(thread, target));
    Worker::preempt_if_due();
    true
}

impl Worker {
    /// Makes this CPU a thread's home.
    #[inline]
    pub(super) fn settle(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        unsafe { thread.as_ref() }.set_home(self.id);
    }

    /// Finds a place for a thread that any CPU may run and that is not at home here.
    #[cold]
    #[inline(never)]
    pub(super) fn place<const FIRST: bool>(&self, thread: ThreadPtr) {
        // SAFETY: a runnable thread is alive.
        let (home, labelled) = unsafe { (thread.as_ref().home(), thread.as_ref().region().is_some()) };
        if labelled && injectors::is_one_queue() && !self.is_reserved() {
            return self.inject(thread);
        }
        let target = self.choose(home);
        if target == self.id {
            self.settle(thread);
            return self.keep::<FIRST>(thread);
        }
        // SAFETY: as above.
        unsafe { thread.as_ref() }.set_home(target);
        Counters::bump(&self.counters.placed[topology::distance(home, target) as usize]);
        self.hand_over(thread, target);
    }

    /// Puts a thread where a policy said, interrupts masked.
    pub(super) fn send_to<const FIRST: bool>(&self, thread: ThreadPtr, target: CpuId) {
        if !FIRST {
            points::spawned(thread);
        }
        // SAFETY: a runnable thread is alive.
        let known = unsafe { thread.as_ref() };
        if target == self.id && !self.is_reserved() {
            self.settle(thread);
            return self.keep::<FIRST>(thread);
        }
        Counters::bump(&self.counters.placed[topology::distance(known.home(), target) as usize]);
        known.set_home(target);
        self.hand_over(thread, target);
    }

    fn choose(&self, home: CpuId) -> CpuId {
        let shared = !reservation::reserved();
        let is_shared = |cpu: CpuId| shared & 1 << cpu.index() != 0;
        let idle = IDLE.idle_mask() & shared;
        if idle & 1 << home.index() != 0 {
            return home;
        }
        let Some(there) = Self::of(home) else { return self.id };
        let node = &there.neighbours.masks()[..Distance::Node as usize];
        if let Some(near) = node.iter().map(|mask| idle & mask).find(|&near| near != 0) {
            return CpuId::new(near.trailing_zeros() as usize);
        }
        if is_shared(self.id) && (topology::distance(home, self.id) <= Distance::Node || !is_shared(home)) {
            self.id
        } else if is_shared(home) {
            home
        } else {
            self.nearest_shared()
        }
    }
}
