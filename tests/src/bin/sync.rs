//! Locks and the other places where threads wait for each other.
//@ run: usual
//@ machines: virt, q35, microvm, hosted
//@ cpus: 1, 4
//@ run: pi
//@ machines: raspi4b
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
//@ run: lse
//@ machines: virt
//@ cpus: 4
//@ lse: yes
#![no_std]
#![no_main]

use isochron::sync::{
    Barrier, Condvar, Mutex, NotCounted, Once, OnceLock, RwLock, Semaphore, TimedOut, TooManyUnits, WaitGroup,
};
use isochron::thread::sleep;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        readers_share_and_writers_do_not,
        a_waiting_writer_goes_before_later_readers,
        readers_behind_a_writer_enter_together,
        a_downgrade_lets_readers_in,
        read_write_lock_gives_up_in_time,
        a_semaphore_admits_as_many_as_it_has,
        many_units_are_not_passed_over_by_few,
        who_gives_up_on_many_units_holds_nobody_up,
        more_units_than_there_can_be,
        a_condition_is_not_missed,
        one_notification_wakes_one,
        a_notification_wakes_all_who_wait,
        a_wait_for_a_condition_ends_in_time,
        a_barrier_keeps_rounds_apart,
        a_barrier_forgets_who_gave_up,
        a_group_is_waited_for,
        a_group_counts_right,
        once_is_once,
        once_that_fails_is_tried_again,
        once_is_waited_for_so_long,
        a_value_is_made_once_and_dropped_once,
        a_mutex_gives_up_in_time,
        locks_and_time_outs_under_load,
    ])
}

