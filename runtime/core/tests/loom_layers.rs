//! Model checks of the layers: a thread with a rank against a CPU that goes to sleep, and against thieves.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::idle_set::IdleSet;
use isochron_core::layers::{Layers, Pick, Queued, Rank};
use isochron_core::link::{Link, Linked};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

struct Item {
    link: Link<Self>,
    payload: UnsafeCell<u32>,
}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Item {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (caller).
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

struct World {
    layers: Layers<Item>,
    idle: IdleSet<2>,
}

// SAFETY: items go from thread to thread by the protocol under test; the model checker watches their payload.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

fn put(world: &World, payload: u32, rank: Rank) {
    let item = Box::leak(Box::new(Item { link: Link::new(), payload: UnsafeCell::new(0) }));
    // SAFETY: not shared yet.
    item.payload.with_mut(|at| unsafe { *at = payload });
    // SAFETY: fresh, and freed only once taken out.
    unsafe { world.layers.push(NonNull::from(item), rank, false) };
}

fn take(item: NonNull<Item>) -> u32 {
    // SAFETY: made by `put`, and taken out by this thread.
    let item = unsafe { Box::from_raw(item.as_ptr()) };
    // SAFETY: as above; the model checker sees a race if the protocol is wrong.
    item.payload.with(|at| unsafe { *at })
}

fn pick(world: &World) -> Option<u32> {
    match world.layers.pick(Queued::default(), None, |_| false).0 {
        Pick::Stored(item) => Some(take(item)),
        _ => None,
    }
}

#[test]
fn a_ranked_thread_is_never_missed_by_a_cpu_going_to_sleep() {
    loom::model(|| {
        let world = Arc::new(World { layers: Layers::new(), idle: IdleSet::new() });
        let sleeper = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.idle.prepare_sleep(1);
                world.layers.stealable_hint() > 0
            })
        };
        put(&world, 7, Rank::LATENCY);
        let claimed = world.idle.pick_idle(!0, &[!0]);
        let found = sleeper.join().unwrap();
        assert!(found || claimed.is_some(), "it waits, and nobody is awake to take it");
        assert_eq!(world.layers.steal(|_| false).map(take), Some(7));
    });
}

#[test]
fn owner_and_thief_take_each_once() {
    loom::model(|| {
        let world = Arc::new(World { layers: Layers::new(), idle: IdleSet::new() });
        put(&world, 1, Rank::real_time(1));
        let thief = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.layers.steal(|_| false).map(take))
        };
        put(&world, 2, Rank::real_time(2));
        let mut got: Vec<u32> = [pick(&world), pick(&world)].into_iter().flatten().collect();
        got.extend(thief.join().unwrap());
        got.extend(pick(&world));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert_eq!(world.layers.stealable_hint(), 0);
    });
}
