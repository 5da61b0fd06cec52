//! Trace rings: what the scheduler does is recorded, whole, in order, and what is lost is counted.
//@ trace: yes
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
#![no_std]
#![no_main]

use isochron::group;
use isochron::kernel::wire::trace::name_part;
use isochron::sync::Mutex;
use isochron::thread::{park, sleep};
use isochron::trace::{
    self, Classes, Entry, Label, Left, NOBODY, Origin, Queue, Session, Settings, Supply, TraceError, What,
};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_life_is_recorded_from_spawn_to_exit,
        times_do_not_fall,
        a_wake_up_on_one_cpu_goes_through_the_next_slot,
        a_wake_up_from_afar_is_seen_on_both_sides,
        what_is_handed_to_a_busy_cpu_is_seen_to_be_taken,
        a_sleeper_is_woken_by_its_timer,
        a_hog_is_preempted,
        a_lock_wait_names_the_holder,
        names_are_recorded,
        spans_and_counters_have_labels,
        memory_that_is_refused_is_seen,
        a_page_fault_of_a_threads_stack_is_seen,
        a_full_ring_counts_what_it_drops,
        classes_choose,
        one_session_at_a_time,
        rings_are_given_back,
        bad_sizes_are_refused
    ])
}

fn begin(classes: Classes) -> Outcome<Session> {
    let settings = Settings { records: 4096, classes };
    trace::start(&settings).map_err(|error| Failure::Failed(format!("{error}")))
}

/// What was recorded since the last look, by time; those of one CPU stay in their order.
fn all(session: &mut Session) -> Vec<Entry> {
    session.set_classes(Classes::NONE);
    let mut found = Vec::new();
    session.drain(|entry| found.push(entry));
    found.sort_by_key(|entry| entry.time);
    found
}

fn of(found: &[Entry], thread: u64) -> Vec<What> {
    found.iter().filter(|entry| entry.thread == thread).map(|entry| entry.what).collect()
}

fn pinned(cpu: usize, body: impl FnOnce() + Send + 'static) -> Outcome<JoinHandle<()>> {
    Builder::new().pinned(CpuId::new(cpu)).spawn(body).map_err(|error| Failure::Failed(format!("{error}")))
}

fn me() -> u64 {
    thread::current().id()
}

/// A parked thread on a CPU, and its number.
fn parked_on(cpu: usize) -> Outcome<(JoinHandle<()>, u64)> {
    let number = Arc::new(AtomicU64::new(u64::MAX));
    let told = number.clone();
    let handle = pinned(cpu, move || {
        told.store(me(), Ordering::Release);
        park();
    })?;
    poll("the thread to run", || number.load(Ordering::Acquire) != u64::MAX)?;
    // Long enough for it to have left its CPU.
    sleep(Duration::from_millis(2));
    Ok((handle, number.load(Ordering::Acquire)))
}

fn a_life_is_recorded_from_spawn_to_exit() -> Outcome {
    let mut session = begin(Classes::ALL)?;
    let handle = spawn(|| trace::mark(7));
    let child = handle.thread().id();
    joined(handle);
    // The end of a thread is told before it has left its CPU.
    sleep(Duration::from_millis(2));
    let found = all(&mut session);
    let life = of(&found, child);
    let place = |wanted: fn(&What) -> bool| life.iter().position(wanted);
    let steps = [
        place(|what| matches!(what, What::Spawned { by } if *by != NOBODY)),
        place(|what| matches!(what, What::Queued { .. })),
        place(|what| matches!(what, What::SwitchedIn { .. })),
        place(|what| *what == What::Began),
        place(|what| *what == What::Running),
        place(|what| *what == What::Mark { number: 7 }),
        place(|what| *what == What::SwitchedOut(Left::Exit)),
    ];
    check!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{life:?}");
    check!(found.iter().any(|entry| entry.thread == child && entry.what == What::Spawned { by: me() }));
    // Who joins a thread that is about to run elsewhere may come too late to wait for it.
    let waited = of(&found, me()).contains(&What::SwitchedOut(Left::Join));
    check!(waited || thread::cpu_count() > 1, "{found:?}");
    Ok(())
}

