//! Many CPUs: they come up, share the work, wake each other, and lose nothing.
//@ run: usual
//@ machines: virt, raspi4b, q35, microvm, hosted
//@ cpus: 1, 2, 4
//@ run: lse
//@ machines: virt
//@ cpus: 4
//@ lse: yes
#![no_std]
#![no_main]

use isochron::kernel::{cpu, report, smp};
use isochron::sync::Mutex;
use isochron::thread::{Thread, park, sleep};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        all_cpus_are_up,
        every_cpu_runs_threads,
        as_many_threads_as_cpus_run_at_once,
        waiting_threads_are_stolen,
        what_a_busy_cpu_keeps_is_shared,
        sleeping_cpus_are_woken,
        a_thread_handed_to_a_busy_cpu_runs,
        a_storm_of_unparks_loses_none,
        pinned_threads_stay,
        pinned_threads_are_woken_where_they_belong,
        more_threads_than_queues_hold,
        memory_is_freed_on_other_cpus,
        spawning_on_all_cpus,
        cpus_answer_probes,
        idle_cpus_sleep,
    ])
}

/// Starts a thread on a CPU.
fn on<T: Send + 'static>(cpu: usize, body: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    Builder::new().pinned(CpuId::new(cpu)).spawn(body).map_err(|error| Failure::Failed(format!("{error}")))
}

fn need_cpus(least: usize) -> Outcome {
    if thread::cpu_count() < least {
        ignore!("it takes {least} CPUs");
    }
    Ok(())
}

fn all_cpus_are_up() -> Outcome {
    // The host compares it with the number that it asked for; see also the kernel `boot`.
    let told = report::facts().cpus_described;
    check_eq!(thread::cpu_count(), told);
    check_eq!(cpu::described().count(), told);
    check_eq!(cpu::online().count(), told);
    let mut ids: Vec<u64> = cpu::online().map(|cpu| cpu.description.hardware_id).collect();
    ids.sort_unstable();
    ids.dedup();
    check_eq!(ids.len(), told, "two CPUs have the same hardware id");
    Ok(())
}

fn every_cpu_runs_threads() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        let (number, hardware) =
            on(cpu, || (thread::current_cpu().index(), isochron::kernel::arch::cpu::hardware_id()))?.join().unwrap();
        check_eq!(number, cpu);
        let described = cpu::cpu(CpuId::new(cpu)).map(|found| found.description.hardware_id);
        check_eq!(Some(hardware), described, "CPU {cpu} is another one than the firmware described");
    }
    Ok(())
}

/// One thread per CPU, each spinning until all are there: they can meet only if all CPUs take one.
fn as_many_threads_as_cpus_run_at_once() -> Outcome {
    let cpus = thread::cpu_count();
    for _ in 0..20 {
        let arrived = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..cpus)
            .map(|_| {
                let arrived = arrived.clone();
                spawn(move || {
                    let _guard = PreemptGuard::new();
                    arrived.fetch_add(1, Ordering::Relaxed);
                    spin("a thread runs on every CPU", || arrived.load(Ordering::Relaxed) == cpus)?;
                    Ok(1u64 << thread::current_cpu().index())
                })
            })
            .collect();
        let mut seen = 0;
        for thread in threads {
            seen |= thread.join().unwrap()?;
        }
        check_eq!(seen.count_ones() as usize, cpus, "threads that ran at once shared a CPU");
    }
    Ok(())
}

fn all_steals() -> u64 {
    (0..thread::cpu_count()).filter_map(|cpu| statistics(CpuId::new(cpu))).map(|found| found.steals).sum()
}

/// Threads that were made on a CPU which then does not let go of itself: the others take them.
fn waiting_threads_are_stolen() -> Outcome {
    need_cpus(2)?;
    let before = all_steals();
    let held = on(0, || {
        let _guard = PreemptGuard::new();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            spawn(move || done.fetch_add(1, Ordering::Relaxed)).detach();
        }
        spin("other CPUs have run what waits here", || done.load(Ordering::Relaxed) == 100)
    })?;
    held.join().unwrap()?;
    check!(all_steals() > before, "nothing was stolen");
    Ok(())
}

