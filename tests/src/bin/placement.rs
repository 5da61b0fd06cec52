//! Where threads go: back where they ran, from near before from afar, and never to a CPU that is given to one alone.
//@ run: flat
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: numa
//@ machines: virt, q35
//@ numa: 2
#![no_std]
#![no_main]

use isochron::kernel::topology::{self, Distance};
use isochron::thread::{Death, ReserveError, park, reserve_cpu, sleep};
use isochron::worker::{self, Statistics, StealSettingError, StealThresholds};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        all_cpus_get_a_thread_at_once,
        a_woken_thread_goes_home,
        a_thief_takes_from_its_node_first,
        few_are_left_alone_by_those_far_away,
        without_stealing_threads_stay,
        bad_settings_are_refused,
        a_reserved_cpu_is_for_one,
        a_reserved_cpu_is_not_interrupted,
        who_waits_for_a_reserved_cpu_goes_elsewhere,
        a_reserved_cpu_is_given_back,
        a_dead_threads_cpu_is_given_back,
        a_claim_ends_with_its_thread,
        an_exclusive_thread_may_do_all_that_others_do,
        bad_reservations_are_refused
    ])
}

const PRIMARY: CpuId = CpuId::PRIMARY;

fn cpus() -> impl Iterator<Item = CpuId> {
    (0..thread::cpu_count()).map(CpuId::new)
}

fn last() -> CpuId {
    CpuId::new(thread::cpu_count() - 1)
}

fn need_cpus(least: usize) -> Outcome {
    if thread::cpu_count() < least {
        ignore!("it takes {least} CPUs");
    }
    Ok(())
}

fn on<T: Send + 'static>(cpu: CpuId, body: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    Builder::new().pinned(cpu).spawn(body).map_err(|error| Failure::Failed(format!("{error}")))
}

fn failed(error: impl core::fmt::Display) -> Failure {
    Failure::Failed(format!("{error}"))
}

fn all(of: fn(&Statistics) -> u64) -> u64 {
    cpus().filter_map(statistics).map(|found| of(&found)).sum()
}

/// What a test hog does until it is told to stop.
fn hog(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        core::hint::spin_loop();
    }
}

/// As many threads as CPUs, made by one that does not let go of its own: each of the others must be taken by a CPU that was
/// idle, with one wake-up for each at the most.
fn all_cpus_get_a_thread_at_once() -> Outcome {
    let count = thread::cpu_count();
    on(PRIMARY, move || {
        for _ in 0..20 {
            sleep(Duration::from_micros(300));
            let here = Arc::new(AtomicUsize::new(1));
            let guard = PreemptGuard::new();
            let threads: Vec<_> = (1..count)
                .map(|_| {
                    let here = here.clone();
                    spawn(move || {
                        here.fetch_add(1, Ordering::Relaxed);
                        // Nobody yields: they can all be there only if each has a CPU.
                        spin("every CPU has a thread", || here.load(Ordering::Relaxed) >= count)
                    })
                })
                .collect();
            spin("every CPU has a thread", || here.load(Ordering::Relaxed) >= count)?;
            drop(guard);
            threads.into_iter().try_for_each(|thread| thread.join().map_err(failed)?)?;
        }
        Ok(())
    })?
    .join()
    .map_err(failed)?
}

/// A thread that parks on a CPU which then idles is woken there, whoever wakes it. Mostly: a host that takes a CPU away in
/// the middle of its way to idling makes it look busy.
fn a_woken_thread_goes_home() -> Outcome {
    need_cpus(2)?;
    let (mut stayed, mut strayed) = (0, 0);
    for round in 0..20 {
        let (home, waker) = (CpuId::new(round % thread::cpu_count()), CpuId::new((round + 1) % thread::cpu_count()));
        let ready = Arc::new(AtomicBool::new(false));
        let told = ready.clone();
        let sleeper = on(home, move || {
            thread::unpin();
            told.store(true, Ordering::Release);
            let before = thread::current_cpu();
            park();
            (before, thread::current_cpu())
        })?;
        let wakes = sleeper.thread();
        let woken = on(waker, move || {
            while !ready.load(Ordering::Acquire) {
                sleep(Duration::from_micros(50));
            }
            sleep(Duration::from_micros(500));
            wakes.unpark();
        })?;
        woken.join().map_err(failed)?;
        let (before, after) = sleeper.join().map_err(failed)?;
        if before == home {
            *(if after == home { &mut stayed } else { &mut strayed }) += 1;
        }
    }
    check!(stayed >= strayed, "{stayed} went back to their idle CPU, {strayed} elsewhere");
    Ok(())
}