fn readers_share_and_writers_do_not() -> Outcome {
    let lock = Arc::new(RwLock::new([0u64; 4]));
    let torn = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let lock = lock.clone();
            spawn(move || {
                for _ in 0..300 {
                    let mut value = lock.write();
                    for place in 0..4 {
                        value[place] += 1;
                        if place == 1 {
                            yield_now();
                        }
                    }
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (lock, torn) = (lock.clone(), torn.clone());
            spawn(move || {
                for _ in 0..300 {
                    let value = lock.read();
                    let first = value[0];
                    yield_now();
                    if value.iter().any(|&other| other != first) {
                        torn.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    writers.into_iter().chain(readers).for_each(joined);
    check_eq!(torn.load(Ordering::Relaxed), 0);
    check_eq!(*lock.read(), [900; 4]);
    // Two readers at once.
    let first = lock.read();
    check!(lock.try_read().is_some());
    check!(lock.try_write().is_none());
    drop(first);
    check!(lock.try_write().is_some());
    Ok(())
}

fn a_waiting_writer_goes_before_later_readers() -> Outcome {
    let lock = Arc::new(RwLock::new(()));
    let order = Arc::new(Mutex::new(Vec::new()));
    let held = lock.read();
    let writer = {
        let (lock, order) = (lock.clone(), order.clone());
        spawn(move || {
            let _value = lock.write();
            order.lock().push("writer");
        })
    };
    // While nobody waits, one more can read.
    poll("the writer waits", || lock.try_read().is_none())?;
    let reader = {
        let (lock, order) = (lock.clone(), order.clone());
        spawn(move || {
            let _value = lock.read();
            order.lock().push("reader");
        })
    };
    sleep(Duration::from_millis(2));
    check!(order.lock().is_empty(), "somebody entered beside a reader before the writer that waits");
    drop(held);
    writer.join().unwrap();
    reader.join().unwrap();
    check_eq!(*order.lock(), ["writer", "reader"]);
    Ok(())
}

fn readers_behind_a_writer_enter_together() -> Outcome {
    const READERS: u32 = 5;
    let lock = Arc::new(RwLock::new(()));
    let inside = Arc::new(Barrier::new(READERS));
    let held = lock.write();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (lock, inside) = (lock.clone(), inside.clone());
            spawn(move || {
                let _value = lock.read();
                // Passed only if all are inside at the same time.
                inside.wait_timeout(Duration::from_secs(20)).is_ok()
            })
        })
        .collect();
    drop(held);
    check!(readers.into_iter().all(joined), "readers entered one by one");
    Ok(())
}

fn a_downgrade_lets_readers_in() -> Outcome {
    let lock = Arc::new(RwLock::new(1));
    let mut writing = lock.write();
    let reader = {
        let lock = lock.clone();
        spawn(move || *lock.read())
    };
    *writing = 2;
    let reading = writing.downgrade();
    check_eq!(reader.join().unwrap(), 2);
    check_eq!(*reading, 2);
    check!(lock.try_write().is_none());
    Ok(())
}

fn read_write_lock_gives_up_in_time() -> Outcome {
    let lock = Arc::new(RwLock::new(()));
    let held = lock.read();
    check!(lock.write_timeout(Duration::from_millis(2)).is_err());
    // The writer that gave up holds nobody up.
    check!(lock.try_read().is_some());
    drop(held);
    let held = lock.write();
    check!(lock.read_timeout(Duration::from_millis(2)).is_err());
    check!(lock.write_timeout(Duration::ZERO).is_err());
    drop(held);
    check!(lock.write_timeout(Duration::from_millis(2)).is_ok());
    Ok(())
}

fn a_semaphore_admits_as_many_as_it_has() -> Outcome {
    let semaphore = Arc::new(Semaphore::new(3));
    let inside = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let (semaphore, inside, most) = (semaphore.clone(), inside.clone(), most.clone());
            spawn(move || {
                for _ in 0..50 {
                    let _unit = semaphore.acquire(1);
                    most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(joined);
    check!((1..=3).contains(&most.load(Ordering::Relaxed)), "{most:?} inside at once");
    check_eq!(semaphore.free(), 3);
    Ok(())
}

fn many_units_are_not_passed_over_by_few() -> Outcome {
    let semaphore = Arc::new(Semaphore::new(2));
    let order = Arc::new(Mutex::new(Vec::new()));
    let one = semaphore.acquire(1);
    let two = {
        let (semaphore, order) = (semaphore.clone(), order.clone());
        spawn(move || {
            let _units = semaphore.acquire(2);
            order.lock().push(2);
        })
    };
    poll("the one for two units waits", || semaphore.try_acquire(1).is_none())?;
    let few: Vec<_> = (0..3)
        .map(|_| {
            let (semaphore, order) = (semaphore.clone(), order.clone());
            spawn(move || {
                let _unit = semaphore.acquire(1);
                order.lock().push(1);
            })
        })
        .collect();
    sleep(Duration::from_millis(2));
    check!(order.lock().is_empty());
    drop(one);
    two.join().unwrap();
    few.into_iter().for_each(joined);
    check_eq!(*order.lock(), [2, 1, 1, 1]);
    Ok(())
}

fn who_gives_up_on_many_units_holds_nobody_up() -> Outcome {
    let semaphore = Arc::new(Semaphore::new(1));
    let impatient = {
        let semaphore = semaphore.clone();
        spawn(move || semaphore.acquire_timeout(2, Duration::from_millis(5)).err())
    };
    let patient = {
        let semaphore = semaphore.clone();
        spawn(move || semaphore.acquire_timeout(1, Duration::from_secs(20)).is_ok())
    };
    check_eq!(impatient.join().unwrap(), Some(TimedOut));
    check!(patient.join().unwrap());
    check_eq!(semaphore.free(), 1);
    Ok(())
}

fn more_units_than_there_can_be() -> Outcome {
    let semaphore = Semaphore::new(Semaphore::MAX - 1);
    check_eq!(semaphore.release(1), Ok(()));
    check_eq!(semaphore.release(1), Err(TooManyUnits));
    check_eq!(semaphore.free(), Semaphore::MAX);
    semaphore.acquire(5).forget();
    check_eq!(semaphore.free(), Semaphore::MAX - 5);
    Ok(())
}

fn a_condition_is_not_missed() -> Outcome {
    let shared = Arc::new((Mutex::new(0u32), Condvar::new()));
    let other = {
        let shared = shared.clone();
        spawn(move || {
            for number in (1..2000).step_by(2) {
                let mut turn = shared.1.wait_while(shared.0.lock(), |turn| *turn != number);
                *turn += 1;
                drop(turn);
                shared.1.notify_one();
            }
        })
    };
    for number in (0..2000).step_by(2) {
        let mut turn = shared.1.wait_while(shared.0.lock(), |turn| *turn != number);
        *turn += 1;
        drop(turn);
        shared.1.notify_one();
    }
    other.join().unwrap();
    check_eq!(*shared.0.lock(), 2000);
    Ok(())
}

/// What threads that wait for a condition share: how many wait, how many may go, how many have gone.
#[derive(Default)]
struct Crowd {
    waiting: u32,
    woken: u32,
}

type SharedCrowd = Arc<(Mutex<Crowd>, Condvar)>;

fn crowd(size: u32) -> (SharedCrowd, Vec<JoinHandle<()>>) {
    let shared = SharedCrowd::default();
    let threads = (0..size)
        .map(|_| {
            let shared = shared.clone();
            spawn(move || {
                let mut crowd = shared.0.lock();
                // Counted under the mutex, which `wait` lets go of only once this thread is in the queue.
                crowd.waiting += 1;
                crowd = shared.1.wait(crowd);
                crowd.woken += 1;
            })
        })
        .collect();
    (shared, threads)
}

fn one_notification_wakes_one() -> Outcome {
    let (shared, threads) = crowd(6);
    poll("all wait", || shared.0.lock().waiting == 6)?;
    for expected in 1..=6 {
        shared.1.notify_one();
        poll("one is awake", || shared.0.lock().woken >= expected)?;
        check_eq!(shared.0.lock().woken, expected);
    }
    threads.into_iter().for_each(joined);
    Ok(())
}

fn a_notification_wakes_all_who_wait() -> Outcome {
    let (shared, threads) = crowd(40);
    poll("all wait", || shared.0.lock().waiting == 40)?;
    shared.1.notify_all();
    threads.into_iter().for_each(joined);
    check_eq!(shared.0.lock().woken, 40);
    // None is kept for who comes later.
    let (_guard, notified) = shared.1.wait_timeout(shared.0.lock(), Duration::from_millis(2));
    check!(!notified);
    Ok(())
}

fn a_wait_for_a_condition_ends_in_time() -> Outcome {
    let (mutex, condvar) = (Mutex::new(false), Condvar::new());
    let start = Instant::now();
    let (guard, finished) = condvar.wait_while_timeout(mutex.lock(), Duration::from_millis(3), |done| !*done);
    check!(!finished && !*guard);
    check!(start.elapsed() >= Duration::from_millis(3));
    drop(guard);
    check!(mutex.try_lock().is_some());
    let (_, finished) = condvar.wait_while_timeout(mutex.lock(), Duration::from_millis(3), |_| false);
    check!(finished);
    Ok(())
}

fn a_barrier_keeps_rounds_apart() -> Outcome {
    const THREADS: u32 = 6;
    const ROUNDS: usize = 200;
    let barrier = Arc::new(Barrier::new(THREADS));
    let rounds: Arc<Vec<AtomicUsize>> = Arc::new((0..ROUNDS).map(|_| AtomicUsize::new(0)).collect());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (barrier, rounds) = (barrier.clone(), rounds.clone());
            spawn(move || {
                let (mut lasts, mut early) = (0, 0);
                for round in rounds.iter() {
                    round.fetch_add(1, Ordering::Relaxed);
                    lasts += usize::from(barrier.wait());
                    early += usize::from(round.load(Ordering::Relaxed) != THREADS as usize);
                }
                (lasts, early)
            })
        })
        .collect();
    let (lasts, early) = threads.into_iter().map(joined).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    check_eq!(lasts, ROUNDS, "one is the last in each round");
    check_eq!(early, 0, "somebody passed before all had come");
    check!(Barrier::new(1).wait() && Barrier::new(0).wait());
    Ok(())
}

fn a_barrier_forgets_who_gave_up() -> Outcome {
    let barrier = Arc::new(Barrier::new(2));
    check_eq!(barrier.wait_timeout(Duration::from_millis(2)), Err(TimedOut));
    let other = {
        let barrier = barrier.clone();
        spawn(move || barrier.wait())
    };
    let last = barrier.wait();
    check!(last != other.join().unwrap(), "two and no more, one of them the last");
    Ok(())
}

fn a_group_is_waited_for() -> Outcome {
    let group = Arc::new(WaitGroup::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    group.wait();
    check_eq!(group.add(20), Ok(()));
    for _ in 0..20 {
        let (group, done) = (group.clone(), done.clone());
        spawn(move || {
            yield_now();
            done.fetch_add(1, Ordering::Relaxed);
            group.done().is_ok()
        });
    }
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let (group, done) = (group.clone(), done.clone());
            spawn(move || {
                group.wait();
                done.load(Ordering::Relaxed)
            })
        })
        .collect();
    group.wait();
    check_eq!(done.load(Ordering::Relaxed), 20);
    check!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == 20));
    Ok(())
}

fn a_group_counts_right() -> Outcome {
    let group = WaitGroup::new(1);
    check_eq!(group.wait_timeout(Duration::from_millis(2)), Err(TimedOut));
    check_eq!(group.done(), Ok(()));
    check_eq!(group.done(), Err(NotCounted));
    check_eq!(group.wait_timeout(Duration::from_millis(2)), Ok(()));
    check_eq!(group.add(u32::MAX), Ok(()));
    check_eq!(group.add(1), Err(NotCounted));
    check_eq!(group.left(), u32::MAX);
    Ok(())
}

fn once_is_once() -> Outcome {
    let shared = Arc::new((Once::new(), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let shared = shared.clone();
            spawn(move || {
                shared.0.call_once(|| {
                    sleep(Duration::from_millis(1));
                    shared.1.fetch_add(1, Ordering::Relaxed);
                });
                shared.1.load(Ordering::Relaxed)
            })
        })
        .collect();
    check!(threads.into_iter().all(|thread| thread.join().unwrap() == 1), "somebody did not wait, or did it again");
    Ok(())
}

fn once_that_fails_is_tried_again() -> Outcome {
    let shared = Arc::new((Once::new(), AtomicUsize::new(0)));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let shared = shared.clone();
            spawn(move || {
                shared.0.try_call_once(|| {
                    let attempt = shared.1.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(1));
                    if attempt < 3 { Err(attempt) } else { Ok(()) }
                })
            })
        })
        .collect();
    let mut failures: Vec<usize> = threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect();
    failures.sort_unstable();
    check_eq!(failures, [0, 1, 2]);
    check!(shared.0.is_done());
    check_eq!(shared.1.load(Ordering::Relaxed), 4);
    Ok(())
}

