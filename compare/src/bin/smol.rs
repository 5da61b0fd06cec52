//! smol: an executor on one thread where one CPU is measured, one that a thread for each CPU runs elsewhere.

use async_channel::{Receiver, Sender, bounded};
use isochron_compare::rows::*;
use isochron_compare::{Out, main as run, ns_each, percentile, shuffled};
use smol::future::{block_on, yield_now};
use smol::{Executor, LocalExecutor, Timer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

fn main() {
    run(&[
        ("switch", switch),
        ("switch_many", switch_many),
        ("spawn_join", spawn_join),
        ("spawn_many", spawn_many),
        ("channel_round", channel_round),
        ("cross_core_round", cross_core_round),
        ("channel_1_1", channel_1_1),
        ("channel_4_1", channel_4_1),
        ("channel_4_4", channel_4_4),
        ("skynet", skynet),
        ("memory", memory),
        ("wake_many", wake_many),
        ("timers", timers),
        ("sleep_late", sleep_late),
        ("hogs_late", hogs_late),
    ]);
}

/// Runs `f` with an executor that a thread for each CPU works for.
fn with_all_cpus<T: Send>(f: impl AsyncFnOnce(&'static Executor<'static>) -> T) -> T {
    let executor: &'static Executor<'static> = Box::leak(Box::new(Executor::new()));
    let cpus = std::thread::available_parallelism().unwrap().get();
    let (stop, stopped) = bounded::<()>(1);
    std::thread::scope(|scope| {
        for _ in 0..cpus {
            let stopped = stopped.clone();
            scope.spawn(move || block_on(executor.run(async { _ = stopped.recv().await })));
        }
        let result = block_on(f(executor));
        drop(stop);
        result
    })
}

fn switch(out: &mut Out) {
    let executor = LocalExecutor::new();
    let turn = || {
        executor.spawn(async {
            for _ in 0..SWITCHES / 2 {
                yield_now().await;
            }
        })
    };
    let tasks = [turn(), turn()];
    let ns = ns_each(SWITCHES, || {
        block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
    });
    out.value("switch", ns);
}

/// Tasks that wait each for its own message, woken in random order, then yield.
fn switch_many(out: &mut Out) {
    let executor = LocalExecutor::new();
    let (words, tasks): (Vec<Sender<()>>, Vec<_>) = (0..MANY)
        .map(|_| {
            let (tx, rx) = bounded(1);
            let task = executor.spawn(async move {
                rx.recv().await.unwrap();
                for _ in 0..MANY_TURNS {
                    yield_now().await;
                }
            });
            (tx, task)
        })
        .unzip();
    while executor.try_tick() {}
    shuffled(MANY).into_iter().for_each(|index| words[index].try_send(()).unwrap());
    let ns = ns_each(MANY as u64 * MANY_TURNS, || {
        block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
    });
    out.value("switch_many", ns);
}

fn spawn_join(out: &mut Out) {
    let executor = LocalExecutor::new();
    let mut sum = 0;
    let ns = ns_each(SPAWN_JOIN, || {
        block_on(executor.run(async {
            for n in 0..SPAWN_JOIN {
                sum += executor.spawn(async move { n }).await;
            }
        }));
    });
    assert_eq!(sum, SPAWN_JOIN * (SPAWN_JOIN - 1) / 2);
    out.value("spawn_join", ns);
}

fn spawn_many(out: &mut Out) {
    let executor = LocalExecutor::new();
    let mut sum = 0;
    let ns = ns_each(SPAWN_MANY, || {
        let tasks: Vec<_> = (0..SPAWN_MANY).map(|n| executor.spawn(async move { n })).collect();
        block_on(executor.run(async {
            for task in tasks {
                sum += task.await;
            }
        }));
    });
    assert_eq!(sum, SPAWN_MANY * (SPAWN_MANY - 1) / 2);
    out.value("spawn_many", ns);
}

async fn echo(from: Receiver<u64>, to: Sender<u64>) {
    while let Ok(n) = from.recv().await {
        to.send(n + 1).await.unwrap();
    }
}

async fn rounds(there: Sender<u64>, back: Receiver<u64>, rounds: u64) -> f64 {
    let begin = Instant::now();
    for n in 0..rounds {
        there.send(n).await.unwrap();
        assert_eq!(back.recv().await, Ok(n + 1));
    }
    begin.elapsed().as_nanos() as f64 / rounds as f64
}

fn channel_round(out: &mut Out) {
    let executor = LocalExecutor::new();
    let ((there, from), (to, back)) = (bounded(1), bounded(1));
    executor.spawn(echo(from, to)).detach();
    out.value("channel_round", block_on(executor.run(rounds(there, back, ROUNDS))));
}

/// Each side on a thread of its own: one executor would run both on one CPU.
fn cross_core_round(out: &mut Out) {
    let ((there, from), (to, back)) = (bounded(1), bounded(1));
    let echo = std::thread::spawn(|| block_on(echo(from, to)));
    out.value("cross_core_round", block_on(rounds(there, back, ROUNDS / 10)));
    echo.join().unwrap();
}

fn throughput(senders: u64, receivers: u64) -> f64 {
    with_all_cpus(async move |executor| {
        let (tx, rx) = bounded::<u64>(CAPACITY);
        let begin = Instant::now();
        for _ in 0..senders {
            let tx = tx.clone();
            executor
                .spawn(async move {
                    for n in 0..MESSAGES / senders {
                        tx.send(n).await.unwrap();
                    }
                })
                .detach();
        }
        drop(tx);
        let tasks: Vec<_> = (0..receivers)
            .map(|_| {
                let rx = rx.clone();
                executor.spawn(async move {
                    let mut sum = 0;
                    while let Ok(n) = rx.recv().await {
                        sum += n;
                    }
                    sum
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await;
        }
        assert_eq!(sum, sum_through(senders));
        MESSAGES as f64 / begin.elapsed().as_secs_f64() / 1e6
    })
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

fn skynet(out: &mut Out) {
    type Node = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
    fn node(executor: &'static Executor<'static>, tx: Sender<u64>, number: u64, size: u64) -> Node {
        Box::pin(async move {
            if size == 1 {
                tx.send(number).await.unwrap();
                return;
            }
            let (child, rx) = bounded(10);
            for n in 0..10 {
                executor.spawn(node(executor, child.clone(), number + n * (size / 10), size / 10)).detach();
            }
            drop(child);
            let mut sum = 0;
            while let Ok(n) = rx.recv().await {
                sum += n;
            }
            tx.send(sum).await.unwrap();
        })
    }
    let ms = with_all_cpus(async |executor| {
        let (tx, rx) = bounded(1);
        let begin = Instant::now();
        executor.spawn(node(executor, tx, 0, LEAVES)).detach();
        assert_eq!(rx.recv().await, Ok(SKYNET_SUM));
        begin.elapsed().as_secs_f64() * 1e3
    });
    out.value("skynet", ms);
}

/// Tasks that wait for a message that never comes, all on one channel.
fn memory(_: &mut Out) {
    let count: usize = std::env::args().nth(2).map_or(PARKED, |count| count.parse().unwrap());
    let executor: LocalExecutor<'static> = LocalExecutor::new();
    let (tx, rx) = bounded::<()>(1);
    for _ in 0..count {
        let rx = rx.clone();
        executor.spawn(async move { _ = rx.recv().await }).detach();
    }
    while executor.try_tick() {}
    assert!(!tx.is_closed());
    std::process::exit(0);
}

fn wake_many(out: &mut Out) {
    let executor = LocalExecutor::new();
    let (words, tasks): (Vec<Sender<()>>, Vec<_>) = (0..WAKE_MANY)
        .map(|_| {
            let (tx, rx) = bounded(1);
            (tx, executor.spawn(async move { rx.recv().await.unwrap() }))
        })
        .unzip();
    while executor.try_tick() {}
    let ns = ns_each(WAKE_MANY as u64, || {
        words.iter().for_each(|word| word.try_send(()).unwrap());
        block_on(executor.run(async {
            for task in tasks {
                task.await;
            }
        }));
    });
    out.value("wake_many", ns);
}

fn timers(out: &mut Out) {
    let mut context = Context::from_waker(Waker::noop());
    let mut timers: Vec<_> = (0..TIMERS)
        .map(|n| Box::pin(Timer::after(Duration::from_micros(10_000_000 + (n as u64 * 7919) % 10_000_000))))
        .collect();
    let insert = ns_each(TIMERS as u64, || {
        for timer in &mut timers {
            assert!(timer.as_mut().poll(&mut context).is_pending());
        }
    });
    out.value("timer_insert", insert);
    out.value("timer_cancel", ns_each(TIMERS as u64, || timers.into_iter().for_each(drop)));
}

async fn late(time: Duration) -> Vec<f64> {
    let mut late = Vec::new();
    for _ in 0..SLEEPS {
        let deadline = Instant::now() + time;
        Timer::at(deadline).await;
        late.push((Instant::now() - deadline).as_secs_f64());
    }
    late
}

fn sleep_late(out: &mut Out) {
    let executor = LocalExecutor::new();
    let task = executor.spawn(late(Duration::from_micros(100)));
    out.value("sleep_late", percentile(&mut block_on(executor.run(task)), 50.0) * 1e6);
}

/// Hogs that yield every 100 us or so: ones that never do would end it.
fn hogs_late(out: &mut Out) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut late = with_all_cpus(async |executor| {
        for _ in 0..4 {
            let stop = Arc::clone(&stop);
            executor
                .spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(100) {}
                        yield_now().await;
                    }
                })
                .detach();
        }
        let late = executor.spawn(late(Duration::from_millis(1))).await;
        stop.store(true, Ordering::Relaxed);
        late
    });
    out.value("hogs_late_p50", percentile(&mut late, 50.0) * 1e3);
    out.value("hogs_late_p99", percentile(&mut late, 99.0) * 1e3);
}
