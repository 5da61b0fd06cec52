//! Fetching back who was set aside, at the moment the group's next period begins.
//!
//! A thread of the highest priority does it, asleep unless somebody is aside. It takes no lock that a thread could hold
//! while it is set aside.

use super::registry;
use crate::thread::control::Thread;
use crate::thread::{Builder, MAX_PRIORITY, SpawnError, current_ptr};
use crate::worker::{self, Worker};
use crate::{Instant, kernel};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use isochron_kernel::irq;

/// The thread; lives for ever once it is there.
static REFILLER: AtomicPtr<Thread> = AtomicPtr::new(null_mut());

/// Somebody has begun to make it.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Somebody was set aside since it last looked.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Makes the thread, unless it is there.
pub(super) fn start() -> Result<(), SpawnError> {
    // Relaxed: who calls finds the thread or nobody; in the latter case the thread looks by itself when it begins.
    if BEGUN.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    match Builder::new().name("groups").priority(MAX_PRIORITY).ungrouped().spawn(run) {
        Ok(handle) => {
            handle.detach();
            Ok(())
        }
        Err(error) => {
            BEGUN.store(false, Ordering::Relaxed);
            Err(error)
        }
    }
}

/// Somebody was set aside, first of its group.
pub(crate) fn call() {
    CALLED.store(true, Ordering::Relaxed);
    // Acquire: partner is the store in `run`: the thread's block.
    if let Some(refiller) = NonNull::new(REFILLER.load(Ordering::Acquire)) {
        worker::wake(refiller);
    }
}

fn run() {
    // Release: partner is the load in `call`.
    REFILLER.store(current_ptr().as_ptr(), Ordering::Release);
    loop {
        let next = look();
        let called = || CALLED.swap(false, Ordering::Relaxed);
        match next {
            Some(moment) => {
                worker::block_until(Instant::from_ticks(moment), called);
            }
            None => {
                while !called() {
                    worker::block_current();
                }
            }
        }
    }
}

/// Refills the groups whose time has come. When the next is due.
fn look() -> Option<u64> {
    let mut next: Option<u64> = None;
    for group in registry::all() {
        let (mut released, again) = irq::without(|| group.bandwidth.refill(kernel::arch::clock::ticks()));
        while let Some(thread) = irq::without(|| released.pop()) {
            irq::without(|| Worker::this().fetch_back(thread));
        }
        next = match (next, again) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    next
}
