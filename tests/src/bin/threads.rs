//! Making threads, their results, their names, stacks and CPUs, parking and yielding.
//@ run: usual
//@ machines: virt, q35, microvm, hosted
//@ cpus: 1, 2, 4
//@ memory: 256
//@ run: pi
//@ machines: raspi4b
//@ run: lse
//@ machines: virt
//@ cpus: 4
//@ lse: yes
#![no_std]
#![no_main]

use isochron::sync::Mutex;
use isochron::thread::{JoinHandle as Handle, park, park_timeout};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        results_come_back,
        names,
        pinned_from_the_start,
        bad_builders_are_refused,
        a_refused_closure_is_dropped,
        stacks_of_all_sizes,
        a_thousand_threads_alive,
        joins_in_any_order,
        detached_threads_run_on,
        join_timeout_gives_the_handle_back,
        numbers_are_unique,
        new_threads_run_youngest_first,
        new_threads_that_make_others_starve_nobody,
        yields_take_turns,
        a_thousand_bound_threads_take_turns,
        more_than_a_queue_holds_run_beside_a_yield,
        more_than_a_queue_holds_run_beside_a_busy_queue,
        more_than_a_queue_holds_run_beside_a_hog,
        yield_alone_returns,
        unpark_before_park,
        many_unparks_are_one_permit,
        park_waits_for_unpark,
        unpark_carries_data,
        old_wake_ups_end_no_park,
        pin_to_moves,
        unpin_sets_free,
        a_million_yields,
    ])
}

fn results_come_back() -> Outcome {
    check_eq!(spawn(|| 42u64).join().unwrap(), 42);
    spawn(|| ()).join().unwrap();
    check_eq!(spawn(|| String::from("text")).join().unwrap(), "text");
    let big = spawn(|| [7u8; 4096]).join().unwrap();
    check!(big.iter().all(|&byte| byte == 7), "a result of 4096 bytes is damaged");
    let moved = [1, 2, 3].map(Box::new);
    check_eq!(spawn(move || moved.iter().map(|number| **number).sum::<i32>()).join().unwrap(), 6);
    let nested = spawn(|| spawn(|| spawn(|| 3).join().unwrap() + 1).join().unwrap() + 1).join().unwrap();
    check_eq!(nested, 5);
    Ok(())
}

fn names() -> Outcome {
    let named = Builder::new().name("alpha").spawn(|| thread::current().name().map(str::to_string));
    let Ok(handle) = named else { return Err(Failure::Failed(format!("{named:?}"))) };
    check_eq!(handle.thread().name(), Some("alpha"));
    check_eq!(handle.join().unwrap().as_deref(), Some("alpha"));
    check_eq!(spawn(|| thread::current().name().map(str::to_string)).join().unwrap(), None);
    check_eq!(thread::current().name(), Some("main"));
    Ok(())
}

/// `Builder::spawn` where it cannot fail.
fn made<T>(result: Result<Handle<T>, SpawnError>) -> Outcome<Handle<T>> {
    result.map_err(|error| Failure::Failed(format!("a thread cannot be made: {error}")))
}

fn pinned_from_the_start() -> Outcome {
    for cpu in (0..thread::cpu_count()).map(CpuId::new) {
        let strays = made(Builder::new().pinned(cpu).spawn(move || {
            let mut strays = 0;
            for _ in 0..200 {
                strays += u32::from(thread::current_cpu() != cpu);
                yield_now();
            }
            strays
        }))?;
        check_eq!(strays.join().unwrap(), 0, "a thread bound to CPU {cpu} ran elsewhere");
    }
    Ok(())
}

