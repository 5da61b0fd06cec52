//! Tokio, as its users use it: the runtime with one thread where one CPU is measured, the one with several elsewhere.

use isochron_compare::rows::*;
use isochron_compare::{Out, main as run, ns_each, percentile, shuffled};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

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
        ("skynet", skynet),
        ("memory", memory),
        ("wake_many", wake_many),
        ("timers", timers),
        ("sleep_late", sleep_late),
        ("hogs_late", hogs_late),
        ("mutex_2", mutex),
    ]);
}

fn one_cpu() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn all_cpus() -> Runtime {
    Builder::new_multi_thread().enable_time().build().unwrap()
}

async fn all<T>(tasks: Vec<JoinHandle<T>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

fn switch(out: &mut Out) {
    one_cpu().block_on(async {
        let begin = Instant::now();
        let turn = || {
            tokio::spawn(async {
                for _ in 0..SWITCHES / 2 {
                    yield_now().await;
                }
            })
        };
        all(vec![turn(), turn()]).await;
        out.value("switch", begin.elapsed().as_nanos() as f64 / SWITCHES as f64);
    });
}

/// Tasks that wait each for its own word, woken in random order, then yield.
fn switch_many(out: &mut Out) {
    one_cpu().block_on(async {
        let words: Vec<Arc<Notify>> = (0..MANY).map(|_| Arc::new(Notify::new())).collect();
        let tasks: Vec<_> = words
            .iter()
            .map(|word| {
                let word = Arc::clone(word);
                tokio::spawn(async move {
                    word.notified().await;
                    for _ in 0..MANY_TURNS {
                        yield_now().await;
                    }
                })
            })
            .collect();
        yield_now().await;
        shuffled(MANY).into_iter().for_each(|index| words[index].notify_one());
        let begin = Instant::now();
        all(tasks).await;
        out.value("switch_many", begin.elapsed().as_nanos() as f64 / (MANY as u64 * MANY_TURNS) as f64);
    });
}

fn spawn_join(out: &mut Out) {
    one_cpu().block_on(async {
        let begin = Instant::now();
        let mut sum = 0;
        for n in 0..SPAWN_JOIN {
            sum += tokio::spawn(async move { n }).await.unwrap();
        }
        assert_eq!(sum, SPAWN_JOIN * (SPAWN_JOIN - 1) / 2);
        out.value("spawn_join", begin.elapsed().as_nanos() as f64 / SPAWN_JOIN as f64);
    });
}

fn spawn_many(out: &mut Out) {
    all_cpus().block_on(async {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..SPAWN_MANY).map(|n| tokio::spawn(async move { n })).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        assert_eq!(sum, SPAWN_MANY * (SPAWN_MANY - 1) / 2);
        out.value("spawn_many", begin.elapsed().as_nanos() as f64 / SPAWN_MANY as f64);
    });
}

async fn rounds() -> f64 {
    let (there, mut from_here) = mpsc::channel::<u64>(1);
    let (back, mut from_there) = mpsc::channel::<u64>(1);
    let echo = tokio::spawn(async move {
        while let Some(n) = from_here.recv().await {
            back.send(n + 1).await.unwrap();
        }
    });
    let ns = tokio::spawn(async move {
        let begin = Instant::now();
        for n in 0..ROUNDS {
            there.send(n).await.unwrap();
            assert_eq!(from_there.recv().await, Some(n + 1));
        }
        begin.elapsed().as_nanos() as f64 / ROUNDS as f64
    })
    .await
    .unwrap();
    echo.await.unwrap();
    ns
}

fn channel_round(out: &mut Out) {
    out.value("channel_round", one_cpu().block_on(rounds()));
}

/// A runtime for each side, each on a thread of its own: one runtime would run both sides on one CPU.
fn cross_core_round(out: &mut Out) {
    let (there, mut from_here) = mpsc::channel::<u64>(1);
    let (back, mut from_there) = mpsc::channel::<u64>(1);
    let echo = std::thread::spawn(move || {
        one_cpu().block_on(async {
            while let Some(n) = from_here.recv().await {
                back.send(n + 1).await.unwrap();
            }
        });
    });
    let ns = one_cpu().block_on(async {
        let begin = Instant::now();
        for n in 0..ROUNDS / 10 {
            there.send(n).await.unwrap();
            assert_eq!(from_there.recv().await, Some(n + 1));
        }
        drop(there);
        begin.elapsed().as_nanos() as f64 / (ROUNDS / 10) as f64
    });
    echo.join().unwrap();
    out.value("cross_core_round", ns);
}

fn throughput(senders: u64) -> f64 {
    all_cpus().block_on(async move {
        let (tx, mut rx) = mpsc::channel::<u64>(CAPACITY);
        let begin = Instant::now();
        for _ in 0..senders {
            let tx = tx.clone();
            tokio::spawn(async move {
                for n in 0..MESSAGES / senders {
                    tx.send(n).await.unwrap();
                }
            });
        }
        drop(tx);
        let sum = tokio::spawn(async move {
            let mut sum = 0;
            while let Some(n) = rx.recv().await {
                sum += n;
            }
            sum
        })
        .await
        .unwrap();
        assert_eq!(sum, sum_through(senders));
        MESSAGES as f64 / begin.elapsed().as_secs_f64() / 1e6
    })
}

