//! Who polls tasks: a thread for each CPU, made when it is first needed, and a queue for each.
//!
//! # Protocol
//! * Each CPU has a **slot**: a queue of tasks, and the executor thread that empties it, which is a thread like any other: the
//!   scheduler gives it a CPU, mostly the one it ran on last, and preempts it.
//! * A task that is **woken** goes last into the queue of the slot where it was polled last, from threads and from interrupt
//!   handlers. If that slot's executor sleeps, it is woken; if it is awake, another one that sleeps is, to steal. But for one case:
//!   the first task that an executor's own poll wakes waits for the end of that poll, which mostly follows at once.
//! * An executor **without tasks** takes half of another's queue, and sleeps if there are none. Going to sleep against pushing is
//!   settled by the same [idle set](isochron_core::idle_set) as for CPUs, with its pair of fences; an executor is `ASLEEP` also
//!   while it does not exist, and then whoever claims it makes the thread. Whoever claims looks only then what the slot's thread is:
//!   so an executor that is up by itself, and finds that it was claimed, waits for the claimer's *rousing* before it does anything.
//! * An executor whose poll **waits** in [`block_on`](super::block_on()) *steps aside*: its slot has no thread from then on, and the
//!   next push makes one. When the poll is over it takes the slot back, or ends if that has another.
//! * One that **dies** in a poll (nothing is unwound) ends its task, whose handle is told why, and leaves the slot in the same way.
//!   What is left of the future stays in memory for ever: others may hold references into it.
//!
//! What a slot knows of its thread is touched with interrupts masked, so that no kill comes in between.
//!
//! # Rejected
//! *Tasks in the CPUs' run queues*: one queue less to look at, but a branch on the path of each switch, and threads and tasks would
//! need the same head. *Executors bound to their CPUs*: a task would wait behind a thread that computes, with another CPU idle.

use super::record::{Record, RecordPtr};
use super::seat::{self, Seat, Seats};
use super::waker;
use crate::group;
use crate::sync::OnceLock;
use crate::thread::control::{self, Thread, ThreadPtr, WaitRef};
use crate::thread::{self, Builder, Death, JoinHandle, current_ptr, die_if_doomed, is_doomed};
use crate::worker::{self, Action, Next, TimerNode, set_timer, waiting};
use crate::{Duration, Instant};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::mem::{ManuallyDrop, forget};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering, fence};
use core::task::Context;
use isochron_core::idle_set::{Claimed, IdleSet, Woke};
use isochron_core::injector::Injector;
use isochron_core::lock_rank;
use isochron_core::notice::Notice;
use isochron_core::spinlock::SpinLock;
use isochron_core::task_state::{Begin, EndPoll};
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::cpu;
use isochron_kernel::irq::{self, IrqGuard};
use isochron_kernel::memory::OutOfMemory;

/// Bytes of an executor's stack.
pub const EXECUTOR_STACK_SIZE: usize = 64 * 1024;

/// The most that one executor takes from another in one go.
const MOST: usize = 32;

/// When it is tried again to make an executor that there was no memory for.
const AGAIN: Duration = Duration::from_millis(1);

static EXECUTORS: OnceLock<Box<Executors>> = OnceLock::new();

pub(super) struct Executors {
    idle: IdleSet,
    /// The slots that are used, as bits.
    all: u64,
    slots: Box<[Slot]>,
    /// Of the executor threads that there are.
    seats: SpinLock<Seats>,
    /// Goes off when an executor is to be made again that there was no memory for. Set under the lock of the seats.
    again: UnsafeCell<TimerNode>,
}

// SAFETY: the timer is set under a lock, and is made for all CPUs from then on; the rest may be shared.
unsafe impl Send for Executors {}
// SAFETY: as above.
unsafe impl Sync for Executors {}

struct Slot {
    queue: Injector<Record>,
    /// The executor; null: there is none.
    thread: AtomicPtr<Thread>,
    /// Whoever has claimed the executor while it was there has looked which it is.
    roused: Notice,
}

