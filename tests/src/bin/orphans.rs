//! Locks of threads that die: each passes on to who waits, or to the next who comes, and says so.
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
use isochron::sync::{Mutex, Once, OnceLock, RwLock};
use isochron::thread::Death;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_writer_dies_while_others_wait,
        a_writer_dies_with_nobody_there,
        a_reader_dies_while_a_writer_waits,
        readers_die_with_nobody_there,
        one_of_several_readers_dies,
        who_waits_dies,
        what_a_downgrade_left_passes_on,
        a_reader_that_ends_leaves_no_mark,
        once_dies_while_others_wait,
        once_dies_with_nobody_there,
        a_value_is_made_by_the_next,
        who_gives_a_turn_up_hands_it_on,
        taken_twice,
        a_barging_waiter_dies_once_woken,
        many_die,
    ])
}

/// Long enough on any host.
const LONG: Duration = Duration::from_secs(20);

/// How a thread comes to its end.
#[derive(Clone, Copy)]
enum End {
    Panic,
    Kill,
}

const ENDS: [End; 2] = [End::Panic, End::Kill];

/// A thread that takes something, says so, and waits for its end.
struct Holder(JoinHandle<()>, End);

impl Holder {
    /// `hold` takes it, and calls what it is given while it has it.
    fn new(end: End, hold: impl FnOnce(&mut dyn FnMut()) + Send + 'static) -> Outcome<Self> {
        let has_it = Arc::new(AtomicBool::new(false));
        let tells = has_it.clone();
        let thread = spawn(move || {
            hold(&mut || {
                tells.store(true, Ordering::Relaxed);
                park();
                panic!("with a lock");
            });
        });
        poll("it has the lock", || has_it.load(Ordering::Relaxed))?;
        Ok(Self(thread, end))
    }

    /// It dies.
    fn end(self) -> Outcome {
        let death = match self.1 {
            End::Panic => {
                self.0.thread().unpark();
                Death::Panicked
            }
            End::Kill => {
                self.0.thread().kill();
                Death::Killed
            }
        };
        check_eq!(self.0.join(), Err(death));
        Ok(())
    }
}

/// A thread that has the lock to write.
fn writer(end: End, lock: &Arc<RwLock<u32>>) -> Outcome<Holder> {
    let lock = lock.clone();
    Holder::new(end, move |wait| {
        let mut value = lock.write();
        *value += 100;
        wait();
    })
}

/// A thread that has the lock to read.
fn reader(end: End, lock: &Arc<RwLock<u32>>) -> Outcome<Holder> {
    let lock = lock.clone();
    Holder::new(end, move |wait| {
        let _value = lock.read();
        wait();
    })
}

/// It is free, and nobody is known to have it.
fn is_free(lock: &RwLock<u32>) -> bool {
    lock.try_write().is_some()
}

/// Whether a thread comes to an end in time, with this result.
fn ends_with<T: PartialEq + Send + 'static>(thread: JoinHandle<T>, expected: T) -> bool {
    thread.join_timeout(LONG).is_ok_and(|end| end.is_ok_and(|result| result == expected))
}

fn a_writer_dies_while_others_wait() -> Outcome {
    for end in ENDS {
        let lock = Arc::new(RwLock::new(0));
        let dying = writer(end, &lock)?;
        let waiters: Vec<_> = (0..6)
            .map(|number| {
                let lock = lock.clone();
                spawn(move || {
                    if number % 3 == 0 {
                        let mut value = lock.write();
                        *value += 1;
                        lock.is_orphaned()
                    } else {
                        let value = lock.read();
                        *value >= 100 && lock.is_orphaned()
                    }
                })
            })
            .collect();
        sleep(Duration::from_millis(1));
        dying.end()?;
        for waiter in waiters {
            check!(ends_with(waiter, true), "a waiter was not told, or waits still");
        }
        check_eq!(*lock.read(), 102);
        check!(is_free(&lock));
        lock.clear_orphaned();
        check!(!lock.is_orphaned());
    }
    Ok(())
}