fn channel_1_1(out: &mut Out) {
    out.value("channel_1_1", throughput(1));
}

fn channel_4_1(out: &mut Out) {
    out.value("channel_4_1", throughput(4));
}

fn skynet(out: &mut Out) {
    fn node(tx: mpsc::Sender<u64>, number: u64, size: u64) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            if size == 1 {
                tx.send(number).await.unwrap();
                return;
            }
            let (child, mut rx) = mpsc::channel(10);
            for n in 0..10 {
                tokio::spawn(node(child.clone(), number + n * (size / 10), size / 10));
            }
            drop(child);
            let mut sum = 0;
            while let Some(n) = rx.recv().await {
                sum += n;
            }
            tx.send(sum).await.unwrap();
        })
    }
    all_cpus().block_on(async {
        let (tx, mut rx) = mpsc::channel(1);
        let begin = Instant::now();
        tokio::spawn(node(tx, 0, LEAVES));
        assert_eq!(rx.recv().await, Some(SKYNET_SUM));
        out.value("skynet", begin.elapsed().as_secs_f64() * 1e3);
    });
}

/// Tasks that wait for a message that never comes.
fn memory(_: &mut Out) {
    let count: usize = std::env::args().nth(2).map_or(PARKED, |count| count.parse().unwrap());
    one_cpu().block_on(async {
        let word: &'static Notify = Box::leak(Box::new(Notify::new()));
        let tasks: Vec<_> = (0..count).map(|_| tokio::spawn(word.notified())).collect();
        yield_now().await;
        assert_eq!(tasks.iter().filter(|task| task.is_finished()).count(), 0);
        std::process::exit(0);
    });
}

fn wake_many(out: &mut Out) {
    one_cpu().block_on(async {
        let words: Vec<Arc<Notify>> = (0..WAKE_MANY).map(|_| Arc::new(Notify::new())).collect();
        let tasks: Vec<_> = words
            .iter()
            .map(|word| {
                let word = Arc::clone(word);
                tokio::spawn(async move { word.notified().await })
            })
            .collect();
        yield_now().await;
        let begin = Instant::now();
        words.iter().for_each(|word| word.notify_one());
        all(tasks).await;
        out.value("wake_many", begin.elapsed().as_nanos() as f64 / WAKE_MANY as f64);
    });
}

/// A sleep that was polled once stands in the wheel; dropping it takes it out.
fn timers(out: &mut Out) {
    one_cpu().block_on(async {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut sleeps: Vec<_> = (0..TIMERS)
            .map(|n| Box::pin(sleep(Duration::from_micros(10_000_000 + (n as u64 * 7919) % 10_000_000))))
            .collect();
        let insert = ns_each(TIMERS as u64, || {
            for sleep in &mut sleeps {
                assert!(sleep.as_mut().poll(&mut context).is_pending());
            }
        });
        out.value("timer_insert", insert);
        out.value("timer_cancel", ns_each(TIMERS as u64, || sleeps.into_iter().for_each(drop)));
    });
}

async fn late(time: Duration) -> Vec<f64> {
    let mut late = Vec::new();
    for _ in 0..SLEEPS {
        let deadline = Instant::now() + time;
        sleep(time).await;
        late.push((Instant::now() - deadline).as_secs_f64());
    }
    late
}

fn sleep_late(out: &mut Out) {
    let mut late = one_cpu().block_on(async { tokio::spawn(late(Duration::from_micros(100))).await.unwrap() });
    out.value("sleep_late", percentile(&mut late, 50.0) * 1e6);
}

/// Hogs that yield every 100 us or so: one that never does would end it.
fn hogs_late(out: &mut Out) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut late = all_cpus().block_on(async {
        for _ in 0..4 {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    while begin.elapsed() < Duration::from_micros(100) {}
                    yield_now().await;
                }
            });
        }
        let late = tokio::spawn(late(Duration::from_millis(1))).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        late
    });
    out.value("hogs_late_p50", percentile(&mut late, 50.0) * 1e3);
    out.value("hogs_late_p99", percentile(&mut late, 99.0) * 1e3);
}

/// Its mutex is fair.
fn mutex(out: &mut Out) {
    let count = LOCKS / 20;
    all_cpus().block_on(async {
        let (mutex, done) = (Arc::new(Mutex::new(0u64)), Arc::new(AtomicU64::new(0)));
        let (tx, rx) = oneshot::channel();
        let tx = Arc::new(std::sync::Mutex::new(Some(tx)));
        let ready = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        for _ in 0..2 {
            let (mutex, done, tx, ready) = (mutex.clone(), done.clone(), tx.clone(), ready.clone());
            tokio::spawn(async move {
                ready.fetch_add(1, Ordering::Relaxed);
                for _ in 0..count / 2 {
                    *mutex.lock().await += 1;
                }
                if done.fetch_add(1, Ordering::AcqRel) == 1 {
                    tx.lock().unwrap().take().unwrap().send(()).unwrap();
                }
            });
        }
        rx.await.unwrap();
        let ns = begin.elapsed().as_nanos() as f64 / count as f64;
        assert_eq!(*mutex.lock().await, count);
        out.value("mutex_2_fair", ns);
    });
}
