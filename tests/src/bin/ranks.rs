//! Hints and priorities: who goes first, and that nobody starves.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 4
//@ run: pi
//@ machines: raspi4b
#![no_std]
#![no_main]

use isochron::sync::Mutex;
use isochron::thread::{Hint, park, set_hint, set_priority, sleep};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_higher_rank_runs_at_once,
        the_highest_rank_goes_first,
        a_woken_thread_of_higher_rank_preempts,
        a_lower_rank_does_not_preempt,
        a_yield_does_not_give_way_to_lower_ranks,
        equals_take_turns,
        a_hog_of_high_priority_starves_nobody,
        hogs_in_all_layers_get_on,
        an_idle_cpu_takes_the_highest,
        a_sleeper_of_high_priority_wakes_beside_hogs,
        ranks_change_at_run_time,
        priorities_end_at_255,
        ranks_under_load,
    ])
}

/// A thread that cannot be made fails the case.
trait OrFail<T> {
    fn or_fail(self) -> Outcome<T>;
}

impl<T> OrFail<T> for Result<T, SpawnError> {
    fn or_fail(self) -> Outcome<T> {
        self.map_err(|error| Failure::Failed(format!("{error}")))
    }
}

/// A thread on the CPU that these cases are about.
fn here() -> Builder<'static> {
    Builder::new().pinned(CpuId::PRIMARY)
}

/// Runs `case` on the primary CPU, as a normal thread: cases start on whatever CPU has time.
fn on_primary(case: fn() -> Outcome) -> Outcome {
    here().spawn(case).or_fail()?.join().unwrap()
}

fn a_higher_rank_runs_at_once() -> Outcome {
    on_primary(|| {
        for sort in [here().hint(Hint::Network), here().hint(Hint::Latency), here().priority(0), here().priority(255)] {
            let ran = Arc::new(AtomicBool::new(false));
            let thread = {
                let ran = ran.clone();
                sort.spawn(move || ran.store(true, Ordering::Relaxed)).or_fail()?
            };
            // Nobody blocked or yielded in between.
            check!(ran.load(Ordering::Relaxed), "it goes first, but did not run at once");
            thread.join().unwrap();
        }
        Ok(())
    })
}

fn the_highest_rank_goes_first() -> Outcome {
    on_primary(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        {
            // All are made before the first runs.
            let _guard = PreemptGuard::new();
            let sorts = [
                ("batch", here().hint(Hint::Batch)),
                ("normal", here()),
                ("low", here().priority(3)),
                ("latency", here().hint(Hint::Latency)),
                ("high", here().priority(200)),
                ("network", here().hint(Hint::Network)),
                ("high again", here().priority(200)),
            ];
            for (name, sort) in sorts {
                let order = order.clone();
                threads.push(sort.spawn(move || order.lock().push(name)).or_fail()?);
            }
        }
        threads.into_iter().for_each(joined);
        check_eq!(*order.lock(), ["high", "high again", "low", "latency", "network", "normal", "batch"]);
        Ok(())
    })
}

