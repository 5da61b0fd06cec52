//! The timer wheel against an ordered map.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::ptr::NonNull;

use isochron_core::timer_wheel::{RESCAN, Timer, Wheel};
use proptest::prelude::*;

/// Timers that live as long as the test, by number.
struct Pool(Vec<NonNull<Timer<usize>>>);

impl Pool {
    fn new(count: usize) -> Self {
        Self((0..count).map(|index| NonNull::from(Box::leak(Box::new(Timer::new(index))))).collect())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for timer in &self.0 {
            // SAFETY: from `Box::leak`, and the test is over.
            drop(unsafe { Box::from_raw(timer.as_ptr()) });
        }
    }
}

fn expire(queue: &mut Wheel<usize>, now: u64) -> Vec<usize> {
    let mut expired = Vec::new();
    // SAFETY: timers of the pool.
    queue.expire(now, |timer| expired.push(unsafe { timer.as_ref() }.action()));
    expired
}

#[test]
fn a_lone_timer_is_exact_at_any_distance() {
    let pool = Pool::new(1);
    for shift in 0..64 {
        let (mut queue, deadline) = (Wheel::new(), 1_u64 << shift);
        assert_eq!(queue.next_deadline(), None);
        // SAFETY: not set; the pool outlives the queue.
        unsafe { queue.insert(pool.0[0], deadline) };
        assert_eq!(queue.next_deadline(), Some(deadline));
        assert_eq!(expire(&mut queue, deadline - 1), []);
        assert_eq!(queue.next_deadline(), Some(deadline));
        assert_eq!(expire(&mut queue, deadline), [0]);
        assert!(queue.is_empty());
    }
}

#[test]
fn the_last_moment_of_all_works() {
    let (pool, mut queue) = (Pool::new(3), Wheel::new());
    for (timer, deadline) in pool.0.iter().zip([u64::MAX, 0, u64::MAX]) {
        // SAFETY: not set; the pool outlives the queue.
        unsafe { queue.insert(*timer, deadline) };
    }
    assert_eq!(expire(&mut queue, u64::MAX - 1), [1]);
    assert_eq!(expire(&mut queue, u64::MAX), [0, 2]);
}

#[test]
fn a_stale_bound_costs_one_early_look_and_is_never_late() {
    let (pool, mut queue) = (Pool::new(40), Wheel::new());
    for (index, timer) in pool.0.iter().enumerate() {
        // SAFETY: not set; the pool outlives the queue.
        unsafe { queue.insert(*timer, 1_000_000 + index as u64) };
    }
    for index in 0..39 {
        // SAFETY: alive and of this queue.
        assert!(unsafe { queue.cancel(pool.0[index]) });
        // SAFETY: as above.
        assert!(!unsafe { queue.cancel(pool.0[index]) });
    }
    let early = queue.next_deadline().unwrap();
    assert!(early < 1_000_039, "the slot was too long to look through");
    assert_eq!(expire(&mut queue, early), []);
    assert_eq!(queue.next_deadline(), Some(1_000_039), "exact after the one early look");
    assert_eq!(expire(&mut queue, 1_000_039), [39]);
}

#[test]
fn cancelling_in_a_short_slot_keeps_the_deadline_exact() {
    let (pool, mut queue) = (Pool::new(RESCAN + 1), Wheel::new());
    for (index, timer) in pool.0.iter().enumerate() {
        // SAFETY: not set; the pool outlives the queue.
        unsafe { queue.insert(*timer, 1_000_000 + index as u64) };
    }
    for index in 0..RESCAN {
        // SAFETY: alive and of this queue.
        assert!(unsafe { queue.cancel(pool.0[index]) });
        assert_eq!(queue.next_deadline(), Some(1_000_001 + index as u64));
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(usize, u64),
    Cancel(usize),
    Advance(u64),
    ToNext,
}

/// Distances of all sizes, with many that are equal.
fn distance() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..200_u64, (0..40_u32).prop_map(|shift| 1 << shift), (0..1_u64 << 30)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..64_usize, distance()).prop_map(|(timer, distance)| Op::Insert(timer, distance)),
        2 => (0..64_usize).prop_map(Op::Cancel),
        1 => distance().prop_map(Op::Advance),
        2 => Just(Op::ToNext),
    ]
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 500 };

proptest! {
    #[test]
    fn expires_as_an_ordered_map_would(ops in prop::collection::vec(op(), 0..STEPS), start in any::<u64>()) {
        let (pool, mut queue) = (Pool::new(64), Wheel::new());
        let mut now = start >> 4;
        let mut model = BTreeMap::new();
        let mut keys = [None; 64];
        let mut sequence = 0_u64;
        let mut cancelled = false;
        prop_assert_eq!(expire(&mut queue, now), []);
        for op in ops {
            match op {
                Op::Insert(timer, distance) if keys[timer].is_none() => {
                    // One in a while in the past.
                    let deadline = if distance == 3 { now.saturating_sub(5) } else { now + distance };
                    // SAFETY: not set; the pool outlives the queue.
                    unsafe { queue.insert(pool.0[timer], deadline) };
                    let key = (deadline.max(now), sequence);
                    sequence += 1;
                    model.insert(key, timer);
                    keys[timer] = Some(key);
                }
                Op::Insert(..) => {}
                Op::Cancel(timer) => {
                    // SAFETY: alive, and of this queue.
                    prop_assert_eq!(unsafe { queue.cancel(pool.0[timer]) }, keys[timer].is_some());
                    if let Some(key) = keys[timer].take() {
                        model.remove(&key);
                        cancelled = true;
                    }
                }
                Op::Advance(_) | Op::ToNext => {
                    let target = match op {
                        Op::Advance(distance) => now + distance,
                        _ => queue.next_deadline().unwrap_or(now),
                    };
                    prop_assert!(target >= now);
                    now = target;
                    let mut expected = Vec::new();
                    while let Some(entry) = model.first_entry().filter(|entry| entry.key().0 <= now) {
                        keys[*entry.get()] = None;
                        expected.push(entry.remove());
                    }
                    prop_assert_eq!(expire(&mut queue, now), expected);
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            let (next, exact) = (queue.next_deadline(), model.keys().next().map(|key| key.0));
            if cancelled {
                prop_assert!(next <= exact && next.is_some() == exact.is_some(), "never late");
            } else {
                prop_assert_eq!(next, exact);
            }
        }
    }
}