/// Makes the executors' queues if that has not been done; the queue for a new task.
///
/// # Errors
/// [`OutOfMemory`]: there is none for them, or for a first executor.
#[track_caller]
pub(super) fn ready() -> Result<usize, OutOfMemory> {
    if EXECUTORS.get().is_none() {
        // If another thread was faster, its ones are taken.
        let _ours = EXECUTORS.set(Executors::new()?);
        thread::call_at_deaths(&EXECUTOR_DIES);
    }
    let Some(executors) = EXECUTORS.get() else { unreachable!("executors were just made") };
    let home = thread::current_cpu().index().min(executors.slots.len() - 1);
    if executors.slots[home].is_empty() && !executors.make_first(home) {
        return Err(OutOfMemory);
    }
    Ok(home)
}

/// Queues a task.
///
/// # Safety
/// Its state says that it is to be queued, and the queue's reference is counted.
pub(super) unsafe fn push(task: RecordPtr) {
    let Some(executors) = EXECUTORS.get() else { unreachable!("a task before any executor") };
    // SAFETY: the caller's promise.
    unsafe { executors.push(task, false) }
}

/// The task that the running thread polls, if it is an executor.
pub(super) fn polled_here() -> Option<RecordPtr> {
    let me = control::current_ptr()?;
    let executors = EXECUTORS.get()?;
    irq::without(|| executors.seats.with(|seats| NonNull::new(seats.find(me)?.task.load(Ordering::Relaxed))))
}

/// The running thread is about to wait, perhaps in the middle of a poll: then others poll meanwhile.
pub(super) fn step_aside() {
    let (Some(executors), Some(me)) = (EXECUTORS.get(), control::current_ptr()) else { return };
    if let Some(index) = executors.slots.iter().position(|slot| slot.is_of(me)) {
        irq::without(|| executors.leave(index));
    }
}

/// What an executor thread begins with. If it never does, since there is no memory for its stack, the slot is to be made again.
struct Start(Option<Box<Seat>>);

impl Start {
    fn run(mut self) {
        if let (Some(executors), Some(seat)) = (EXECUTORS.get(), self.0.take()) {
            executors.run(seat);
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let (Some(executors), Some(seat)) = (EXECUTORS.get(), self.0.take()) {
            executors.not_made(seat.index);
        }
    }
}

/// There was no memory for an executor a moment ago. The timer's action.
///
/// # Safety
/// None.
unsafe fn try_again(_timer: NonNull<TimerNode>, now: u64) -> Next {
    let Some(executors) = EXECUTORS.get() else { return Next::Done };
    if executors.is_any_work() {
        let claimed = (0..executors.slots.len()).find_map(|index| executors.idle.claim(index));
        executors.rouse(claimed);
    }
    if executors.is_any_work() { Next::Again(now + ns_to_ticks(AGAIN.as_nanos())) } else { Next::Done }
}

static EXECUTOR_DIES: fn(ThreadPtr, Death) = executor_dies;

/// The running thread is at its end by `death`, interrupts masked: see `thread::ending`.
fn executor_dies(thread: ThreadPtr, death: Death) {
    let Some(executors) = EXECUTORS.get() else { return };
    let Some(seat) = executors.seats.with(|seats| seats.take(thread)) else { return };
    if let Some(task) = NonNull::new(seat.task.load(Ordering::Relaxed)) {
        // SAFETY: it was polled by this thread, which will not go on. Its reference, and what is left of its future, stay.
        let completed = unsafe {
            task.as_ref().set_death(death);
            task.as_ref().state.complete()
        };
        if let Some(joiner) = completed.joiner {
            joiner.wake();
        }
    }
    if executors.slots[seat.index].is_of(thread) {
        executors.leave(seat.index);
    }
}

impl Slot {
    fn is_of(&self, thread: ThreadPtr) -> bool {
        self.thread.load(Ordering::Relaxed) == thread.as_ptr()
    }

