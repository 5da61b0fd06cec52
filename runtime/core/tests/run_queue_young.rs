//! The young in the run queue: who goes first, and for how long.
#![cfg(not(loom))]

use isochron_core::run_queue::{Full, NEXT_LIMIT, NotPlain, Owner, RunQueue, Steal, YOUNG, YOUNG_LIMIT};

type Queue = RunQueue<u32, 8>;

fn owner(queue: &Queue) -> Owner<'_, u32, 8> {
    // SAFETY: one thread, and each test keeps one handle to a queue.
    unsafe { queue.owner() }
}

fn drain(owner: &mut Owner<'_, u32, 8>) -> Vec<u32> {
    std::iter::from_fn(|| owner.pop()).collect()
}

#[test]
fn the_youngest_goes_first_and_before_the_ring() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push(1).unwrap();
    own.push_shared(2).unwrap();
    for item in 10..13 {
        own.push_young(item).unwrap();
    }
    assert_eq!(own.push_next(0), None);
    assert!(own.has_young() && queue.has_items_hint());
    assert_eq!((own.len(), queue.private_hint(), queue.stealable_hint()), (6, 5, 1));
    assert_eq!(drain(&mut own), [0, 12, 11, 10, 1, 2]);
    assert!(!own.has_young() && own.is_empty());
}

#[test]
fn the_ring_has_its_turn_after_so_many_of_the_young() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push(1).unwrap();
    own.push(2).unwrap();
    for turn in 0..YOUNG_LIMIT {
        own.push_young(7).unwrap();
        assert_eq!(own.pop(), Some(7), "turn {turn}");
    }
    own.push_young(7).unwrap();
    assert_eq!(own.pop(), Some(1));
    assert_eq!(own.pop(), Some(7));
    own.push_young(7).unwrap();
    own.end_young_streak();
    assert_eq!(own.pop(), Some(2));
    assert_eq!(drain(&mut own), [7]);
}

/// With an empty ring, it is the oldest of the young that has waited longest.
#[test]
fn the_oldest_of_the_young_is_not_starved_by_younger_ones() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push_young(1).unwrap();
    for _ in 0..YOUNG_LIMIT {
        own.push_young(7).unwrap();
        assert_eq!(own.pop(), Some(7));
    }
    own.push_young(8).unwrap();
    assert_eq!(drain(&mut own), [1, 8]);
}

/// One that is woken again and again and makes others all the time holds the ring up for a bounded number of turns.
#[test]
fn the_young_and_the_next_slot_together_do_not_starve_the_ring() {
    for shared in [false, true] {
        let queue = Queue::new();
        let mut own = owner(&queue);
        if shared { own.push_shared(1) } else { own.push(1) }.unwrap();
        let mut turns = 0;
        loop {
            let _ = own.push_next(9);
            let _ = own.push_young(7);
            turns += 1;
            if own.pop() == Some(1) {
                break;
            }
        }
        assert!(turns <= (YOUNG_LIMIT + 1) * (NEXT_LIMIT + 1), "{turns}");
    }
}

#[test]
fn a_full_house_gives_up_its_oldest_and_wraps() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    let mut next = 0;
    for _ in 0..3 {
        while own.push_young(next) != Err(Full) {
            next += 1;
        }
        assert_eq!(own.len(), YOUNG);
        for _ in 0..YOUNG / 2 {
            assert_eq!(own.pop_oldest(), Some(next - own.len() as u32 - 1));
        }
    }
    let left = YOUNG as u32 / 2;
    assert_eq!(drain(&mut own), (next - left..next).rev().collect::<Vec<_>>());
    assert_eq!(own.pop_oldest(), None);
}

#[test]
fn exposed_the_young_are_the_last_and_in_order() {
    let (victim, thief) = (Queue::new(), Queue::new());
    let (mut own, mut dst) = (owner(&victim), owner(&thief));
    own.push(1).unwrap();
    own.push_shared(2).unwrap();
    for item in 3..7 {
        own.push_young(item).unwrap();
    }
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(2));
    assert_eq!(victim.steal_into(&mut dst), Steal::Empty, "nobody takes the young");
    assert_eq!(own.expose(usize::MAX, |_| false), 5);
    assert!(!own.has_young());
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(1));
    assert_eq!(drain(&mut dst), [3, 4]);
    assert_eq!(drain(&mut own), [5, 6]);
}

/// Those that the ring has no room for stay young, and none is lost.
#[test]
fn exposed_beside_a_full_ring_none_is_lost() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    for item in 0..6 {
        own.push_pinned(item).unwrap();
    }
    for item in 6..12 {
        own.push_young(item).unwrap();
    }
    assert_eq!(own.expose(usize::MAX, |item| item < 6), 2);
    assert_eq!((own.len(), queue.stealable_hint()), (12, 2));
    assert_eq!(drain(&mut own), [11, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7]);
}

/// A yield is for whoever waits, so it does not go by without a look at the young.
#[test]
fn a_private_yield_refuses_beside_the_young() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push_young(1).unwrap();
    assert_eq!(own.rotate_private(9), Err(NotPlain));
    assert_eq!(own.pop_plain(), Ok(Some(1)));
    assert_eq!(own.rotate_private(9), Ok(None));
}
