//! Probes: what starves raises an alarm that names thread and CPU, what is well raises none, and a program is told of events.
//@ trace: yes
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
#![no_std]
#![no_main]

use isochron::kernel::irq::{self, IrqLock};
use isochron::kernel::lock_rank::LockRank;
use isochron::probe::{self, Alarm, Bounds, Cause, ProbeError};
use isochron::sync::Mutex;
use isochron::thread::{Hint, park, sleep};
use isochron::trace::{self, Classes, Entry, Settings, What};
use isochron::worker;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_flood_with_stealing_off_is_told,
        a_queue_that_others_share_raises_nothing,
        a_thread_that_waits_too_long_is_named,
        threads_with_a_rank_are_found_too,
        a_cpu_without_interrupts_is_told,
        a_healthy_run_raises_nothing,
        who_was_looked_at_runs_on,
        one_watch_at_a_time,
        a_probe_sees_wake_ups_switches_and_queues,
        what_a_probe_does_is_not_told,
        a_probe_and_a_recording_go_together
    ])
}

const PRIMARY: CpuId = CpuId::PRIMARY;

/// The alarms since the last case began.
static RAISED: IrqLock<[Option<Alarm>; 32]> = IrqLock::new(LockRank::new(125, "alarms"), [None; 32]);

fn keep(alarm: &Alarm) {
    let mut raised = RAISED.lock();
    if let Some(free) = raised.iter_mut().find(|place| place.is_none()) {
        *free = Some(*alarm);
    }
}

fn raised() -> Vec<Alarm> {
    RAISED.lock().iter().flatten().copied().collect()
}

fn first(of: impl Fn(&Cause) -> bool) -> Option<Alarm> {
    raised().into_iter().find(|alarm| of(&alarm.cause))
}

fn watch(bounds: Bounds) -> Outcome<probe::Watch> {
    *RAISED.lock() = [None; 32];
    probe::watch(bounds, keep).map_err(|error| Failure::Failed(format!("{error}")))
}

const NEVER: Duration = Duration::from_secs(1000);
const BOUNDS: Bounds = Bounds { idle: NEVER, queue: usize::MAX, runnable: NEVER };

fn on(cpu: CpuId, name: &str, body: impl FnOnce() + Send + 'static) -> Outcome<JoinHandle<()>> {
    Builder::new().pinned(cpu).name(name).spawn(body).map_err(|error| Failure::Failed(format!("{error}")))
}

/// Runs without a pause until it is told to stop.
fn hog(stop: &Arc<AtomicBool>) -> impl FnOnce() + Send + 'static {
    let stop = stop.clone();
    move || while !stop.load(Ordering::Relaxed) {}
}

/// Threads that never block, all made on the first CPU, which shares with nobody.
fn flood(count: usize, stop: &Arc<AtomicBool>) -> Outcome<Vec<JoinHandle<()>>> {
    let made = Arc::new(Mutex::new(Vec::new()));
    let (theirs, stop) = (made.clone(), stop.clone());
    joined(on(PRIMARY, "maker", move || {
        // All at once: else each further one waits until those before had their quantum.
        let _undisturbed = PreemptGuard::new();
        for _ in 0..count {
            if let Ok(handle) = Builder::new().name("flood").spawn(hog(&stop)) {
                theirs.lock().push(handle);
            }
        }
    })?);
    let handles = core::mem::take(&mut *made.lock());
    check_eq!(handles.len(), count);
    Ok(handles)
}

