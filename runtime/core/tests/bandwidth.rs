//! The time of groups against a plain model, and its bounds.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::ptr::NonNull;

use isochron_core::bandwidth::{Aside, BadLimit, Bandwidth, Limit, Rest, Take};
use isochron_core::fifo::Fifo;
use isochron_core::link::{Link, Linked};
use proptest::prelude::*;

struct Item {
    link: Link<Self>,
    name: u32,
}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Item {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive.
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

fn item(name: u32) -> NonNull<Item> {
    NonNull::from(Box::leak(Box::new(Item { link: Link::new(), name })))
}

/// The item's name; it is gone after this.
fn take(item: NonNull<Item>) -> u32 {
    // SAFETY: made by `item`, taken out of its list, once.
    unsafe { Box::from_raw(item.as_ptr()) }.name
}

fn names(mut list: Fifo<Item>) -> Vec<u32> {
    std::iter::from_fn(|| list.pop()).map(take).collect()
}

fn group(quota: u64, period: u64) -> Bandwidth<Item> {
    Bandwidth::new(Some(Limit::new(quota, period).unwrap()))
}

fn aside(group: &Bandwidth<Item>, name: u32, now: u64) -> Aside {
    let item = item(name);
    // SAFETY: fresh, and freed only once taken out.
    let aside = unsafe { group.set_aside(item, now, || ()) };
    if aside == Aside::NotOut {
        take(item);
    }
    aside
}

#[test]
fn limits_make_sense() {
    assert_eq!(Limit::new(1, 0), Err(BadLimit::ZeroPeriod));
    assert_eq!(Limit::new(0, 0), Err(BadLimit::ZeroPeriod));
    assert_eq!(Limit::new(0, 1), Err(BadLimit::ZeroQuota));
    assert_eq!(Limit::new(101, 100), Err(BadLimit::QuotaAbovePeriod));
    let limit = |quota, period| Limit::new(quota, period).unwrap();
    assert!(limit(10, 100).is_within(limit(1, 10)) && limit(1, 10).is_within(limit(10, 100)));
    assert!(limit(9, 100).is_within(limit(1, 10)) && !limit(11, 100).is_within(limit(1, 10)));
    assert!(limit(u64::MAX - 1, u64::MAX).is_within(limit(u64::MAX, u64::MAX)));
    assert!(!limit(u64::MAX, u64::MAX).is_within(limit(u64::MAX - 1, u64::MAX)));
}

#[test]
fn without_a_limit_nobody_waits() {
    let group: Bandwidth<Item> = Bandwidth::new(None);
    assert_eq!(group.take(5, 0), Take::Unlimited);
    group.owe(1 << 40);
    assert_eq!(aside(&group, 1, 3), Aside::NotOut);
    assert_eq!(group.counters(9).periods, 0);
}

#[test]
fn a_quota_is_taken_in_slices_and_comes_again() {
    let group = group(10, 100);
    assert_eq!(group.take(6, 1000), Take::Granted(6));
    assert_eq!(group.take(6, 1010), Take::Granted(4));
    assert_eq!(group.take(6, 1020), Take::Out);
    assert_eq!(group.take(6, 1099), Take::Out);
    assert_eq!(group.take(6, 1100), Take::Granted(6));
    // Nothing is saved up, however long the rest.
    assert_eq!(group.take(100, 9_999), Take::Granted(10));
    assert_eq!(group.take(100, 10_098), Take::Out, "after a rest a period begins with the first work");
    assert_eq!(group.counters(10_098).periods, 3);
    assert_eq!(group.counters(10_098).throttled, 0, "nobody had to wait");
}

#[test]
fn who_finds_nothing_waits_for_the_refill() {
    let group = group(10, 100);
    assert_eq!(group.take(10, 0), Take::Granted(10));
    assert_eq!(aside(&group, 1, 20), Aside::First(100));
    assert_eq!(aside(&group, 2, 30), Aside::Behind);
    assert_eq!(group.due(), Some(100));
    assert_eq!(group.counters(50).throttled_time, 30);
    let (released, again) = group.refill(99, usize::MAX);
    assert!(released.is_empty());
    assert_eq!(again, Some(100));
    // It is time, but those who wait go first: nobody takes before they are handed out.
    assert_eq!(group.take(10, 105), Take::Out);
    let (released, again) = group.refill(110, usize::MAX);
    assert_eq!((names(released), again), (vec![1, 2], None));
    let counters = group.counters(500);
    assert_eq!((counters.periods, counters.throttled, counters.throttled_time), (2, 1, 90));
    assert_eq!(group.take(10, 110), Take::Granted(10));
    assert_eq!(group.take(10, 199), Take::Out, "periods keep their beat");
    assert_eq!(group.take(10, 200), Take::Granted(10));
}

#[test]
fn what_is_given_back_goes_to_one_who_waits() {
    let group = group(10, 100);
    assert_eq!(group.take(10, 0), Take::Granted(10));
    assert_eq!(aside(&group, 1, 0), Aside::First(100));
    assert_eq!(aside(&group, 2, 0), Aside::Behind);
    assert_eq!(group.give_back(4, 7).map(take), Some(1));
    assert_eq!(group.take(10, 8), Take::Granted(4));
    assert_eq!(group.give_back(0, 9).map(take), None, "there is nothing for it");
    assert_eq!(group.give_back(1, 9).map(take), Some(2));
    assert_eq!(group.due(), None);
    assert_eq!((group.counters(80).throttled, group.counters(80).throttled_time), (1, 9));
}

#[test]
fn debt_is_paid_by_the_next_refills() {
    let group = group(10, 100);
    assert_eq!(group.take(10, 0), Take::Granted(10));
    group.owe(25);
    assert_eq!(group.counters(9).debt, 25);
    assert_eq!(aside(&group, 1, 50), Aside::First(100));
    for period in [100, 200] {
        let (released, again) = group.refill(period, usize::MAX);
        assert_eq!((names(released), again), (vec![], Some(period + 100)));
    }
    assert_eq!(names(group.refill(300, usize::MAX).0), [1]);
    assert_eq!(group.take(10, 301), Take::Granted(5));
    assert_eq!((group.counters(301).throttled, group.counters(301).debt), (3, 0));
}

#[test]
fn another_limit_frees_those_who_wait() {
    let group = group(10, 100);
    assert_eq!(group.take(10, 0), Take::Granted(10));
    assert_eq!(aside(&group, 1, 1), Aside::First(100));
    assert_eq!(names(group.set_limit(Some(Limit::new(50, 100).unwrap()), 10)), [1]);
    assert_eq!(group.take(70, 11), Take::Granted(50));
    assert_eq!(aside(&group, 2, 12), Aside::First(110));
    assert_eq!(names(group.set_limit(None, 20)), [2]);
    assert_eq!(group.take(70, 21), Take::Unlimited);
    assert_eq!(group.due(), None);
}

#[test]
fn what_is_left_of_a_slice_is_taken_once() {
    let rest = Rest::new();
    assert!(rest.is_empty() && rest.take() == 0);
    rest.leave(5);
    rest.leave(2);
    assert!(!rest.is_empty());
    assert_eq!((rest.take(), rest.take()), (7, 0));
}

/// As the rules say, and no more.
#[derive(Default)]
struct Model {
    quota: i64,
    period: u64,
    left: i64,
    end: u64,
    aside: VecDeque<u32>,
}

impl Model {
    fn begin(&mut self, now: u64) {
        let end = self.end;
        let mut begun = 0;
        while now >= end + begun * self.period {
            begun += 1;
            self.left = (self.left.min(0) + self.quota).min(self.quota);
        }
        match begun {
            0 => {}
            1 => self.end = end + self.period,
            _ => self.end = now + self.period,
        }
    }

    fn look(&mut self, now: u64) {
        if self.aside.is_empty() {
            self.begin(now);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Take(u64),
    GiveBack(u64),
    Owe(u64),
    Aside,
    FetchOne,
    Refill(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..150_u64).prop_map(Step::Wait),
        (1..30_u64).prop_map(Step::Take),
        (0..30_u64).prop_map(Step::GiveBack),
        (0..60_u64).prop_map(Step::Owe),
        Just(Step::Aside),
        Just(Step::FetchOne),
        prop_oneof![Just(usize::MAX), 0..4_usize].prop_map(Step::Refill),
    ]
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 300 };

proptest! {
    #[test]
    fn like_the_model(quota in 1..100_u64, steps in prop::collection::vec(step(), 1..STEPS)) {
        let group = group(quota, 100);
        let mut model = Model { quota: quota.cast_signed(), period: 100, ..Model::default() };
        let (mut now, mut held, mut name) = (1000, 0, 0);
        for step in steps {
            match step {
                Step::Wait(time) => now += time,
                Step::Take(most) => {
                    model.look(now);
                    let granted = model.left.clamp(0, most.cast_signed());
                    model.left -= granted;
                    held += granted.cast_unsigned();
                    let expected = if granted > 0 { Take::Granted(granted.cast_unsigned()) } else { Take::Out };
                    prop_assert_eq!(group.take(most, now), expected);
                }
                Step::GiveBack(most) => {
                    let amount = most.min(held);
                    held -= amount;
                    model.left += amount.cast_signed();
                    let released = if model.left > 0 { model.aside.pop_front() } else { None };
                    prop_assert_eq!(group.give_back(amount, now).map(take), released);
                }
                Step::Owe(amount) => {
                    model.left -= amount.cast_signed();
                    group.owe(amount);
                }
                Step::Aside => {
                    model.look(now);
                    name += 1;
                    let expected = if model.left > 0 {
                        Aside::NotOut
                    } else if model.aside.is_empty() {
                        Aside::First(model.end)
                    } else {
                        Aside::Behind
                    };
                    if model.left <= 0 {
                        model.aside.push_back(name);
                    }
                    prop_assert_eq!(aside(&group, name, now), expected);
                }
                Step::FetchOne => {
                    let expected = if model.left > 0 { model.aside.pop_front() } else { None };
                    prop_assert_eq!(group.fetch_one(now).map(take), expected);
                }
                Step::Refill(most) => {
                    model.begin(now);
                    let count = if model.left > 0 { most.min(model.aside.len()) } else { 0 };
                    let expected: Vec<u32> = model.aside.drain(..count).collect();
                    let (released, again) = group.refill(now, most);
                    prop_assert_eq!(names(released), expected);
                    prop_assert_eq!(again, (!model.aside.is_empty()).then_some(model.end));
                }
            }
        }
        names(group.set_limit(None, now));
    }

    /// In `n` periods no more than `n + 1` quotas, whoever takes what and when.
    #[test]
    fn no_more_than_the_quota(
        quota in 1..100_u64,
        takes in prop::collection::vec((0..80_u64, 1..60_u64, 0..60_u64), 1..STEPS),
    ) {
        let group = group(quota, 100);
        let (mut now, mut used) = (0, 0);
        for (time, most, unused) in takes {
            now += time;
            if let Take::Granted(granted) = group.take(most, now) {
                let back = unused.min(granted);
                used += granted - back;
                prop_assert!(group.give_back(back, now).is_none());
            }
            prop_assert!(used <= quota * (now / 100 + 2), "{} of {} in {}", used, quota, now);
        }
    }
}
