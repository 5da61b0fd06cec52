//! The run queue against a plain double-ended queue, and its guarantees one by one.
#![cfg(not(loom))]

use std::collections::VecDeque;

use isochron_core::run_queue::{Full, NEXT_LIMIT, NotPlain, Owner, RunQueue, Steal};
use proptest::prelude::*;

type Queue = RunQueue<u32, 8>;

fn owner(queue: &Queue) -> Owner<'_, u32, 8> {
    // SAFETY: one thread, and each test keeps one handle to a queue.
    unsafe { queue.owner() }
}

/// A yield as the runtime does it.
fn yield_(own: &mut Owner<'_, u32, 8>, item: u32) -> Option<u32> {
    own.rotate_private(item).unwrap_or_else(|NotPlain| {
        let next = own.pop()?;
        own.push(item).expect("a place was free a moment ago");
        Some(next)
    })
}

fn drain(owner: &mut Owner<'_, u32, 8>) -> Vec<u32> {
    std::iter::from_fn(|| owner.pop()).collect()
}

#[test]
fn first_in_first_out_across_both_parts() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push(1).unwrap();
    own.push(2).unwrap();
    own.push_shared(3).unwrap();
    own.push(4).unwrap();
    assert_eq!((queue.private_hint(), queue.stealable_hint()), (2, 2));
    assert_eq!(drain(&mut own), [1, 2, 3, 4]);
    own.push(5).unwrap();
    assert_eq!((queue.private_hint(), queue.stealable_hint()), (1, 0), "private again once the shared part is empty");
}

#[test]
fn holds_twice_its_size_then_says_full_then_gives_half_away() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    let accepted = (0..100).take_while(|&item| own.push(item).is_ok()).count();
    assert_eq!(accepted, 16);
    assert_eq!(own.push(99), Err(Full));
    let mut given = Vec::new();
    assert_eq!(own.take_half_for_overflow(|item| given.push(item)), 4);
    assert_eq!(given, [8, 9, 10, 11]);
    own.push(100).unwrap();
    assert_eq!(drain(&mut own), [0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 100]);
}

#[test]
fn thief_takes_half_rounded_up_oldest_first() {
    let (victim, thief) = (Queue::new(), Queue::new());
    let (mut own, mut dst) = (owner(&victim), owner(&thief));
    for item in 0..5 {
        own.push_shared(item).unwrap();
    }
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(0));
    assert_eq!(drain(&mut dst), [1, 2]);
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(3));
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(4));
    assert_eq!(victim.steal_into(&mut dst), Steal::Empty);
    assert_eq!(thief.steal_into(&mut dst), Steal::Empty, "never from oneself");
}

#[test]
fn a_thief_without_room_takes_one() {
    let (victim, thief) = (Queue::new(), Queue::new());
    let (mut own, mut dst) = (owner(&victim), owner(&thief));
    for item in 0..8 {
        own.push_shared(item).unwrap();
        dst.push(100 + item).unwrap();
    }
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(0));
    assert_eq!(dst.len(), 8);
    assert_eq!(own.len(), 7);
}

#[test]
fn private_items_cannot_be_stolen_until_exposed_and_pinned_ones_never() {
    let (victim, thief) = (Queue::new(), Queue::new());
    let (mut own, mut dst) = (owner(&victim), owner(&thief));
    for item in 1..=6 {
        own.push(item).unwrap();
    }
    assert_eq!(own.push_next(0), None);
    assert_eq!(victim.steal_into(&mut dst), Steal::Empty);
    let odd = |item: u32| item % 2 == 1;
    assert_eq!(own.expose(2, odd), 2);
    assert_eq!((victim.private_hint(), victim.stealable_hint()), (5, 2));
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(4));
    assert_eq!(own.expose(usize::MAX, odd), 3, "what was shared before goes behind the newly shared");
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(0));
    assert_eq!(drain(&mut dst), [2]);
    assert_eq!(victim.steal_into(&mut dst), Steal::Success(6));
    assert_eq!(own.expose(usize::MAX, odd), 0);
    assert_eq!(drain(&mut own), [1, 3, 5]);
}

#[test]
fn the_next_slot_goes_first_but_not_for_ever() {
    for shared in [false, true] {
        let queue = Queue::new();
        let mut own = owner(&queue);
        if shared {
            own.push_shared(7).unwrap()
        } else {
            own.push(7).unwrap()
        }
        let mut turns = 0;
        loop {
            assert_eq!(own.push_next(1), None);
            turns += 1;
            match own.pop() {
                Some(1) => {}
                other => {
                    assert_eq!(other, Some(7));
                    break;
                }
            }
        }
        assert_eq!(turns, NEXT_LIMIT + 1);
        assert_eq!(own.push_next(2), Some(1));
        assert_eq!(drain(&mut own), [2]);
    }
}