fn bad_builders_are_refused() -> Outcome {
    for size in [0, 1, 4095, (1 << 30) + 1, usize::MAX] {
        let error = Builder::new().stack_size(size).spawn(|| ()).err();
        check_eq!(error, Some(SpawnError::StackSize(size)));
    }
    for cpu in (thread::cpu_count()..64).map(CpuId::new) {
        check_eq!(Builder::new().pinned(cpu).spawn(|| ()).err(), Some(SpawnError::NoSuchCpu(cpu)));
        check_eq!(thread::pin_to(cpu).err(), Some(SpawnError::NoSuchCpu(cpu)));
    }
    // More than the machine has, which does no harm while nobody needs it.
    let huge = Builder::new().stack_size(1 << 30);
    let many = (0..4).map(|_| made(huge.clone().spawn(|| ()))).collect::<Outcome<Vec<_>>>()?;
    many.into_iter().for_each(joined);
    Ok(())
}

fn a_refused_closure_is_dropped() -> Outcome {
    let kept = Arc::new(());
    let held = kept.clone();
    check!(Builder::new().stack_size(1).spawn(move || drop(held)).is_err());
    check_eq!(Arc::strong_count(&kept), 1);
    Ok(())
}

/// Goes down the stack until `bytes` below `top` are in use; the number of frames, and a sum over what is in them.
#[inline(never)]
fn use_stack(top: usize, bytes: usize, number: u64) -> (u64, u64) {
    let mut block = [number; 32];
    let here = core::hint::black_box(&mut block).as_ptr().addr();
    let (frames, sum) = if top - here < bytes { use_stack(top, bytes, number + 1) } else { (number, 0) };
    (frames, sum + block.iter().sum::<u64>())
}

fn stacks_of_all_sizes() -> Outcome {
    for size in [4 * 1024, 8 * 1024, 12_345, 32 * 1024, 128 * 1024, 1 << 20, (1 << 20) + 1, 3 << 20] {
        let deep = made(Builder::new().stack_size(size).spawn(move || {
            let top = core::ptr::from_ref(&size).addr();
            // What is left is for the last frame and for an interrupt.
            use_stack(top, size - 2048, 1)
        }))?;
        let (frames, sum) = deep.join().unwrap();
        check_eq!(sum, 32 * frames * (frames + 1) / 2, "a stack of {size} bytes");
        check!(frames as usize * 256 >= size / 4, "the test used {frames} frames of {size} bytes only");
    }
    Ok(())
}

fn a_thousand_threads_alive() -> Outcome {
    let arrived = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..1000usize)
        .map(|number| {
            let arrived = arrived.clone();
            made(Builder::new().stack_size(8192).spawn(move || {
                let local = [number; 16];
                arrived.fetch_add(1, Ordering::Relaxed);
                park();
                core::hint::black_box(&local).iter().sum::<usize>()
            }))
        })
        .collect::<Result<_, _>>()?;
    poll("1000 threads are parked", || arrived.load(Ordering::Relaxed) == 1000)?;
    check!(threads.iter().all(|thread| !thread.is_finished()), "a thread ended before it was unparked");
    threads.iter().for_each(|thread| thread.thread().unpark());
    for (number, thread) in threads.into_iter().enumerate() {
        check_eq!(thread.join().unwrap(), number * 16);
    }
    Ok(())
}

fn joins_in_any_order() -> Outcome {
    let mut random = Random::new(1);
    let mut threads: Vec<_> = (0..64u64)
        .map(|number| {
            let turns = random.below(50);
            (
                number,
                spawn(move || {
                    (0..turns).for_each(|_| yield_now());
                    number * number
                }),
            )
        })
        .collect();
    while !threads.is_empty() {
        let (number, thread) = threads.swap_remove(random.below(threads.len()));
        check_eq!(thread.join().unwrap(), number * number);
    }
    let done = spawn(|| 5);
    poll("the thread has ended", || done.is_finished())?;
    check_eq!(done.join().unwrap(), 5);
    Ok(())
}

fn detached_threads_run_on() -> Outcome {
    let kept = Arc::new(());
    let ended = Arc::new(AtomicUsize::new(0));
    for round in 0..20 {
        let (held, ended) = (kept.clone(), ended.clone());
        let thread = spawn(move || {
            if round % 2 == 0 {
                thread::sleep(Duration::from_micros(50));
            }
            ended.fetch_add(1, Ordering::Relaxed);
            held
        });
        thread.detach();
    }
    poll("20 detached threads have ended", || ended.load(Ordering::Relaxed) == 20)?;
    poll("the results of detached threads are dropped", || Arc::strong_count(&kept) == 1)
}

