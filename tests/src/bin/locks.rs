//! Mutexes: priority inheritance, threads that die with one, barging, deadlocks.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

use isochron::prelude::{park, sleep};
use isochron::sync::{self, DEFAULT_INHERITANCE, Inheritance, Mutex};
use isochron::thread::Death;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    sync::set_inheritance(LONG);
    run(cases![
        who_waits_lends_its_rank,
        along_a_chain_and_across_cpus,
        no_further_than_it_may,
        and_no_longer,
        the_highest_goes_first,
        batch_is_lifted_too,
        orphaned_while_others_wait,
        orphaned_with_nobody_there,
        a_deadlock_ends_one,
        a_deadlock_with_a_time_out_is_none,
        barging_excludes,
        many_contend,
    ])
}

/// Boosts that last, on however slow a host.
const LONG: Inheritance = Inheritance { decay: Duration::from_secs(5), ..DEFAULT_INHERITANCE };

fn made<T>(thread: Result<T, SpawnError>) -> T {
    match thread {
        Ok(thread) => thread,
        Err(error) => panic!("{error}"),
    }
}

/// Of this priority on the first CPU.
fn first(priority: u32) -> Builder<'static> {
    Builder::new().pinned(CpuId::PRIMARY).priority(priority)
}

/// Spins until `done`, for `most` at the most.
fn hog(done: &AtomicBool, most: Duration) {
    let start = Instant::now();
    while !done.load(Ordering::Relaxed) && start.elapsed() < most {
        core::hint::spin_loop();
    }
}

fn work(time: Duration) {
    hog(&AtomicBool::new(false), time);
}

/// A low thread holds the mutex, a middle one wants the CPU, a high one the mutex: whether the high one had it before the
/// middle one was done.
fn inversion(low: Builder<'static>, high: u32, held: Duration) -> bool {
    let (mutex, done) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
    let low = low.spawn(move || {
        let guard = mutex.lock();
        let off = PreemptGuard::new();
        let (mutex, flag) = (mutex.clone(), done.clone());
        let high = made(first(high).spawn(move || {
            drop(mutex.lock());
            flag.store(true, Ordering::Relaxed);
        }));
        let flag = done.clone();
        let middle = made(first(20).spawn(move || {
            hog(&flag, Duration::from_millis(60));
            flag.load(Ordering::Relaxed)
        }));
        drop(off);
        work(held);
        drop(guard);
        joined(high);
        joined(middle)
    });
    joined(made(low))
}

fn who_waits_lends_its_rank() -> Outcome {
    for _ in 0..5 {
        check!(inversion(first(10), 30, Duration::from_micros(200)), "the middle one held up the high one");
    }
    Ok(())
}

fn batch_is_lifted_too() -> Outcome {
    let low = Builder::new().pinned(CpuId::PRIMARY).hint(thread::Hint::Batch);
    check!(inversion(low, 25, Duration::from_micros(200)), "the middle one held up the high one");
    Ok(())
}

fn no_further_than_it_may() -> Outcome {
    sync::set_inheritance(Inheritance { most_levels: 5, ..LONG });
    // From 10 to 15 at the most: the middle one, 20, goes first.
    let early = inversion(first(10), 200, Duration::from_micros(200));
    sync::set_inheritance(Inheritance { most_levels: 11, ..LONG });
    let far_enough = inversion(first(10), 200, Duration::from_micros(200));
    sync::set_inheritance(LONG);
    check!(!early, "5 levels lifted 10 above 20");
    check!(far_enough, "11 levels did not lift 10 above 20");
    Ok(())
}

fn and_no_longer() -> Outcome {
    sync::set_inheritance(Inheritance { decay: Duration::from_millis(1), ..DEFAULT_INHERITANCE });
    // Held for much longer than the boost lasts: the middle one has its turn, and ends, before. Now and then a busy host stops
    // the CPU for so long that the low one's time is over all the same.
    let lasted = (0..5).all(|_| inversion(first(10), 30, Duration::from_millis(20)));
    sync::set_inheritance(LONG);
    check!(!lasted, "a boost of 1 ms lasted for 20");
    Ok(())
}