fn a_flood_with_stealing_off_is_told() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("it takes a CPU that idles");
    }
    let stop = Arc::new(AtomicBool::new(false));
    worker::set_stealing(PRIMARY, false).map_err(|error| Failure::Failed(format!("{error}")))?;
    let watching = watch(Bounds { idle: Duration::from_millis(40), queue: 128, ..BOUNDS })?;
    let handles = flood(180, &stop)?;
    // Another CPU is to idle all the while, so this thread must not take its naps there.
    let _ = thread::pin_to(PRIMARY);
    let idle = |cause: &Cause| matches!(cause, Cause::IdleCpu { .. });
    let told = poll("the alarm", || first(idle).is_some() && first(|cause| *cause == Cause::LongQueue).is_some());
    stop.store(true, Ordering::Relaxed);
    let _ = worker::set_stealing(PRIMARY, true);
    thread::unpin();
    handles.into_iter().for_each(joined);
    drop(watching);
    told?;
    let Some(alarm) = first(idle) else { return Err(Failure::Failed("no alarm".into())) };
    check!(alarm.cpu == PRIMARY && alarm.waiting > 100, "{alarm}");
    check!(
        matches!(alarm.cause, Cause::IdleCpu { idle, time } if idle != PRIMARY && time.as_millis() >= 40),
        "{alarm}"
    );
    check!(alarm.longest.is_some_and(|it| it.name.as_str() == "flood" && !it.bound), "{alarm}");
    check!(alarm.running.is_some(), "{alarm}");
    check!(usize::from(alarm.queues()[0]) > 100 && alarm.queues().len() == thread::cpu_count(), "{alarm}");
    let text = format!("{alarm}");
    check!(text.contains("threads wait for CPU 0; longest: 'flood'"), "{text}");
    let Some(alarm) = first(|cause| *cause == Cause::LongQueue) else { return Err(Failure::Failed("no alarm".into())) };
    check!(alarm.cpu == PRIMARY && alarm.waiting > 128, "{alarm}");
    // Once, although it went on.
    check_eq!(raised().iter().filter(|alarm| alarm.cause == Cause::LongQueue).count(), 1);
    Ok(())
}

/// The same flood with stealing on: all CPUs work, and none idles.
fn a_queue_that_others_share_raises_nothing() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(Bounds { idle: Duration::from_millis(40), ..BOUNDS })?;
    let handles = flood(60, &stop)?;
    sleep(Duration::from_millis(150));
    stop.store(true, Ordering::Relaxed);
    handles.into_iter().for_each(joined);
    drop(watching);
    check!(raised().is_empty(), "{:?}", raised());
    Ok(())
}

/// Has the last CPU to itself until it is dropped: a thread that holds preemption off, or this one, if there is only one CPU.
enum Greedy {
    Another(Arc<AtomicBool>, Option<JoinHandle<()>>),
    This(#[allow(dead_code)] PreemptGuard),
}

impl Greedy {
    fn new() -> Outcome<Self> {
        if thread::cpu_count() == 1 {
            return Ok(Self::This(PreemptGuard::new()));
        }
        let (stop, began) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (seen, told) = (stop.clone(), began.clone());
        let greedy = on(last(), "greedy", move || {
            let _here = PreemptGuard::new();
            told.store(true, Ordering::Relaxed);
            while !seen.load(Ordering::Relaxed) {}
        })?;
        poll("the greedy one runs", || began.load(Ordering::Relaxed))?;
        Ok(Self::Another(stop, Some(greedy)))
    }

    /// Who runs there.
    fn name(&self) -> &'static str {
        if matches!(self, Self::This(_)) { "main" } else { "greedy" }
    }

    /// Waits, in the way that is possible.
    fn wait(&self, what: &str, done: impl FnMut() -> bool) -> Outcome {
        if matches!(self, Self::This(_)) { spin(what, done) } else { poll(what, done) }
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        if let Self::Another(stop, handle) = self {
            stop.store(true, Ordering::Relaxed);
            handle.take().into_iter().for_each(joined);
        }
    }
}

/// A thread waits for a CPU that another keeps.
fn starve(make: impl FnOnce() -> Outcome<JoinHandle<()>>) -> Outcome<Alarm> {
    let watching = watch(Bounds { runnable: Duration::from_millis(20), ..BOUNDS })?;
    let greedy = Greedy::new()?;
    let starved = make()?;
    let number = starved.thread().id();
    let of = |alarm: &Alarm| alarm.cause == Cause::LongWait && alarm.longest.is_some_and(|it| it.thread == number);
    let named = greedy.wait("the alarm", || raised().iter().any(of));
    let name = greedy.name();
    drop(greedy);
    joined(starved);
    drop(watching);
    named?;
    let Some(alarm) = raised().into_iter().find(of) else { return Err(Failure::Failed("no alarm".into())) };
    check!(alarm.cpu == last() && alarm.running.is_some_and(|(_, runs)| runs.as_str() == name), "{alarm}");
    check!(alarm.longest.is_some_and(|it| it.time.as_millis() >= 20), "{alarm}");
    Ok(alarm)
}