/// While a CPU holds on to threads that wait, those who are idle take them: all that were taken from afar, only after those of
/// the same node had their turn.
fn a_thief_takes_from_its_node_first() -> Outcome {
    need_cpus(2)?;
    let before = all(|found| found.steals);
    on(PRIMARY, || {
        for _ in 0..50 {
            let guard = PreemptGuard::new();
            let done = Arc::new(AtomicUsize::new(0));
            for _ in 0..8 {
                let done = done.clone();
                spawn(move || done.fetch_add(1, Ordering::Relaxed)).detach();
            }
            spin("others have run what waits here", || done.load(Ordering::Relaxed) == 8)?;
            drop(guard);
            sleep(Duration::from_micros(50));
        }
        Ok(())
    })?
    .join()
    .map_err(failed)??;
    check!(all(|found| found.steals) > before, "nothing was stolen");
    for found in cpus().filter_map(statistics) {
        check_eq!(found.steals, found.steals_by_distance.iter().sum::<u64>());
    }
    for cpu in cpus() {
        let Some(found) = statistics(cpu) else { continue };
        for distance in [Distance::Sibling, Distance::Cache, Distance::Node, Distance::Far] {
            let there = cpus().any(|other| topology::distance(cpu, other) == distance);
            let stolen = found.steals_by_distance[distance as usize - 1];
            check!(there || stolen == 0, "CPU {cpu} has stolen {stolen} times at a distance where nobody is");
        }
    }
    Ok(())
}

/// With a threshold for far CPUs, one waiting thread stays in its node.
fn few_are_left_alone_by_those_far_away() -> Outcome {
    let far: Vec<CpuId> = cpus().filter(|&cpu| topology::distance(PRIMARY, cpu) == Distance::Far).collect();
    let near: Vec<CpuId> = cpus().filter(|&cpu| cpu != PRIMARY && !far.contains(&cpu)).collect();
    if far.is_empty() {
        ignore!("it takes two nodes");
    }
    worker::set_steal_thresholds(StealThresholds { far: 100, ..StealThresholds::ONE }).map_err(failed)?;
    let outcome = on(PRIMARY, move || {
        let stop = Arc::new(AtomicBool::new(false));
        let hogs: Vec<_> = near
            .iter()
            .map(|&cpu| {
                let stop = stop.clone();
                on(cpu, move || hog(&stop))
            })
            .collect::<Result<_, _>>()?;
        sleep(Duration::from_millis(2));
        let guard = PreemptGuard::new();
        let ran = Arc::new(AtomicBool::new(false));
        let told = ran.clone();
        let one = spawn(move || {
            told.store(true, Ordering::Relaxed);
            thread::current_cpu()
        });
        let end = Instant::now() + Duration::from_millis(5);
        while Instant::now() < end {
            core::hint::spin_loop();
        }
        let early = ran.load(Ordering::Relaxed);
        drop(guard);
        stop.store(true, Ordering::Relaxed);
        hogs.into_iter().try_for_each(|hog| hog.join().map_err(failed))?;
        let place = one.join().map_err(failed)?;
        check!(!early || !far.contains(&place), "one waiting thread was taken to CPU {place}, in another node");
        Ok(())
    })?
    .join()
    .map_err(failed)?;
    worker::set_steal_thresholds(StealThresholds::default()).map_err(failed)?;
    outcome
}

fn without_stealing_threads_stay() -> Outcome {
    need_cpus(2)?;
    worker::set_stealing(PRIMARY, false).map_err(failed)?;
    check!(!worker::stealing(PRIMARY));
    let outcome = on(PRIMARY, || {
        let guard = PreemptGuard::new();
        let threads: Vec<_> = (0..10).map(|_| spawn(thread::current_cpu)).collect();
        let end = Instant::now() + Duration::from_millis(2);
        while Instant::now() < end {
            core::hint::spin_loop();
        }
        drop(guard);
        for thread in threads {
            check_eq!(thread.join().map_err(failed)?, PRIMARY, "stolen from a CPU that takes no part");
        }
        Ok(())
    })?
    .join()
    .map_err(failed)?;
    worker::set_stealing(PRIMARY, true).map_err(failed)?;
    check!(worker::stealing(PRIMARY));
    outcome
}

