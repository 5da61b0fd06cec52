//! Sleeping, deadlines, and the clock they are measured by.
//@ run: usual
//@ machines: virt, q35, microvm, hosted
//@ cpus: 1, 4
//@ run: pi
//@ machines: raspi4b
#![no_std]
#![no_main]

use isochron::kernel::clock;
use isochron::sync::Mutex;
use isochron::thread::{park_timeout, sleep, sleep_until};
use isochron::worker;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        the_clock_never_goes_back,
        one_clock_for_all_cpus,
        the_clock_does_not_stand_still,
        durations_add_up,
        durations_are_printed,
        conversions_fit,
        facts_are_plausible,
        sleep_is_never_early,
        sleepers_wake_in_order_of_their_deadlines,
        overdue_sleepers_wake_in_order,
        sleep_in_the_past_returns,
        the_longest_sleep_is_no_short_one,
        park_timeout_waits_for_its_time,
        an_unpark_ends_a_timed_park,
        a_cancelled_deadline_wakes_nobody,
        ten_thousand_short_sleeps,
        five_hundred_sleepers,
    ])
}

fn the_clock_never_goes_back() -> Outcome {
    let mut last = Instant::now();
    for _ in 0..200_000 {
        let now = Instant::now();
        check!(now >= last, "{} after {}", now.ticks(), last.ticks());
        last = now;
    }
    let mut last = Instant::now_unordered();
    for _ in 0..200_000 {
        let now = Instant::now_unordered();
        check!(now >= last, "unordered: {} after {}", now.ticks(), last.ticks());
        last = now;
    }
    Ok(())
}

/// Threads on all CPUs raise one maximum: nobody ever reads less than what another has read before.
fn one_clock_for_all_cpus() -> Outcome {
    let latest = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..thread::cpu_count())
        .map(|cpu| {
            let latest = latest.clone();
            Builder::new().pinned(CpuId::new(cpu)).spawn(move || {
                let mut worst = 0u64;
                for _ in 0..20_000 {
                    // Acquire and release: a reading that was published comes before the next one here.
                    let seen = latest.load(Ordering::Acquire);
                    let now = Instant::now().ticks();
                    worst = worst.max(seen.saturating_sub(now));
                    latest.fetch_max(now, Ordering::Release);
                }
                worst
            })
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::Failed(format!("{error}")))?;
    for (cpu, thread) in threads.into_iter().enumerate() {
        check_eq!(thread.join().unwrap(), 0, "CPU {cpu} is behind another by so many ticks");
    }
    Ok(())
}

fn the_clock_does_not_stand_still() -> Outcome {
    let start = Instant::now();
    spin("the clock has moved on by a million nanoseconds", || start.elapsed() >= Duration::from_millis(1))
}

fn durations_add_up() -> Outcome {
    check_eq!(Duration::from_secs(2).as_millis(), 2000);
    check_eq!(Duration::from_millis(2) + Duration::from_micros(3), Duration::from_nanos(2_003_000));
    check_eq!(Duration::from_micros(1) - Duration::from_micros(2), Duration::ZERO);
    check_eq!(Duration::MAX + Duration::from_nanos(1), Duration::MAX);
    check_eq!(Duration::from_secs(u64::MAX), Duration::MAX);
    check_eq!(Duration::from(core::time::Duration::from_millis(7)), Duration::from_millis(7));
    let now = Instant::now();
    check_eq!(now.duration_since(now + Duration::from_secs(1)), Duration::ZERO);
    check!(now + Duration::MAX > now + Duration::from_secs(1_000_000), "the end of time comes too soon");
    for ns in [1_000, 1_000_000, 1_000_000_000, 3_600_000_000_000] {
        let there = Duration::from_nanos(ns);
        let back = (now + there) - now;
        let tick = 1_000_000_000 / clock::frequency_hz() + 1;
        check!(back <= there && there.as_nanos() - back.as_nanos() <= 2 * tick, "{there} came back as {back}");
    }
    Ok(())
}

