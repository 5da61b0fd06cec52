//! Intervals, and timers that call a function.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

use isochron::thread::{Hint, cpu_count, park};
use isochron::time::{Interval, Missed, Then, Timer, ZeroPeriod};
use isochron_guest_tests::prelude::*;

const PERIOD: Duration = Duration::from_millis(1);

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_zero_period_is_refused,
        an_interval_does_not_drift,
        missed_moments_are_skipped_and_counted,
        missed_moments_come_in_a_burst,
        missed_moments_put_the_next_one_off,
        a_timer_calls_once_and_never_early,
        a_deadline_in_the_past_is_due_at_once,
        a_timer_can_set_itself_again,
        timers_call_in_order_of_their_deadlines,
        a_cancelled_timer_does_not_call,
        either_cancelled_or_called,
        a_dropped_timer_leaves_its_function_alone,
        many_timers_are_cancelled_on_another_cpu,
        who_waits_for_an_interrupt_leaves_the_cpu_to_others,
    ])
}

fn a_zero_period_is_refused() -> Outcome {
    check_eq!(Interval::new(Duration::ZERO).err(), Some(ZeroPeriod));
    Ok(())
}

/// The n-th moment is n periods after the first, to a tick, for a period that is no whole number of ticks.
fn an_interval_does_not_drift() -> Outcome {
    let period = Duration::from_nanos(100_003);
    let start = Instant::now();
    let mut interval = Interval::from(start, period).map_err(|error| Failure::Failed(format!("{error}")))?;
    let mut number = 0;
    for _ in 0..200 {
        let tick = interval.tick();
        check!(Instant::now() >= tick.deadline, "early");
        number += 1;
        let there = start + Duration::from_nanos(number * period.as_nanos());
        check_eq!(tick.deadline, there, "moment {number}");
        number += tick.missed;
    }
    Ok(())
}

/// An interval whose user was busy for three periods and a half.
fn late(policy: Missed) -> Interval {
    let Ok(interval) = Interval::new(PERIOD) else { unreachable!("a millisecond is a period") };
    let busy_until = interval.deadline() + Duration::from_micros(2500);
    while Instant::now() < busy_until {
        core::hint::spin_loop();
    }
    interval.missed(policy)
}

fn missed_moments_are_skipped_and_counted() -> Outcome {
    let mut interval = late(Missed::Skip);
    let first = interval.deadline();
    let tick = interval.tick();
    check_eq!(tick.deadline, first);
    check!(tick.missed >= 2, "only {} are missed", tick.missed);
    check!(interval.deadline() > first + Duration::from_nanos(tick.missed * PERIOD.as_nanos()));
    Ok(())
}

fn missed_moments_come_in_a_burst() -> Outcome {
    let mut interval = late(Missed::Burst);
    let ticks: [_; 3] = core::array::from_fn(|_| interval.tick());
    check!(ticks[0].missed >= 2, "only {} are missed", ticks[0].missed);
    for pair in ticks.windows(2) {
        let apart = pair[1].deadline.duration_since(pair[0].deadline);
        check!(apart > Duration::ZERO && apart <= PERIOD + Duration::from_micros(1), "{apart} apart");
    }
    Ok(())
}

fn missed_moments_put_the_next_one_off() -> Outcome {
    let mut interval = late(Missed::Delay);
    let before = Instant::now();
    let tick = interval.tick();
    check!(tick.missed >= 2, "only {} are missed", tick.missed);
    check!(interval.deadline() >= before + PERIOD, "less than a period away");
    Ok(())
}

/// A timer that counts its calls, and the count.
fn counting(then: impl Fn(u64, Instant) -> Then + Send + 'static) -> (Timer, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    (Timer::new(move |now| then(count.fetch_add(1, Ordering::Relaxed) + 1, now)), calls)
}

fn a_timer_calls_once_and_never_early() -> Outcome {
    for micros in [1, 50, 700, 3000] {
        let called = Arc::new(AtomicU64::new(0));
        let at = called.clone();
        let mut timer = Timer::new(move |now| {
            at.store(now.ticks(), Ordering::Relaxed);
            Then::Stop
        });
        let deadline = Instant::now() + Duration::from_micros(micros);
        timer.set(deadline);
        spin("the timer has called", || called.load(Ordering::Relaxed) != 0)?;
        check!(called.swap(0, Ordering::Relaxed) >= deadline.ticks(), "called early");
        thread::sleep(Duration::from_micros(100));
        check_eq!(called.load(Ordering::Relaxed), 0, "called twice");
        check!(!timer.cancel(), "it is not set any more");
    }
    Ok(())
}

