//! Sleeping until a deadline, and the one-shot timer of each CPU.
//!
//! The timer is armed for the nearer of two moments: the first deadline of a thread that sleeps on this CPU, and the
//! end of the running thread's quantum, which counts only while another thread waits. With neither, it is off: a
//! thread that has its CPU to itself is not interrupted. (One quantum may still be under way when the last waiting
//! thread has left the queue; it ends in one interrupt that finds nothing to do.)
//!
//! A thread that wakes up by its deadline goes first, at once: the interrupt that wakes it also switches to it.
//!
//! Whether a quantum is over is told by the count of switches: the same count at both ends means the same thread. So
//! a switch costs no clock reading; in return a thread may run for up to two quanta if it began in the middle of one.

use super::{Worker, block_current, quantum};
use crate::Instant;
use crate::kernel::arch;
use crate::thread::control::{self, ThreadPtr};
use crate::thread::current_ptr;
use core::cell::Cell;
use core::ptr::NonNull;
use isochron_core::spinlock::SpinLock;
use isochron_core::thread_state::Unpark;
use isochron_core::timer_queue::{Timer, TimerQueue};
use isochron_kernel::irq;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// The threads that sleep on a CPU. Other CPUs take the lock only to take a sleeper out that was woken early.
pub(super) type Sleepers = SpinLock<TimerQueue<ThreadPtr>>;

/// What the CPU's one-shot timer is set to, and why.
pub(super) struct Alarm {
    /// What it is set to.
    armed: Cell<u64>,
    /// No thread sleeps on this CPU until then; may be too early, never too late.
    next_sleeper: Cell<u64>,
    /// End of the running quantum.
    quantum_end: Cell<u64>,
    /// [`Worker::switches`] at its beginning.
    quantum_switches: Cell<u32>,
    /// The interrupt handler is at work and sets the timer at its end.
    deferred: Cell<bool>,
}

impl Alarm {
    pub const fn new() -> Self {
        Self {
            armed: Cell::new(NEVER),
            next_sleeper: Cell::new(NEVER),
            quantum_end: Cell::new(NEVER),
            quantum_switches: Cell::new(0),
            deferred: Cell::new(false),
        }
    }

    /// A thread waits for this CPU: the one that runs, if one does, has a quantum from now on.
    #[inline(always)]
    pub fn somebody_waits(&self, worker: &Worker) {
        if self.must_start_quantum() {
            self.start_quantum(worker, worker.switches.get());
        }
    }

    /// Whether `somebody_waits` would begin a quantum.
    #[inline(always)]
    pub fn must_start_quantum(&self) -> bool {
        self.quantum_end.get() == NEVER && control::current_ptr().is_some()
    }

    /// This CPU is about to sleep: no quantum.
    pub fn nobody_waits(&self) {
        if self.quantum_end.replace(NEVER) != NEVER {
            self.set();
        }
    }

    #[cold]
    fn start_quantum(&self, _worker: &Worker, switches: u32) {
        self.quantum_switches.set(switches);
        self.quantum_end.set(arch::clock::ticks_unordered() + quantum::in_ticks());
        self.set();
    }

    /// Sets the hardware to the nearer of the two moments, if it is not set so already.
    #[inline]
    fn set(&self) {
        if self.deferred.get() {
            return;
        }
        let target = self.next_sleeper.get().min(self.quantum_end.get());
        if target == self.armed.replace(target) {
            return;
        }
        if target == NEVER {
            arch::timer::disarm();
        } else {
            arch::timer::arm(target);
        }
    }
}

impl Worker {
    /// The one-shot timer fired.
    pub fn on_timer(&self) {
        let alarm = &self.alarm;
        alarm.armed.set(NEVER);
        alarm.deferred.set(true);
        let now = arch::clock::ticks();
        if now >= alarm.next_sleeper.get() {
            self.wake_sleepers(now);
            if self.preempt_due.get() {
                // The running thread goes; whoever follows begins a quantum of its own when the other is queued.
                alarm.quantum_end.set(NEVER);
            }
        }
        if now >= alarm.quantum_end.get() {
            self.end_quantum();
        }
        alarm.deferred.set(false);
        alarm.set();
    }

    /// Wakes all whose deadline has come, in their order. The first of them runs next, at the end of this interrupt,
    /// unless one that was woken before has that place still: it keeps it.
    fn wake_sleepers(&self, now: u64) {
        self.sleepers.with(|sleepers| {
            sleepers.expire(now, |timer| {
                // SAFETY: it was in the queue, so it is alive: its thread leaves `block_until` only after it has had this
                // lock, which this CPU holds.
                let thread = unsafe { timer.as_ref() }.owner();
                // SAFETY: as above.
                if unsafe { thread.as_ref() }.state.unpark() == Unpark::Enqueue {
                    if self.queue().next_is_free() {
                        self.put_woken(thread);
                        self.ask_for_preemption();
                    } else {
                        self.make_runnable_cold(thread);
                    }
                }
            });
            self.alarm.next_sleeper.set(sleepers.next_deadline().unwrap_or(NEVER));
        });
    }

    /// The quantum's time is over. If the same thread has run all the while and another waits, it has to go.
    fn end_quantum(&self) {
        self.alarm.quantum_end.set(NEVER);
        if self.queue.len_hint() == 0 && self.inbox.is_empty() && self.layers.is_empty() {
            return;
        }
        let switches = self.switches.get();
        if switches == self.alarm.quantum_switches.get() {
            self.ask_for_preemption();
            // The quantum of the thread that is switched to in a moment.
            self.alarm.start_quantum(self, switches.wrapping_add(1));
        } else {
            self.alarm.start_quantum(self, switches);
        }
    }

    fn add_sleeper(&self, timer: NonNull<Timer<ThreadPtr>>, deadline: u64) {
        // SAFETY: `block_until` keeps the timer in place until it has expired or is cancelled.
        self.sleepers.with(|sleepers| unsafe { sleepers.insert(timer, deadline) });
        if deadline < self.alarm.next_sleeper.get() {
            self.alarm.next_sleeper.set(deadline);
            self.alarm.set();
        }
    }

    /// Takes a sleeper of this worker's out, from whatever CPU.
    fn remove_sleeper(&self, timer: NonNull<Timer<ThreadPtr>>, deadline: u64) {
        let here = core::ptr::eq(self, Self::this());
        self.sleepers.with(|sleepers| {
            // SAFETY: alive, and if set, then in this queue.
            if unsafe { sleepers.cancel(timer) } && here && deadline == self.alarm.next_sleeper.get() {
                self.alarm.next_sleeper.set(sleepers.next_deadline().unwrap_or(NEVER));
                self.alarm.set();
            }
        });
    }
}

/// Parks the running thread until `done` or until `deadline`, whichever comes first; whether `done` did.
///
/// `done` is asked after every wake-up.
///
/// # Panics
/// As [`block_current`].
#[track_caller]
pub(crate) fn block_until(deadline: Instant, mut done: impl FnMut() -> bool) -> bool {
    if done() {
        return true;
    }
    if Instant::now() >= deadline {
        return false;
    }
    let mut timer = Timer::new(current_ptr());
    let timer = NonNull::from(&mut timer);
    let home = irq::without(|| {
        let worker = Worker::this();
        worker.add_sleeper(timer, deadline.ticks());
        worker
    });
    let result = loop {
        block_current();
        if done() {
            break true;
        }
        if Instant::now() >= deadline {
            break false;
        }
    };
    // Even if the timer has expired: the handler that took it out holds the lock until it is done with this thread.
    irq::without(|| home.remove_sleeper(timer, deadline.ticks()));
    result
}
