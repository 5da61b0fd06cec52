//! The thread that ends groups: a few of their threads at a time, so that nobody else waits for all of them.
//!
//! There is one, in no group, which sleeps mostly. It is made with the first group that has a limit on its memory, because when
//! one is over there may be no memory left for it. It runs no code of the program's.
//!
//! Each thread dies by itself, where it stands (`thread/ending.rs`); what is done here is to say so, to the next few when those
//! before have left. So there are never more than a few that are made runnable for it, and whoever else has a turn on their CPU
//! waits for those at the most, not for thousands.
//!
//! # Rejected
//! *The thread that was over the limit ends the others*: it is dead, and may have died with little stack left. *All at once,
//! under the lock*: whoever wants to come in or leave waits for thousands. *By an interrupt on every CPU*: the same, for all.

use super::registry;
use super::{GroupError, Inner};
use crate::sync::Mutex;
use crate::thread::control::{Thread, ThreadRef};
use crate::thread::{Builder, MAX_PRIORITY, doom, look_everywhere, park, park_timeout, sleep};
use crate::worker;
use crate::{Duration, Instant};
use core::ptr::{self, NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};
use isochron_kernel::irq;

/// So many threads are told at once, and so many pieces of memory given back.
const AT_ONCE: usize = 16;

/// Between two pieces of work that nobody waits for.
const PAUSE: Duration = Duration::from_micros(50);

/// For so long those who were told are waited for: one may hold preemption off, or others borrow from its stack.
const PATIENCE: Duration = Duration::from_millis(2);

const STACK: usize = 8 * 1024;

/// The thread; it never ends.
static ENDER: AtomicPtr<Thread> = AtomicPtr::new(null_mut());

/// Makes the thread, if it is not there.
pub(super) fn make() -> Result<(), GroupError> {
    static MAKING: Mutex<()> = Mutex::new(());
    if !ENDER.load(Ordering::Relaxed).is_null() {
        return Ok(());
    }
    let _making = MAKING.lock();
    if ENDER.load(Ordering::Relaxed).is_null() {
        let made = Builder::new().name("group ender").ungrouped().priority(MAX_PRIORITY).stack_size(STACK).spawn(run);
        let thread = made.map_err(|_| GroupError::OutOfMemory)?.thread();
        // Release: partner is the load in `wake`. The reference that it stands for is kept for ever.
        ENDER.store(ptr::from_ref(thread.block()).cast_mut(), Ordering::Release);
        core::mem::forget(thread);
    }
    Ok(())
}

/// There is something to do. From anywhere that may wake a thread.
pub(super) fn wake() {
    // Acquire: partner is the store in `make`. Whoever has a group to end has seen it made.
    if let Some(ender) = NonNull::new(ENDER.load(Ordering::Acquire)) {
        worker::unpark(ender);
    }
}

/// What there is to do, the most urgent last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Nothing,
    /// Some are about to leave.
    Wait,
    /// More at once.
    Go,
}

fn run() {
    let mut deadline = Instant::now();
    loop {
        let removed = registry::removed();
        let is_late = Instant::now() >= deadline;
        let mut next = Next::Nothing;
        for group in registry::all() {
            next = next.max(end_some(&group, is_late));
        }
        match next {
            // Otherwise one may have been missed.
            Next::Nothing if registry::removed() == removed => park(),
            Next::Nothing | Next::Go => sleep(PAUSE),
            Next::Wait => {
                if is_late {
                    deadline = Instant::now() + PATIENCE;
                }
                park_timeout(PATIENCE);
            }
        }
    }
}

/// Tells some of the members that they are to die, if those who were told before have left, or it `is_late`.
fn end_some(group: &Inner, is_late: bool) -> Next {
    let Some(memory) = group.memory.as_ref().filter(|memory| memory.is_over()) else { return Next::Nothing };
    if memory.roster.is_waited_for() {
        if !is_late {
            return Next::Wait;
        }
        memory.roster.wait_no_more();
    }
    let taken: [Option<ThreadRef>; AT_ONCE] = memory.roster.take();
    let by_hand = group.was_ended_by_hand();
    let count = taken.iter().flatten().count();
    memory.ended.fetch_add(count as u64, Ordering::Relaxed);
    let mut running = false;
    for thread in taken.iter().flatten() {
        thread.extras().is_over_limit.store(!by_hand, Ordering::Relaxed);
        // Masked: policies, which are the program's, are not asked where it goes.
        running |= irq::without(|| doom(thread.as_ptr()));
    }
    if running {
        look_everywhere(taken.iter().flatten().map(ThreadRef::as_ptr));
    }
    match count {
        0 => give_back_some(group),
        _ => Next::Wait,
    }
}

/// The blocks of a group that has ended, if it is to give them back.
fn give_back_some(group: &Inner) -> Next {
    let Some(memory) = group.memory.as_ref().filter(|memory| memory.owned && memory.confined) else {
        return Next::Nothing;
    };
    let shares_it = |other: &Inner| {
        other.memory.as_ref().is_some_and(|other| {
            ptr::eq(&raw const *other.account, &raw const *memory.account) && other.roster.members() > 0
        })
    };
    if !memory.account.has_ended() || registry::any(shares_it) {
        return Next::Nothing;
    }
    // SAFETY: it has ended, so it has charged nothing since its last thread left; those that are in it now have come later and
    // took nothing. That nobody else uses a block is the promise of `Builder::confined`.
    let left = unsafe { memory.account.abandon(AT_ONCE) };
    if left == 0 {
        memory.let_go();
        return Next::Nothing;
    }
    Next::Go
}