    /// Whether it has no thread, or none yet.
    fn is_empty(&self) -> bool {
        self.thread.load(Ordering::Relaxed).is_null()
    }
}

impl Executors {
    fn new() -> Result<Box<Self>, OutOfMemory> {
        let all = cpu::online().map(|cpu| 1 << cpu.id.index()).fold(0, |all, bit| all | bit);
        let count = (u64::BITS - u64::leading_zeros(all)) as usize;
        let mut slots = Vec::new();
        group::outside(|| slots.try_reserve_exact(count)).map_err(|_| OutOfMemory)?;
        slots.extend((0..count).map(|_| Slot {
            queue: Injector::new(),
            thread: AtomicPtr::new(null_mut()),
            roused: Notice::new(),
        }));
        let executors = seat::boxed(Self {
            idle: IdleSet::new(),
            all,
            slots: slots.into_boxed_slice(),
            seats: SpinLock::new(lock_rank::EXECUTORS, Seats::new()),
            again: UnsafeCell::new(TimerNode::new(Action::Call(try_again))),
        })?;
        (0..count).for_each(|index| executors.idle.prepare_sleep(index));
        Ok(executors)
    }

    /// # Safety
    /// As for [`push`]. `again`: the executor whose slot it is pushes it, after its poll.
    unsafe fn push(&self, task: RecordPtr, again: bool) {
        // From here until the claimed executor is woken: who is killed in between would leave it asleep.
        let _undisturbed = waiting::undisturbed();
        let irq = IrqGuard::new();
        // SAFETY: alive until it is queued.
        let home = unsafe { task.as_ref() }.home();
        let slot = &self.slots[home];
        let own = again || !irq.were_masked() && control::current_ptr().is_some_and(|me| slot.is_of(me));
        let first = slot.queue.len_hint() == 0;
        // SAFETY: it has the queue's reference, and is in no other queue.
        unsafe { slot.queue.push(task) };
        let claimed = match self.idle.claim(home) {
            None if own && first => None,
            None => self.pick_idle(),
            claimed => claimed,
        };
        drop(irq);
        self.rouse(claimed);
    }

    /// Claims one that sleeps, to steal.
    fn pick_idle(&self) -> Option<Claimed> {
        if self.idle.idle_mask() == 0 { None } else { self.idle.pick_idle(self.all, &[self.all]) }
    }

    /// Wakes an executor that was claimed, or makes it.
    fn rouse(&self, claimed: Option<Claimed>) {
        let Some(Claimed { cpu: index, .. }) = claimed else { return };
        // Acquire: partner is the fence in `announce`; the claim has read what was written after that.
        fence(Ordering::Acquire);
        match NonNull::new(self.slots[index].thread.load(Ordering::Relaxed)) {
            Some(thread) => {
                let _first = self.slots[index].roused.give();
                // Its reference was counted in `sleep`.
                waiting::end(thread);
            }
            None => drop(self.make(index)),
        }
    }

    /// Before the first task of a slot: true if it has an executor then, or another one has.
    #[cold]
    fn make_first(&self, index: usize) -> bool {
        let _undisturbed = waiting::undisturbed();
        let made = match irq::without(|| self.idle.claim(index)) {
            // It is on its way, or works.
            None => true,
            Some(_) if self.slots[index].is_empty() => self.make(index).is_ok(),
            claimed => {
                self.rouse(claimed);
                true
            }
        };
        made || self.slots.iter().any(|slot| !slot.is_empty())
    }

    /// Makes the executor of a slot that was claimed.
    #[cold]
    fn make(&self, index: usize) -> Result<(), OutOfMemory> {
        let seat = seat::boxed(Seat::new(index)).inspect_err(|_| self.not_made(index))?;
        let start = Start(Some(seat));
        let builder = Builder::new().name("executor").stack_size(EXECUTOR_STACK_SIZE).ungrouped();
        // Without memory for the thread, or later for its stack, what it was to begin with is dropped.
        builder.spawn(move || start.run()).map(JoinHandle::detach).map_err(|_| OutOfMemory)
    }

    /// There was no memory for the executor of a slot that was claimed for that.
    #[cold]
    fn not_made(&self, index: usize) {
        irq::without(|| {
            self.stop_searching(self.idle.cancel_sleep(index));
            self.idle.prepare_sleep(index);
            self.seats.with(|_| {
                let timer = NonNull::from_ref(&self.again).cast::<TimerNode>();
                // SAFETY: with the lock held it is set by nobody else; it is alive for ever. If it is idle, it is this CPU's.
                unsafe {
                    if TimerNode::is_idle(timer) {
                        set_timer(timer, (Instant::now() + AGAIN).ticks());
                    }
                }
            });
        });
    }