fn a_deadline_in_the_past_is_due_at_once() -> Outcome {
    let (mut timer, calls) = counting(|_, _| Then::Stop);
    for (number, ticks) in [0, 1, Instant::now().ticks()].into_iter().enumerate() {
        timer.set(Instant::from_ticks(ticks));
        spin("the timer has called", || calls.load(Ordering::Relaxed) == number as u64 + 1)?;
    }
    Ok(())
}

fn a_timer_can_set_itself_again() -> Outcome {
    let step = Duration::from_micros(50);
    let (mut timer, calls) = counting(move |number, now| if number < 20 { Then::At(now + step) } else { Then::Stop });
    let start = Instant::now();
    timer.set(start + step);
    spin("the timer has called 20 times", || calls.load(Ordering::Relaxed) == 20)?;
    check!(start.elapsed() >= Duration::from_millis(1), "20 steps of 50 us were over after {}", start.elapsed());
    // One that never stops by itself is stopped from outside.
    let (mut timer, calls) = counting(move |_, now| Then::At(now + step));
    timer.set(start);
    spin("the timer has called", || calls.load(Ordering::Relaxed) > 3)?;
    timer.cancel();
    let then = calls.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(1));
    check_eq!(calls.load(Ordering::Relaxed), then, "called after it was cancelled");
    Ok(())
}