fn a_woken_thread_of_higher_rank_preempts() -> Outcome {
    on_primary(|| {
        let rounds = Arc::new(AtomicUsize::new(0));
        let thread = {
            let rounds = rounds.clone();
            here()
                .priority(9)
                .spawn(move || {
                    for _ in 0..100 {
                        park();
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .or_fail()?
        };
        for round in 1..=100 {
            thread.thread().unpark();
            check_eq!(rounds.load(Ordering::Relaxed), round, "it was woken and did not run at once");
        }
        thread.join().unwrap();
        Ok(())
    })
}

fn a_lower_rank_does_not_preempt() -> Outcome {
    let outcome = here()
        .priority(9)
        .spawn(|| {
            let ran = Arc::new(AtomicBool::new(false));
            let threads: Vec<_> = [here(), here().hint(Hint::Batch), here().hint(Hint::Latency), here().priority(8)]
                .into_iter()
                .map(|sort| {
                    let ran = ran.clone();
                    sort.spawn(move || ran.store(true, Ordering::Relaxed))
                })
                .collect::<Result<_, _>>()
                .or_fail()?;
            check!(!ran.load(Ordering::Relaxed), "one of lower rank went first");
            threads.into_iter().for_each(joined);
            Ok(())
        })
        .or_fail()?;
    outcome.join().unwrap()
}

fn a_yield_does_not_give_way_to_lower_ranks() -> Outcome {
    let outcome = here()
        .priority(9)
        .spawn(|| {
            let turns = Arc::new(AtomicUsize::new(0));
            let other = {
                let turns = turns.clone();
                here()
                    .spawn(move || {
                        for _ in 0..4 {
                            turns.fetch_add(1, Ordering::Relaxed);
                            yield_now();
                        }
                    })
                    .or_fail()?
            };
            // Each pick that passes the other over counts; after 19 it has its turn, or another of its sort on this CPU has.
            for _ in 0..10 {
                yield_now();
            }
            check_eq!(turns.load(Ordering::Relaxed), 0, "a yield gave way to a lower rank");
            for wanted in 1..=4 {
                let mut yields = 0;
                while turns.load(Ordering::Relaxed) < wanted {
                    yields += 1;
                    check!(yields <= 1000, "the other starves");
                    yield_now();
                }
            }
            other.join().unwrap();
            Ok(())
        })
        .or_fail()?;
    outcome.join().unwrap()
}

fn equals_take_turns() -> Outcome {
    for sort in [here().priority(7), here().hint(Hint::Latency), here().hint(Hint::Batch)] {
        let turn = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|me| {
                let turn = turn.clone();
                sort.clone().spawn(move || {
                    for round in 0..20 {
                        while turn.load(Ordering::Relaxed) != round * 3 + me {
                            yield_now();
                        }
                        turn.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect::<Result<_, _>>()
            .or_fail()?;
        threads.into_iter().for_each(joined);
        check_eq!(turn.load(Ordering::Relaxed), 60);
    }
    Ok(())
}

/// A hog that never yields, until it is told to stop or the case has failed.
fn hog(sort: Builder<'_>, stop: &Arc<AtomicBool>) -> Result<JoinHandle<()>, SpawnError> {
    let stop = stop.clone();
    sort.spawn(move || {
        let _ = spin("the hog is told to stop", || stop.load(Ordering::Relaxed));
    })
}

fn a_hog_of_high_priority_starves_nobody() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let hog = hog(here().priority(255), &stop).or_fail()?;
    // Of the lowest sort, on the hog's CPU: that it ends at all is what is to be shown.
    let lowest = here().hint(Hint::Batch).spawn(|| 42).or_fail()?;
    check_eq!(lowest.join().unwrap(), 42);
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    Ok(())
}

fn hogs_in_all_layers_get_on() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let sorts = [
        here().hint(Hint::Batch),
        here(),
        here().hint(Hint::Network),
        here().hint(Hint::Latency),
        here().priority(100),
    ];
    let counts: Vec<Arc<AtomicUsize>> = sorts.iter().map(|_| Arc::default()).collect();
    let threads: Vec<_> = sorts
        .into_iter()
        .zip(&counts)
        .map(|(sort, count)| {
            let (stop, count) = (stop.clone(), count.clone());
            sort.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect::<Result<_, _>>()
        .or_fail()?;
    let all = poll("each layer gets on", || counts.iter().all(|count| count.load(Ordering::Relaxed) > 1000));
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(joined);
    all
}

fn an_idle_cpu_takes_the_highest() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("one CPU");
    }
    on_primary(|| {
        let taken = Arc::new(AtomicUsize::new(0));
        // This CPU will not run them: it is held until somebody else has.
        let guard = PreemptGuard::new();
        for sort in [Builder::new().priority(5), Builder::new().hint(Hint::Latency), Builder::new().hint(Hint::Batch)] {
            let taken = taken.clone();
            sort.spawn(move || {
                taken.fetch_add(1, Ordering::Relaxed);
            })
            .or_fail()?;
        }
        let all = spin("other CPUs have run them", || taken.load(Ordering::Relaxed) == 3);
        drop(guard);
        all
    })
}

fn a_sleeper_of_high_priority_wakes_beside_hogs() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs = [
        hog(here(), &stop).or_fail()?,
        hog(here().priority(50), &stop).or_fail()?,
        hog(here().hint(Hint::Latency), &stop).or_fail()?,
    ];
    let sleeper = here()
        .priority(60)
        .spawn(|| {
            for _ in 0..20 {
                sleep(Duration::from_micros(300));
            }
        })
        .or_fail()?;
    sleeper.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    Ok(())
}

fn ranks_change_at_run_time() -> Outcome {
    on_primary(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        check!(set_priority(10).is_ok());
        let other = {
            let order = order.clone();
            here().spawn(move || order.lock().push("other")).or_fail()?
        };
        order.lock().push("me, above it");
        set_hint(Hint::Batch);
        order.lock().push("me, below it");
        set_hint(Hint::Normal);
        other.join().unwrap();
        check_eq!(*order.lock(), ["me, above it", "other", "me, below it"]);
        Ok(())
    })
}

fn priorities_end_at_255() -> Outcome {
    check_eq!(Builder::new().priority(256).spawn(|| ()).err(), Some(SpawnError::Priority(256)));
    check_eq!(Builder::new().priority(u32::MAX).spawn(|| ()).err(), Some(SpawnError::Priority(u32::MAX)));
    check_eq!(set_priority(256), Err(SpawnError::Priority(256)));
    check_eq!(format!("{}", SpawnError::Priority(256)), "priority 256 is above 255");
    Ok(())
}

/// Threads of all sorts that yield, sleep, wake each other and move: nobody is lost.
fn ranks_under_load() -> Outcome {
    let total = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..24)
        .map(|number| {
            let sort = match number % 6 {
                0 => Builder::new(),
                1 => Builder::new().hint(Hint::Batch),
                2 => Builder::new().hint(Hint::Network),
                3 => Builder::new().hint(Hint::Latency),
                4 => Builder::new().priority(number as u32),
                _ => here().priority(number as u32),
            };
            let total = total.clone();
            sort.spawn(move || {
                let mut random = Random::new(number);
                for _ in 0..60 {
                    match random.below(5) {
                        0 => sleep(Duration::from_micros(random.below(50) as u64)),
                        1 => set_hint([Hint::Batch, Hint::Normal, Hint::Network, Hint::Latency][random.below(4)]),
                        2 => drop(set_priority(random.below(256) as u32)),
                        3 => spawn(|| ()).join().unwrap(),
                        _ => yield_now(),
                    }
                    total.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect::<Result<_, _>>()
        .or_fail()?;
    threads.into_iter().for_each(joined);
    check_eq!(total.load(Ordering::Relaxed), 24 * 60);
    Ok(())
}