fn last() -> CpuId {
    CpuId::new(thread::cpu_count() - 1)
}

fn a_thread_that_waits_too_long_is_named() -> Outcome {
    let alarm = starve(|| on(last(), "a name that is longer than what is kept", || ()))?;
    check!(alarm.longest.is_some_and(|it| it.bound), "{alarm}");
    check!(alarm.longest.is_some_and(|it| it.name.as_str() == "a name that is longer t"), "{alarm}");
    Ok(())
}

fn threads_with_a_rank_are_found_too() -> Outcome {
    let alarm = starve(|| {
        let builder = Builder::new().pinned(last()).name("ranked").hint(Hint::Batch);
        builder.spawn(|| ()).map_err(|error| Failure::Failed(format!("{error}")))
    })?;
    check!(alarm.longest.is_some_and(|it| it.name.as_str() == "ranked"), "{alarm}");
    Ok(())
}

fn a_cpu_without_interrupts_is_told() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("it takes a CPU that looks");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let seen = stop.clone();
    // Who looks must hear its own timer.
    thread::pin_to(PRIMARY).map_err(|error| Failure::Failed(format!("{error}")))?;
    let masked = Arc::new(AtomicBool::new(false));
    let told_so = masked.clone();
    let deaf = on(last(), "deaf", move || {
        irq::without(|| {
            told_so.store(true, Ordering::Relaxed);
            while !seen.load(Ordering::Relaxed) {}
        });
    })?;
    poll("it is deaf", || masked.load(Ordering::Relaxed))?;
    let waiting = on(last(), "waiting", || ())?;
    let watching = watch(Bounds { runnable: Duration::from_millis(8), ..BOUNDS })?;
    let silent = |cause: &Cause| *cause == Cause::Silent;
    let told = poll("the alarm", || first(silent).is_some());
    stop.store(true, Ordering::Relaxed);
    joined(deaf);
    joined(waiting);
    drop(watching);
    thread::unpin();
    told?;
    check!(first(silent).is_some_and(|alarm| alarm.cpu == last() && alarm.longest.is_none()), "{:?}", raised());
    Ok(())
}

fn a_healthy_run_raises_nothing() -> Outcome {
    let bounds = Bounds { idle: Duration::from_millis(100), queue: 128, runnable: Duration::from_millis(500) };
    let watching = watch(bounds)?;
    let end = Instant::now() + Duration::from_millis(400);
    let workers: Vec<_> = (0..3 * thread::cpu_count())
        .map(|number| {
            spawn(move || {
                while Instant::now() < end {
                    let pause = Instant::now() + Duration::from_micros(50 * number as u64);
                    while Instant::now() < pause {}
                    if number % 2 == 0 {
                        sleep(Duration::from_micros(300));
                    } else {
                        yield_now();
                    }
                }
            })
        })
        .collect();
    workers.into_iter().for_each(joined);
    drop(watching);
    check!(raised().is_empty(), "{:?}", raised());
    Ok(())
}

/// Looking takes threads out of their queue for a moment: none is lost.
fn who_was_looked_at_runs_on() -> Outcome {
    const MANY: usize = 100;
    let ran = Arc::new(AtomicUsize::new(0));
    let watching = watch(Bounds { runnable: Duration::from_millis(5), ..BOUNDS })?;
    let greedy = Greedy::new()?;
    let waiting: Vec<_> = (0..MANY)
        .map(|_| {
            let ran = ran.clone();
            let count = move || {
                ran.fetch_add(1, Ordering::Relaxed);
            };
            on(last(), "one of many", count)
        })
        .collect::<Outcome<_>>()?;
    let looked = greedy.wait("the alarm", || first(|cause| *cause == Cause::LongWait).is_some());
    drop(greedy);
    waiting.into_iter().for_each(joined);
    drop(watching);
    looked?;
    check_eq!(ran.load(Ordering::Relaxed), MANY);
    Ok(())
}