fn join_timeout_gives_the_handle_back() -> Outcome {
    let thread = spawn(|| {
        park();
        17
    });
    let thread = match thread.join_timeout(Duration::from_millis(2)) {
        Ok(_) => return Err(Failure::Failed("a parked thread was joined".into())),
        Err(thread) => thread,
    };
    let Err(thread) = thread.join_timeout(Duration::ZERO) else {
        return Err(Failure::Failed("a parked thread was joined in no time".into()));
    };
    thread.thread().unpark();
    match thread.join_timeout(Duration::from_secs(20)) {
        Ok(result) => check_eq!(result, Ok(17)),
        Err(_) => return Err(Failure::Failed("the thread did not end".into())),
    }
    Ok(())
}

fn numbers_are_unique() -> Outcome {
    let threads: Vec<_> = (0..100).map(|_| spawn(|| thread::current().id())).collect();
    let told: Vec<u64> = threads.iter().map(|thread| thread.thread().id()).collect();
    let mut own: Vec<u64> = threads.into_iter().map(joined).collect();
    check_eq!(told, own);
    own.sort_unstable();
    own.dedup();
    check_eq!(own.len(), 100);
    Ok(())
}

/// Who makes threads and then waits has the youngest run first; who yields has them run in the order in which they were made.
fn new_threads_run_youngest_first() -> Outcome {
    let order = |yields: bool| {
        let ran = Arc::new(Mutex::new(Vec::new()));
        let threads = [0, 1, 2].map(|number| {
            let ran = ran.clone();
            spawn(move || ran.lock().push(number))
        });
        if yields {
            yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        ran.lock().clone()
    };
    // Other CPUs take what waits, and a quantum may end in between.
    let alone = isochron::kernel::cpu::online_count() == 1;
    for (yields, expected) in [(false, [2, 1, 0]), (true, [0, 1, 2])] {
        let seen = (0..50).any(|_| order(yields) == expected);
        check!(seen || !alone, "three new threads never ran in the order {expected:?}");
    }
    Ok(())
}

/// A thread that waits has its turn beside new ones that make newer ones all the time.
fn new_threads_that_make_others_starve_nobody() -> Outcome {
    fn link(seen: Arc<AtomicUsize>, links: Arc<AtomicUsize>) {
        if seen.load(Ordering::Relaxed) == 0 && links.fetch_add(1, Ordering::Relaxed) < 100_000 {
            spawn(move || link(seen, links)).detach();
        }
    }
    for _ in 0..20 {
        let (seen, links) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let waits = {
            let seen = seen.clone();
            spawn(move || seen.store(1, Ordering::Relaxed))
        };
        let (chain_seen, chain_links) = (seen.clone(), links.clone());
        spawn(move || link(chain_seen, chain_links)).detach();
        waits.join().unwrap();
        let links = links.load(Ordering::Relaxed);
        check!(links < 100_000, "{links} new threads went before one that waited");
    }
    Ok(())
}

/// Threads that do nothing but yield on one CPU get on equally.
fn yields_take_turns() -> Outcome {
    const THREADS: usize = 5;
    const TURNS: usize = 2000;
    let turns: Arc<[AtomicUsize; THREADS]> = Arc::default();
    let all_here = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            let (turns, all_here) = (turns.clone(), all_here.clone());
            made(Builder::new().pinned(CpuId::PRIMARY).spawn(move || {
                all_here.fetch_add(1, Ordering::Relaxed);
                while all_here.load(Ordering::Relaxed) < THREADS {
                    yield_now();
                }
                let mut least = usize::MAX;
                for _ in 0..TURNS {
                    turns[me].fetch_add(1, Ordering::Relaxed);
                    least = turns.iter().map(|turn| turn.load(Ordering::Relaxed)).min().unwrap_or(0);
                    yield_now();
                }
                // How far the others were when this one was done.
                least
            }))
        })
        .collect::<Result<_, _>>()?;
    for thread in threads {
        let least = thread.join().unwrap();
        // A preemption costs a thread one turn now and then, no more.
        check!(least >= TURNS * 9 / 10, "a thread had {least} turns when another had {TURNS}");
    }
    Ok(())
}

