//! Threads of the system's own, with crossbeam's channels and the locks of parking_lot.

use isochron_compare::rows::*;
use isochron_compare::{Out, main as run, percentile};
use parking_lot::{FairMutex, Mutex};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    run(&[
        ("cross_core_round", cross_core_round),
        ("channel_1_1", channel_1_1),
        ("channel_4_1", channel_4_1),
        ("channel_4_4", channel_4_4),
        ("sleep_late", sleep_late),
        ("hogs_late", hogs_late),
        ("mutex_2", mutex),
    ]);
}

fn cross_core_round(out: &mut Out) {
    let (there, from_here) = crossbeam_channel::bounded::<u64>(1);
    let (back, from_there) = crossbeam_channel::bounded::<u64>(1);
    let echo = thread::spawn(move || from_here.iter().for_each(|n| back.send(n + 1).unwrap()));
    let begin = Instant::now();
    for n in 0..ROUNDS {
        there.send(n).unwrap();
        assert_eq!(from_there.recv(), Ok(n + 1));
    }
    out.value("cross_core_round", begin.elapsed().as_nanos() as f64 / ROUNDS as f64);
    drop(there);
    echo.join().unwrap();
}

fn throughput(senders: u64, receivers: u64) -> f64 {
    let (tx, rx) = crossbeam_channel::bounded::<u64>(CAPACITY);
    let begin = Instant::now();
    let sum: u64 = thread::scope(|scope| {
        for _ in 0..senders {
            let tx = tx.clone();
            scope.spawn(move || (0..MESSAGES / senders).for_each(|n| tx.send(n).unwrap()));
        }
        drop(tx);
        let receivers: Vec<_> = (0..receivers)
            .map(|_| {
                let rx = rx.clone();
                scope.spawn(move || rx.iter().sum::<u64>())
            })
            .collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum()
    });
    assert_eq!(sum, sum_through(senders));
    MESSAGES as f64 / begin.elapsed().as_secs_f64() / 1e6
}

fn channel_1_1(out: &mut Out) {
    out.value("channel_1_1", throughput(1, 1));
}

fn channel_4_1(out: &mut Out) {
    out.value("channel_4_1", throughput(4, 1));
}

fn channel_4_4(out: &mut Out) {
    out.value("channel_4_4", throughput(4, 4));
}

fn late(time: Duration) -> Vec<f64> {
    (0..SLEEPS)
        .map(|_| {
            let deadline = Instant::now() + time;
            thread::sleep(time);
            (Instant::now() - deadline).as_secs_f64()
        })
        .collect()
}

fn sleep_late(out: &mut Out) {
    out.value("sleep_late", percentile(&mut late(Duration::from_micros(100)), 50.0) * 1e6);
}

/// The hogs never yield: the system takes their CPUs from them.
fn hogs_late(out: &mut Out) {
    static STOP: AtomicBool = AtomicBool::new(false);
    for _ in 0..4 {
        thread::spawn(|| while !STOP.load(Ordering::Relaxed) {});
    }
    let mut late = late(Duration::from_millis(1));
    STOP.store(true, Ordering::Relaxed);
    out.value("hogs_late_p50", percentile(&mut late, 50.0) * 1e3);
    out.value("hogs_late_p99", percentile(&mut late, 99.0) * 1e3);
}

fn contend(count: u64, increment: impl Fn() + Sync) -> f64 {
    let ready = Barrier::new(3);
    thread::scope(|scope| {
        let threads = [0, 1].map(|_| {
            scope.spawn(|| {
                ready.wait();
                (0..count / 2).for_each(|_| increment());
            })
        });
        ready.wait();
        let begin = Instant::now();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        begin.elapsed().as_nanos() as f64 / count as f64
    })
}

fn mutex(out: &mut Out) {
    let barging = Mutex::new(0);
    out.value("mutex_2_barging", contend(LOCKS, || *barging.lock() += 1));
    assert_eq!(*barging.lock(), LOCKS);
    let fair = FairMutex::new(0);
    let count = LOCKS / 20;
    out.value("mutex_2_fair", contend(count, || *fair.lock() += 1));
    assert_eq!(*fair.lock(), count);
}