/// Who waits for a value that another makes gives up in time, or gets it.
fn once_is_waited_for_so_long() -> Outcome {
    let cell = Arc::new(OnceLock::new());
    let may_end = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicBool::new(false));
    let maker = {
        let (cell, may_end, begun) = (cell.clone(), may_end.clone(), begun.clone());
        spawn(move || {
            *cell.get_or_init(|| {
                begun.store(true, Ordering::Relaxed);
                while !may_end.load(Ordering::Relaxed) {
                    yield_now();
                }
                1
            })
        })
    };
    poll("the value is being made", || begun.load(Ordering::Relaxed))?;
    for timeout in [Duration::ZERO, Duration::from_millis(2)] {
        check_eq!(cell.get_or_init_timeout(timeout, || 2), Err(TimedOut));
    }
    let patient = {
        let cell = cell.clone();
        spawn(move || cell.get_or_init_timeout(Duration::from_secs(10), || 3).copied())
    };
    sleep(Duration::from_millis(1));
    may_end.store(true, Ordering::Relaxed);
    check_eq!(maker.join().unwrap(), 1);
    check_eq!(patient.join().unwrap(), Ok(1));
    check_eq!(cell.get_or_init_timeout(Duration::ZERO, || 4), Ok(&1));
    Ok(())
}

