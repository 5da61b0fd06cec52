//! Tasks: spawned, joined, awaited, aborted, woken from everywhere; what they cost; what is asked of them wrongly.
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: usual
//@ run: checked
//@ checked: yes
//@ machines: hosted
//@ cpus: 4
#![no_std]
#![no_main]

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use isochron::future::{self, Elapsed, Task, block_on, spawn_async, timeout, timeout_at};
use isochron::kernel::memory;
use isochron::sync::Mutex;
use isochron::thread::Death;
use isochron::time::{Then, Timer};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_thread_joins_a_task,
        tasks_await_tasks,
        block_on_polls_where_it_is,
        ten_thousand_tasks_take_turns,
        sleeps_are_in_time,
        a_sleeper_does_not_wait_for_a_hog,
        timeouts,
        woken_from_an_interrupt,
        woken_from_every_cpu,
        tasks_run_beside_each_other,
        an_abort_drops_the_future,
        a_forgotten_task_is_dropped,
        a_panic_ends_one_task,
        deaths_do_not_use_up_executors,
        a_killed_executor_is_replaced,
        block_on_in_a_poll,
        a_poll_that_waits_stops_nobody,
        misuse_ends_one_task,
        a_waker_outlives_its_task,
        tasks_leave_nothing,
    ])
}

fn a_thread_joins_a_task() -> Outcome {
    check_eq!(spawn_async(async { 6 * 7 }).join(), Ok(42));
    let late = spawn_async(async {
        future::sleep(Duration::from_millis(2)).await;
        String::from("late")
    });
    check!(!late.is_finished());
    check_eq!(late.join(), Ok(String::from("late")));
    // The result of a task that nobody joins is dropped.
    let kept = Arc::new(());
    let his = kept.clone();
    spawn_async(async move { his }).detach();
    poll("its result is dropped", || Arc::strong_count(&kept) == 1)
}

fn fib(n: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if n < 2 {
            return n.into();
        }
        let (left, right) = (spawn_async(fib(n - 1)), spawn_async(fib(n - 2)));
        left.await.unwrap() + right.await.unwrap()
    })
}

fn tasks_await_tasks() -> Outcome {
    check_eq!(block_on(fib(12)), 144);
    check_eq!(spawn_async(fib(12)).join(), Ok(144));
    Ok(())
}

fn block_on_polls_where_it_is() -> Outcome {
    let me = thread::current().id();
    check_eq!(block_on(async { thread::current().id() }), me);
    // A permit of the user's is left alone.
    thread::current().unpark();
    block_on(future::sleep(Duration::from_millis(1)));
    check!(thread::park_timeout(Duration::from_millis(0)));
    // One that comes from a waker is none of his.
    let waker = block_on(poll_fn(|context| Poll::Ready(context.waker().clone())));
    waker.wake();
    check!(!thread::park_timeout(Duration::from_millis(1)));
    Ok(())
}

fn ten_thousand_tasks_take_turns() -> Outcome {
    let sum = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..10_000)
        .map(|n| {
            let sum = sum.clone();
            spawn_async(async move {
                for _ in 0..3 {
                    future::yield_now().await;
                }
                sum.fetch_add(n, Ordering::Relaxed);
            })
        })
        .collect();
    for task in tasks {
        check_eq!(task.join(), Ok(()));
    }
    check_eq!(sum.load(Ordering::Relaxed), 9_999 * 5_000);
    Ok(())
}

fn sleeps_are_in_time() -> Outcome {
    let begin = Instant::now();
    let tasks: Vec<_> = (0..100_u64)
        .rev()
        .map(|n| {
            let deadline = begin + Duration::from_micros(1000 + 50 * n);
            spawn_async(async move {
                future::sleep_until(deadline).await;
                Instant::now() >= deadline
            })
        })
        .collect();
    for task in tasks {
        check_eq!(task.join(), Ok(true));
    }
    // One that is past does not wait, nor does one that was ready.
    let mut past = pin!(future::sleep_until(begin));
    let mut context = Context::from_waker(Waker::noop());
    check!(past.as_mut().poll(&mut context).is_ready());
    check!(past.poll(&mut context).is_ready());
    // One that is dropped leaves nothing behind, set or not.
    let mut dropped = Box::pin(future::sleep(Duration::from_millis(1)));
    check!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    drop(future::sleep(Duration::from_millis(1)));
    Ok(())
}

