//! Fetching back who was set aside, at the moment the group's next period begins.
//!
//! Each CPU has a timer for this. It comes for the groups whose first thread was set aside there, and brings a few of them back;
//! each that begins to run brings one more (`worker/grouped.rs`). So the interrupt is short, however many are aside. A group
//! may be in the lists of several CPUs: who comes without need does nothing.
//!
//! # Rejected
//! *A thread that does it*: a switch at each period, and a thread that must not be set aside itself. *A timer in each group*:
//! the group may be gone before its timer's action is over.

use super::Inner;
use crate::worker::{Action, Home, Next, TimerNode, Worker, set_timer};
use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::ptr::{self, NonNull};

/// So many threads come back in one interrupt, of each group; more than there are CPUs mostly.
pub(super) const AT_ONCE: usize = 16;

/// No moment.
const NEVER: u64 = u64::MAX;

/// What a CPU keeps for this: the CPU's own, with interrupts masked.
pub(crate) struct Refills {
    timer: UnsafeCell<TimerNode>,
    /// Where the timer was set, and to what.
    home: Cell<Option<Home>>,
    set_to: Cell<u64>,
    /// The timer's action is at work, and sets it anew at its end.
    at_work: Cell<bool>,
    /// The groups to come for, linked by their [`Place`]; each is a counted reference.
    first: Cell<*const Inner>,
}

/// A group's place in the list of one CPU; that CPU's, with interrupts masked.
pub(super) struct Place {
    next: Cell<*const Inner>,
    linked: Cell<bool>,
    /// When to come.
    due: Cell<u64>,
}

impl Place {
    pub const fn new() -> Self {
        Self { next: Cell::new(ptr::null()), linked: Cell::new(false), due: Cell::new(NEVER) }
    }
}

impl Refills {
    pub const fn new() -> Self {
        Self {
            timer: UnsafeCell::new(TimerNode::new(Action::Call(come))),
            home: Cell::new(None),
            set_to: Cell::new(NEVER),
            at_work: Cell::new(false),
            first: Cell::new(ptr::null()),
        }
    }

    fn timer(&self) -> NonNull<TimerNode> {
        // SAFETY: an address of a field is not null.
        unsafe { NonNull::new_unchecked(self.timer.get()) }
    }

    /// Puts a group on the list.
    fn link(&self, group: Arc<Inner>, due: u64) {
        let place = group.place();
        if place.linked.replace(true) {
            place.due.set(place.due.get().min(due));
        } else {
            place.due.set(due);
            place.next.set(self.first.get());
            self.first.set(Arc::into_raw(group));
        }
    }

    /// Takes the first group of `list` off it.
    fn unlink(list: &Cell<*const Inner>) -> Option<Arc<Inner>> {
        let first = list.get();
        if first.is_null() {
            return None;
        }
        // SAFETY: made by `Arc::into_raw` in `link`, and taken off once.
        let group = unsafe { Arc::from_raw(first) };
        list.set(group.place().next.get());
        group.place().linked.set(false);
        Some(group)
    }

    /// Somebody was set aside here, first of its group, whose next period begins at `due`. Interrupts masked, on this CPU.
    pub fn come_at(&self, group: Arc<Inner>, due: u64) {
        self.link(group, due);
        if self.at_work.get() || due >= self.set_to.get() {
            return;
        }
        if let Some(home) = self.home.take() {
            // SAFETY: set there last, by this CPU; its action is not at work.
            unsafe { home.cancel(self.timer()) };
        }
        self.set_to.set(due);
        // SAFETY: idle: it was never set, its action is over, or it has just been cancelled. A worker stays for ever.
        self.home.set(Some(unsafe { set_timer(self.timer(), due) }));
    }

    /// The groups whose time has come. When to come again.
    fn come(&self, worker: &Worker, now: u64) -> u64 {
        let list = Cell::new(self.first.replace(ptr::null()));
        while let Some(group) = Self::unlink(&list) {
            let mut again = Some(group.place().due.get()).filter(|&due| due > now);
            if again.is_none() {
                let (mut released, next) = group.bandwidth.refill(now, AT_ONCE);
                while let Some(thread) = released.pop() {
                    worker.fetch_back(thread);
                }
                again = next;
            }
            if let Some(due) = again {
                self.link(group, due);
            }
        }
        let mut next = NEVER;
        let mut at = self.first.get();
        // SAFETY: who is in the list is alive.
        while let Some(group) = unsafe { at.as_ref() } {
            next = next.min(group.place().due.get());
            at = group.place().next.get();
        }
        next
    }
}

/// The timer's action.
///
/// # Safety
/// None is needed: it is a worker's timer that calls, on that worker's CPU.
unsafe fn come(_timer: NonNull<TimerNode>, now: u64) -> Next {
    let worker = Worker::this();
    let refills = worker.refills();
    refills.at_work.set(true);
    let next = refills.come(worker, now);
    refills.at_work.set(false);
    refills.set_to.set(next);
    if next == NEVER {
        refills.home.set(None);
        Next::Done
    } else {
        Next::Again(next)
    }
}