#[test]
fn a_pinned_thread_that_yields_for_ever_does_not_starve_shared_ones() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    for item in 0..8 {
        own.push_pinned(100 + item).unwrap();
    }
    own.push_shared(1).unwrap();
    let mut seen = false;
    for _ in 0..40 {
        let item = own.pop().unwrap();
        seen |= item == 1;
        if item != 1 && own.push_pinned(item).is_err() {
            // Through the inbox, in real life: it comes back later.
            assert!(own.take_half_for_overflow(|_| unreachable!()) == 0);
        }
    }
    assert!(seen);
}

#[derive(Debug, Clone)]
enum Op {
    Push,
    PushShared,
    PushPinned,
    Pop,
    Rotate,
    Expose(usize),
    Steal,
    Overflow,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Push),
        2 => Just(Op::PushShared),
        1 => Just(Op::PushPinned),
        5 => Just(Op::Pop),
        3 => Just(Op::Rotate),
        1 => (0..10usize).prop_map(Op::Expose),
        1 => Just(Op::Steal),
        1 => Just(Op::Overflow),
    ]
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 400 };

proptest! {
    /// Whatever is done, pops come in the order of pushes, and nothing is lost or doubled.
    #[test]
    fn keeps_order_and_items(ops in prop::collection::vec(op(), 0..STEPS)) {
        let (queue, thief) = (Queue::new(), Queue::new());
        let (mut own, mut dst) = (owner(&queue), owner(&thief));
        let mut model = VecDeque::new();
        let mut fresh = 0;
        for op in ops {
            match op {
                Op::Push | Op::PushShared | Op::PushPinned => {
                    let pushed = match op {
                        Op::Push => own.push(fresh),
                        Op::PushShared => own.push_shared(fresh),
                        _ => own.push_pinned(fresh),
                    };
                    if pushed.is_ok() {
                        model.push_back(fresh);
                    } else {
                        prop_assert!(model.len() >= 8);
                    }
                    fresh += 1;
                }
                Op::Pop => prop_assert_eq!(own.pop(), model.pop_front()),
                Op::Rotate => {
                    let next = yield_(&mut own, fresh);
                    prop_assert_eq!(next, model.pop_front());
                    if next.is_some() {
                        model.push_back(fresh);
                    }
                    fresh += 1;
                }
                Op::Expose(max) => {
                    let seen = own.expose(max, |_| false);
                    prop_assert_eq!(seen, queue.stealable_hint());
                    prop_assert!(seen >= max.min(model.len()).min(8) || queue.private_hint() + seen > 8);
                }
                Op::Steal => {
                    let shared = queue.stealable_hint();
                    let start = model.len() - shared;
                    match queue.steal_into(&mut dst) {
                        Steal::Success(first) => {
                            prop_assert_eq!(Some(first), model.remove(start));
                            for _ in 1..shared.div_ceil(2) {
                                prop_assert_eq!(dst.pop(), model.remove(start));
                            }
                            prop_assert_eq!(dst.pop(), None);
                        }
                        other => {
                            prop_assert_eq!(other, Steal::Empty);
                            prop_assert_eq!(shared, 0);
                        }
                    }
                }
                Op::Overflow => {
                    let start = model.len() - queue.stealable_hint();
                    let mut given = Vec::new();
                    own.take_half_for_overflow(|item| given.push(item));
                    for item in given {
                        prop_assert_eq!(Some(item), model.remove(start));
                    }
                }
            }
            prop_assert_eq!(own.len(), model.len());
            prop_assert_eq!(queue.len_hint(), model.len());
        }
        prop_assert_eq!(drain(&mut own), Vec::from(model));
    }
}

#[test]
fn a_private_yield_keeps_to_the_private_ring() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    assert_eq!(own.rotate_private(9), Ok(None), "nobody else: it goes on, not queued");
    assert_eq!(own.len(), 0);
    own.push(1).unwrap();
    own.push(2).unwrap();
    assert!(queue.has_items_hint());
    assert_eq!(own.rotate_private(9), Ok(Some(1)));
    assert_eq!(queue.stealable_hint(), 0, "no thief sees what yielded");
    own.push_next(5);
    assert_eq!(own.rotate_private(1), Err(NotPlain));
    assert_eq!(drain(&mut own), [5, 2, 9]);
    own.push_shared(7).unwrap();
    assert_eq!(own.rotate_private(1), Err(NotPlain));
    assert_eq!(drain(&mut own), [7]);
    assert!(!queue.has_items_hint());
}

#[test]
fn a_streak_counts_only_while_somebody_waits() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    for _ in 0..NEXT_LIMIT * 2 {
        own.push_next(1);
        assert_eq!(own.pop(), Some(1));
    }
    // Several that wake at once: the first goes first, however many woke alone before.
    assert!(own.next_is_free());
    own.push_next(10);
    assert!(!own.next_is_free());
    own.push(11).unwrap();
    own.push(12).unwrap();
    assert_eq!(drain(&mut own), [10, 11, 12]);
}

/// A CPU that has been idle owes nobody a turn.
#[test]
fn the_next_slot_goes_first_again_after_the_end_of_a_streak() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push(7).unwrap();
    for _ in 0..NEXT_LIMIT {
        assert_eq!(own.push_next(1), None);
        assert_eq!(own.pop_plain(), Ok(Some(1)));
    }
    own.end_streak();
    for _ in 0..NEXT_LIMIT {
        assert_eq!(own.push_next(1), None);
        assert_eq!(own.pop_plain(), Ok(Some(1)));
    }
    assert_eq!(own.push_next(1), None);
    assert_eq!(own.pop_plain(), Ok(Some(7)));
}

