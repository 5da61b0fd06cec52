//! Model checks of what is done when a thread ends: the join cell, and the count of references.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::completion::{Completion, End, RegisterError};
use isochron_core::references::References;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// One that waits: what it wrote before it did, and whether it is woken.
struct Waiter {
    payload: UnsafeCell<u32>,
    woken: AtomicBool,
    /// It has gone, and must not be touched any more.
    gone: UnsafeCell<bool>,
}

struct Ends {
    cell: Completion<Waiter>,
    result: UnsafeCell<u32>,
}

// SAFETY: the cells are handed over by the protocol under test.
unsafe impl Sync for Ends {}
// SAFETY: as above.
unsafe impl Send for Ends {}

impl Ends {
    fn new() -> Arc<Self> {
        Arc::new(Self { cell: Completion::new(), result: UnsafeCell::new(0) })
    }

    /// The end, in a thread of its own. Whether somebody waited; whether the result was left to it.
    fn end(this: &Arc<Self>) -> thread::JoinHandle<(bool, bool)> {
        let this = Arc::clone(this);
        thread::spawn(move || {
            // SAFETY: read only by whom the cell lets.
            this.result.with_mut(|at| unsafe { *at = 3 });
            // As a thread does: mostly somebody waits.
            match this.cell.complete_if_awaited().map_or_else(|| this.cell.complete(), End::Awaited) {
                End::Unawaited => (false, false),
                End::Awaited(waiter) => {
                    // SAFETY: it stays until `finish`.
                    let waiter = unsafe { waiter.as_ref() };
                    // SAFETY: written just before it was registered.
                    waiter.payload.with(|at| unsafe { assert_eq!(*at, 6) });
                    waiter.woken.store(true, Ordering::Relaxed);
                    // SAFETY: as above; the model checker sees a race if the waiter has gone already.
                    waiter.gone.with(|at| unsafe { assert!(!*at, "the waiter is woken, and is not there any more") });
                    this.cell.finish();
                    (true, false)
                }
                End::Abandoned => {
                    this.dispose();
                    this.cell.finish();
                    (false, true)
                }
            }
        })
    }

    /// Takes the result: once.
    fn dispose(&self) {
        // SAFETY: the cell says that it is this side's.
        self.result.with_mut(|at| unsafe {
            assert_eq!(*at, 3);
            *at = 4;
        });
    }
}

#[test]
fn the_joiner_is_woken_once_or_sees_the_end() {
    loom::model(|| {
        let ends = Ends::new();
        let waiter = Box::new(Waiter {
            payload: UnsafeCell::new(0),
            woken: AtomicBool::new(false),
            gone: UnsafeCell::new(false),
        });
        let ending = Ends::end(&ends);
        // SAFETY: not registered yet.
        waiter.payload.with_mut(|at| unsafe { *at = 6 });
        let mut withdrawn = false;
        let registered = match ends.cell.register(NonNull::from(&*waiter)) {
            Ok(_) => {
                withdrawn = ends.cell.unregister(NonNull::from(&*waiter));
                while !withdrawn && !ends.cell.is_done() {
                    assert!(ends.cell.is_ending(), "neither waiting, nor ending, nor done");
                    thread::yield_now();
                }
                true
            }
            Err(error) => {
                assert_eq!(error, RegisterError::AlreadyDone);
                false
            }
        };
        if registered && !withdrawn {
            assert!(waiter.woken.load(Ordering::Relaxed), "it is woken first, and told second");
            // SAFETY: done, so nobody touches it any more.
            waiter.gone.with_mut(|at| unsafe { *at = true });
        }
        if !registered || !withdrawn || ends.cell.is_done() {
            ends.dispose();
        }
        let (awaited, _) = ending.join().unwrap();
        assert_eq!(awaited, registered && !withdrawn, "woken exactly if it stood there");
        assert!(ends.cell.is_done() && ends.cell.is_ending());
    });
}

/// Nobody will fetch the result: whoever comes second disposes of it.
#[test]
fn an_abandoned_result_is_disposed_of_once() {
    loom::model(|| {
        let ends = Ends::new();
        let ending = Ends::end(&ends);
        let ours = ends.cell.abandon();
        if ours {
            ends.dispose();
        }
        let (awaited, left_to_it) = ending.join().unwrap();
        assert!(!awaited);
        assert_ne!(ours, left_to_it, "one of the two disposes, and only one");
        assert!(ends.cell.is_done());
        // SAFETY: both are through.
        ends.result.with(|at| unsafe { assert_eq!(*at, 4) });
    });
}

struct Counted {
    references: References,
    used: UnsafeCell<u32>,
    left: UnsafeCell<u32>,
}

// SAFETY: as for `Ends`.
unsafe impl Sync for Counted {}
// SAFETY: as above.
unsafe impl Send for Counted {}

impl Counted {
    fn by_two() -> Arc<Self> {
        Arc::new(Self { references: References::two(), used: UnsafeCell::new(0), left: UnsafeCell::new(0) })
    }
}

/// Two that each have a reference and use what is counted; one of them lends another to a waker.
#[test]
fn the_last_reference_sees_all_uses() {
    loom::model(|| {
        let counted = Counted::by_two();
        let other = {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                // SAFETY: this field is this side's until the last reference is gone.
                counted.used.with_mut(|at| unsafe { *at = 1 });
                counted.references.give_back()
            })
        };
        counted.references.count_wait();
        assert!(counted.references.any_wait());
        // SAFETY: this field is this side's until the last reference is gone.
        counted.left.with_mut(|at| unsafe { *at = 2 });
        let mut last = u32::from(counted.references.give_back());
        last += u32::from(counted.references.give_back_wait());
        if last > 0 {
            // SAFETY: the last one has all for itself.
            counted.used.with_mut(|at| unsafe { assert_eq!(*at, 1) });
        }
        let others = other.join().unwrap();
        if others {
            // SAFETY: as above.
            counted.left.with_mut(|at| unsafe { assert_eq!(*at, 2) });
        }
        assert_eq!(last + u32::from(others), 1, "one, and only one, is the last");
    });
}

/// The same, looking at what the other has left when it is the last.
#[test]
fn the_last_reference_is_alone() {
    loom::model(|| {
        let counted = Counted::by_two();
        let other = {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                // SAFETY: read alone while references are out.
                counted.used.with(|at| unsafe { assert_eq!(*at, 0) });
                if counted.references.give_back() {
                    // SAFETY: the last one frees it: nobody reads it any more.
                    counted.used.with_mut(|at| unsafe { *at = 7 });
                }
            })
        };
        // SAFETY: as above.
        counted.used.with(|at| unsafe { assert_eq!(*at, 0) });
        if counted.references.give_back() {
            // SAFETY: as above.
            counted.used.with_mut(|at| unsafe { *at = 7 });
        }
        other.join().unwrap();
        // SAFETY: both are through.
        counted.used.with(|at| unsafe { assert_eq!(*at, 7) });
    });
}