fn bad_settings_are_refused() -> Outcome {
    let zero = StealThresholds { sibling: 0, ..StealThresholds::ONE };
    let falling = StealThresholds { sibling: 3, cache: 2, node: 3, far: 3 };
    for bad in [zero, falling] {
        check_eq!(worker::set_steal_thresholds(bad), Err(StealSettingError::Thresholds(bad)));
    }
    check_eq!(worker::steal_thresholds(), StealThresholds::ONE);
    check_eq!(worker::set_steal_back_off(1 << 30), Err(StealSettingError::BackOff(1 << 30)));
    let none = CpuId::new(63);
    check_eq!(worker::set_stealing(none, false), Err(StealSettingError::NoSuchCpu(none)));
    Ok(())
}

/// Beside a flood of threads that come and go, none of them is ever seen on the CPU that is given to one.
fn a_reserved_cpu_is_for_one() -> Outcome {
    need_cpus(2)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let owner = Builder::new().spawn_exclusive(last(), move || hog(&told)).map_err(failed)?;
    sleep(Duration::from_millis(1));
    let mut strays = 0;
    for _ in 0..50 {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                spawn(|| {
                    let first = thread::current_cpu();
                    yield_now();
                    sleep(Duration::from_micros(5));
                    [first, thread::current_cpu()]
                })
            })
            .collect();
        for thread in threads {
            let seen = thread.join().map_err(failed)?;
            strays += seen.iter().filter(|&&cpu| cpu == last()).count();
        }
    }
    stop.store(true, Ordering::Relaxed);
    owner.join().map_err(failed)?;
    check_eq!(strays, 0, "threads on a CPU that is given to another");
    Ok(())
}

fn a_reserved_cpu_is_not_interrupted() -> Outcome {
    need_cpus(2)?;
    let interrupts = || statistics(last()).map_or(0, |found| found.interrupts);
    let owner = Builder::new()
        .spawn_exclusive(last(), move || {
            // What was under way ends meanwhile: a quantum, an interrupt of a CPU that did not know yet.
            let settled = Instant::now() + Duration::from_millis(20);
            while Instant::now() < settled {
                core::hint::spin_loop();
            }
            let before = interrupts();
            let end = Instant::now() + Duration::from_millis(30);
            while Instant::now() < end {
                core::hint::spin_loop();
            }
            interrupts() - before
        })
        .map_err(failed)?;
    let end = Instant::now() + Duration::from_millis(60);
    while Instant::now() < end {
        let threads: Vec<_> = (0..10).map(|_| spawn(|| sleep(Duration::from_micros(20)))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(failed))?;
    }
    check_eq!(owner.join().map_err(failed)?, 0, "interrupts on a CPU that is given to one thread");
    Ok(())
}

/// Also behind threads that are bound to that CPU and go before it.
fn who_waits_for_a_reserved_cpu_goes_elsewhere() -> Outcome {
    need_cpus(2)?;
    let bound = |priority| Builder::new().pinned(last()).priority(priority);
    // Nobody takes it from there, and this thread is not to wait there too.
    thread::pin_to(PRIMARY).map_err(failed)?;
    worker::set_stealing(last(), false).map_err(failed)?;
    // Else it would have a turn after some quanta, if the owner takes that long.
    let quantum = worker::quantum();
    worker::set_quantum(worker::LONGEST_QUANTUM).map_err(failed)?;
    let [stop, goes_on, low_runs, comes] = [(); 4].map(|()| Arc::new(AtomicBool::new(false)));
    let ran_at = Arc::new(AtomicUsize::new(usize::MAX));
    let (told, tells) = (stop.clone(), low_runs.clone());
    let low = bound(90).spawn(move || {
        tells.store(true, Ordering::Relaxed);
        hog(&told);
    });
    poll("the lower one runs", || low_runs.load(Ordering::Relaxed))?;
    let (told, tells, waits, goes) = (stop.clone(), ran_at.clone(), comes.clone(), goes_on.clone());
    let high = bound(100).spawn(move || {
        // Nobody else has a turn here until the owner is on its way.
        let guard = PreemptGuard::new();
        drop(spawn(move || tells.store(thread::current_cpu().index(), Ordering::Relaxed)));
        goes.store(true, Ordering::Relaxed);
        while !waits.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
        drop(guard);
        hog(&told);
    });
    poll("the higher one runs", || goes_on.load(Ordering::Relaxed))?;
    let seen = ran_at.clone();
    let owner = Builder::new().priority(200).spawn(move || {
        comes.store(true, Ordering::Relaxed);
        let held = reserve_cpu(last());
        // The one that waits there is not asked for: this thread keeps the CPU.
        let end = Instant::now() + Duration::from_secs(5);
        while seen.load(Ordering::Relaxed) == usize::MAX && Instant::now() < end {
            core::hint::spin_loop();
        }
        held.map(drop)
    });
    owner.map_err(failed)?.join().map_err(failed)?.map_err(failed)?;
    let place = ran_at.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    high.map_err(failed)?.join().map_err(failed)?;
    low.map_err(failed)?.join().map_err(failed)?;
    worker::set_stealing(last(), true).map_err(failed)?;
    worker::set_quantum(quantum).map_err(failed)?;
    thread::unpin();
    check!(place < last().index(), "a thread that waited behind two bound ones ran at {place:#x}");
    Ok(())
}

