//! Model checks of the reader-writer lock.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::raw_rwlock::{Attempt, RawRwLock, Want};
use isochron_core::wait_queue::{Granted, WaitNode, WaitToken};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

struct Guarded {
    lock: RawRwLock<usize>,
    value: UnsafeCell<u32>,
}

// SAFETY: the lock under test is what makes this true; the model checker watches the cell.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

/// Ends the waits of all of them; unparking is theirs.
fn wake(mut granted: Granted<usize, Want>) -> usize {
    let mut woken = 0;
    while granted.publish_next().is_some() {
        woken += 1;
    }
    woken
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: RawRwLock::new(), value: UnsafeCell::new(0) })
    }

    /// Locks as `RwLock` does; parking is yielding until the token has its outcome.
    fn lock(&self, owner: usize, write: bool) {
        let want = Want { owner, write };
        if self.lock.try_lock(want) {
            return;
        }
        let token = WaitToken::new();
        let mut node = WaitNode::new(owner, &token, 0, want);
        // SAFETY: the node and its token live until the token has its outcome.
        if unsafe { self.lock.lock_or_wait(NonNull::from(&mut node)) } == Attempt::Waiting {
            while token.outcome().is_none() {
                thread::yield_now();
            }
        }
    }

    fn unlock(&self, owner: usize) {
        if !self.lock.try_unlock(owner) {
            wake(self.lock.unlock(owner));
        }
    }

    fn read(&self) -> u32 {
        // SAFETY: the lock is held.
        self.value.with(|value| unsafe { *value })
    }

    fn add_one(&self) {
        // SAFETY: the lock is held to write.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }

    fn is_free(&self) -> bool {
        self.lock.try_lock(Want { owner: 2, write: true })
    }
}

/// A writer is alone, and what it wrote is seen.
#[test]
fn a_writer_excludes_and_publishes() {
    loom::model(|| {
        let shared = Guarded::new();
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.lock(4, true);
                shared.add_one();
                shared.unlock(4);
            })
        };
        shared.lock(6, false);
        let seen = shared.read();
        shared.unlock(6);
        shared.lock(6, true);
        assert!(shared.read() >= seen);
        shared.add_one();
        shared.unlock(6);
        writer.join().unwrap();
        assert!(shared.is_free());
        assert_eq!(shared.read(), 2);
    });
}

/// A writer that waits holds up a reader behind it; when it gives up, the reader must not wait on.
#[test]
fn a_writer_that_gives_up_holds_nobody_up() {
    loom::model(|| {
        let shared = Guarded::new();
        shared.lock(2, false);
        let impatient = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let token = WaitToken::new();
                let mut node = WaitNode::new(4, &token, 0, Want { owner: 4, write: true });
                let node = NonNull::from(&mut node);
                // SAFETY: the node and its token live until it is forgotten or has its outcome.
                assert_eq!(unsafe { shared.lock.lock_or_wait(node) }, Attempt::Waiting, "one reads all the time");
                assert!(token.fire(1), "nobody could give it the lock");
                // SAFETY: linked above.
                wake(unsafe { shared.lock.forget(node) });
            })
        };
        shared.lock(6, false);
        shared.unlock(6);
        impatient.join().unwrap();
        shared.unlock(2);
        assert!(shared.is_free());
    });
}

/// A writer dies; who waits has the lock then, or who comes later, to write or to read, and knows of it.
#[test]
fn a_lock_that_a_writer_died_with_passes_on() {
    for write in [true, false] {
        loom::model(move || {
            let shared = Guarded::new();
            shared.lock(2, true);
            let other = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.lock(4, write);
                    assert!(shared.lock.is_orphaned(), "nobody has died with it");
                    assert_eq!(shared.read(), 1);
                    shared.unlock(4);
                })
            };
            shared.add_one();
            assert!(shared.lock.is_held_by(2));
            wake(shared.lock.orphan(2));
            other.join().unwrap();
            assert!(shared.is_free());
        });
    }
}

/// A reader dies that has it twice: a writer has it as soon as the other readers have left, and there is no mark.
#[test]
fn a_lock_that_a_reader_died_with_passes_on() {
    loom::model(|| {
        let shared = Guarded::new();
        shared.lock(2, false);
        shared.lock(2, false);
        shared.lock(6, false);
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.lock(4, true);
                assert!(!shared.lock.is_orphaned());
                shared.add_one();
                shared.unlock(4);
            })
        };
        wake(shared.lock.orphan(2));
        assert!(!shared.lock.is_held_by(2));
        assert_eq!(shared.read(), 0, "somebody writes beside a reader");
        shared.unlock(6);
        writer.join().unwrap();
        assert!(shared.is_free());
        assert_eq!(shared.read(), 1);
    });
}

/// The one who waits finds the holder dead, and that one hands the lock on itself: it is handed on once.
#[test]
fn who_dies_and_who_finds_it_dead_hand_the_lock_on_once() {
    loom::model(|| {
        let shared = Guarded::new();
        shared.lock(2, true);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let token = WaitToken::new();
                let mut node = WaitNode::new(4, &token, 0, Want { owner: 4, write: true });
                // SAFETY: the node and its token live until the token has its outcome.
                if unsafe { shared.lock.lock_or_wait(NonNull::from(&mut node)) } == Attempt::Waiting {
                    let woken = wake(shared.lock.orphan(2));
                    while token.outcome().is_none() {
                        thread::yield_now();
                    }
                    return woken;
                }
                0
            })
        };
        let woken = wake(shared.lock.orphan(2));
        assert!(woken + other.join().unwrap() <= 1);
        assert!(shared.lock.is_held_by(4));
        assert!(!shared.is_free());
    });
}

/// From writing to reading: no other writer comes in between, and a reader that waits enters.
#[test]
fn a_downgrade_lets_readers_in_and_no_writer() {
    loom::model(|| {
        let shared = Guarded::new();
        shared.lock(2, true);
        let reader = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.lock(4, false);
                let seen = shared.read();
                shared.unlock(4);
                seen
            })
        };
        shared.add_one();
        wake(shared.lock.downgrade());
        assert!(!shared.is_free());
        assert_eq!(reader.join().unwrap(), 1, "a reader beside a writer, or never let in");
        shared.unlock(2);
        assert!(shared.is_free());
    });
}