fn a_writer_dies_with_nobody_there() -> Outcome {
    for end in ENDS {
        for way in 0..6 {
            let lock = Arc::new(RwLock::new(0));
            writer(end, &lock)?.end()?;
            let got = match way {
                0 => lock.try_read().is_some(),
                1 => lock.try_write().is_some(),
                2 => lock.read_timeout(LONG).is_ok(),
                3 => lock.write_timeout(LONG).is_ok(),
                4 => *lock.read() == 100,
                _ => *lock.write() == 100,
            };
            check!(got, "way {way}");
            check!(lock.is_orphaned());
            check!(is_free(&lock), "way {way}: it is not free again");
        }
    }
    Ok(())
}

fn a_reader_dies_while_a_writer_waits() -> Outcome {
    for end in ENDS {
        let lock = Arc::new(RwLock::new(0));
        let dying = reader(end, &lock)?;
        let waits = lock.clone();
        let writer = spawn(move || *waits.write() += 1);
        poll("the writer waits", || lock.try_read().is_none())?;
        // Behind the writer.
        let waits = lock.clone();
        let later = spawn(move || *waits.read());
        sleep(Duration::from_millis(1));
        dying.end()?;
        check!(ends_with(writer, ()), "the writer waits for a dead reader");
        check!(ends_with(later, 1), "the reader behind the writer");
        check!(!lock.is_orphaned(), "a reader changes nothing");
        check!(is_free(&lock));
    }
    Ok(())
}

fn readers_die_with_nobody_there() -> Outcome {
    for readers in 1..=4 {
        let lock = Arc::new(RwLock::new(0));
        let dying: Vec<_> = (0..readers).map(|_| reader(End::Kill, &lock)).collect::<Result<_, _>>()?;
        check!(!is_free(&lock));
        // The last four stones of a list stay, whatever list it is.
        dying.into_iter().try_for_each(Holder::end)?;
        check!(lock.write_timeout(LONG).is_ok(), "{readers} readers have died, and the lock is taken");
        check!(is_free(&lock) && !lock.is_orphaned());
    }
    Ok(())
}

fn one_of_several_readers_dies() -> Outcome {
    let lock = Arc::new(RwLock::new(0));
    let (own, dying) = (lock.read(), reader(End::Panic, &lock)?);
    let again = lock.read();
    dying.end()?;
    check!(!is_free(&lock), "two read still");
    check!(lock.write_timeout(Duration::from_millis(2)).is_err());
    drop(own);
    check!(!is_free(&lock), "one reads still");
    drop(again);
    check!(is_free(&lock));
    Ok(())
}

/// Those behind one that dies while it waits do not wait for it.
fn who_waits_dies() -> Outcome {
    let lock = Arc::new(RwLock::new(0));
    let own = lock.read();
    let waits = lock.clone();
    let dying = spawn(move || *waits.write() += 1);
    poll("the writer waits", || lock.try_read().is_none())?;
    let waits = lock.clone();
    let behind = spawn(move || *waits.read());
    sleep(Duration::from_millis(1));
    dying.thread().kill();
    check_eq!(dying.join(), Err(Death::Killed));
    check!(ends_with(behind, 0), "a reader waits for a writer that is dead");
    drop(own);
    check!(is_free(&lock) && !lock.is_orphaned());
    Ok(())
}

fn what_a_downgrade_left_passes_on() -> Outcome {
    let lock = Arc::new(RwLock::new(0));
    let his = lock.clone();
    let dying = Holder::new(End::Kill, move |wait| {
        let mut value = his.write();
        *value = 5;
        let _value = value.downgrade();
        wait();
    })?;
    check!(lock.try_read().is_some() && !is_free(&lock));
    dying.end()?;
    check!(lock.write_timeout(LONG).is_ok_and(|value| *value == 5));
    check!(!lock.is_orphaned(), "it read when it died");
    Ok(())
}