fn durations_are_printed() -> Outcome {
    check_eq!(format!("{}", Duration::from_nanos(17)), "17 ns");
    check_eq!(format!("{}", Duration::from_nanos(3_204)), "3.204 us");
    check_eq!(format!("{}", Duration::from_millis(1)), "1.000 ms");
    check_eq!(format!("{:?}", Duration::from_millis(12_500)), "12.500 s");
    Ok(())
}

fn conversions_fit() -> Outcome {
    let hz = clock::frequency_hz();
    for seconds in [1, 60, 3600, 31_557_600, 3_155_760_000] {
        let ns = clock::ticks_to_ns(seconds * hz);
        check!(seconds * 1_000_000_000 - ns <= 1, "{seconds} s are {ns} ns");
    }
    Ok(())
}

fn facts_are_plausible() -> Outcome {
    let facts = clock::facts();
    let hz = clock::frequency_hz();
    check!((1_000_000..=10_000_000_000).contains(&hz), "{hz} Hz");
    check!(!facts.source.is_empty());
    check!(facts.error_ppb < 100_000_000, "the clock may be wrong by {} ppb", facts.error_ppb);
    Ok(())
}

fn sleep_is_never_early() -> Outcome {
    let threads: Vec<_> = (0..8)
        .map(|seed| {
            spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..50 {
                    let deadline = Instant::now() + Duration::from_nanos(random.number() % 1_000_000);
                    sleep_until(deadline);
                    let woken = Instant::now();
                    check!(woken >= deadline, "early by {}", deadline.duration_since(woken));
                }
                Ok(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(joined)
}

/// Starts a thread on the primary CPU.
fn on_primary<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    Builder::new().pinned(CpuId::PRIMARY).spawn(body).map_err(|error| Failure::Failed(format!("{error}")))
}

/// Sleepers on one CPU, made in another order than that of their deadlines. A round in which the host let a whole gap
/// between two deadlines pass is no proof of anything and is run again.
fn sleepers_wake_in_order_of_their_deadlines() -> Outcome {
    const GAP: Duration = Duration::from_millis(10);
    for _ in 0..8 {
        let order = Arc::new(Mutex::new(Vec::new()));
        let base = Instant::now() + GAP;
        let threads: Vec<_> = [4u64, 1, 7, 0, 3, 6, 2, 5]
            .into_iter()
            .map(|place| {
                let order = order.clone();
                on_primary(move || {
                    let deadline = base + Duration::from_nanos(place * GAP.as_nanos());
                    sleep_until(deadline);
                    let late = deadline.elapsed();
                    order.lock().push(place);
                    late
                })
            })
            .collect::<Result<_, _>>()?;
        let latest = threads.into_iter().map(joined).max().unwrap_or_default();
        if latest < GAP {
            check_eq!(*order.lock(), [0, 1, 2, 3, 4, 5, 6, 7]);
            return Ok(());
        }
    }
    ignore!("the host never let the guest run for long enough");
}

/// Sleepers whose deadlines pass while a thread holds preemption off run in the order of their deadlines.
fn overdue_sleepers_wake_in_order() -> Outcome {
    // A host that takes the CPU away for a quantum must not make one that is up come later than the next.
    let quantum = worker::quantum();
    worker::set_quantum(worker::LONGEST_QUANTUM).map_err(|error| Failure::Failed(error.to_string()))?;
    let outcome = overdue_sleepers();
    worker::set_quantum(quantum).map_err(|error| Failure::Failed(error.to_string()))?;
    outcome
}

fn overdue_sleepers() -> Outcome {
    let order = Arc::new(Mutex::new(Vec::new()));
    let asleep = Arc::new(AtomicUsize::new(0));
    let base = Instant::now() + Duration::from_millis(20);
    let threads: Vec<_> = [4u64, 1, 7, 0, 3, 6, 2, 5]
        .into_iter()
        .map(|place| {
            let (order, asleep) = (order.clone(), asleep.clone());
            on_primary(move || {
                asleep.fetch_add(1, Ordering::Relaxed);
                sleep_until(base + Duration::from_micros(place * 100));
                order.lock().push(place);
            })
        })
        .collect::<Result<_, _>>()?;
    let holder = on_primary(move || {
        while asleep.load(Ordering::Relaxed) < 8 {
            yield_now();
        }
        // One that counted itself may have been preempted before it slept. Each yield lets it go on, or else it has used
        // up another quantum (1 ms): after 20 of them it sleeps, or `base` is past.
        for _ in 0..20 {
            yield_now();
        }
        let in_time = Instant::now() < base;
        let _guard = PreemptGuard::new();
        while Instant::now() < base + Duration::from_millis(2) {
            core::hint::spin_loop();
        }
        in_time
    })?;
    let in_time = holder.join().unwrap();
    threads.into_iter().for_each(joined);
    if !in_time {
        ignore!("the host was too slow");
    }
    check_eq!(*order.lock(), [0, 1, 2, 3, 4, 5, 6, 7]);
    Ok(())
}

fn sleep_in_the_past_returns() -> Outcome {
    for _ in 0..1000 {
        sleep_until(Instant::from_ticks(0));
        sleep_until(Instant::now());
        sleep(Duration::ZERO);
        sleep(Duration::from_nanos(1));
    }
    Ok(())
}

/// A deadline at the end of time must not wrap round to the past, nor keep nearer ones from being met.
fn the_longest_sleep_is_no_short_one() -> Outcome {
    let woken = Arc::new(AtomicBool::new(false));
    for length in [Duration::MAX, Duration::from_secs(1 << 32), Duration::from_secs(86_400 * 365)] {
        let woken = woken.clone();
        spawn(move || {
            sleep(length);
            woken.store(true, Ordering::Relaxed);
        })
        .detach();
    }
    for _ in 0..20 {
        sleep(Duration::from_micros(500));
        check!(!woken.load(Ordering::Relaxed), "a sleep of years was over at once");
    }
    Ok(())
}

fn park_timeout_waits_for_its_time() -> Outcome {
    for micros in [0, 1, 100, 3000] {
        let time = Duration::from_micros(micros);
        let start = Instant::now();
        check!(!park_timeout(time), "nobody unparked");
        check!(Instant::now() >= start + time, "{time} were over after {}", start.elapsed());
    }
    Ok(())
}

fn an_unpark_ends_a_timed_park() -> Outcome {
    for _ in 0..200 {
        let parked = spawn(|| park_timeout(Duration::from_secs(3600)));
        parked.thread().unpark();
        check!(parked.join().unwrap(), "an unpark did not end a park of an hour");
    }
    Ok(())
}

/// Deadlines that were overtaken by an unpark, on whatever CPU, are forgotten.
fn a_cancelled_deadline_wakes_nobody() -> Outcome {
    let threads: Vec<_> = (0..16)
        .map(|_| {
            spawn(|| {
                let mut ended = 0u32;
                for _ in 0..50 {
                    ended += u32::from(park_timeout(Duration::from_millis(1)));
                    // Were the old deadline still set, this would be over too early.
                    let deadline = Instant::now() + Duration::from_millis(2);
                    sleep_until(deadline);
                    check!(Instant::now() >= deadline);
                }
                Ok(ended)
            })
        })
        .collect();
    let mut random = Random::new(3);
    while !threads.iter().all(JoinHandle::is_finished) {
        threads[random.below(threads.len())].thread().unpark();
        sleep(Duration::from_micros(20));
    }
    for thread in threads {
        thread.join().unwrap()?;
    }
    Ok(())
}

fn ten_thousand_short_sleeps() -> Outcome {
    let threads: Vec<_> = (0..10)
        .map(|_| {
            spawn(|| {
                for _ in 0..1000 {
                    sleep(Duration::from_micros(20));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(joined);
    Ok(())
}

fn five_hundred_sleepers() -> Outcome {
    let base = Instant::now() + Duration::from_millis(20);
    let mut random = Random::new(9);
    let threads: Vec<_> = (0..500)
        .map(|_| {
            let deadline = base + Duration::from_nanos(random.number() % 20_000_000);
            let body = move || {
                sleep_until(deadline);
                Instant::now() >= deadline
            };
            Builder::new().stack_size(8192).spawn(body)
        })
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::Failed(format!("{error}")))?;
    for thread in threads {
        check!(thread.join().unwrap(), "a sleeper was early");
    }
    Ok(())
}
