//! The layers against a plain model, and their rule.
#![cfg(not(loom))]

use std::ptr::NonNull;

use isochron_core::layers::{Layers, PATIENCE, Pick, Queued, Rank};
use isochron_core::link::{Link, Linked};
use isochron_core::run_queue::NEXT_LIMIT;
use proptest::prelude::*;

struct Item {
    link: Link<Self>,
    name: u32,
    rank: Rank,
    bound: bool,
}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Item {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive.
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

fn item(name: u32, rank: Rank, bound: bool) -> NonNull<Item> {
    NonNull::from(Box::leak(Box::new(Item { link: Link::new(), name, rank, bound })))
}

fn put(layers: &Layers<Item>, name: u32, rank: Rank, bound: bool) {
    // SAFETY: a fresh item, leaked until it is taken out.
    unsafe { layers.push(item(name, rank, bound), rank, bound) };
}

/// Takes out all that are left, so that nothing is lost.
fn clear(layers: &Layers<Item>) {
    while let Pick::Stored(item) = pick(layers, false, None) {
        take(item);
    }
}

fn is_bound(item: NonNull<Item>) -> bool {
    // SAFETY: items in a list are alive.
    unsafe { item.as_ref() }.bound
}

/// The item's name; it is gone after this.
fn take(item: NonNull<Item>) -> (u32, Rank) {
    // SAFETY: made by `item`, taken out of its list, once.
    let item = unsafe { Box::from_raw(item.as_ptr()) };
    (item.name, item.rank)
}

fn pick(layers: &Layers<Item>, normal: bool, running: Option<Rank>) -> Pick<Item> {
    layers.pick(queued(normal.into()), running, is_bound).0
}

/// So many in the run queue, none of whom was just woken.
fn queued(count: usize) -> Queued {
    Queued { count, woken: false }
}

#[test]
fn all_are_taken_out_the_highest_first() {
    let layers = Layers::new();
    let ranks = [Rank::NORMAL, Rank::real_time(7), Rank::BATCH, Rank::real_time(200), Rank::real_time(7)];
    for (name, rank) in ranks.into_iter().enumerate() {
        put(&layers, name as u32, rank, name == 1);
    }
    let mut all = layers.take_all();
    let order: Vec<u32> = std::iter::from_fn(|| all.pop()).map(|item| take(item).0).collect();
    assert_eq!(order, [3, 1, 4, 0, 2]);
    assert_eq!((layers.len(), layers.stealable_hint()), (0, 0));
    assert!(layers.take_all().is_empty());
    // As good as new.
    put(&layers, 5, Rank::LATENCY, false);
    assert_eq!((layers.len(), layers.stealable_hint()), (1, 1));
    clear(&layers);
    assert!(layers.is_empty());
}

#[test]
fn the_highest_rank_goes_first_and_equals_in_their_order() {
    let layers = Layers::new();
    let ranks = [
        Rank::BATCH,
        Rank::real_time(7),
        Rank::NETWORK,
        Rank::real_time(255),
        Rank::LATENCY,
        Rank::real_time(7),
        Rank::real_time(0),
    ];
    for (name, rank) in ranks.into_iter().enumerate() {
        put(&layers, name as u32, rank, name % 2 == 0);
    }
    let order: Vec<u32> = std::iter::from_fn(|| match pick(&layers, false, None) {
        Pick::Stored(item) => Some(take(item).0),
        _ => None,
    })
    .collect();
    assert_eq!(order, [3, 1, 5, 6, 4, 2, 0]);
    assert_eq!(pick(&layers, false, None), Pick::Nothing);
    assert!(layers.is_empty());
    assert_eq!(layers.stealable_hint(), 0);
}

#[test]
fn a_running_thread_goes_on_unless_it_has_an_equal() {
    let layers = Layers::new();
    assert_eq!(pick(&layers, true, Some(Rank::LATENCY)), Pick::Running);
    put(&layers, 1, Rank::real_time(9), false);
    assert_eq!(pick(&layers, true, Some(Rank::real_time(10))), Pick::Running);
    let Pick::Stored(equal) = pick(&layers, true, Some(Rank::real_time(9))) else { panic!("an equal waits") };
    assert_eq!(take(equal).0, 1);
    assert_eq!(pick(&layers, true, Some(Rank::NORMAL)), Pick::Normal);
    assert_eq!(pick(&layers, false, Some(Rank::NORMAL)), Pick::Running);
}

/// So many turns have a test: Miri is a thousand times slower.
const TURNS: u32 = if cfg!(miri) { 200 } else { 2000 };

/// Hogs in every layer, each put back as soon as it has run: all are served, by the rule.
#[test]
fn no_layer_starves() {
    let layers = Layers::new();
    let ranks = [Rank::BATCH, Rank::NORMAL, Rank::NETWORK, Rank::LATENCY, Rank::real_time(3), Rank::real_time(200)];
    for (name, rank) in ranks.into_iter().enumerate() {
        if rank != Rank::NORMAL {
            put(&layers, name as u32, rank, false);
        }
    }
    let mut turns = [0; 6];
    for _ in 0..TURNS {
        match pick(&layers, true, None) {
            Pick::Stored(item) => {
                let (name, rank) = take(item);
                turns[name as usize] += 1;
                put(&layers, name, rank, false);
            }
            Pick::Normal => turns[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    let [batch, normal, network, latency, low, high] = turns;
    assert!(high > TURNS * 3 / 4, "the highest has most of it: {turns:?}");
    assert_eq!(low, 0, "within real time the highest priority goes first, always: {turns:?}");
    for lower in [batch, normal, network, latency] {
        assert!((TURNS / (PATIENCE + 5)..=TURNS / PATIENCE).contains(&lower), "about one in twenty: {turns:?}");
    }
    clear(&layers);
}

/// Who was just woken goes before the members of groups, but does not starve them.
#[test]
fn the_woken_go_before_members_within_bounds() {
    let layers = Layers::new();
    put(&layers, 1, Rank::NORMAL, true);
    put(&layers, 2, Rank::NORMAL, true);
    let woken = Queued { count: 1, woken: true };
    for running in [None, Some(Rank::NORMAL)] {
        let mut turns = Vec::new();
        for _ in 0..100 {
            match layers.pick(woken, running, is_bound).0 {
                Pick::Normal => turns.push(0),
                Pick::Stored(item) => {
                    let (name, rank) = take(item);
                    turns.push(name);
                    put(&layers, name, rank, true);
                }
                other => panic!("{other:?}"),
            }
        }
        let members = turns.iter().filter(|&&turn| turn > 0).count();
        assert!((2..=100 / NEXT_LIMIT as usize).contains(&members), "{turns:?}");
        let longest = turns.split(|&turn| turn > 0).map(<[u32]>::len).max();
        // Now and then they have saved up for no turn yet.
        assert!(longest >= Some(NEXT_LIMIT as usize) && longest <= Some(NEXT_LIMIT as usize + 2), "{turns:?}");
    }
    clear(&layers);
}

/// A layer whose thread is picked again and again and may not run (its group has no time) has its turn when it may.
#[test]
fn who_was_picked_in_vain_was_passed_over() {
    let layers = Layers::new();
    for _ in 0..=PATIENCE {
        put(&layers, 1, Rank::BATCH, false);
        let Pick::Stored(item) = pick(&layers, false, None) else { panic!("one waits") };
        layers.was_not_served();
        take(item);
    }
    put(&layers, 1, Rank::BATCH, false);
    put(&layers, 2, Rank::LATENCY, false);
    let Pick::Stored(item) = pick(&layers, false, None) else { panic!("two wait") };
    assert_eq!(take(item).0, 1);
    let Pick::Stored(item) = pick(&layers, false, None) else { panic!("one waits") };
    assert_eq!(take(item).0, 2);
}

/// A layer whose thread is preempted again and again is not passed over: it runs in between.
#[test]
fn who_runs_in_between_is_not_passed_over() {
    let layers = Layers::new();
    for turn in 0..PATIENCE * 3 {
        put(&layers, turn, Rank::real_time(1), false);
        let Pick::Stored(item) = pick(&layers, false, Some(Rank::NORMAL)) else { panic!("turn {turn}") };
        assert_eq!(take(item).0, turn);
    }
}

#[test]
fn thieves_take_the_highest_that_is_not_bound() {
    let layers = Layers::new();
    put(&layers, 1, Rank::real_time(9), true);
    put(&layers, 2, Rank::real_time(9), false);
    put(&layers, 3, Rank::real_time(9), true);
    put(&layers, 4, Rank::BATCH, false);
    assert_eq!(layers.stealable_hint(), 2);
    assert_eq!(layers.steal(is_bound).map(|item| take(item).0), Some(2));
    assert_eq!(layers.steal(is_bound).map(|item| take(item).0), Some(4));
    assert!(layers.steal(is_bound).is_none());
    assert_eq!(layers.len(), 2);
    for expected in [1, 3] {
        let Pick::Stored(item) = pick(&layers, false, None) else { panic!("bound ones stay") };
        assert_eq!(take(item).0, expected);
    }
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 300 };

proptest! {
    /// Whatever is put in comes out once, and each rank in its order.
    #[test]
    fn nothing_is_lost(steps in proptest::collection::vec((0u16..260, any::<bool>(), 0u8..4), 1..STEPS)) {
        let layers = Layers::new();
        let mut model: Vec<(u32, Rank, bool)> = Vec::new();
        for (name, (bits, bound, action)) in steps.into_iter().enumerate() {
            let rank = Rank::from_bits(if bits == 1 { 0 } else { bits });
            match action {
                0 | 1 => {
                    put(&layers, name as u32, rank, bound);
                    model.push((name as u32, rank, bound));
                }
                2 => {
                    if let Pick::Stored(item) = pick(&layers, false, None) {
                        let (name, rank) = take(item);
                        let first = model.iter().position(|entry| entry.1 == rank).expect("it is in the model");
                        prop_assert_eq!(model.remove(first).0, name);
                    } else {
                        prop_assert!(model.is_empty());
                    }
                }
                _ => {
                    let best = model.iter().filter(|entry| !entry.2).map(|entry| entry.1).max();
                    let expected = model.iter().position(|entry| !entry.2 && Some(entry.1) == best);
                    let stolen = layers.steal(is_bound).map(|item| take(item).0);
                    prop_assert_eq!(stolen, expected.map(|at| model.remove(at).0));
                }
            }
            prop_assert_eq!(layers.len(), model.len());
            prop_assert_eq!(layers.stealable_hint(), model.iter().filter(|entry| !entry.2).count());
        }
        while let Pick::Stored(item) = pick(&layers, false, None) {
            take(item);
        }
    }
}

#[test]
fn members_and_the_run_queue_are_served_in_proportion() {
    for (members, others) in [(1, 1), (1, 9), (9, 1), (3, 2), (5, 0), (1, 200)] {
        let layers = Layers::new();
        (0..members).for_each(|name| put(&layers, name, Rank::NORMAL, false));
        let rounds = 50 * (members as usize + others);
        let mut served = 0_usize;
        for _ in 0..rounds {
            match layers.pick(queued(others), Some(Rank::NORMAL), is_bound).0 {
                Pick::Stored(item) => {
                    served += 1;
                    let (name, rank) = take(item);
                    put(&layers, name, rank, false);
                }
                pick => assert_eq!(pick, Pick::Normal),
            }
        }
        let due = 50 * members as usize;
        assert!(served.abs_diff(due) <= 2, "{members} beside {others}: {served} turns of {rounds}");
        assert_eq!(layers.stealable_hint(), members as usize);
        while let Some(item) = layers.steal(is_bound) {
            take(item);
        }
        assert_eq!(pick(&layers, false, Some(Rank::NORMAL)), Pick::Running);
    }
}