/// More than the run queue of a CPU holds: nobody may overtake.
fn a_thousand_bound_threads_take_turns() -> Outcome {
    const THREADS: usize = 1000;
    const TURNS: usize = 20;
    let turns: Arc<Vec<AtomicUsize>> = Arc::new((0..THREADS).map(|_| AtomicUsize::new(0)).collect());
    let all_here = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            let (turns, all_here) = (turns.clone(), all_here.clone());
            made(Builder::new().pinned(CpuId::PRIMARY).stack_size(4096).spawn(move || {
                all_here.fetch_add(1, Ordering::Relaxed);
                while all_here.load(Ordering::Relaxed) < THREADS {
                    yield_now();
                }
                for _ in 0..TURNS {
                    turns[me].fetch_add(1, Ordering::Relaxed);
                    yield_now();
                }
                // How far the one that is behind all others was when this one was done.
                turns.iter().map(|turn| turn.load(Ordering::Relaxed)).min().unwrap_or(0)
            }))
        })
        .collect::<Result<_, _>>()?;
    for thread in threads {
        let least = thread.join().unwrap();
        // A preemption costs a thread one turn now and then, no more.
        check!(least >= TURNS * 8 / 10, "a thread had {least} turns when another had {TURNS}");
    }
    Ok(())
}

/// Makes more threads than a queue has room for, waits as `beside` says until all have run, and joins them.
fn more_than_a_queue_holds(beside: impl Fn()) -> Outcome {
    const MANY: usize = 3000;
    let ran = Arc::new(AtomicUsize::new(0));
    let threads = (0..MANY).map(|_| {
        let ran = Arc::clone(&ran);
        made(Builder::new().stack_size(4096).spawn(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        }))
    });
    let threads = threads.collect::<Outcome<Vec<_>>>()?;
    spin("all threads have run", || {
        beside();
        ran.load(Ordering::Relaxed) == MANY
    })?;
    threads.into_iter().for_each(joined);
    Ok(())
}

/// What lies in the injector gets its turn although a thread is always there to go on.
fn more_than_a_queue_holds_run_beside_a_yield() -> Outcome {
    more_than_a_queue_holds(yield_now)
}

/// The same where the queue is never empty: on each CPU two threads take turns for ever.
fn more_than_a_queue_holds_run_beside_a_busy_queue() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let yielders = (0..2 * thread::cpu_count()).map(|number| {
        let stop = Arc::clone(&stop);
        made(Builder::new().pinned(CpuId::new(number / 2)).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                yield_now();
            }
        }))
    });
    let yielders = yielders.collect::<Outcome<Vec<_>>>()?;
    let ran = more_than_a_queue_holds(yield_now);
    stop.store(true, Ordering::Relaxed);
    yielders.into_iter().for_each(joined);
    ran
}

/// The same beside a thread that never gives its CPU up: by its quantum.
fn more_than_a_queue_holds_run_beside_a_hog() -> Outcome {
    more_than_a_queue_holds(|| ())
}

fn yield_alone_returns() -> Outcome {
    for _ in 0..10_000 {
        yield_now();
    }
    Ok(())
}

fn unpark_before_park() -> Outcome {
    thread::current().unpark();
    park();
    check!(!park_timeout(Duration::from_millis(1)), "one unpark ended two parks");
    thread::current().unpark();
    check!(park_timeout(Duration::from_secs(20)), "an unpark before a park was lost");
    check!(!park_timeout(Duration::from_millis(1)), "one unpark ended two timed parks");
    Ok(())
}

fn many_unparks_are_one_permit() -> Outcome {
    for _ in 0..100 {
        thread::current().unpark();
    }
    park();
    check!(!park_timeout(Duration::from_millis(1)), "permits were counted");
    Ok(())
}

