//! Timers, sleeping until a deadline, and the one-shot timer of each CPU.
//!
//! The timer is armed for the nearer of two moments: the first deadline of a timer that was set on this CPU, and the
//! end of the running thread's quantum, which counts only while another thread waits. With neither, it is off: a
//! thread that has its CPU to itself is not interrupted. (One quantum may still be under way when the last waiting
//! thread has left the queue; it ends in one interrupt that finds nothing to do.)
//!
//! A timer is set in the wheel of the CPU that sets it, and cancelled from any. When it is due, that CPU's interrupt
//! carries out its [`Action`], with the wheel unlocked.
//!
//! A thread that wakes up by its deadline goes first, at once: the interrupt that wakes it also switches to it.
//!
//! Whether a quantum is over is told by the count of switches: the same count at both ends means the same thread. So
//! a switch costs no clock reading; in return a thread may run for up to two quanta if it began in the middle of one.

use super::{Worker, block_current, quantum};
use crate::Instant;
use crate::kernel::arch;
use crate::thread::control::{self, ThreadPtr};
use crate::thread::{current_ptr, is_doomed, somebody_is_doomed};
use crate::trace::points;
use core::cell::Cell;
use core::ptr::NonNull;
use isochron_core::thread_state::Unpark;
use isochron_core::timer_wheel::{Cancel, Due, Timer};
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::irq;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// After this time a thread that could not die when it was to is asked again: far longer than the interrupt that asks takes, so
/// that the thread gets on with what is in the way.
const LOOK_AGAIN_NS: u64 = 200_000;

/// A timer of this runtime.
pub(crate) type TimerNode = Timer<Action>;

/// What the interrupt does when a timer is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Wakes a thread, which is the timer's owner.
    Wake(ThreadPtr),
    /// Calls a function with the timer and the time, in ticks; it must not block, nor cancel this timer.
    Call(unsafe fn(NonNull<TimerNode>, u64) -> Next),
}

// SAFETY: a thread's address may be sent and shared; waking is for any CPU.
unsafe impl Send for Action {}
// SAFETY: as above.
unsafe impl Sync for Action {}

/// What becomes of a timer after its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Its owner has it.
    Done,
    /// It is set again, to so many ticks, on the same CPU.
    Again(u64),
}