fn times_do_not_fall() -> Outcome {
    let mut session = begin(Classes::ALL)?;
    for _ in 0..50 {
        joined(spawn(yield_now));
    }
    session.set_classes(Classes::NONE);
    let mut last = vec![Instant::from_ticks(0); thread::cpu_count()];
    let (mut count, mut falls) = (0, 0);
    session.drain(|entry| {
        let last = &mut last[entry.cpu.index()];
        falls += usize::from(entry.time < *last);
        *last = entry.time;
        count += 1;
    });
    check!(count >= 500, "{count} records of 50 threads");
    check_eq!((falls, session.dropped()), (0, 0));
    Ok(())
}

fn a_wake_up_on_one_cpu_goes_through_the_next_slot() -> Outcome {
    let (handle, sleeper) = parked_on(0)?;
    let waker = handle.thread().clone();
    let mut session = begin(Classes::ALL)?;
    // It goes on the sleeper's side before its own end wakes a third.
    let wake = move || {
        waker.unpark();
        yield_now();
    };
    joined(pinned(0, wake)?);
    joined(handle);
    let found = all(&mut session);
    let told = of(&found, sleeper);
    let (next, cpu) = (Queue::Next, CpuId::new(0));
    let at = told.iter().position(|what| matches!(what, What::Woken { by } if *by != NOBODY));
    let Some(at) = at else { return Err(Failure::Failed(format!("no wake-up: {told:?}"))) };
    check_eq!(told[at + 1], What::Queued { queue: next, on: cpu });
    check!(matches!(told[at + 2], What::SwitchedIn { .. }), "{told:?}");
    check_eq!(told[at + 3], What::Running);
    Ok(())
}

fn a_wake_up_from_afar_is_seen_on_both_sides() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("it takes 2 CPUs");
    }
    let far = CpuId::new(1);
    let (handle, sleeper) = parked_on(1)?;
    let waker = handle.thread().clone();
    let mut session = begin(Classes::ALL)?;
    // Bound to CPU 0, so it is not at home where the sleeper is; CPU 1 sleeps by now.
    joined(pinned(0, move || waker.unpark())?);
    joined(handle);
    let found = all(&mut session);
    let on = |cpu: usize, wanted: What| {
        found.iter().any(|entry| entry.thread == sleeper && entry.cpu.index() == cpu && entry.what == wanted)
    };
    check!(on(0, What::Queued { queue: Queue::Inbox, on: far }), "{:?}", of(&found, sleeper));
    check!(on(1, What::Taken { from: Origin::Inbox, cpu: far }), "{:?}", of(&found, sleeper));
    check!(on(1, What::Running));
    Ok(())
}

fn a_sleeper_is_woken_by_its_timer() -> Outcome {
    let mut session = begin(Classes::ALL)?;
    let begin = Instant::now();
    let handle = spawn(|| sleep(Duration::from_millis(3)));
    let sleeper = handle.thread().id();
    joined(handle);
    let found = all(&mut session);
    let told = of(&found, sleeper);
    check!(told.contains(&What::SwitchedOut(Left::Sleep)), "{told:?}");
    check!(told.iter().any(|what| matches!(what, What::Woken { .. })), "{told:?}");
    let due = found.iter().find_map(|entry| match entry.what {
        What::Timer { due } if due >= begin + Duration::from_millis(3) => Some((entry.time, due)),
        _ => None,
    });
    let Some((taken, due)) = due else { return Err(Failure::Failed(format!("no interrupt: {found:?}"))) };
    check!(taken >= due, "taken before it was due");
    Ok(())
}

fn what_is_handed_to_a_busy_cpu_is_seen_to_be_taken() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("it takes 2 CPUs");
    }
    let far = CpuId::new(1);
    let (begun, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (begins, stops) = (begun.clone(), stop.clone());
    let hog = pinned(1, move || {
        begins.store(true, Ordering::Relaxed);
        while !stops.load(Ordering::Relaxed) {}
    })?;
    poll("the hog", || begun.load(Ordering::Relaxed))?;
    let mut session = begin(Classes::ALL)?;
    // Handed over from the other CPU.
    thread::pin_to(CpuId::new(0)).map_err(|error| Failure::Failed(format!("{error}")))?;
    let handed = [pinned(1, || ())?, pinned(1, || ())?];
    let numbers = handed.each_ref().map(|thread| thread.thread().id());
    handed.into_iter().for_each(joined);
    thread::unpin();
    stop.store(true, Ordering::Relaxed);
    joined(hog);
    let found = all(&mut session);
    for number in numbers {
        let told = of(&found, number);
        check!(told.contains(&What::Taken { from: Origin::Inbox, cpu: far }), "{told:?}");
    }
    Ok(())
}