fn a_sleeper_does_not_wait_for_a_hog() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..thread::cpu_count())
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop()
                }
            })
        })
        .collect();
    let task = spawn_async(async {
        for _ in 0..20 {
            future::sleep(Duration::from_micros(500)).await;
        }
    });
    let done = task.join();
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    check_eq!(done, Ok(()));
    Ok(())
}

fn timeouts() -> Outcome {
    let never = || core::future::pending::<()>();
    check_eq!(block_on(timeout(Duration::from_millis(1), never())), Err(Elapsed));
    check_eq!(block_on(timeout(Duration::from_secs(60), async { 1 })), Ok(1));
    // In the past: what is ready is ready, and what is not is not waited for.
    let past = Instant::now();
    check_eq!(block_on(timeout_at(past, async { 2 })), Ok(2));
    check_eq!(block_on(timeout_at(past, never())), Err(Elapsed));
    check_eq!(spawn_async(timeout(Duration::from_millis(1), never())).join(), Ok(Err(Elapsed)));
    let slow = spawn_async(future::sleep(Duration::from_secs(60)));
    check_eq!(block_on(timeout(Duration::from_millis(1), slow)), Err(Elapsed));
    Ok(())
}

/// What a future waits for, and who sets it.
#[derive(Default)]
struct Signal {
    set: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    async fn wait(&self) {
        poll_fn(|context| {
            *self.waker.lock() = Some(context.waker().clone());
            if self.set.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn set(&self) {
        self.set.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self) -> Outcome<Waker> {
        poll("it waits", || self.waker.lock().is_some())?;
        match self.waker.lock().clone() {
            Some(waker) => Ok(waker),
            None => Err(Failure::Failed("its waker is gone".into())),
        }
    }
}

fn woken_from_an_interrupt() -> Outcome {
    let signal = Arc::new(Signal::default());
    let his = signal.clone();
    let task = spawn_async(async move { his.wait().await });
    let waker = signal.waker()?;
    let mut timer = Timer::new(move |_| {
        signal.set.store(true, Ordering::Release);
        waker.wake_by_ref();
        Then::Stop
    });
    timer.set(Instant::now() + Duration::from_millis(1));
    check_eq!(task.join(), Ok(()));
    Ok(())
}

fn woken_from_every_cpu() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        let signal = Arc::new(Signal::default());
        let (his, others) = (signal.clone(), signal.clone());
        let task = spawn_async(async move { his.wait().await });
        signal.waker()?;
        let waker = Builder::new().pinned(CpuId::new(cpu)).spawn(move || others.set());
        check!(waker.is_ok());
        check_eq!(task.join(), Ok(()));
    }
    Ok(())
}

/// With as many CPUs as tasks, those that do not return from their polls all run.
fn tasks_run_beside_each_other() -> Outcome {
    let count = thread::cpu_count();
    let here = Arc::new(AtomicUsize::new(0));
    let root = {
        let here = here.clone();
        // Made in a poll: the executor that made them cannot poll them all.
        spawn_async(async move {
            (0..count)
                .map(|_| {
                    let here = here.clone();
                    spawn_async(async move {
                        here.fetch_add(1, Ordering::Relaxed);
                        spin("all are here", || here.load(Ordering::Relaxed) == count)
                    })
                })
                .collect::<Vec<_>>()
        })
    };
    for task in root.join().map_err(|_| Failure::Failed("it died".into()))? {
        check!(matches!(task.join(), Ok(Ok(()))));
    }
    Ok(())
}

fn an_abort_drops_the_future() -> Outcome {
    let kept = Arc::new(());
    for waits in [false, true] {
        let his = kept.clone();
        let task = spawn_async(async move {
            let _his = his;
            if waits {
                core::future::pending::<()>().await;
            }
            loop {
                future::yield_now().await;
            }
        });
        yield_now();
        task.abort();
        task.abort();
        check_eq!(task.join(), Err(Death::Killed));
        check_eq!(Arc::strong_count(&kept), 1);
    }
    // One that has ended keeps its result.
    let task = spawn_async(async { 5 });
    poll("it ends", || task.is_finished())?;
    task.abort();
    check_eq!(task.join(), Ok(5));
    Ok(())
}

/// Nobody has its handle, and nobody a waker.
fn a_forgotten_task_is_dropped() -> Outcome {
    let kept = Arc::new(());
    let his = kept.clone();
    spawn_async(async move {
        let _his = his;
        core::future::pending::<()>().await;
    })
    .detach();
    poll("it is dropped at the end of its poll", || Arc::strong_count(&kept) == 1)?;
    let (his, signal) = (kept.clone(), Arc::new(Signal::default()));
    let signals = signal.clone();
    spawn_async(async move {
        let _his = his;
        signals.wait().await;
    })
    .detach();
    drop(signal.waker()?);
    check_eq!(Arc::strong_count(&kept), 2);
    drop(signal.waker.lock().take());
    poll("it is dropped with its last waker", || Arc::strong_count(&kept) == 1)
}

fn a_panic_ends_one_task() -> Outcome {
    let other = spawn_async(async {
        future::sleep(Duration::from_millis(5)).await;
        1
    });
    let dying = spawn_async(async {
        future::sleep(Duration::from_millis(1)).await;
        assert!(thread::current().id() == 0, "as it should");
        2
    });
    let watching = spawn_async(dying);
    check_eq!(watching.join(), Ok(Err(Death::Panicked)));
    check_eq!(other.join(), Ok(1));
    // One that dies while its timer is set: that goes off all the same.
    let torn = spawn_async(async {
        let mut sleep = pin!(future::sleep(Duration::from_millis(1)));
        poll_fn(|context| {
            let _ = sleep.as_mut().poll(context);
            assert!(thread::current().id() == 0, "as it should");
            Poll::<()>::Pending
        })
        .await;
    });
    check_eq!(torn.join(), Err(Death::Panicked));
    thread::sleep(Duration::from_millis(3));
    Ok(())
}

fn deaths_do_not_use_up_executors() -> Outcome {
    for round in 0..20 {
        let tasks: Vec<_> = (0..4)
            .map(|n| {
                spawn_async(async move {
                    future::yield_now().await;
                    assert!(n % 2 == 0, "as it should");
                    n
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            let expected = if n % 2 == 0 { Ok(n) } else { Err(Death::Panicked) };
            check_eq!((round, task.join()), (round, expected));
        }
    }
    Ok(())
}

/// A task may get hold of the thread that polls it.
fn a_killed_executor_is_replaced() -> Outcome {
    for busy in [false, true] {
        let (tx, rx) = isochron::channel::bounded(1);
        let task = spawn_async(async move {
            let _ = tx.send(thread::current());
            if busy {
                loop {
                    core::hint::spin_loop();
                }
            }
        });
        if let Ok(executor) = rx.recv() {
            if !busy {
                // It is asleep, or about to be.
                check_eq!(task.join(), Ok(()));
                executor.kill();
            } else {
                executor.kill();
                check_eq!(task.join(), Err(Death::Killed));
            }
            poll("it dies", || executor.is_finished())?;
        }
        check_eq!(spawn_async(async { 3 }).join(), Ok(3));
    }
    Ok(())
}

/// Even with one CPU: another executor polls what it waits for.
fn block_on_in_a_poll() -> Outcome {
    let outer = spawn_async(async {
        let inner = spawn_async(async {
            future::sleep(Duration::from_millis(1)).await;
            8
        });
        let joined = inner.join();
        // It goes on as a task like any other.
        future::sleep(Duration::from_millis(1)).await;
        joined
    });
    check_eq!(outer.join(), Ok(Ok(8)));
    // Many at once, each in the poll of the one before.
    fn nested(depth: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
        Box::pin(async move { if depth == 0 { 0 } else { 1 + block_on(spawn_async(nested(depth - 1))).unwrap() } })
    }
    check_eq!(spawn_async(nested(20)).join(), Ok(20));
    // Who dies there ends its task, and no other.
    let dying = spawn_async(async {
        block_on(future::sleep(Duration::from_millis(1)));
        assert!(thread::current().id() == 0, "as it should");
    });
    check_eq!(dying.join(), Err(Death::Panicked));
    check_eq!(spawn_async(async { 9 }).join(), Ok(9));
    Ok(())
}

/// A poll that blocks as threads do keeps its executor, and no other.
fn a_poll_that_waits_stops_nobody() -> Outcome {
    if thread::cpu_count() == 1 {
        ignore!("there is one executor");
    }
    let blocking = spawn_async(async { thread::sleep(Duration::from_millis(20)) });
    let others: Vec<_> = (0..10).map(|_| spawn_async(future::yield_now())).collect();
    for other in others {
        check_eq!(other.join(), Ok(()));
    }
    check_eq!(blocking.join(), Ok(()));
    Ok(())
}

fn misuse_ends_one_task() -> Outcome {
    // A task that awaits itself, and one that joins itself.
    for joins in [false, true] {
        let own: Arc<Mutex<Option<Task<()>>>> = Arc::default();
        let (his, ended) = (own.clone(), Arc::new(AtomicUsize::new(0)));
        let started = Arc::new(Signal::default());
        let (start, end) = (started.clone(), ended.clone());
        let task = spawn_async(async move {
            start.wait().await;
            let myself = his.lock().take();
            end.fetch_add(1, Ordering::Relaxed);
            if let Some(myself) = myself {
                if joins {
                    let _ = myself.join();
                } else {
                    let _ = myself.await;
                }
            }
            end.fetch_add(1, Ordering::Relaxed);
        });
        *own.lock() = Some(task);
        started.set();
        poll("it took its handle", || ended.load(Ordering::Relaxed) == 1)?;
        check_eq!(spawn_async(async { 1 }).join(), Ok(1));
        check_eq!(ended.load(Ordering::Relaxed), 1);
    }
    // A handle that is polled once more than there are results.
    let twice = spawn(|| {
        let mut task = spawn_async(async {});
        let _ = block_on(&mut task);
        let _ = block_on(&mut task);
    });
    check_eq!(twice.join(), Err(Death::Panicked));
    Ok(())
}

fn a_waker_outlives_its_task() -> Outcome {
    let signal = Arc::new(Signal::default());
    let his = signal.clone();
    let task = spawn_async(async move { his.wait().await });
    let kept = signal.waker()?;
    kept.wake_by_ref();
    signal.set();
    check_eq!(task.join(), Ok(()));
    kept.wake_by_ref();
    let copy = kept.clone();
    kept.wake();
    drop(copy);
    let waker = spawn(|| block_on(poll_fn(|context| Poll::Ready(context.waker().clone()))));
    let waker = joined(waker);
    waker.wake_by_ref();
    waker.wake();
    Ok(())
}

fn tasks_leave_nothing() -> Outcome {
    let work = || {
        let tasks: Vec<_> = (0..1000_u64)
            .map(|n| {
                spawn_async(async move {
                    match n % 4 {
                        0 => future::sleep(Duration::from_micros(n)).await,
                        1 => future::yield_now().await,
                        2 => core::future::pending().await,
                        _ => {}
                    }
                    n
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            match n % 8 {
                2 | 6 => {
                    task.abort();
                    let _ = task.join();
                }
                3 => task.detach(),
                _ => drop(task.join()),
            }
        }
    };
    for _ in 0..5 {
        work();
    }
    thread::sleep(Duration::from_millis(2));
    let before = memory::stats().heap.used;
    for _ in 0..20 {
        work();
    }
    // What lies in stock on the CPUs moves. One kind of task that stayed would be half a megabyte at least.
    poll("all is given back", || memory::stats().heap.used <= before + 200 * 1024)
}