    /// The slot has no thread from here on. Interrupts masked.
    fn leave(&self, index: usize) {
        self.slots[index].thread.store(null_mut(), Ordering::Relaxed);
        self.announce(index);
        if self.is_any_work() {
            self.rouse(self.idle.claim(index));
        }
    }

    /// Whoever claims the slot from here on sees what it knows of its thread.
    fn announce(&self, index: usize) {
        // Release: partner is the fence in `rouse`.
        fence(Ordering::Release);
        self.idle.prepare_sleep(index);
    }

    fn is_any_work(&self) -> bool {
        self.slots.iter().any(|slot| slot.queue.len_hint() > 0)
    }

    /// The life of an executor: whoever made it has claimed the slot.
    fn run(&self, seat: Box<Seat>) {
        let me = current_ptr();
        let index = seat.index;
        let seat = irq::without(|| {
            let seat = self.seats.with(|seats| seats.add(seat, me));
            self.slots[index].thread.store(me.as_ptr(), Ordering::Relaxed);
            self.stop_searching(self.idle.cancel_sleep(index));
            seat
        });
        // SAFETY: it is in the list until this thread takes it out, below or by its death.
        let seat = unsafe { seat.as_ref() };
        loop {
            let Some((task, begin)) = self.next(seat) else { continue };
            self.call_others();
            self.poll(seat, task, begin);
            if !self.slots[index].is_of(me) && !self.take_back(seat) {
                break;
            }
        }
        drop(irq::without(|| self.seats.with(|seats| seats.take(me))));
    }

    /// After a poll that waited: the slot again, if nobody else has it.
    fn take_back(&self, seat: &Seat) -> bool {
        let _undisturbed = waiting::undisturbed();
        let _irq = IrqGuard::new();
        let Some(claimed) = self.idle.claim(seat.index) else { return false };
        let slot = &self.slots[seat.index];
        // Acquire: partner is the fence in `announce`, as in `rouse`.
        fence(Ordering::Acquire);
        let free = slot.thread.load(Ordering::Relaxed).is_null();
        if free {
            slot.thread.store(seat.thread.as_ptr(), Ordering::Relaxed);
            self.stop_searching(self.idle.cancel_sleep(seat.index));
        } else {
            self.rouse(Some(claimed));
        }
        free
    }

    /// It was claimed to search, and looks at all queues in any case.
    fn stop_searching(&self, woke: Woke) {
        if woke == Woke::ClaimedToSearch {
            // Whether or not it was the last: it looks at all queues from here on, and calls another if it finds more than one
            // task. Who pushed one and saw it searching relies on that.
            let _last = self.idle.end_search();
            self.idle.look_again();
        }
    }

    /// The next task, if one is found; it is the seat's then, and has begun. Sleeps if there is none.
    fn next(&self, seat: &Seat) -> Option<(RecordPtr, Begin)> {
        let found = irq::without(|| {
            let task = self.take_own(seat).or_else(|| self.steal(seat))?;
            seat.task.store(task.as_ptr(), Ordering::Relaxed);
            // SAFETY: from a queue, with its reference.
            let record = unsafe { task.as_ref() };
            record.set_home(seat.index);
            Some((task, record.state.begin()))
        });
        if found.is_none() {
            self.sleep(seat);
        }
        found
    }

    fn take_own(&self, seat: &Seat) -> Option<RecordPtr> {
        let mut task = None;
        self.slots[seat.index].queue.pop_batch(1, |first| task = Some(first));
        task
    }

    fn steal(&self, seat: &Seat) -> Option<RecordPtr> {
        let (own, count) = (&self.slots[seat.index].queue, self.slots.len());
        let mut task = None;
        for victim in (1..count).map(|distance| &self.slots[(seat.index + distance) % count].queue) {
            let most = victim.len_hint().div_ceil(2).min(MOST);
            victim.pop_batch(most, |taken| match task {
                None => task = Some(taken),
                // SAFETY: taken out, with the queue's reference.
                Some(_) => unsafe { own.push(taken) },
            });
            if task.is_some() {
                break;
            }
        }
        task
    }