fn a_hog_is_preempted() -> Outcome {
    let mut session = begin(Classes::SWITCHES)?;
    let done = Arc::new(AtomicBool::new(false));
    let (seen, begun) = (done.clone(), Arc::new(AtomicBool::new(false)));
    let begins = begun.clone();
    let hog = pinned(0, move || {
        begins.store(true, Ordering::Relaxed);
        while !seen.load(Ordering::Relaxed) {}
    })?;
    let number = hog.thread().id();
    poll("the hog", || begun.load(Ordering::Relaxed))?;
    // Two on one CPU: a quantum ends.
    let seen = done.clone();
    let other = pinned(0, move || seen.store(true, Ordering::Relaxed))?;
    joined(hog);
    joined(other);
    let told = of(&all(&mut session), number);
    // A preemption that finds nobody there leads to no switch, but the one that the other waited for does.
    let preempted = [What::Preempted, What::SwitchedOut(Left::Yield)];
    check!(told.windows(2).any(|pair| pair == preempted), "not preempted: {told:?}");
    Ok(())
}

fn a_lock_wait_names_the_holder() -> Outcome {
    let lock = Arc::new(Mutex::new(()));
    let mut session = begin(Classes::ALL)?;
    let (theirs, ready) = (lock.clone(), Arc::new(AtomicBool::new(false)));
    let told = ready.clone();
    let holder = spawn(move || {
        let _held = theirs.lock();
        told.store(true, Ordering::Release);
        sleep(Duration::from_millis(5));
    });
    poll("the holder", || ready.load(Ordering::Acquire))?;
    drop(lock.lock());
    let number = holder.thread().id();
    joined(holder);
    let found = all(&mut session);
    let wait = of(&found, me()).into_iter().find_map(|what| match what {
        What::LockHeld { block } => Some(block),
        _ => None,
    });
    let block = found.iter().find_map(|entry| match entry.what {
        What::SwitchedIn { block } if entry.thread == number => Some(block),
        _ => None,
    });
    check!(wait.is_some() && wait == block, "waits for {wait:x?}, the holder is {block:x?}");
    let lock = Arc::as_ptr(&lock).addr() as u64;
    let mine = of(&found, me());
    check!(mine.contains(&What::LockWait { lock }) && mine.contains(&What::LockEnd { lock }), "{mine:?}");
    Ok(())
}

fn names_are_recorded() -> Outcome {
    let mut session = begin(Classes::THREADS)?;
    let handle =
        Builder::new().name("a name of 22 letters.").spawn(|| ()).map_err(|e| Failure::Failed(format!("{e}")))?;
    let child = handle.thread().id();
    joined(handle);
    let mut name = Vec::new();
    for what in of(&all(&mut session), child) {
        if let What::Named { part } = what {
            let (bytes, length) = name_part(part);
            name.extend_from_slice(&bytes[..length]);
        }
    }
    check_eq!(name, b"a name of 22 letters.");
    Ok(())
}

fn spans_and_counters_have_labels() -> Outcome {
    static PART: Label = Label::new("a part of the program");
    let mut session = begin(Classes::MARKS)?;
    {
        let _span = PART.span();
        PART.count(77);
    }
    let label = (&raw const PART).addr() as u64;
    let want = [What::SpanBegin { label }, What::Count { label: label as u32, value: 77 }, What::SpanEnd { label }];
    check_eq!(of(&all(&mut session), me()), want);
    Ok(())
}

fn memory_that_is_refused_is_seen() -> Outcome {
    const MUCH: usize = 1 << 45;
    let group = group::Builder::new("small").memory_limit(1 << 20).create();
    let group = group.map_err(|error| Failure::Failed(format!("{error:?}")))?;
    let mut session = begin(Classes::MEMORY)?;
    check!(Vec::<u8>::new().try_reserve_exact(MUCH).is_err());
    let member = Builder::new().group(&group).spawn(|| Vec::<u8>::new().try_reserve_exact(2 << 20).is_err());
    let member = member.map_err(|error| Failure::Failed(format!("{error}")))?;
    let number = member.thread().id();
    check!(joined(member));
    let found = all(&mut session);
    check!(of(&found, me()).contains(&What::Refused { by: Supply::Machine, bytes: MUCH as u64 }), "{found:?}");
    check!(of(&found, number).contains(&What::Refused { by: Supply::Group, bytes: 2 << 20 }), "{found:?}");
    Ok(())
}

