//! Memory is refused at every place that asks for it, one after the other: a typed error, or the end of one thread.
//@ machines: virt, q35, hosted
//@ cpus: 1, 4
//@ memory: 256
//@ checked: yes
#![no_std]
#![no_main]

use isochron::channel::{self, TrySendError};
use isochron::future;
use isochron::group;
use isochron::kernel::memory::shortage::{self, Extent, Supply};
use isochron::policy::{BadRegion, PolicyId, Region, SameRegionFirst};
use isochron::prelude::{fork, sleep};
use isochron::sync::{Barrier, Condvar, Mutex, Once, OnceLock, RwLock, Semaphore, WaitGroup};
use isochron::thread::{Hint, reserve_cpu};
use isochron::time::{Interval, Then, Timer};
use isochron_guest_tests::in_turn::{Cut, end_of, in_turn, in_turn_after, want};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        threads,
        threads_with_traits,
        threads_by_the_short_way,
        stacks_of_all_sizes,
        bounded_channels,
        unbounded_channels,
        rendezvous,
        selecting,
        locks,
        groups,
        groups_with_a_limit,
        timers,
        tasks,
        intervals,
        scopes,
        forks,
        policies,
        a_cpu_of_its_own,
        blocks,
        growth_of_the_stacks,
        growth_of_the_heap,
    ])
}

fn spawned<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Cut> {
    Ok(Builder::new().stack_size(16 * 1024).spawn(body)?)
}

macro_rules! needs_the_checks {
    () => {
        if !shortage::AVAILABLE {
            ignore!("memory is refused in builds with debug assertions only");
        }
    };
}

fn threads() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let mut crowd = places::<JoinHandle<usize>, 6>();
            let mut cut = None;
            for (number, place) in crowd.iter_mut().enumerate() {
                match spawned(move || number * 2) {
                    Ok(thread) => *place = Some(thread),
                    Err(error) => cut = Some(error),
                }
            }
            for (number, thread) in crowd.into_iter().enumerate() {
                match thread.map(end_of) {
                    None => {}
                    Some(Ok(result)) => want(result == number * 2, "a wrong result")?,
                    Some(Err(error)) => cut = Some(error),
                }
            }
            cut.map_or(Ok(()), Err)
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

/// So many places, without the heap.
fn places<T, const N: usize>() -> [Option<T>; N] {
    [const { None }; N]
}

fn threads_with_traits() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let name = "a thread with a rather long name, which is a block of its own";
            let named =
                Builder::new().name(name).hint(Hint::Network).spawn(move || thread::current().name() == Some(name))?;
            let first = end_of(named);
            let bound =
                Builder::new().pinned(CpuId::new(thread::cpu_count() - 1)).priority(7).spawn(thread::current_cpu)?;
            let second = end_of(bound);
            want(first?, "the name is another")?;
            want(second?.index() == thread::cpu_count() - 1, "it ran elsewhere")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn threads_by_the_short_way() -> Outcome {
    needs_the_checks!();
    in_turn(|_| want(end_of(spawn(|| 7))? == 7, "a wrong result"), &[Supply::Heap, Supply::Stacks])
}