fn a_reserved_cpu_is_given_back() -> Outcome {
    need_cpus(2)?;
    for _ in 0..10 {
        let held = reserve_cpu(last()).map_err(failed)?;
        check_eq!(held.cpu(), last());
        check_eq!(thread::current_cpu(), last());
        check_eq!(on(last(), || ()).map(|_| ()), Err(failed(SpawnError::Reserved(last()))));
        // A guard that comes to its end elsewhere gives back the right CPU.
        thread::pin_to(PRIMARY).map_err(failed)?;
        drop(held);
        thread::unpin();
        check_eq!(on(last(), thread::current_cpu)?.join().map_err(failed)?, last());
    }
    all_cpus_get_a_thread_at_once()
}

fn a_dead_threads_cpu_is_given_back() -> Outcome {
    need_cpus(2)?;
    let dies = Builder::new().spawn_exclusive(last(), || -> () { panic!("on purpose") }).map_err(failed)?;
    check!(dies.join().is_err());
    // Its CPU sees to it when it has nothing to run.
    poll("the CPU is given back", || Builder::new().pinned(last()).spawn(|| ()).is_ok())
}

/// Killed on its way to a CPU of its own, or while it makes a thread that is to have one, a thread keeps none.
fn a_claim_ends_with_its_thread() -> Outcome {
    need_cpus(2)?;
    for turn in 0..90_u64 {
        let begun = Arc::new(AtomicBool::new(false));
        let tells = begun.clone();
        let killed = spawn(move || {
            tells.store(true, Ordering::Relaxed);
            let _own = match turn % 2 {
                0 => reserve_cpu(last()).ok(),
                _ => Builder::new().spawn_exclusive(last(), || ()).ok().and(None),
            };
            loop {
                yield_now();
            }
        });
        poll("it has begun", || begun.load(Ordering::Relaxed))?;
        // The kill comes a little later each time.
        for _ in 0..turn * 8 {
            core::hint::spin_loop();
        }
        killed.thread().kill();
        check_eq!(killed.join(), Err::<(), _>(Death::Killed));
        let is_free = || Builder::new().spawn_exclusive(last(), || ()).is_ok_and(|thread| thread.join().is_ok());
        poll("the CPU is given back", is_free)?;
    }
    Ok(())
}

/// It spawns, wakes, sleeps and joins; what it starts runs elsewhere.
fn an_exclusive_thread_may_do_all_that_others_do() -> Outcome {
    need_cpus(2)?;
    let owner = Builder::new().spawn_exclusive(last(), || {
        for _ in 0..50 {
            let child = spawn(|| {
                park();
                thread::current_cpu()
            });
            sleep(Duration::from_micros(20));
            child.thread().unpark();
            check!(child.join().map_err(failed)? != last());
            check_eq!(thread::current_cpu(), last());
            yield_now();
        }
        Ok(())
    });
    owner.map_err(failed)?.join().map_err(failed)?
}

fn bad_reservations_are_refused() -> Outcome {
    check_eq!(reserve_cpu(PRIMARY).map(|_| ()), Err(ReserveError::Primary));
    let none = CpuId::new(63);
    check_eq!(reserve_cpu(none).map(|_| ()), Err(ReserveError::NoSuchCpu(none)));
    need_cpus(2)?;
    let held = reserve_cpu(last()).map_err(failed)?;
    check_eq!(reserve_cpu(last()).map(|_| ()), Err(ReserveError::HasOne(last())));
    let other = Builder::new().spawn_exclusive(last(), || ()).map(|_| ());
    check_eq!(other, Err(ReserveError::Taken(last())));
    drop(held);
    let bad = Builder::new().stack_size(1).spawn_exclusive(last(), || ()).map(|_| ());
    check_eq!(bad, Err(ReserveError::Spawn(SpawnError::StackSize(1))));
    // And that has not kept the CPU.
    check_eq!(on(last(), || ()).map(|_| ()), Ok(()));
    Ok(())
}