/// The CPU that a timer was set on: where it can be cancelled.
#[derive(Clone, Copy)]
pub(crate) struct Home(&'static Worker);

/// What the CPU's one-shot timer is set to, and why.
pub(super) struct Alarm {
    /// What it is set to.
    armed: Cell<u64>,
    /// No timer of this CPU is due until then; may be too early, never too late.
    next_timer: Cell<u64>,
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
            next_timer: Cell::new(NEVER),
            quantum_end: Cell::new(NEVER),
            quantum_switches: Cell::new(0),
            deferred: Cell::new(false),
        }
    }

    /// What it is set to, in ticks; [`NEVER`] if it is off.
    #[inline(always)]
    pub fn armed(&self) -> u64 {
        self.armed.get()
    }

    /// A thread waits for this CPU: the one that runs, if one does, has a quantum from now on.
    #[inline(always)]
    pub fn somebody_waits(&self, worker: &Worker) {
        if self.must_start_quantum() {
            self.start_quantum(worker, worker.switches.get());
        }
    }

    /// Others wait, and the thread that runs goes on before them: it has a quantum still, or one more.
    pub fn goes_on(&self, worker: &Worker) {
        // A quantum that has just ended was begun anew for a thread that was to be switched to.
        self.quantum_switches.set(worker.switches.get());
        self.somebody_waits(worker);
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

    /// The thread that the next switch leads to, or (`switches`) the one that runs, has so many ticks from `now` on. A quantum
    /// ends then at the latest, whether or not somebody waits.
    pub fn end_within(&self, switches: u32, now: u64, budget: u64) {
        self.end_by(switches, now + budget.min(quantum::in_ticks()));
    }

    /// The same, at a moment.
    fn end_by(&self, switches: u32, end: u64) {
        if end < self.quantum_end.get() {
            self.quantum_switches.set(switches);
            self.quantum_end.set(end);
            self.set();
        }
    }

    /// Sets the hardware to the nearer of the two moments, if it is not set so already.
    #[inline]
    fn set(&self) {
        if self.deferred.get() {
            return;
        }
        let target = self.next_timer.get().min(self.quantum_end.get());
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
        points::timer(alarm.armed.get());
        alarm.armed.set(NEVER);
        alarm.deferred.set(true);
        // Read early, it is too small at the worst: then the timer is armed again, and fires at once.
        let now = arch::clock::ticks_unordered();
        if now >= alarm.next_timer.get() {
            self.fire_timers(now);
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
        points::timer_is_over();
    }

    /// Carries out what is due, in the order of the deadlines.
    #[inline(always)]
    fn fire_timers(&self, now: u64) {
        loop {
            let (due, next) = self.timers.take_due(now);
            let next = next.unwrap_or(NEVER);
            self.alarm.next_timer.set(next);
            let Some(due) = due else { return };
            match due.action() {
                Action::Wake(thread) => {
                    self.wake_sleeper(thread);
                    due.done();
                }
                Action::Call(call) => self.call(due, call, now),
            }
            if next > now {
                return;
            }
        }
    }

    /// Wakes a thread whose deadline has come. It runs next, at the end of this interrupt, unless one that was woken before
    /// has that place still: it keeps it.
    #[inline(always)]
    fn wake_sleeper(&self, thread: ThreadPtr) {
        // SAFETY: alive: it leaves `block_until` only when its timer is idle, which it becomes after this.
        if unsafe { thread.as_ref() }.state.unpark() == Unpark::Enqueue {
            points::woken(thread);
            if self.queue().next_is_free() {
                self.put_woken(thread);
                self.ask_for_preemption();
            } else {
                self.make_runnable_cold(thread);
            }
        }
    }

    #[inline(never)]
    fn call(&self, due: Due<'_, Action>, call: unsafe fn(NonNull<TimerNode>, u64) -> Next, now: u64) {
        // SAFETY: the function was made for this timer, by whoever set it, and the timer is alive.
        match unsafe { call(due.timer(), now) } {
            Next::Done => due.done(),
            Next::Again(deadline) => {
                // In an interrupt of its own at the earliest.
                let deadline = deadline.max(now.saturating_add(1));
                if due.again(deadline) {
                    self.look_at_deadline(deadline);
                }
            }
        }
    }

    /// The quantum's time is over. If the same thread has run all the while and another waits, it has to go.
    fn end_quantum(&self) {
        self.alarm.quantum_end.set(NEVER);
        let switches = self.switches.get();
        // SAFETY: the running thread's block is alive.
        if somebody_is_doomed() && control::current_ptr().is_some_and(|me| unsafe { me.as_ref() }.state.is_killed()) {
            self.ask_for_preemption();
        }
        if !self.renew_budget() {
            // Its group has no more time: it goes, whether or not somebody waits.
            self.ask_for_preemption();
            self.alarm.start_quantum(self, switches.wrapping_add(1));
            return;
        }
        if !self.somebody_waits() {
            self.watch_budget();
            return;
        }
        if switches == self.alarm.quantum_switches.get() {
            self.ask_for_preemption();
            // The quantum of the thread that is switched to in a moment.
            self.alarm.start_quantum(self, switches.wrapping_add(1));
        } else {
            // Several have run. Whoever waits longest has the next turn, before those that they made.
            self.queue().end_young_streak();
            self.alarm.start_quantum(self, switches);
            self.watch_budget();
        }
    }

    /// The thread that the next switch leads to, or that runs (`switches`), is to die and may not just now: in a moment the timer
    /// takes it to the preemption boundary.
    #[cold]
    pub(super) fn look_again_soon(&self, switches: u32) {
        self.alarm.end_by(switches, arch::clock::ticks_unordered() + ns_to_ticks(LOOK_AGAIN_NS));
    }

    /// The same for the running thread.
    pub(crate) fn look_again_soon_at_this(&self) {
        self.look_again_soon(self.switches.get());
    }

    /// Whether a thread waits for this CPU.
    pub(super) fn somebody_waits(&self) -> bool {
        self.queue.len_hint() > 0
            || !self.inbox.is_empty()
            || !self.layers.is_empty()
            || self.injector.len_hint() > 0 && !self.is_reserved()
    }

    /// A timer of this CPU's was set.
    #[inline(always)]
    fn look_at_deadline(&self, deadline: u64) {
        if deadline < self.alarm.next_timer.get() {
            self.alarm.next_timer.set(deadline);
            self.alarm.set();
        }
    }
}

/// Sets a timer, on this CPU. A deadline that is past is due at once.
///
/// # Safety
/// The caller owns the timer, which is idle, stays in place, and stays alive until it is idle again.
#[inline]
pub(crate) unsafe fn set_timer(timer: NonNull<TimerNode>, deadline: u64) -> Home {
    irq::without(|| {
        let worker = Worker::this();
        // SAFETY: the caller's promise.
        unsafe { worker.timers.set(timer, deadline) };
        worker.look_at_deadline(deadline);
        Home(worker)
    })
}

/// In a timer's action: what `wake` wakes here runs next, at the end of this interrupt, as a sleeper does.
pub(crate) fn wake_in_time(wake: impl FnOnce()) {
    let worker = Worker::this();
    let was_free = worker.queue().next_is_free();
    wake();
    if was_free && !worker.queue().next_is_free() {
        worker.ask_for_preemption();
    }
}

impl Home {
    /// Takes a timer back; false if its action has run. It is idle afterwards. Not from its own action.
    ///
    /// # Safety
    /// The caller owns the timer, and set it here last.
    #[inline]
    pub unsafe fn cancel(self, timer: NonNull<TimerNode>) -> bool {
        irq::without(|| {
            // SAFETY: the caller's promise.
            let Cancel::Cancelled { next } = (unsafe { self.0.timers.cancel(timer) }) else { return false };
            let alarm = &self.0.alarm;
            // SAFETY: idle, so the caller's.
            let deadline = unsafe { timer.as_ref() }.deadline();
            if core::ptr::eq(self.0, Worker::this()) && deadline == alarm.next_timer.get() {
                alarm.next_timer.set(next.unwrap_or(NEVER));
                alarm.set();
            }
            true
        })
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
    let me = current_ptr();
    let mut timer = TimerNode::new(Action::Wake(me));
    let timer = NonNull::from(&mut timer);
    // SAFETY: the running thread's block is alive.
    let has_timer = unsafe { &me.as_ref().has_timer };
    has_timer.set(true);
    // SAFETY: new; it stays on this stack until it is idle, which is seen or brought about below.
    let home = unsafe { set_timer(timer, deadline.ticks()) };
    let in_time = loop {
        block_current();
        let is_done = done();
        // SAFETY: this thread is the owner.
        if !is_done && unsafe { TimerNode::has_fired(timer) } {
            break false;
        }
        if is_done || is_doomed(me) {
            // SAFETY: this thread is the owner, and set it there.
            unsafe { home.cancel(timer) };
            break is_done;
        }
    };
    has_timer.set(false);
    in_time
}