#[inline(never)]
fn deep(frames: u64) -> u64 {
    let frame = core::hint::black_box([frames; 512]);
    if frames == 0 { frame[7] } else { deep(frames - 1) + frame[9] }
}

fn a_page_fault_of_a_threads_stack_is_seen() -> Outcome {
    // There the host backs stacks, and nobody sees it.
    if isochron::kernel::report::facts().machine == "hosted" {
        return Ok(());
    }
    let mut session = begin(Classes::MEMORY)?;
    // A size that no other case uses, so that nothing of it has grown yet.
    let handle = Builder::new().stack_size(256 << 10).spawn(|| deep(20));
    let handle = handle.map_err(|error| Failure::Failed(format!("{error}")))?;
    let number = handle.thread().id();
    check_eq!(joined(handle), 210);
    let faults = of(&all(&mut session), number);
    check!(faults.len() >= 10 && faults.iter().all(|what| matches!(what, What::PageFault { .. })), "{faults:?}");
    Ok(())
}

fn a_full_ring_counts_what_it_drops() -> Outcome {
    let mut session = trace::start(&Settings { records: 64, classes: Classes::MARKS })
        .map_err(|e| Failure::Failed(format!("{e}")))?;
    let marks = move || {
        for number in 0..100 {
            trace::mark(number);
        }
    };
    joined(pinned(0, marks)?);
    check_eq!(session.dropped(), 36);
    let mut numbers = Vec::new();
    session.drain(|entry| numbers.extend(Some(entry.what)));
    check!(numbers.iter().zip(0..).all(|(what, number)| *what == What::Mark { number }), "{numbers:?}");
    check_eq!(numbers.len(), 64);
    // There is room again.
    joined(pinned(0, || trace::mark(100))?);
    session.drain(|entry| numbers.push(entry.what));
    check_eq!((numbers.last().copied(), session.dropped()), (Some(What::Mark { number: 100 }), 36));
    Ok(())
}

fn classes_choose() -> Outcome {
    let mut session = begin(Classes::THREADS | Classes::MARKS)?;
    joined(spawn(|| trace::mark(1)));
    session.set_classes(Classes::THREADS);
    joined(spawn(|| trace::mark(2)));
    let found = all(&mut session);
    let count = |wanted: fn(&What) -> bool| found.iter().filter(|entry| wanted(&entry.what)).count();
    check_eq!(count(|what| *what == What::Began), 2);
    check_eq!(count(|what| *what == What::Mark { number: 1 }), 1);
    check_eq!(count(|what| *what == What::Mark { number: 2 }), 0);
    check_eq!(found.len(), 5);
    Ok(())
}

fn one_session_at_a_time() -> Outcome {
    let first = begin(Classes::NONE)?;
    check!(matches!(trace::start(&Settings::default()), Err(TraceError::Busy)));
    drop(first);
    drop(begin(Classes::NONE)?);
    Ok(())
}

/// Rings come and go while every CPU writes records.
fn rings_are_given_back() -> Outcome {
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..thread::cpu_count())
        .map(|cpu| {
            let done = done.clone();
            pinned(cpu, move || {
                while !done.load(Ordering::Relaxed) {
                    trace::mark(0);
                    yield_now();
                }
            })
        })
        .collect::<Outcome<_>>()?;
    let before = isochron::kernel::memory::heap::stats().used;
    for _ in 0..50 {
        let mut session = begin(Classes::ALL)?;
        yield_now();
        session.drain(|_| ());
    }
    let after = isochron::kernel::memory::heap::stats().used;
    done.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(joined);
    // 50 sessions have had 50 times this at least.
    let rings = (thread::cpu_count() * 4096 * 32) as u64;
    check!(after < before + rings, "{before} bytes in use before, {after} after");
    Ok(())
}

fn bad_sizes_are_refused() -> Outcome {
    for records in [0, 1, 3, 100, trace::MOST_RECORDS * 2, usize::MAX] {
        let refused = trace::start(&Settings { records, ..Settings::default() });
        check!(matches!(refused, Err(TraceError::Records(given)) if given == records));
    }
    Ok(())
}