fn along_a_chain_and_across_cpus() -> Outcome {
    let cpus = thread::cpu_count();
    for _ in 0..3 {
        let locks: Arc<[Mutex<()>; 3]> = Arc::new([const { Mutex::new(()) }; 3]);
        let (ready, go, done) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // Number 0 holds the first lock; 1 the second, and waits for the first; 2 the third, and waits for the second.
        let holders: Vec<_> = (0..3)
            .map(|number| {
                let (locks, his_ready, go) = (locks.clone(), ready.clone(), go.clone());
                let builder = Builder::new().pinned(CpuId::new(number % cpus)).priority(10 + number as u32);
                let holder = made(builder.spawn(move || {
                    let own = locks[number].lock();
                    his_ready.fetch_add(1, Ordering::Relaxed);
                    if number == 0 {
                        while !go.load(Ordering::Relaxed) {
                            park();
                        }
                        work(Duration::from_micros(200));
                    } else {
                        drop(locks[number - 1].lock());
                    }
                    drop(own);
                }));
                while ready.load(Ordering::Relaxed) <= number {
                    sleep(Duration::from_micros(50));
                }
                holder
            })
            .collect();
        sleep(Duration::from_millis(1));
        let flag = done.clone();
        let (first_holder, chain) = (holders[0].thread(), locks.clone());
        let high = made(Builder::new().pinned(CpuId::new(3 % cpus)).priority(30).spawn(move || {
            let flag_of_hog = flag.clone();
            let middle = made(first(20).spawn(move || {
                hog(&flag_of_hog, Duration::from_millis(60));
                flag_of_hog.load(Ordering::Relaxed)
            }));
            go.store(true, Ordering::Relaxed);
            first_holder.unpark();
            drop(chain[2].lock());
            flag.store(true, Ordering::Relaxed);
            joined(middle)
        }));
        check!(joined(high), "the middle one held up the high one");
        holders.into_iter().for_each(joined);
    }
    Ok(())
}

fn the_highest_goes_first() -> Outcome {
    let (mutex, order) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(Vec::new())));
    let held = mutex.lock();
    let threads: Vec<_> = [12u32, 30, 11, 25, 40, 10]
        .into_iter()
        .map(|priority| {
            let (mutex, order) = (mutex.clone(), order.clone());
            let thread = made(Builder::new().priority(priority).spawn(move || {
                let _guard = mutex.lock();
                order.lock().push(priority);
            }));
            sleep(Duration::from_micros(300));
            thread
        })
        .collect();
    drop(held);
    threads.into_iter().for_each(joined);
    check_eq!(*order.lock(), [40, 30, 25, 12, 11, 10]);
    Ok(())
}

fn orphaned_while_others_wait() -> Outcome {
    for barging in [false, true] {
        let mutex = Arc::new(if barging { Mutex::barging(0) } else { Mutex::new(0) });
        let his = mutex.clone();
        let dying = spawn(move || {
            let mut guard = his.lock();
            *guard = 1;
            park();
            panic!("with the mutex");
        });
        poll("it has the mutex", || mutex.try_lock().is_none())?;
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let mutex = mutex.clone();
                spawn(move || {
                    let mut guard = mutex.lock();
                    *guard += 1;
                    mutex.is_orphaned()
                })
            })
            .collect();
        sleep(Duration::from_millis(1));
        dying.thread().unpark();
        check_eq!(dying.join(), Err::<(), _>(Death::Panicked));
        for waiter in waiters {
            check!(joined(waiter), "a waiter was not told");
        }
        check_eq!(*mutex.lock(), 5);
        mutex.clear_orphaned();
        check!(!mutex.is_orphaned());
    }
    Ok(())
}

