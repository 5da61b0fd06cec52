//! A thread that waits for a device holds no CPU: `io_wait [THREADS [REQUESTS [PERIOD]]]`, the period in us.
//!
//! The device is a timer whose function is called in the interrupt, as a driver's would be: it completes one request, and
//! wakes the thread that waits for it. THREADS threads wait, all on the primary CPU, where a hog counts how often it goes
//! round a loop in REQUESTS periods: alone, beside the threads while the device is silent, and while it completes a request
//! each PERIOD. Whatever waiting takes, the hog lacks.
//!
//! * `io_wait_share_silent`, `io_wait_share_served`: what the hog had, of what it has alone;
//! * `io_wait_interrupts_silent`, `io_wait_interrupts_served`: interrupts of the CPU meanwhile;
//! * `io_wait_cost`: what a request took from the hog: interrupt, two switches and the thread's own few instructions;
//! * `io_wait_answer`: from the interrupt to the thread's first instruction after its wait, beside the hog;
//! * `io_wait_idle_interrupts`: interrupts of the CPU in which all wait and nobody runs, over the same time.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::{Builder, Hint, SpawnError, Thread};
use isochron::time::{Then, Timer};
use isochron::worker;
use isochron_apps::arguments::numbers;
use isochron_apps::measure::{Recorder, on, picoseconds};

#[isochron::main]
fn main() -> u8 {
    let wanted = [
        ("the number of threads", 1000, 1, 100_000),
        ("the number of requests", 200, 1, 1_000_000),
        ("the period", 1000, 100, 1_000_000),
    ];
    let [threads, requests, period] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("io_wait: {error}");
            return 2;
        }
    };
    let measured = on(CpuId::PRIMARY, "hog", move || measure(threads, requests, Duration::from_micros(period)));
    match measured.map(JoinHandle::join) {
        Ok(Ok(Ok(()))) => exit::PASSED,
        Ok(Err(death)) => failed(&death),
        Ok(Ok(Err(error))) | Err(error) => failed(&error),
    }
}

fn failed(error: &dyn core::fmt::Display) -> u8 {
    println!("io_wait: {error}");
    exit::FAILED
}

/// One who waits, and when its request was completed: 0 while it is not, in ticks else.
struct Waiter {
    thread: Thread,
    completed: Arc<AtomicU64>,
}

/// This thread is the hog.
fn measure(threads: u64, requests: u64, period: Duration) -> Result<(), SpawnError> {
    let time = Duration::from_nanos(period.as_nanos() * requests);
    // Whatever is still to be done from before is done meanwhile.
    count(time);
    let (alone, _) = count(time);

    let over = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(Mutex::new(Recorder::new()));
    let mut joins = Vec::new();
    let mut waiters = Vec::new();
    for _ in 0..threads {
        let completed = Arc::new(AtomicU64::new(0));
        let thread = waiter(completed.clone(), answers.clone(), over.clone())?;
        waiters.push(Waiter { thread: thread.thread(), completed });
        joins.push(thread);
    }
    // All of them begin to wait, and a quantum that is under way ends.
    sleep(Duration::from_nanos(worker::quantum().as_nanos() * 4));
    let interrupts = || worker::statistics(CpuId::PRIMARY).map_or(0, |found| found.interrupts);
    let before = interrupts();
    sleep(time);
    // One of them is that of this thread's own deadline.
    let idle_interrupts = interrupts() - before - 1;
    count(Duration::from_nanos(worker::quantum().as_nanos() * 4));

    let (silent, silent_interrupts) = count(time);

    let waiters = Arc::new(waiters);
    let (mut device, mut next, mut due) = (None::<Timer>, 0, Instant::now() + period);
    let completing = waiters.clone();
    let device = device.insert(Timer::new(move |_| {
        let waiter = &completing[next % completing.len()];
        next += 1;
        waiter.completed.store(Instant::now_unordered().ticks(), Ordering::Relaxed);
        waiter.thread.unpark();
        due += period;
        Then::At(due)
    }));
    device.set(due);
    let (served, served_interrupts) = count(time);
    device.cancel();

    over.store(true, Ordering::Relaxed);
    waiters.iter().for_each(|waiter| waiter.thread.unpark());
    for thread in joins {
        let _ = thread.join();
    }

    let share = |turns: u64| Fixed::from_ratio(turns * 1000, alone.max(1));
    println!("the hog: {alone} turns alone, {silent} beside {threads} that wait, {served} with {requests} requests");
    report::value("io_wait_share_silent", "per_mille", share(silent));
    report::value("io_wait_share_served", "per_mille", share(served));
    report::value("io_wait_interrupts_silent", "count", Fixed::from_int(silent_interrupts));
    report::value("io_wait_interrupts_served", "count", Fixed::from_int(served_interrupts));
    report::value("io_wait_idle_interrupts", "count", Fixed::from_int(idle_interrupts));
    let lost = u128::from(alone.saturating_sub(served)) * u128::from(time.as_nanos()) / u128::from(alone.max(1));
    report::value("io_wait_cost", "ns", Fixed::from_ratio(lost as u64, requests));
    core::mem::take(&mut *answers.lock()).send("io_wait_answer");
    Ok(())
}

/// How often a loop goes round in `time`, and the interrupts of this CPU meanwhile.
fn count(time: Duration) -> (u64, u64) {
    let interrupts = || worker::statistics(CpuId::PRIMARY).map_or(0, |found| found.interrupts);
    let (before, end, mut turns) = (interrupts(), Instant::now() + time, 0);
    while Instant::now_unordered() < end {
        turns += 1;
    }
    (turns, interrupts() - before)
}

/// Waits for its requests, one after the other. What the network wakes goes before what computes.
fn waiter(
    completed: Arc<AtomicU64>,
    answers: Arc<Mutex<Recorder>>,
    over: Arc<AtomicBool>,
) -> Result<JoinHandle<()>, SpawnError> {
    Builder::new().name("waiter").pinned(CpuId::PRIMARY).hint(Hint::Network).spawn(move || {
        while !over.load(Ordering::Relaxed) {
            park();
            let now = Instant::now_unordered().ticks();
            let then = completed.swap(0, Ordering::Relaxed);
            if then != 0 {
                answers.lock().record(picoseconds(now.saturating_sub(then)));
            }
        }
    })
}