fn stacks_of_all_sizes() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let mut refused = false;
            for shift in 12..=21 {
                let made = Builder::new().stack_size(1 << shift).spawn(move || shift);
                let end = made.map_err(Cut::from).and_then(end_of);
                match end {
                    Ok(result) => want(result == shift, "a wrong result")?,
                    Err(Cut::Refused) => refused = true,
                    Err(wrong) => return Err(wrong),
                }
            }
            if refused { Err(Cut::Refused) } else { Ok(()) }
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn bounded_channels() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let (tx, rx) = channel::bounded(4);
            let sender = spawned(move || (0..100u64).try_for_each(|number| tx.send(number)).is_ok())?;
            let mut sum = 0;
            loop {
                match rx.recv_timeout(Duration::from_millis(20)) {
                    Ok(number) => sum += number,
                    Err(channel::RecvTimeoutError::Closed) => break,
                    // Its end is dropped with its handle if it never began.
                    Err(channel::RecvTimeoutError::Timeout) if sender.is_finished() => break,
                    Err(channel::RecvTimeoutError::Timeout) => {}
                }
            }
            want(end_of(sender)? && sum == 4950, "messages are missing")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn unbounded_channels() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let (tx, rx) = channel::unbounded();
            for number in 0..1000usize {
                match tx.try_send(number) {
                    Ok(()) => {}
                    Err(TrySendError::Full(same)) if same == number => {
                        want(rx.try_iter().eq(0..number), "what was inside is gone")?;
                        // It goes on where there is room again.
                        return if tx.try_send(5).is_ok() && rx.try_recv() == Ok(5) {
                            Err(Cut::Refused)
                        } else {
                            Ok(())
                        };
                    }
                    Err(_) => return Err(Cut::Wrong("it is closed")),
                }
            }
            want(rx.try_iter().eq(0..1000), "messages are missing")?;
            let sender = spawned(move || (0..1000usize).all(|number| tx.send(number).is_ok()))?;
            let mut next = 0;
            let ended = loop {
                match rx.recv_timeout(Duration::from_millis(50)) {
                    Ok(number) if number == next => next += 1,
                    Ok(_) => return Err(Cut::Wrong("messages out of order")),
                    Err(channel::RecvTimeoutError::Closed) => break true,
                    Err(channel::RecvTimeoutError::Timeout) if sender.is_finished() => break false,
                    Err(channel::RecvTimeoutError::Timeout) => {}
                }
            };
            want(end_of(sender)? && ended && next == 1000, "messages are missing")
        },
        &[Supply::Heap],
    )
}