fn park_waits_for_unpark() -> Outcome {
    for _ in 0..200 {
        let step = Arc::new(AtomicU32::new(0));
        let parked = {
            let step = step.clone();
            spawn(move || {
                step.store(1, Ordering::Release);
                park();
                step.load(Ordering::Acquire)
            })
        };
        poll("the thread runs", || step.load(Ordering::Acquire) == 1)?;
        step.store(2, Ordering::Release);
        parked.thread().unpark();
        check_eq!(parked.join().unwrap(), 2, "park returned before unpark");
    }
    Ok(())
}

/// What was written before an unpark is there after the park.
fn unpark_carries_data() -> Outcome {
    const ROUNDS: u64 = 2000;
    let data = Arc::new(AtomicU64::new(0));
    let answer = Arc::new(AtomicU64::new(0));
    let reader = {
        let (data, answer) = (data.clone(), answer.clone());
        spawn(move || {
            let mut stale = 0;
            for round in 1..=ROUNDS {
                park();
                // Relaxed on purpose: the order comes from park and unpark.
                stale += u64::from(data.load(Ordering::Relaxed) != round);
                answer.store(round, Ordering::Release);
            }
            stale
        })
    };
    for round in 1..=ROUNDS {
        data.store(round, Ordering::Relaxed);
        reader.thread().unpark();
        spin_or_yield(|| answer.load(Ordering::Acquire) == round)?;
    }
    check_eq!(reader.join().unwrap(), 0);
    Ok(())
}

fn spin_or_yield(mut done: impl FnMut() -> bool) -> Outcome {
    spin("the other thread has answered", || {
        let so = done();
        if !so {
            yield_now();
        }
        so
    })
}

/// A wake-up for a wait that is over must not end a later park.
fn old_wake_ups_end_no_park() -> Outcome {
    for _ in 0..50 {
        let sleeper = spawn(park);
        let Err(sleeper) = sleeper.join_timeout(Duration::from_micros(100)) else {
            return Err(Failure::Failed("a parked thread was joined".into()));
        };
        sleeper.thread().unpark();
        // The sleeper ends while this thread, which once waited for that, is parked for something else.
        check!(!park_timeout(Duration::from_micros(500)), "a park was ended by a join that had been given up");
        sleeper.join().unwrap();
    }
    Ok(())
}

fn pin_to_moves() -> Outcome {
    let mover = spawn(|| {
        for round in 0..50 {
            for cpu in (0..thread::cpu_count()).rev().map(CpuId::new) {
                check!(thread::pin_to(cpu).is_ok());
                check_eq!(thread::current_cpu(), cpu, "round {round}");
            }
        }
        thread::unpin();
        Ok(())
    });
    mover.join().unwrap()
}

fn unpin_sets_free() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("one CPU");
    }
    // Many threads that begin on the last CPU and are set free there: others come and take them.
    let seen = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|_| {
            let seen = seen.clone();
            made(Builder::new().pinned(CpuId::new(thread::cpu_count() - 1)).spawn(move || {
                thread::unpin();
                poll("threads that were set free run on other CPUs", || {
                    let until = Instant::now() + Duration::from_micros(500);
                    while Instant::now() < until {
                        core::hint::spin_loop();
                    }
                    seen.fetch_or(1 << thread::current_cpu().index(), Ordering::Relaxed);
                    seen.load(Ordering::Relaxed).count_ones() > 1
                })
            }))
        })
        .collect::<Result<_, _>>()?;
    threads.into_iter().try_for_each(joined)
}

fn a_million_yields() -> Outcome {
    let threads: Vec<JoinHandle<u64>> = (0..8)
        .map(|_| {
            spawn(|| {
                let mut sum = 0u64;
                for turn in 0..125_000 {
                    sum = sum.wrapping_add(core::hint::black_box(turn));
                    yield_now();
                }
                sum
            })
        })
        .collect();
    for thread in threads {
        check_eq!(thread.join().unwrap(), (0..125_000).sum::<u64>());
    }
    Ok(())
}