fn one_watch_at_a_time() -> Outcome {
    let first = watch(BOUNDS)?;
    check!(matches!(probe::watch(BOUNDS, keep), Err(ProbeError::Busy)));
    drop(first);
    drop(watch(BOUNDS)?);
    for bad in [Bounds { idle: Duration::ZERO, ..BOUNDS }, Bounds { queue: 0, ..BOUNDS }] {
        check!(matches!(probe::watch(bad, keep), Err(ProbeError::Bounds(given)) if given == bad));
    }
    Ok(())
}

static WAKES: AtomicU64 = AtomicU64::new(0);
static SWITCHES: AtomicU64 = AtomicU64::new(0);
static MARKS: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn count(entry: &Entry) {
    match entry.what {
        What::Woken { .. } => WAKES.fetch_add(1, Ordering::Relaxed),
        What::SwitchedIn { .. } => SWITCHES.fetch_add(1, Ordering::Relaxed),
        What::Mark { .. } => MARKS.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    };
    MOST.fetch_max(probe::queue_length(entry.cpu).unwrap_or(0), Ordering::Relaxed);
}

fn told(classes: Classes, call: fn(&Entry)) -> Outcome {
    probe::set(classes, call).map_err(|error| Failure::Failed(format!("{error}")))
}

fn a_probe_sees_wake_ups_switches_and_queues() -> Outcome {
    let sleepers: Vec<_> = (0..10).map(|_| on(PRIMARY, "sleeper", park)).collect::<Outcome<_>>()?;
    sleep(Duration::from_millis(5));
    let threads: Vec<_> = sleepers.iter().map(JoinHandle::thread).collect();
    told(Classes::WAKES | Classes::SWITCHES, count)?;
    let waker = on(PRIMARY, "waker", move || {
        // So that none of them runs before the last is woken.
        let _undisturbed = PreemptGuard::new();
        threads.iter().for_each(thread::Thread::unpark);
    })?;
    joined(waker);
    sleepers.into_iter().for_each(joined);
    told(Classes::NONE, count)?;
    let (wakes, switches) = (WAKES.load(Ordering::Relaxed), SWITCHES.load(Ordering::Relaxed));
    check!(wakes >= 10 && switches >= 10, "{wakes} wake-ups, {switches} switches");
    check!(MOST.load(Ordering::Relaxed) >= 9, "at most {} in a queue", MOST.load(Ordering::Relaxed));
    yield_now();
    joined(spawn(|| ()));
    check_eq!(SWITCHES.load(Ordering::Relaxed), switches);
    Ok(())
}

fn what_a_probe_does_is_not_told() -> Outcome {
    fn mark(entry: &Entry) {
        count(entry);
        trace::mark(1);
    }
    MARKS.store(0, Ordering::Relaxed);
    told(Classes::MARKS, mark)?;
    trace::mark(0);
    told(Classes::NONE, mark)?;
    check_eq!(MARKS.load(Ordering::Relaxed), 1);
    Ok(())
}

fn a_probe_and_a_recording_go_together() -> Outcome {
    let settings = Settings { records: 1024, classes: Classes::MARKS };
    let mut session = trace::start(&settings).map_err(|error| Failure::Failed(format!("{error}")))?;
    MARKS.store(0, Ordering::Relaxed);
    trace::mark(1);
    told(Classes::MARKS, count)?;
    trace::mark(2);
    session.set_classes(Classes::NONE);
    trace::mark(3);
    told(Classes::NONE, count)?;
    session.set_classes(Classes::MARKS);
    trace::mark(4);
    let mut numbers = Vec::new();
    session.drain(|entry| {
        if let What::Mark { number } = entry.what {
            numbers.push(number);
        }
    });
    numbers.sort_unstable();
    check_eq!(numbers, [1, 2, 4]);
    check_eq!(MARKS.load(Ordering::Relaxed), 2);
    Ok(())
}