/// Guards that are dropped in another order than they were taken, of one thread and many.
fn a_reader_that_ends_leaves_no_mark() -> Outcome {
    let lock = Arc::new(RwLock::new(0));
    let threads: Vec<_> = (0..7)
        .map(|_| {
            let lock = lock.clone();
            spawn(move || {
                for _ in 0..20 {
                    let (one, two) = (lock.read(), lock.try_read());
                    yield_now();
                    drop(one);
                    yield_now();
                    drop(two);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(joined);
    check!(is_free(&lock), "more or fewer readers left than had come");
    Ok(())
}

/// A thread that is in the middle of doing it.
fn doing(end: End, once: &Arc<Once>) -> Outcome<Holder> {
    let once = once.clone();
    Holder::new(end, move |wait| once.call_once(wait))
}

fn once_dies_while_others_wait() -> Outcome {
    for end in ENDS {
        let (once, times) = (Arc::new(Once::new()), Arc::new(AtomicUsize::new(0)));
        let dying = doing(end, &once)?;
        check!(!once.is_orphaned());
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let (once, times) = (once.clone(), times.clone());
                spawn(move || {
                    once.call_once(|| {
                        check_or_die(once.is_orphaned());
                        times.fetch_add(1, Ordering::Relaxed);
                    });
                    times.load(Ordering::Relaxed)
                })
            })
            .collect();
        sleep(Duration::from_millis(1));
        dying.end()?;
        for waiter in waiters {
            check!(ends_with(waiter, 1), "one waits still, or it was done again");
        }
        check!(once.is_done() && once.is_orphaned());
    }
    Ok(())
}

fn check_or_die(holds: bool) {
    assert!(holds, "who does it after one that died is not told");
}

fn once_dies_with_nobody_there() -> Outcome {
    for end in ENDS {
        let once = Arc::new(Once::new());
        doing(end, &once)?.end()?;
        check!(!once.is_done());
        // The next dies, too.
        doing(end, &once)?.end()?;
        let mut done = false;
        check!(once.call_once_timeout(LONG, || done = true).is_ok(), "a dead thread is waited for");
        check!(done && once.is_done() && once.is_orphaned());
    }
    Ok(())
}

fn a_value_is_made_by_the_next() -> Outcome {
    let cell = Arc::new(OnceLock::new());
    let his = cell.clone();
    let dying = Holder::new(End::Kill, move |wait| {
        his.get_or_init(|| {
            wait();
            vec![1, 2, 3]
        });
    })?;
    check!(cell.get().is_none());
    let waits = cell.clone();
    let next = spawn(move || waits.get_or_init(|| vec![4]).clone());
    sleep(Duration::from_millis(1));
    dying.end()?;
    check!(ends_with(next, vec![4]), "the next did not make the value");
    check!(cell.is_orphaned());
    check_eq!(cell.get_or_init(Vec::new).len(), 1);
    Ok(())
}

/// One fails, and who is woken to do it in its place is killed before it can.
fn who_gives_a_turn_up_hands_it_on() -> Outcome {
    for _ in 0..50 {
        let (once, go) = (Arc::new(Once::new()), Arc::new(AtomicBool::new(false)));
        let begun = Arc::new(AtomicBool::new(false));
        let (his, his_go, tells) = (once.clone(), go.clone(), begun.clone());
        let fails = spawn(move || {
            his.try_call_once(|| {
                tells.store(true, Ordering::Relaxed);
                while !his_go.load(Ordering::Relaxed) {
                    yield_now();
                }
                Err(())
            })
        });
        poll("the first has begun", || begun.load(Ordering::Relaxed))?;
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let once = once.clone();
                spawn(move || once.call_once(|| sleep(Duration::from_micros(20))))
            })
            .collect();
        sleep(Duration::from_micros(300));
        go.store(true, Ordering::Relaxed);
        let first = waiters[0].thread();
        first.kill();
        check_eq!(joined(fails), Err(()));
        for (number, waiter) in waiters.into_iter().enumerate() {
            match waiter.join_timeout(LONG) {
                Ok(end) => check!(end.is_ok() || number == 0, "waiter {number}: {end:?}"),
                Err(_) => return Err(Failure::Failed(format!("waiter {number} waits for ever"))),
            }
        }
        check!(once.is_done());
    }
    Ok(())
}

/// Who would wait for itself dies by name, and what it had passes on.
fn taken_twice() -> Outcome {
    let lock = Arc::new(RwLock::new(0));
    let ways: [fn(&RwLock<u32>); 3] = [
        |lock| {
            let _own = lock.write();
            drop(lock.write());
        },
        |lock| {
            let _own = lock.write();
            drop(lock.read());
        },
        |lock| {
            let _own = lock.read();
            drop(lock.write());
        },
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let his = lock.clone();
        let thread = spawn(move || way(&his));
        let Ok(end) = thread.join_timeout(LONG) else {
            return Err(Failure::Failed(format!("way {number}: it waits for itself")));
        };
        check_eq!(end, Err(Death::Panicked));
        check!(lock.write_timeout(LONG).is_ok(), "way {number}: what it had is taken for ever");
    }
    let once = Arc::new(Once::new());
    let his = once.clone();
    let thread = spawn(move || his.call_once(|| his.call_once(|| ())));
    let Ok(end) = thread.join_timeout(LONG) else {
        return Err(Failure::Failed("it waits for its own end".into()));
    };
    check_eq!(end, Err(Death::Panicked));
    once.call_once(|| ());
    check!(once.is_done());
    Ok(())
}

/// The first who waits for a barging mutex is killed at about the time when it is woken to try again.
fn a_barging_waiter_dies_once_woken() -> Outcome {
    for turn in 0..100_u64 {
        let mutex = Arc::new(Mutex::barging(0));
        let own = mutex.lock();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let mutex = mutex.clone();
                spawn(move || *mutex.lock() += 1)
            })
            .collect();
        sleep(Duration::from_micros(200));
        let first = waiters[0].thread();
        if turn % 2 == 0 {
            drop(own);
            first.kill();
        } else {
            first.kill();
            drop(own);
        }
        for (number, waiter) in waiters.into_iter().enumerate() {
            match waiter.join_timeout(LONG) {
                Ok(end) => check!(end.is_ok() || number == 0, "waiter {number}: {end:?}"),
                Err(_) => return Err(Failure::Failed(format!("waiter {number} waits for ever"))),
            }
        }
    }
    Ok(())
}

