//! Model checks of the mutex's lock and of the two sides of a result.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::last_of_two::LastOfTwo;
use isochron_core::raw_mutex::{Attempt, Contender, RawMutex};
use isochron_core::wait_queue::{WaitNode, WaitToken};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

struct Guarded {
    lock: RawMutex<usize>,
    value: UnsafeCell<u32>,
}

// SAFETY: the lock under test is what makes this true; the model checker watches the cell.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: RawMutex::new(), value: UnsafeCell::new(0) })
    }

    /// Asks for the lock, and gives up at once if it must wait. Then `waited` is told whether that came in time, and in the end
    /// the wait has its outcome.
    fn wait_and_give_up(&self, me: usize, waited: impl FnOnce(bool)) {
        let token = WaitToken::new();
        let mut node = WaitNode::new(0, &token, 0, Contender { owner: me, rank: 0 });
        let node = NonNull::from(&mut node);
        // SAFETY: the node and its token live until it is forgotten or has its outcome.
        if unsafe { self.lock.lock_or_wait(node) } == Attempt::Waiting {
            let gave_up = token.fire(1);
            if gave_up {
                // SAFETY: linked above.
                unsafe { self.lock.forget(node) };
            }
            waited(gave_up);
            while token.outcome().is_none() {
                thread::yield_now();
            }
        }
    }

    /// Locks as `Mutex::lock` does; parking is yielding until the token has its outcome.
    fn lock(&self, me: usize) {
        if self.lock.try_lock(me) {
            return;
        }
        let token = WaitToken::new();
        let mut node = WaitNode::new(0, &token, 0, Contender { owner: me, rank: 0 });
        // SAFETY: the node and its token live until the token has its outcome.
        match unsafe { self.lock.lock_or_wait(NonNull::from(&mut node)) } {
            Attempt::Locked => {}
            Attempt::Waiting => {
                while token.outcome().is_none() {
                    thread::yield_now();
                }
            }
            Attempt::Twice => panic!("taken for another"),
        }
        assert_eq!(self.lock.owner(), Some(me));
    }

    fn unlock(&self, me: usize) {
        if !self.lock.try_unlock(me) {
            let _ = self.lock.unlock_slow();
        }
    }

    fn add_one(&self, me: usize) {
        self.lock(me);
        // SAFETY: the lock is held.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.unlock(me);
    }
}

#[test]
fn mutex_excludes_and_publishes() {
    loom::model(|| {
        let shared = Guarded::new();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.add_one(4))
        };
        shared.add_one(2);
        shared.add_one(2);
        other.join().unwrap();
        shared.lock(2);
        // SAFETY: the lock is held.
        assert_eq!(shared.value.with(|value| unsafe { *value }), 3);
        shared.unlock(2);
        assert_eq!(shared.lock.owner(), None);
    });
}

#[test]
fn mutex_is_free_at_the_end_whoever_waited() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shared = Guarded::new();
        let others: Vec<_> = [4, 6]
            .into_iter()
            .map(|me| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.add_one(me))
            })
            .collect();
        shared.add_one(2);
        for other in others {
            other.join().unwrap();
        }
        assert!(shared.lock.try_lock(2), "nobody holds it any more");
        // SAFETY: the lock is held.
        assert_eq!(shared.value.with(|value| unsafe { *value }), 3);
    });
}

/// A waiter that gives up leaves its mark: the holder looks at an empty queue, and frees the lock for whoever comes.
#[test]
fn a_mutex_whose_waiter_has_left_is_free() {
    loom::model(|| {
        let shared = Guarded::new();
        assert!(shared.lock.try_lock(2));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // Who was too late to give up is handed the lock.
                shared.wait_and_give_up(4, |gave_up| {
                    while gave_up && !shared.lock.try_lock(4) {
                        thread::yield_now();
                    }
                });
                // SAFETY: the lock is held.
                assert_eq!(shared.value.with(|value| unsafe { *value }), 1);
                shared.unlock(4);
            })
        };
        // SAFETY: the lock is held.
        shared.value.with_mut(|value| unsafe { *value += 1 });
        shared.unlock(2);
        other.join().unwrap();
        assert_eq!(shared.lock.owner(), None);
    });
}

#[test]
fn the_last_of_two_sees_what_the_first_wrote() {
    loom::model(|| {
        let shared = Arc::new((LastOfTwo::new(), UnsafeCell::new(0)));
        let thread = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // SAFETY: written before leaving; the other side looks only if it is the last.
                shared.1.with_mut(|value| unsafe { *value = 1 });
                shared.0.leave()
            })
        };
        let handle_is_last = shared.0.leave();
        if handle_is_last {
            // SAFETY: the thread has left.
            assert_eq!(shared.1.with(|value| unsafe { *value }), 1);
        }
        assert_ne!(thread.join().unwrap(), handle_is_last, "one of them, and only one, is the last");
    });
}

/// Locks and unlocks as a barging mutex does: who is woken tries again.
#[test]
fn barging_excludes_and_wakes() {
    loom::model(|| {
        let shared = Guarded::new();
        let add_one = |shared: &Guarded, me: usize| {
            while !shared.lock.try_lock(me) {
                let token = WaitToken::new();
                let mut node = WaitNode::new(0, &token, 0, Contender { owner: me, rank: 0 });
                // SAFETY: the node and its token live until the token has its outcome.
                if unsafe { shared.lock.lock_or_wait(NonNull::from(&mut node)) } == Attempt::Locked {
                    break;
                }
                while token.outcome().is_none() {
                    thread::yield_now();
                }
            }
            // SAFETY: the lock is held.
            shared.value.with_mut(|value| unsafe { *value += 1 });
            if !shared.lock.try_unlock(me) {
                let _ = shared.lock.free_slow();
            }
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || add_one(&shared, 4))
        };
        add_one(&shared, 2);
        other.join().unwrap();
        assert_eq!(shared.lock.owner(), None);
        add_one(&shared, 2);
    });
}

/// One waits for a lock whose holder dies: it has it then, and knows.
#[test]
fn an_orphaned_lock_is_handed_on() {
    loom::model(|| {
        let shared = Guarded::new();
        shared.lock(2);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.lock(4);
                assert!(shared.lock.is_orphaned());
                // SAFETY: the lock is held.
                assert_eq!(shared.value.with(|value| unsafe { *value }), 1);
                shared.unlock(4);
            })
        };
        // SAFETY: the lock is held.
        shared.value.with_mut(|value| unsafe { *value += 1 });
        let _ = shared.lock.orphan(2);
        other.join().unwrap();
    });
}

/// As `a_mutex_whose_waiter_has_left_is_free`, for a barging mutex.
#[test]
fn a_barging_mutex_whose_waiter_has_left_is_free() {
    loom::model(|| {
        let shared = Guarded::new();
        assert!(shared.lock.try_lock(2));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // Whoever is woken competes, and who gives up does too.
                shared.wait_and_give_up(4, |_| {
                    while !shared.lock.try_lock(4) {
                        thread::yield_now();
                    }
                });
                // SAFETY: the lock is held.
                assert_eq!(shared.value.with(|value| unsafe { *value }), 1);
            })
        };
        // SAFETY: the lock is held.
        shared.value.with_mut(|value| unsafe { *value += 1 });
        if !shared.lock.try_unlock(2) {
            let _ = shared.lock.free_slow();
        }
        other.join().unwrap();
    });
}