fn rendezvous() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let (tx, rx) = channel::rendezvous();
            let receiver = spawned(move || rx.iter().sum::<u64>())?;
            // A receiver that never began: its end is dropped when its handle is.
            let mut sent = true;
            for number in 0..20u64 {
                sent &= tx.send_timeout(number, Duration::from_millis(50)).is_ok();
                if !sent {
                    break;
                }
            }
            drop(tx);
            let sum = end_of(receiver)?;
            want(sent && sum == 190, "messages are missing")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn selecting() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let ((tx, rx), (back, answers)) = (channel::bounded(1), channel::unbounded());
            let worker = spawned(move || {
                for number in rx.iter() {
                    let number: usize = number;
                    if back.send(number + 1).is_err() {
                        return;
                    }
                }
            })?;
            let mut sum = 0;
            for number in 0..10 {
                let sent = select! {
                    send(tx, number) -> sent => sent.is_ok(),
                    timeout(Duration::from_millis(50)) => false,
                };
                if sent {
                    sum += select! {
                        recv(answers) -> answer => answer.unwrap_or(0),
                        timeout(Duration::from_millis(50)) => 0,
                    };
                }
            }
            drop(tx);
            end_of(worker)?;
            want(sum == 55, "answers are missing")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn locks() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            struct All {
                mutex: Mutex<usize>,
                barging: Mutex<usize>,
                values: RwLock<usize>,
                units: Semaphore,
                changed: Condvar,
                group: WaitGroup,
                once: Once,
                lazy: OnceLock<usize>,
            }
            let all = Arc::new(All {
                mutex: Mutex::new(0),
                barging: Mutex::barging(0),
                values: RwLock::new(0),
                units: Semaphore::new(1),
                changed: Condvar::new(),
                group: WaitGroup::new(1),
                once: Once::new(),
                lazy: OnceLock::new(),
            });
            let its = all.clone();
            let other = spawned(move || {
                for _ in 0..50 {
                    *its.mutex.lock() += 1;
                    *its.barging.lock() += 1;
                    let _unit = its.units.acquire(1);
                    *its.values.write() += 1;
                }
                its.once.call_once(|| ());
                its.changed.notify_all();
                let _ = its.group.done();
            })?;
            for _ in 0..50 {
                *all.mutex.lock() += 1;
                let _unit = all.units.acquire(1);
                yield_now();
            }
            let done = all.group.wait_timeout(Duration::from_millis(200));
            end_of(other)?;
            want(done.is_ok(), "it was not done")?;
            want(*all.mutex.lock() == 100 && *all.barging.lock() == 50, "a lock did not exclude")?;
            let one = Barrier::new(1);
            want(one.wait(), "nobody leads")?;
            want(*all.lazy.get_or_init(|| 5) == 5 && *all.values.read() == 50, "a wrong value")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn groups() -> Outcome {
    needs_the_checks!();
    // The list of groups does not shrink.
    let many: Result<Vec<_>, _> =
        (0..300).map(|number| group::Builder::new(&format!("group {number}")).create()).collect();
    check_eq!(many.map(|many| many.len()), Ok(300));
    in_turn(
        |_| {
            // A group that a dead thread had a handle to is there for ever, and so is its name.
            static TURNS: AtomicUsize = AtomicUsize::new(0);
            let turn = TURNS.fetch_add(1, Ordering::Relaxed) as u32;
            let digits = core::array::from_fn::<u8, 8, _>(|digit| b'a' + (turn >> (3 * digit) & 7) as u8);
            let name = core::str::from_utf8(&digits).map_err(|_| Cut::Wrong("no name"))?;
            let upper = group::Builder::new(name).quota(Duration::from_millis(50)).create()?;
            let lower = group::Builder::new(&name[..7]).parent(&upper).quota(Duration::from_millis(20)).create()?;
            let inside =
                Builder::new().group(&lower).spawn(|| group::current().is_some_and(|group| group.name().len() == 7))?;
            let inside = end_of(inside);
            lower.set_limit("10000 100000".parse().map_err(|_| Cut::Wrong("no limit"))?)?;
            want(group::find(&name[..7])? == lower, "another group")?;
            want(inside?, "it was in no group")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn groups_with_a_limit() -> Outcome {
    needs_the_checks!();
    // The thread that ends groups is made with the first, and stays.
    drop(group::Builder::new("first").memory_limit(1 << 20).create());
    sleep(Duration::from_millis(1));
    in_turn(
        |turn| {
            // A dead thread may keep its group, and so its name, for a while.
            let name = format!("limited {turn} {}", Instant::now().ticks());
            let group = group::Builder::new(&name).memory_limit(1 << 20).create()?;
            group.on_pressure(&[10], |_| ())?;
            let member = Builder::new().group(&group).stack_size(16 * 1024).spawn(|| {
                let mut block = Vec::<u8>::new();
                let refused = block.try_reserve_exact(100_000).is_err();
                let blocks = if refused { Vec::new() } else { vec![Box::new(7_usize), Box::new(8)] };
                (refused, blocks.iter().map(|block| **block).sum::<usize>())
            })?;
            match end_of(member)? {
                (true, _) => Err(Cut::Refused),
                (false, sum) => want(sum == 15, "a wrong sum"),
            }
        },
        &[Supply::Heap, Supply::Stacks, Supply::Frames],
    )
}

fn timers() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let me = thread::current();
            let mut timer = Timer::new(move |_| {
                me.unpark();
                Then::Stop
            });
            timer.set(Instant::now() + Duration::from_micros(100));
            want(thread::park_timeout(Duration::from_secs(5)), "the timer did not call")?;
            let sleeper = spawned(|| sleep(Duration::from_micros(200)))?;
            end_of(sleeper)
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

/// A task that was made comes to its end; it never waits for an executor that there was no memory for.
fn tasks() -> Outcome {
    needs_the_checks!();
    // Each CPU's executor is made by its first task, and stays.
    for cpu in 0..thread::cpu_count() {
        let first = Builder::new().pinned(CpuId::new(cpu)).spawn(|| future::spawn_async(async {}).join());
        check!(matches!(first.map(JoinHandle::join), Ok(Ok(Ok(())))));
    }
    in_turn(
        |_| {
            let task = future::try_spawn_async(async {
                // No sleep: without memory for its timer the task dies, and what dies as a task stays in memory.
                future::yield_now().await;
                7
            })?;
            let begin = Instant::now();
            while !task.is_finished() {
                want(begin.elapsed() < Duration::from_secs(5), "a task waits for ever")?;
                sleep(Duration::from_micros(100));
            }
            let joined = end_of(spawned(|| task.join())?)?;
            want(joined? == 7, "a wrong result")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn intervals() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let mut interval = Interval::new(Duration::from_micros(100)).map_err(|_| Cut::Wrong("no period"))?;
            interval.tick();
            interval.tick();
            Ok(())
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn scopes() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let mut parts = [0; 3];
            let made = fork::scope(|scope| {
                let mut cut: Option<Cut> = None;
                let mut threads = places::<_, 3>();
                for (number, (part, place)) in parts.iter_mut().zip(&mut threads).enumerate() {
                    match scope.spawn_by(Builder::new().stack_size(16 * 1024), move || *part = number + 1) {
                        Ok(thread) => *place = Some(thread),
                        Err(error) => cut = Some(error.into()),
                    }
                }
                for thread in threads.into_iter().flatten() {
                    if let Err(death) = thread.join() {
                        cut = Some(death.into());
                    }
                }
                cut.map_or(Ok(()), Err)
            });
            made?;
            want(parts == [1, 2, 3], "a part is missing")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn forks() -> Outcome {
    needs_the_checks!();
    fn fib(n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let (a, b) = fork::join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    in_turn(|_| want(fib(14) == 377, "a wrong sum"), &[Supply::Heap, Supply::Stacks])
}

static POLICY: OnceLock<PolicyId> = OnceLock::new();

fn policies() -> Outcome {
    needs_the_checks!();
    let made = PolicyId::register(&SameRegionFirst);
    let made = made.map_err(|_| Failure::Failed("no policy".into()))?;
    let _ = POLICY.set(made);
    in_turn(
        |_| {
            let region = Region::new(3).map_err(|BadRegion(_)| Cut::Wrong("no region"))?;
            let Some(policy) = POLICY.get() else { return Err(Cut::Wrong("no policy")) };
            let thread = Builder::new().policy(*policy).region(region).spawn(thread::region)?;
            want(end_of(thread)? == Some(region), "another region")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn a_cpu_of_its_own() -> Outcome {
    needs_the_checks!();
    if thread::cpu_count() < 2 {
        ignore!("the one CPU is everybody's");
    }
    in_turn(
        |_| {
            let last = CpuId::new(thread::cpu_count() - 1);
            let thread = Builder::new().spawn_exclusive(last, thread::current_cpu);
            let thread = thread.map_err(|error| match error {
                thread::ReserveError::Spawn(error) => error.into(),
                _ => Cut::Wrong("it was refused for another reason"),
            })?;
            want(end_of(thread)? == last, "it ran elsewhere")?;
            let held = reserve_cpu(last).map_err(|_| Cut::Wrong("the CPU stayed taken"))?;
            want(held.cpu() == last, "another CPU")
        },
        &[Supply::Heap, Supply::Stacks],
    )
}

fn blocks() -> Outcome {
    needs_the_checks!();
    in_turn(
        |_| {
            let mut list: Vec<u64> = Vec::new();
            for number in 0..3000 {
                list.try_reserve(1).map_err(|_| Cut::Refused)?;
                list.push(number);
            }
            want(list.iter().copied().eq(0..3000), "a number was lost when it grew")?;
            // No way to tell: these end the thread.
            let text = format!("{:?}", Arc::new(Box::new([1u8; 100])));
            want(vec![text.len(); 100_000].len() == 100_000, "a wrong length")
        },
        &[Supply::Heap],
    )
}

/// The heap grows: what it has is all in use.
fn growth_of_the_heap() -> Outcome {
    needs_the_checks!();
    let use_all = || {
        shortage::begin(Supply::Frames, 1, Extent::Rest);
        let mut block: Vec<u8> = Vec::new();
        while block.try_reserve_exact(64 << 10).is_ok() {
            core::mem::forget(core::mem::take(&mut block));
        }
        shortage::end();
    };
    in_turn_after(
        |_| {
            let mut block: Vec<u8> = Vec::new();
            block.try_reserve_exact(192 << 10).map_err(|_| Cut::Refused)?;
            block.resize(192 << 10, 7);
            want(block.iter().all(|byte| *byte == 7), "it is not all there")
        },
        &[Supply::Frames],
        use_all,
    )
}

/// Stacks are made anew: of each size once, because they are kept.
fn growth_of_the_stacks() -> Outcome {
    needs_the_checks!();
    in_turn(
        |turn| {
            let made = Builder::new().stack_size((1 << 20) + (turn << 12)).spawn(|| 3);
            want(made.map_err(Cut::from).and_then(end_of)? == 3, "a wrong result")
        },
        &[Supply::Frames],
    )
}
