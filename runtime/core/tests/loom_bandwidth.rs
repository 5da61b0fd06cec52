//! Model checks of the time of groups: nobody waits beside a pool that has something, and nothing is spent twice.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::bandwidth::{Aside, Bandwidth, Limit, Rest, Take};
use isochron_core::link::{Link, Linked};
use loom::sync::Arc;
use loom::thread;

struct Item {
    link: Link<Self>,
}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Item {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (caller).
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

fn group(quota: u64) -> Arc<Bandwidth<Item>> {
    Arc::new(Bandwidth::new(Some(Limit::new(quota, 100).unwrap())))
}

fn free(item: NonNull<Item>) {
    // SAFETY: leaked by `run_or_wait`, and handed out once.
    drop(unsafe { Box::from_raw(item.as_ptr()) });
}

/// A CPU with a thread of the group: what it got, or none if the thread waits.
fn run_or_wait(group: &Bandwidth<Item>, most: u64, now: u64) -> Option<u64> {
    let item = NonNull::from(Box::leak(Box::new(Item { link: Link::new() })));
    loop {
        if let Take::Granted(got) = group.take(most, now) {
            free(item);
            return Some(got);
        }
        // SAFETY: fresh, and freed only when it is handed out.
        if unsafe { group.set_aside(item, now, || ()) } != Aside::NotOut {
            return None;
        }
    }
}

#[test]
fn what_is_given_back_reaches_who_waits() {
    loom::model(|| {
        let group = group(4);
        assert_eq!(group.take(4, 0), Take::Granted(4));
        let other = {
            let group = Arc::clone(&group);
            thread::spawn(move || run_or_wait(&group, 4, 1))
        };
        let released = group.give_back(3, 1);
        match (other.join().unwrap(), released) {
            (Some(got), None) => assert_eq!(got, 3),
            (None, Some(item)) => free(item),
            _ => panic!("it waits beside a pool that has something"),
        }
        assert_eq!(group.due(), None);
    });
}

#[test]
fn a_refill_leaves_nobody_behind() {
    loom::model(|| {
        let group = group(4);
        assert_eq!(group.take(4, 0), Take::Granted(4));
        let other = {
            let group = Arc::clone(&group);
            // It still believes to be in the first period.
            thread::spawn(move || run_or_wait(&group, 4, 99))
        };
        let (mut released, again) = group.refill(100, usize::MAX);
        assert_eq!(again, None, "the pool was filled");
        let handed_out = released.pop();
        assert!(released.pop().is_none());
        match (other.join().unwrap(), handed_out) {
            (Some(got), None) => assert_eq!(got, 4),
            (None, Some(item)) => free(item),
            _ => panic!("it waits beside a pool that has something"),
        }
    });
}

/// Two are aside when a period begins. One CPU takes all the time there is and may bring nobody then; another may bring one
/// before that. Nobody is lost.
#[test]
fn who_begins_brings_one_more() {
    loom::model(|| {
        let group = group(4);
        assert_eq!(group.take(4, 0), Take::Granted(4));
        assert!(run_or_wait(&group, 4, 1).is_none() && run_or_wait(&group, 4, 1).is_none());
        assert!(group.refill(100, 0).0.is_empty(), "a period that brings nobody by itself");
        let other = {
            let group = Arc::clone(&group);
            thread::spawn(move || {
                assert_eq!(group.take(4, 100), Take::Granted(4));
                assert!(group.fetch_one(100).is_none(), "brought beside an empty pool");
            })
        };
        let brought = group.fetch_one(100);
        let count = usize::from(brought.is_some());
        brought.into_iter().for_each(free);
        other.join().unwrap();
        let mut left = group.set_limit(None, 100);
        assert_eq!(std::iter::from_fn(|| left.pop()).map(free).count() + count, 2);
    });
}

#[test]
fn cpus_share_a_quota() {
    loom::model(|| {
        let group = group(5);
        let others = [3, 4].map(|most| {
            let group = Arc::clone(&group);
            thread::spawn(move || match group.take(most, 0) {
                Take::Granted(got) => got,
                _ => 0,
            })
        });
        let taken: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(taken, 5);
    });
}

#[test]
fn what_is_left_of_a_slice_is_taken_by_one() {
    loom::model(|| {
        let rest = Arc::new(Rest::new());
        rest.leave(5);
        let thief = {
            let rest = Arc::clone(&rest);
            thread::spawn(move || rest.take())
        };
        rest.leave(2);
        let own = rest.take();
        assert_eq!(own + thief.join().unwrap() + rest.take(), 7);
    });
}