    /// Parks until somebody has pushed a task.
    fn sleep(&self, seat: &Seat) {
        let me = seat.thread;
        // SAFETY: the running thread's block is alive.
        let thread = unsafe { me.as_ref() };
        // Not to be killed anywhere in between.
        thread.is_queued.set(true);
        irq::without(|| {
            // Whoever claims it wakes it, perhaps a moment after the notice, when it is gone: hence the reference.
            // SAFETY: as above.
            forget(unsafe { WaitRef::count(me) });
            self.announce(seat.index);
        });
        if !self.is_any_work() {
            while !self.idle.is_claimed(seat.index) && !is_doomed(me) {
                worker::block_current();
            }
        }
        let woke = irq::without(|| {
            let woke = self.idle.cancel_sleep(seat.index);
            if woke == Woke::ByItself {
                // SAFETY: counted above, and nobody has claimed it.
                drop(unsafe { WaitRef::from_counted(me) });
            }
            self.stop_searching(woke);
            woke
        });
        if woke != Woke::ByItself {
            // Not before the claimer knows whom to wake: it would find another in the slot, or nobody, and make one too many.
            while !self.slots[seat.index].roused.take() {
                worker::block_current();
            }
        }
        thread.is_queued.set(false);
        die_if_doomed();
    }

    /// Before a poll, which may take long: more tasks wait somewhere, so another executor is to come if one sleeps.
    fn call_others(&self) {
        if self.idle.idle_mask() != 0 && self.is_any_work() {
            let _undisturbed = waiting::undisturbed();
            let claimed = irq::without(|| self.pick_idle());
            self.rouse(claimed);
        }
    }

    /// Polls a task once, which is the seat's.
    fn poll(&self, seat: &Seat, task: RecordPtr, begin: Begin) {
        if begin == Begin::Drop {
            return self.drop_and_complete(seat, task);
        }
        // SAFETY: it is being polled, by this thread alone, and alive for the poll.
        let ready = unsafe {
            let waker: ManuallyDrop<_> = waker::borrowed(task);
            Record::poll(task, &mut Context::from_waker(&waker))
        };
        if ready.is_ready() {
            return self.complete(seat, task);
        }
        let end = irq::without(|| {
            // SAFETY: alive by the seat's reference.
            let end = unsafe { task.as_ref() }.state.end_poll();
            if end != EndPoll::Forgotten {
                seat.task.store(null_mut(), Ordering::Relaxed);
            }
            if end == EndPoll::Again {
                // SAFETY: it was woken, and has its reference.
                unsafe { self.push(task, self.slots[seat.index].is_of(seat.thread)) };
            }
            end
        });
        if end == EndPoll::Forgotten {
            self.drop_and_complete(seat, task);
        }
    }

    /// The task ends without having been ready.
    fn drop_and_complete(&self, seat: &Seat, task: RecordPtr) {
        // SAFETY: it counts as running, here.
        unsafe {
            Record::clear(task);
            task.as_ref().set_death(Death::Killed);
        }
        self.complete(seat, task);
    }

    fn complete(&self, seat: &Seat, task: RecordPtr) {
        // SAFETY: the seat's reference, given back below.
        let record = unsafe { task.as_ref() };
        // SAFETY: the running thread's block is alive.
        let is_queued = unsafe { &seat.thread.as_ref().is_queued };
        // Not to be killed before the joiner is woken; it may be anybody's waker, so preemption stays on.
        is_queued.set(true);
        let completed = irq::without(|| {
            seat.task.store(null_mut(), Ordering::Relaxed);
            record.state.complete()
        });
        if let Some(joiner) = completed.joiner {
            joiner.wake();
        }
        is_queued.set(false);
        // SAFETY: without a handle the result is the completer's; then its reference goes.
        unsafe {
            if completed.unwanted {
                Record::clear(task);
            }
            Record::release(task);
        }
    }
}