fn timers_call_in_order_of_their_deadlines() -> Outcome {
    const COUNT: u64 = 100;
    // Set on one CPU, or else there are two wheels.
    let attempt = |ahead: u64| {
        let order = Arc::new(AtomicU64::new(0));
        let wrong = Arc::new(AtomicU64::new(0));
        let base = Instant::now() + Duration::from_millis(ahead);
        let mut timers = Vec::new();
        for index in 0..COUNT {
            // Every deadline twice, mixed up.
            let place = index * 37 % COUNT;
            let (order, wrong) = (order.clone(), wrong.clone());
            let mut timer = Timer::new(move |_| {
                if order.fetch_add(1, Ordering::Relaxed) / 2 != place / 2 {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                Then::Stop
            });
            timer.set(base + Duration::from_micros(place / 2));
            timers.push(timer);
        }
        // Where the host took the CPU away, the first are due before the last are set: once more, then.
        let in_time = Instant::now() < base;
        spin("all timers have called", || order.load(Ordering::Relaxed) == COUNT)?;
        if in_time {
            check_eq!(wrong.load(Ordering::Relaxed), 0, "out of order");
        }
        Ok(in_time)
    };
    let body = move || {
        for ahead in [2, 10, 50, 200, 1000] {
            if attempt(ahead)? {
                return Ok(());
            }
        }
        ignore!("the host is never quick enough")
    };
    let thread = Builder::new().pinned(CpuId::PRIMARY).spawn(body);
    joined(thread.map_err(|error| Failure::Failed(format!("{error}")))?)
}

fn a_cancelled_timer_does_not_call() -> Outcome {
    let (mut timer, calls) = counting(|_, _| Then::Stop);
    for _ in 0..100 {
        timer.set(Instant::now() + Duration::from_secs(3600));
        check!(timer.cancel());
        check!(!timer.cancel(), "cancelled twice");
    }
    check_eq!(calls.load(Ordering::Relaxed), 0);
    Ok(())
}

/// Cancelled just when it is due, on another CPU if there is one: it is the one or the other, and after `cancel` it is over.
fn either_cancelled_or_called() -> Outcome {
    let mut random = Random::new(5);
    let (mut cancelled, mut called) = (0, 0);
    for _ in 0..2000 {
        let (mut timer, calls) = counting(|_, _| Then::Stop);
        let deadline = Instant::now() + Duration::from_micros(20);
        timer.set(deadline);
        let canceller = spawn(move || {
            let moment = deadline + Duration::from_nanos(random.number() % 4000);
            while Instant::now() < moment {
                core::hint::spin_loop();
            }
            let cancelled = timer.cancel();
            let number = calls.load(Ordering::Relaxed);
            drop(timer);
            (cancelled, number, calls, random)
        });
        let (taken, number, calls, back) = canceller.join().unwrap();
        random = back;
        check_eq!(number, u64::from(!taken));
        check_eq!(calls.load(Ordering::Relaxed), number, "called after it was cancelled");
        cancelled += u64::from(taken);
        called += number;
    }
    println!("{cancelled} cancelled, {called} called");
    Ok(())
}

/// What the function owns is freed once, after its last call.
fn a_dropped_timer_leaves_its_function_alone() -> Outcome {
    let owned = Arc::new(());
    for micros in 0..100 {
        let own = owned.clone();
        let mut timer = Timer::new(move |now| {
            // Used after it was freed, this would not be 2 or more.
            if Arc::strong_count(&own) < 2 { Then::Stop } else { Then::At(now + Duration::from_micros(40)) }
        });
        timer.set(Instant::now());
        let moment = Instant::now() + Duration::from_micros(micros);
        while Instant::now() < moment {
            core::hint::spin_loop();
        }
        spawn(move || drop(timer)).join().unwrap();
        check_eq!(Arc::strong_count(&owned), 1);
    }
    Ok(())
}

/// Mission B7: on each CPU a hundred threads wait for what an interrupt will bring, and a hog has the CPU as if they were not
/// there; then the interrupt comes, and they go before the hog.
fn who_waits_for_an_interrupt_leaves_the_cpu_to_others() -> Outcome {
    for cpu in (0..cpu_count()).map(CpuId::new) {
        let (brought, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let (brought, begun) = (brought.clone(), begun.clone());
                let waiter = Builder::new().pinned(cpu).hint(Hint::Network).spawn(move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    while !brought.load(Ordering::Acquire) {
                        park();
                    }
                });
                waiter.unwrap()
            })
            .collect();
        poll("all wait", || begun.load(Ordering::Relaxed) == 100)?;
        let wake: Vec<_> = waiters.iter().map(|waiter| waiter.thread()).collect();
        let hog = Builder::new().pinned(cpu).spawn(move || {
            let found = || statistics(cpu).map(|found| (found.preemptions, found.interrupts)).unwrap_or_default();
            let spin = |time: Duration| {
                let end = Instant::now() + time;
                while Instant::now() < end {}
            };
            // A quantum that was under way may end.
            spin(Duration::from_millis(4));
            let before = found();
            spin(Duration::from_millis(30));
            let silent = found();
            // It is this CPU's interrupt.
            let bring = brought.clone();
            let mut device = Timer::new(move |_| {
                bring.store(true, Ordering::Release);
                wake.iter().for_each(|waiter| waiter.unpark());
                Then::Stop
            });
            device.set(Instant::now() + Duration::from_micros(100));
            while !brought.load(Ordering::Acquire) {}
            spin(Duration::from_millis(2));
            let preempted = found().0 > silent.0;
            drop(device);
            (silent.0 - before.0, silent.1 - before.1, preempted)
        });
        let (preemptions, interrupts, preempted) = joined(hog.unwrap());
        waiters.into_iter().for_each(joined);
        check_eq!(preemptions, 0, "on CPU {cpu}");
        // The others' business may bring one or two; a hundred that hold the CPU in turn would bring one each quantum.
        check!(interrupts <= 3, "{interrupts} interrupts on CPU {cpu}");
        check!(preempted, "those who were woken waited for the hog on CPU {cpu}");
    }
    Ok(())
}

fn many_timers_are_cancelled_on_another_cpu() -> Outcome {
    let mut random = Random::new(11);
    let calls = Arc::new(AtomicU64::new(0));
    let now = Instant::now();
    let mut timers: Vec<_> = (0..2000)
        .map(|_| {
            let calls = calls.clone();
            let mut timer = Timer::new(move |_| {
                calls.fetch_add(1, Ordering::Relaxed);
                Then::Stop
            });
            // Some are due while the rest is cancelled.
            timer.set(now + Duration::from_nanos(random.number() % 20_000_000));
            timer
        })
        .collect();
    let last = CpuId::new(thread::cpu_count() - 1);
    let body = move || {
        let taken = timers.iter_mut().map(|timer| u64::from(timer.cancel())).sum::<u64>();
        check_eq!(calls.load(Ordering::Relaxed) + taken, 2000);
        Ok(())
    };
    let thread = Builder::new().pinned(last).spawn(body);
    joined(thread.map_err(|error| Failure::Failed(format!("{error}")))?)
}