/// Threads that are killed wherever they are, among others that use the same locks.
fn many_die() -> Outcome {
    let shared: Arc<(RwLock<u64>, Mutex<u64>, Mutex<u64>)> =
        Arc::new((RwLock::new(0), Mutex::new(0), Mutex::barging(0)));
    for seed in 0..60 {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let shared = shared.clone();
                spawn(move || {
                    let mut random = Random::new(seed * 4 + number);
                    for _ in 0..20 {
                        match random.below(5) {
                            0 | 1 => yield_holding(shared.0.read()),
                            2 => yield_holding(shared.0.write()),
                            3 => yield_holding(shared.1.lock()),
                            _ => yield_holding(shared.2.lock()),
                        }
                    }
                })
            })
            .collect();
        sleep(Duration::from_micros(20 + seed * 7));
        threads[0].thread().kill();
        threads[1].thread().kill();
        for (number, thread) in threads.into_iter().enumerate() {
            let Ok(end) = thread.join_timeout(LONG) else {
                return Err(Failure::Failed(format!("seed {seed}: thread {number} waits for what a dead one has")));
            };
            check!(end.is_ok() || number < 2);
        }
        check!(shared.0.write_timeout(LONG).is_ok(), "seed {seed}: the lock is taken by a dead thread");
    }
    Ok(())
}

fn yield_holding<T>(guard: T) {
    yield_now();
    drop(guard);
}
