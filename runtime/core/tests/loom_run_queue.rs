//! Model checks of the run queue: owner and thieves, every interleaving, every value a weak memory may show.
//!
//! The slots are cells that the model checker watches, so a slot that is read while it is written fails by itself.
#![cfg(loom)]

use isochron_core::run_queue::{Full, RunQueue, Steal};
use loom::sync::Arc;
use loom::thread;

type Queue = RunQueue<u32, 4>;

/// What one thief gets in `tries` attempts.
fn steal(victim: &Queue, tries: usize) -> Vec<u32> {
    let own = Queue::new();
    // SAFETY: this thread's own queue, one handle.
    let mut own = unsafe { own.owner() };
    let mut got = Vec::new();
    for _ in 0..tries {
        if let Steal::Success(first) = victim.steal_into(&mut own) {
            got.push(first);
            got.extend(std::iter::from_fn(|| own.pop()));
        }
    }
    assert!(got.is_sorted(), "a thief sees items in order: {got:?}");
    got
}

fn check_all_once(mut all: Vec<u32>, expected: u32) {
    all.sort_unstable();
    assert_eq!(all, (0..expected).collect::<Vec<_>>(), "each item once");
}

/// The owner pushes, pops and pushes again over the same slots, while a thief takes halves.
#[test]
fn owner_wraps_while_a_thief_steals() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        let thief = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || steal(&queue, 2))
        };
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        let mut got = Vec::new();
        let mut next = 0;
        for count in [4, 3] {
            for _ in 0..count {
                if own.push_shared(next).is_err() {
                    got.push(next);
                }
                next += 1;
            }
            got.extend(std::iter::from_fn(|| own.pop()).take(3));
        }
        got.extend(thief.join().unwrap());
        got.extend(std::iter::from_fn(|| own.pop()));
        check_all_once(got, next);
    });
}

/// The slots freed by a thief are written again at once.
#[test]
fn owner_reuses_slots_the_thief_has_freed() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        for item in 0..4 {
            own.push_shared(item).unwrap();
            own.push_pinned(100).ok();
        }
        let thief = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || steal(&queue, 1))
        };
        let mut got = Vec::new();
        let mut next = 4;
        for _ in 0..2 {
            match own.push_shared(next) {
                Ok(()) => {}
                Err(_) => got.push(next),
            }
            next += 1;
        }
        got.extend(thief.join().unwrap());
        got.extend(std::iter::from_fn(|| own.pop()).filter(|&item| item != 100));
        check_all_once(got, next);
    });
}

/// Two thieves against each other and the owner's batch claim.
#[test]
fn two_thieves_and_the_owner_share_without_loss() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        for item in 0..3 {
            own.push_shared(item).unwrap();
        }
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || steal(&queue, 1))
            })
            .collect();
        let mut got: Vec<_> = own.pop().into_iter().collect();
        own.push_shared(3).unwrap();
        got.extend(std::iter::from_fn(|| own.pop()));
        for thief in thieves {
            got.extend(thief.join().unwrap());
        }
        got.extend(std::iter::from_fn(|| own.pop()));
        check_all_once(got, 4);
    });
}

/// A second thief keeps off while one is in flight: else the first to finish would free the slots of the other.
#[test]
fn slots_of_a_thief_in_flight_are_not_freed_by_another() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        for item in 0..4 {
            own.push_shared(item).unwrap();
            own.push_pinned(100).ok();
        }
        // Private part full, shared part as well as can be.
        while own.push_shared(50).is_ok() {}
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || steal(&queue, 1).len())
            })
            .collect();
        thread::yield_now();
        // Writes the freed slots at once: a thief still reading them is a race that the model checker sees.
        let pushed = (0..4).filter(|_| own.push_shared(60).is_ok()).count();
        let stolen: usize = thieves.into_iter().map(|thief| thief.join().unwrap()).sum();
        assert!(pushed <= stolen);
    });
}

/// Yields in a queue that is full to the brim, while a thief makes room.
#[test]
fn yields_in_a_full_queue_lose_nothing() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        for item in 0..8 {
            own.push(item).unwrap();
        }
        let thief = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || steal(&queue, 1))
        };
        let mut running = 8;
        for _ in 0..2 {
            if let Some(next) = own.pop() {
                match own.push(running) {
                    Ok(()) => running = next,
                    Err(Full) => assert_eq!(own.push_next(next), None),
                }
            }
        }
        let mut got = thief.join().unwrap();
        got.push(running);
        got.extend(std::iter::from_fn(|| own.pop()));
        check_all_once(got, 9);
    });
}

/// Exposing private items while a thief looks.
#[test]
fn exposed_items_are_taken_once() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        for item in 0..3 {
            own.push(item).unwrap();
        }
        let thief = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || steal(&queue, 2))
        };
        own.expose(2, |_| false);
        let mut got: Vec<_> = own.pop().into_iter().collect();
        own.expose(4, |_| false);
        let mut given = Vec::new();
        own.take_half_for_overflow(|item| given.push(item));
        got.extend(given);
        got.extend(thief.join().unwrap());
        got.extend(std::iter::from_fn(|| own.pop()));
        check_all_once(got, 3);
    });
}

/// The young are exposed, and some run here, while a thief looks.
#[test]
fn the_young_are_taken_once() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        for item in 0..3 {
            own.push_young(item).unwrap();
        }
        let thief = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || steal(&queue, 2))
        };
        let mut got: Vec<_> = own.pop().into_iter().collect();
        own.expose(usize::MAX, |_| false);
        own.push_young(3).unwrap();
        got.extend(own.pop());
        got.extend(thief.join().unwrap());
        got.extend(std::iter::from_fn(|| own.pop()));
        check_all_once(got, 4);
    });
}

/// A CPU that looks whether anything is there finds an item that its owner claims back at that moment.
#[test]
fn an_item_is_seen_while_it_is_claimed_back() {
    loom::model(|| {
        let queue = Arc::new(Queue::new());
        // SAFETY: this thread is the owner, one handle.
        let mut own = unsafe { queue.owner() };
        own.push_shared(7).unwrap();
        let looker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.look())
        };
        own.push_pinned(8).unwrap();
        assert!(looker.join().unwrap().is_some_and(|(shared, private)| shared + private > 0));
    });
}