fn orphaned_with_nobody_there() -> Outcome {
    for way in 0..4 {
        let mutex = Arc::new(Mutex::new(0));
        let his = mutex.clone();
        let dying = spawn(move || {
            let _guard = his.lock();
            panic!("with the mutex");
        });
        check_eq!(dying.join(), Err::<(), _>(Death::Panicked));
        match way {
            0 => drop(mutex.lock()),
            1 => check!(mutex.try_lock().is_some(), "try_lock"),
            2 => check!(mutex.lock_timeout(Duration::from_secs(5)).is_ok(), "lock_timeout"),
            _ => drop(joined(spawn({
                let mutex = mutex.clone();
                move || *mutex.lock()
            }))),
        }
        check!(mutex.is_orphaned());
        check!(mutex.try_lock().is_some(), "it is not free again");
    }
    Ok(())
}

fn a_deadlock_ends_one() -> Outcome {
    for _ in 0..3 {
        let locks: Arc<[Mutex<()>; 3]> = Arc::new([const { Mutex::new(()) }; 3]);
        let came = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (locks, came) = (locks.clone(), came.clone());
                spawn(move || {
                    let _own = locks[number].lock();
                    came.fetch_add(1, Ordering::Relaxed);
                    while came.load(Ordering::Relaxed) < 3 {
                        yield_now();
                    }
                    drop(locks[(number + 1) % 3].lock());
                })
            })
            .collect();
        let mut dead = 0;
        for thread in threads {
            match thread.join_timeout(Duration::from_secs(20)) {
                Ok(end) => dead += usize::from(end == Err(Death::Panicked)),
                Err(_) => return Err(Failure::Failed("the deadlock was not found".into())),
            }
        }
        check!((1..=2).contains(&dead), "{dead} of 3 died");
    }
    Ok(())
}

fn a_deadlock_with_a_time_out_is_none() -> Outcome {
    let (one, two) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
    let (his_one, his_two) = (one.clone(), two.clone());
    let has_it = Arc::new(AtomicBool::new(false));
    let tells = has_it.clone();
    let held = one.lock();
    let other = spawn(move || {
        let _two = his_two.lock();
        tells.store(true, Ordering::Relaxed);
        his_one.lock_timeout(Duration::from_millis(3)).is_ok()
    });
    poll("the other has its mutex", || has_it.load(Ordering::Relaxed))?;
    drop(two.lock());
    check!(!joined(other));
    drop(held);
    Ok(())
}

fn count_under(mutex: Mutex<u64>, threads: u64, turns: u64) -> Outcome {
    let mutex = Arc::new(mutex);
    let all: Vec<_> = (0..threads)
        .map(|number| {
            let mutex = mutex.clone();
            spawn(move || {
                for turn in 0..turns {
                    if (turn + number) % 16 == 0 {
                        let mut guard = mutex.lock();
                        let before = *guard;
                        yield_now();
                        *guard = before + 1;
                    } else if turn % 16 == 1 {
                        while mutex.lock_timeout(Duration::from_micros(50)).map(|mut guard| *guard += 1).is_err() {}
                    } else {
                        *mutex.lock() += 1;
                    }
                }
            })
        })
        .collect();
    all.into_iter().for_each(joined);
    check_eq!(*mutex.lock(), threads * turns);
    Ok(())
}

fn barging_excludes() -> Outcome {
    count_under(Mutex::barging(0), 6, 800)
}

/// With every priority, so that boosts come and go all the time.
fn many_contend() -> Outcome {
    count_under(Mutex::new(0), 6, 800)?;
    let locks: Arc<[Mutex<u64>; 3]> = Arc::new([const { Mutex::new(0) }; 3]);
    let threads: Vec<_> = (0..8u32)
        .map(|number| {
            let locks = locks.clone();
            let builder = if number % 4 == 0 { Builder::new() } else { Builder::new().priority(number * 7) };
            made(builder.spawn(move || {
                let mut random = Random::new(u64::from(number));
                for _ in 0..200 {
                    let low = random.below(3);
                    let mut outer = locks[low].lock();
                    if low < 2 {
                        *locks[low + 1].lock() += 1;
                    }
                    *outer += 1;
                }
            }))
        })
        .collect();
    threads.into_iter().for_each(joined);
    check!(locks.iter().map(|lock| *lock.lock()).sum::<u64>() >= 1600);
    Ok(())
}
