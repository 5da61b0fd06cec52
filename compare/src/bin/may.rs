//! may: stackful coroutines, its scheduler with one worker where one CPU is measured, with one for each CPU elsewhere.
//!
//! Each of its stacks is a mapping of its own, of which Linux allows a process 65,530 unless told otherwise: the rows with
//! more threads than that are left out.

use isochron_compare::rows::*;
use isochron_compare::{Out, main as run, percentile};
use may::coroutine::{sleep, yield_now};
use may::sync::mpsc;
use may::{config, go};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn main() {
    run(&[
        ("switch", switch),
        ("spawn_join", spawn_join),
        ("channel_round", channel_round),
        ("channel_1_1", channel_1_1),
        ("channel_4_1", channel_4_1),
        ("sleep_late", sleep_late),
        ("hogs_late", hogs_late),
    ]);
}

/// Workers, and the smallest stack that its users take.
fn workers(count: usize) {
    config().set_workers(count).set_stack_size(0x1000);
}

fn cpus() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

fn switch(out: &mut Out) {
    workers(1);
    let begin = Instant::now();
    let turn = || {
        go!(|| {
            for _ in 0..SWITCHES / 2 {
                yield_now();
            }
        })
    };
    [turn(), turn()].into_iter().for_each(|turn| turn.join().unwrap());
    out.value("switch", begin.elapsed().as_nanos() as f64 / SWITCHES as f64);
}

fn spawn_join(out: &mut Out) {
    workers(1);
    let ns = go!(|| {
        let begin = Instant::now();
        let sum: u64 = (0..SPAWN_JOIN).map(|n| go!(move || n).join().unwrap()).sum();
        assert_eq!(sum, SPAWN_JOIN * (SPAWN_JOIN - 1) / 2);
        begin.elapsed().as_nanos() as f64 / SPAWN_JOIN as f64
    });
    out.value("spawn_join", ns.join().unwrap());
}

fn rounds() -> f64 {
    let (there, from_here) = mpsc::channel::<u64>();
    let (back, from_there) = mpsc::channel::<u64>();
    go!(move || from_here.iter().for_each(|n| back.send(n + 1).unwrap()));
    let ns = go!(move || {
        let begin = Instant::now();
        for n in 0..ROUNDS {
            there.send(n).unwrap();
            assert_eq!(from_there.recv(), Ok(n + 1));
        }
        begin.elapsed().as_nanos() as f64 / ROUNDS as f64
    });
    ns.join().unwrap()
}

fn channel_round(out: &mut Out) {
    workers(1);
    out.value("channel_round", rounds());
}

/// Its channels are unbounded.
fn throughput(senders: u64) -> f64 {
    workers(cpus());
    let (tx, rx) = mpsc::channel::<u64>();
    let begin = Instant::now();
    for _ in 0..senders {
        let tx = tx.clone();
        go!(move || (0..MESSAGES / senders).for_each(|n| tx.send(n).unwrap()));
    }
    drop(tx);
    let sum: u64 = go!(move || rx.iter().sum()).join().unwrap();
    assert_eq!(sum, sum_through(senders));
    MESSAGES as f64 / begin.elapsed().as_secs_f64() / 1e6
}

fn channel_1_1(out: &mut Out) {
    out.value("channel_1_1", throughput(1));
}

fn channel_4_1(out: &mut Out) {
    out.value("channel_4_1", throughput(4));
}

fn late(time: Duration) -> Vec<f64> {
    (0..SLEEPS)
        .map(|_| {
            let deadline = Instant::now() + time;
            sleep(time);
            (Instant::now() - deadline).as_secs_f64()
        })
        .collect()
}

fn sleep_late(out: &mut Out) {
    workers(1);
    let mut late = go!(|| late(Duration::from_micros(100))).join().unwrap();
    out.value("sleep_late", percentile(&mut late, 50.0) * 1e6);
}

/// Hogs that yield every 100 us or so: ones that never do would end it.
fn hogs_late(out: &mut Out) {
    workers(cpus());
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..4 {
        let stop = Arc::clone(&stop);
        go!(move || {
            while !stop.load(Ordering::Relaxed) {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(100) {}
                yield_now();
            }
        });
    }
    let mut late = go!(|| late(Duration::from_millis(1))).join().unwrap();
    stop.store(true, Ordering::Relaxed);
    out.value("hogs_late_p50", percentile(&mut late, 50.0) * 1e3);
    out.value("hogs_late_p99", percentile(&mut late, 99.0) * 1e3);
}