fn a_value_is_made_once_and_dropped_once() -> Outcome {
    let value = Arc::new(());
    let cell = Arc::new(OnceLock::new());
    check!(cell.get().is_none());
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let (cell, value) = (cell.clone(), value.clone());
            spawn(move || core::ptr::from_ref(cell.get_or_init(|| value)).addr())
        })
        .collect();
    let seen: Vec<usize> = threads.into_iter().map(joined).collect();
    check!(seen.iter().all(|&address| address == seen[0]));
    check_eq!(Arc::strong_count(&value), 2);
    check!(cell.set(value.clone()).is_err());
    drop(cell);
    check_eq!(Arc::strong_count(&value), 1);
    Ok(())
}

fn a_mutex_gives_up_in_time() -> Outcome {
    let mutex = Arc::new(Mutex::new(0));
    let held = mutex.lock();
    let others: Vec<_> = (0..3)
        .map(|_| {
            let mutex = mutex.clone();
            spawn(move || mutex.lock_timeout(Duration::from_millis(2)).err())
        })
        .collect();
    check!(others.into_iter().all(|other| other.join().unwrap() == Some(TimedOut)));
    drop(held);
    check!(mutex.lock_timeout(Duration::from_millis(2)).is_ok());
    check!(mutex.try_lock().is_some());
    Ok(())
}

/// Time-outs race with the hand-over all the time; the counts must come out right whoever wins.
fn locks_and_time_outs_under_load() -> Outcome {
    let shared = Arc::new((Mutex::new(0usize), Semaphore::new(2), RwLock::new(0usize)));
    let threads: Vec<_> = (0..6)
        .map(|number| {
            let shared = shared.clone();
            spawn(move || {
                let mut random = Random::new(number);
                let (mut locked, mut written) = (0, 0);
                for _ in 0..200 {
                    let timeout = Duration::from_micros(random.below(30) as u64);
                    if let Ok(mut value) = shared.0.lock_timeout(timeout) {
                        *value += 1;
                        locked += 1;
                        if random.below(4) == 0 {
                            yield_now();
                        }
                    }
                    let units = shared.1.acquire_timeout(1 + random.below(2) as u32, timeout);
                    if random.below(2) == 0 {
                        if let Ok(mut value) = shared.2.write_timeout(timeout) {
                            *value += 1;
                            written += 1;
                        }
                    } else {
                        let value = shared.2.read_timeout(timeout);
                        yield_now();
                        drop(value);
                    }
                    drop(units);
                }
                (locked, written)
            })
        })
        .collect();
    let (locked, written) = threads.into_iter().map(joined).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    check_eq!(*shared.0.lock(), locked);
    check_eq!(shared.1.free(), 2);
    check_eq!(*shared.2.write(), written);
    Ok(())
}