#[test]
fn the_short_ways_in_are_for_a_plain_queue_alone() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    assert!((0..8).all(|item| own.try_push_private(item)));
    assert!(!own.try_push_private(8), "it is full");
    assert_eq!(own.pop(), Some(0));
    assert_eq!(own.push_next(9), None);
    assert!(!own.try_push_private(10) && !own.try_pass_next(), "the next slot is taken");
    assert_eq!(drain(&mut own), [9, 1, 2, 3, 4, 5, 6, 7]);
    own.push_shared(11).unwrap();
    assert!(!own.try_push_private(12) && !own.try_pass_next(), "there is a shared part");
}

/// Passing by the next slot counts as going through it: who waits has its turn as soon.
#[test]
fn what_passes_by_the_next_slot_does_not_starve_the_ring() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push(1).unwrap();
    assert_eq!(own.push_next(0), None);
    assert_eq!(own.pop(), Some(0));
    let passed = (0..100).take_while(|_| own.try_pass_next()).count();
    assert_eq!(passed as u32, NEXT_LIMIT - 1);
    assert_eq!(own.push_next(0), None);
    assert_eq!(own.pop(), Some(1), "the ring's turn");
}

#[test]
fn a_next_slot_that_is_full_is_left_alone() {
    let queue = Queue::new();
    let mut own = owner(&queue);
    own.push_shared(3).unwrap();
    assert!(own.try_push_next(1));
    assert!(!own.try_push_next(2));
    assert_eq!(drain(&mut own), [1, 3]);
}

#[test]
fn a_full_ring_turns() {
    let queue = RunQueue::<u32, 4>::new();
    // SAFETY: one thread, one handle.
    let mut own = unsafe { queue.owner() };
    assert_eq!(own.rotate_private(9), Ok(None), "nobody to give way to");
    for item in 0..4 {
        own.push(item).unwrap();
    }
    for turn in 0..10 {
        assert_eq!(own.rotate_private(turn + 4), Ok(Some(turn)));
        assert_eq!(queue.private_hint(), 4);
    }
    assert_eq!(own.pop(), Some(10));
    assert_eq!((0..2).map_while(|ahead| own.peek_ahead(ahead)).collect::<Vec<_>>(), [11, 12]);
    own.push(14).unwrap();
    assert_eq!(core::iter::from_fn(|| own.pop()).collect::<Vec<_>>(), [11, 12, 13, 14]);
}

/// A ring that has its turn of its own accord does not also get the next slot's.
#[test]
fn the_next_slot_goes_first_while_the_ring_has_its_turns() {
    let queue = RunQueue::<u32, 8>::new();
    // SAFETY: one thread, one handle.
    let mut own = unsafe { queue.owner() };
    own.push(1).unwrap();
    for turn in 0..NEXT_LIMIT * 4 {
        assert_eq!(own.push_next(2), None);
        assert_eq!(own.pop(), Some(2), "turn {turn}");
        assert_eq!(own.pop(), Some(1));
        own.push(1).unwrap();
    }
}

/// Who waits is looked at by taking each out once and putting it back: nobody is lost, and the pinned ones keep their order.
#[test]
fn a_round_through_the_queue_changes_no_order() {
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for _ in 0..if cfg!(miri) { 20 } else { 20_000 } {
        let queue = Queue::new();
        let mut own = owner(&queue);
        // Even numbers are pinned.
        let is_pinned = |item: u32| item.is_multiple_of(2);
        for item in 0..next(9) as u32 {
            let _ = match next(8) {
                0 => own.push_next(item).map(|item| own.push(item)).unwrap_or(Ok(())),
                1 => own.pop().map_or(Ok(()), |_| Ok(())),
                2 => {
                    own.expose(usize::MAX, is_pinned);
                    Ok(())
                }
                _ if is_pinned(item) => own.push_pinned(item),
                _ => own.push(item),
            };
        }
        let round = |own: &mut Owner<'_, u32, 8>| {
            let mut seen = Vec::new();
            for _ in 0..queue.len_hint() {
                let Some(item) = own.pop() else { break };
                seen.push(item);
                let back = if is_pinned(item) { own.push_pinned(item) } else { own.push(item) };
                back.expect("a place was free a moment ago");
            }
            seen
        };
        let (first, second) = (round(&mut own), round(&mut own));
        let last = drain(&mut own);
        let pinned = |items: &[u32]| items.iter().copied().filter(|&item| is_pinned(item)).collect::<Vec<_>>();
        assert_eq!(pinned(&first), pinned(&second), "{first:?} {second:?}");
        assert_eq!(pinned(&first), pinned(&last), "{first:?} {last:?}");
        let sorted = |mut items: Vec<u32>| {
            items.sort_unstable();
            items
        };
        assert_eq!(sorted(first), sorted(last));
    }
}