/// As above, but the threads are made while all other CPUs are awake and busy, so that nobody needs to be woken; when
/// those have nothing to do any more, they come for them.
fn what_a_busy_cpu_keeps_is_shared() -> Outcome {
    need_cpus(2)?;
    let busy = Arc::new(AtomicBool::new(true));
    let started = Arc::new(AtomicUsize::new(0));
    let others = thread::cpu_count() - 1;
    let hogs: Vec<_> = (1..=others)
        .map(|cpu| {
            let (busy, started) = (busy.clone(), started.clone());
            on(cpu, move || {
                started.fetch_add(1, Ordering::Relaxed);
                while busy.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect::<Result<_, _>>()?;
    let keeper = on(0, move || {
        while started.load(Ordering::Relaxed) < others {
            yield_now();
        }
        let done = Arc::new(AtomicUsize::new(0));
        let _guard = PreemptGuard::new();
        for _ in 0..10 {
            let done = done.clone();
            spawn(move || done.fetch_add(1, Ordering::Relaxed)).detach();
        }
        busy.store(false, Ordering::Relaxed);
        spin("CPUs that run out of work take some from a busy one", || done.load(Ordering::Relaxed) == 10)
    })?;
    let outcome = keeper.join().unwrap();
    hogs.into_iter().for_each(joined);
    outcome
}

fn sleeping_cpus_are_woken() -> Outcome {
    need_cpus(2)?;
    for _ in 0..50 {
        // Long enough for the others to fall asleep.
        sleep(Duration::from_micros(500));
        let ran_on = Arc::new(AtomicUsize::new(usize::MAX));
        let made = {
            let ran_on = ran_on.clone();
            let _guard = PreemptGuard::new();
            let made = spawn({
                let ran_on = ran_on.clone();
                move || ran_on.store(thread::current_cpu().index(), Ordering::Relaxed)
            });
            spin("a sleeping CPU takes a new thread", || ran_on.load(Ordering::Relaxed) != usize::MAX)?;
            check!(ran_on.load(Ordering::Relaxed) != thread::current_cpu().index());
            made
        };
        made.join().unwrap();
    }
    Ok(())
}

fn a_thread_handed_to_a_busy_cpu_runs() -> Outcome {
    need_cpus(2)?;
    let stop = Arc::new(AtomicBool::new(false));
    let hog = {
        let stop = stop.clone();
        on(1, move || {
            while !stop.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
        })?
    };
    for _ in 0..20 {
        check_eq!(on(1, thread::current_cpu)?.join().unwrap(), CpuId::new(1));
    }
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    Ok(())
}

/// Tokens wander at random between threads that park when they have none. Were one wake-up lost, its token would lie
/// where nobody takes it, and in the end all would park for ever.
fn a_storm_of_unparks_loses_none() -> Outcome {
    const HOPS: usize = 40_000;
    let count = thread::cpu_count() * 4;
    let tokens: Arc<Vec<AtomicUsize>> = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect());
    let hops = Arc::new(AtomicUsize::new(0));
    let everybody = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..count)
        .map(|me| {
            let (tokens, hops, everybody) = (tokens.clone(), hops.clone(), everybody.clone());
            spawn(move || {
                park();
                let everybody: Vec<Thread> = everybody.lock().clone();
                let mut random = Random::new(me as u64);
                while hops.load(Ordering::Relaxed) < HOPS {
                    let had = tokens[me].swap(0, Ordering::AcqRel);
                    for _ in 0..had {
                        hops.fetch_add(1, Ordering::Relaxed);
                        let next = random.below(everybody.len());
                        tokens[next].fetch_add(1, Ordering::AcqRel);
                        everybody[next].unpark();
                    }
                    if had == 0 {
                        park();
                    }
                }
                everybody.iter().for_each(Thread::unpark);
            })
        })
        .collect();
    everybody.lock().extend(threads.iter().map(JoinHandle::thread));
    for token in tokens.iter().step_by(2) {
        token.store(1, Ordering::Release);
    }
    threads.iter().for_each(|thread| thread.thread().unpark());
    threads.into_iter().for_each(joined);
    check_eq!(tokens.iter().map(|token| token.load(Ordering::Relaxed)).sum::<usize>(), count.div_ceil(2));
    Ok(())
}

fn pinned_threads_stay() -> Outcome {
    let cpus = thread::cpu_count();
    let threads: Vec<_> = (0..cpus * 4)
        .map(|number| {
            on(number % cpus, move || {
                let mut random = Random::new(number as u64);
                let mut strays = 0;
                for _ in 0..300 {
                    match random.below(4) {
                        0 => sleep(Duration::from_nanos(random.number() % 100_000)),
                        1 => drop(thread::park_timeout(Duration::from_micros(20))),
                        2 => spawn(|| ()).join().unwrap(),
                        _ => yield_now(),
                    }
                    strays += u32::from(thread::current_cpu().index() != number % cpus);
                }
                strays
            })
        })
        .collect::<Result<_, _>>()?;
    for thread in threads {
        check_eq!(thread.join().unwrap(), 0, "a bound thread ran on another CPU");
    }
    Ok(())
}

fn pinned_threads_are_woken_where_they_belong() -> Outcome {
    let cpus = thread::cpu_count();
    for round in 0..100 {
        let target = round % cpus;
        let parked = on(target, move || {
            park();
            thread::current_cpu().index()
        })?;
        let waker = parked.thread();
        on((round + 1) % cpus, move || waker.unpark())?.join().unwrap();
        check_eq!(parked.join().unwrap(), target);
    }
    Ok(())
}

/// Far more runnable threads than a run queue has room for, all made by one.
fn more_threads_than_queues_hold() -> Outcome {
    let done = Arc::new(AtomicUsize::new(0));
    let maker = {
        let done = done.clone();
        on(0, move || {
            let _guard = PreemptGuard::new();
            for number in 0..1500usize {
                let done = done.clone();
                let body = move || {
                    yield_now();
                    done.fetch_add(1, Ordering::Relaxed);
                };
                let builder = Builder::new().stack_size(8192);
                let builder = if number % 3 == 0 { builder.pinned(CpuId::PRIMARY) } else { builder };
                builder.spawn(body).map_err(|error| Failure::Failed(format!("{error}")))?.detach();
            }
            Ok(())
        })?
    };
    maker.join().unwrap()?;
    poll("all 1500 threads have run", || done.load(Ordering::Relaxed) == 1500)
}

fn memory_is_freed_on_other_cpus() -> Outcome {
    let cpus = thread::cpu_count();
    let (tx, rx) = isochron::channel::bounded::<Vec<u64>>(16);
    let makers: Vec<_> = (0..cpus)
        .map(|cpu| {
            let tx = tx.clone();
            on(cpu, move || {
                let mut random = Random::new(cpu as u64);
                for _ in 0..500 {
                    let length = 1 + random.below(600);
                    let start = random.number() >> 1;
                    if tx.send((start..).take(length).collect()).is_err() {
                        break;
                    }
                }
            })
        })
        .collect::<Result<_, _>>()?;
    drop(tx);
    let takers: Vec<_> = (0..cpus)
        .map(|cpu| {
            let rx = rx.clone();
            // The block's maker is one CPU further, as often as not.
            on(cpu, move || rx.iter().filter(|block| !block.is_sorted_by(|a, b| a + 1 == *b)).count())
        })
        .collect::<Result<_, _>>()?;
    drop(rx);
    makers.into_iter().for_each(joined);
    for taker in takers {
        check_eq!(taker.join().unwrap(), 0, "blocks that were freed on another CPU came damaged");
    }
    Ok(())
}

fn spawning_on_all_cpus() -> Outcome {
    let cpus = thread::cpu_count();
    let spawners: Vec<_> = (0..cpus)
        .map(|cpu| {
            on(cpu, move || {
                let mut sum = 0u64;
                for round in 0..300u64 {
                    let near = spawn(move || round);
                    let far = on((cpu + 1) % cpus, move || round)?;
                    sum += near.join().unwrap() + far.join().unwrap();
                }
                Ok(sum)
            })
        })
        .collect::<Result<_, _>>()?;
    for spawner in spawners {
        check_eq!(spawner.join().unwrap()?, 299 * 300);
    }
    Ok(())
}

fn cpus_answer_probes() -> Outcome {
    need_cpus(2)?;
    on(0, || {
        for cpu in 1..thread::cpu_count() {
            let mut answered = false;
            // A host that does not run that CPU for 100 ms is no fault of the guest.
            for _ in 0..20 {
                if let Some((sent, handled)) = smp::probe(CpuId::new(cpu)) {
                    check!(handled >= sent, "CPU {cpu} answered before it was asked");
                    answered = true;
                    break;
                }
            }
            check!(answered, "CPU {cpu} never answers");
        }
        Ok(())
    })?
    .join()
    .unwrap()
}

/// A CPU without work takes no interrupt at all.
fn idle_cpus_sleep() -> Outcome {
    need_cpus(2)?;
    let interrupts = || -> Vec<u64> {
        (0..thread::cpu_count()).filter_map(|cpu| statistics(CpuId::new(cpu))).map(|found| found.interrupts).collect()
    };
    // What earlier cases left behind may still end; the quiet must come, and must then last.
    let mut quiet = 0;
    for _ in 0..20 {
        let before = interrupts();
        sleep(Duration::from_millis(20));
        let after = interrupts();
        quiet = before.iter().zip(&after).filter(|(before, after)| before == after).count();
        if quiet + 1 >= thread::cpu_count() {
            return Ok(());
        }
    }
    check!(quiet + 1 >= thread::cpu_count(), "only {quiet} CPUs have nothing to do while all threads sleep");
    Ok(())
}
