//! Timers that call functions, and intervals: neither early nor twice, and not after they were taken back.

use crate::child::work;
use crate::random::Random;
use isochron::core_algorithms::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use isochron::prelude::*;
use isochron::time::{Interval, Missed, Then, Timer};

/// A timer calls some times and wakes this thread each time.
pub fn call_again_and_again(random: &mut Random) {
    let times = random.within(1..5);
    let period = random.within(0..15_000);
    let count = Arc::new(AtomicU64::new(0));
    let (theirs, me) = (count.clone(), thread::current());
    let first = Instant::now() + Duration::from_nanos(random.within(0..20_000));
    let mut next = first;
    let mut timer = Timer::new(move |now| {
        assert!(now >= next, "a timer is early");
        // Release: partner is the load below.
        let before = theirs.fetch_add(1, Release);
        me.unpark();
        next = now + Duration::from_nanos(period);
        if before + 1 < times { Then::At(next) } else { Then::Stop }
    });
    timer.set(first);
    // Acquire: partner is the addition in the call.
    while count.load(Acquire) < times {
        thread::park();
    }
    assert!(!timer.cancel(), "a timer is set that has stopped");
    assert_eq!(count.load(Relaxed), times, "calls");
}

/// A timer is taken back at about the moment at which it calls.
pub fn take_back(random: &mut Random) {
    let count = Arc::new(AtomicU64::new(0));
    let theirs = count.clone();
    let mut timer = Timer::new(move |_| {
        theirs.fetch_add(1, Relaxed);
        Then::Stop
    });
    let mut expected = 0;
    for _ in 0..random.within(1..4) {
        timer.set(Instant::now() + Duration::from_nanos(random.within(0..3_000)));
        match random.below(3) {
            0 => yield_now(),
            1 => sleep(Duration::from_nanos(random.within(0..3_000))),
            _ => work(random.within(0..40)),
        }
        expected += u64::from(!timer.cancel());
        assert_eq!(count.load(Relaxed), expected, "a timer that was taken back, or not");
        work(random.within(0..20));
        assert_eq!(count.load(Relaxed), expected, "a timer calls after it was taken back");
    }
}

/// Some moments of an interval.
pub fn tick(random: &mut Random) {
    let period = Duration::from_nanos(random.within(200..10_000));
    let policy = [Missed::Skip, Missed::Burst, Missed::Delay][random.below(3)];
    let start = Instant::now();
    let mut interval = Interval::from(start, period).expect("a period").missed(policy);
    let mut before = start;
    for number in 1..random.within(2..6) {
        let tick = interval.tick();
        assert!(Instant::now() >= tick.deadline, "a tick is early");
        assert!(tick.deadline >= before + period, "ticks are too near to each other");
        if policy == Missed::Burst {
            assert_eq!(tick.deadline, start + Duration::from_nanos(period.as_nanos() * number), "a tick is left out");
        }
        before = tick.deadline;
        if random.once_in(2) {
            work(random.within(0..60));
        }
    }
}
