//! Tasks: whoever is joined or awaited answers, whoever is aborted is dropped, whoever is forgotten comes to an end, and no sleep is
//! early. That each future is dropped is seen by what it shares with the program, which must be the program's alone at the end.

use crate::child::{a_cpu, answer, work};
use crate::program::Shared;
use crate::random::Random;
use crate::streams::{self, Stream};
use core::future::{Future, pending, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use isochron::core_algorithms::sync::{AtomicU32, Ordering};
use isochron::future::{Elapsed, Task, timeout, timeout_at};
use isochron::kernel::arch::simulation;
use isochron::prelude::*;
use isochron::thread::{Builder, Death, SpawnError, cpu_count};
use isochron::time::{Then, Timer};

/// How deep tasks that tasks have made make tasks.
const DEPTH: u32 = 3;
/// The longest sleep, in nanoseconds.
const LONGEST: u64 = 30_000;
/// Every executor that was just made waits for tasks by then.
const BEGINNING: Duration = Duration::from_millis(5);

/// Before memory is counted: each CPU's queue has its executor.
pub fn settle() {
    let made: Vec<_> = (0..cpu_count())
        .map(|cpu| Builder::new().pinned(CpuId::new(cpu)).spawn(|| spawn_async(async {}).join()))
        .map(|thread| thread.expect("a thread can be made"))
        .collect();
    for thread in made {
        assert_eq!(thread.join(), Ok(Ok(())), "an empty task");
    }
    sleep(BEGINNING);
}

/// A short time, which may be none.
pub fn moment(random: &mut Random) -> Duration {
    Duration::from_nanos(random.within(0..LONGEST))
}

/// A task that somebody has made, and whose end nobody has seen yet.
pub struct Doing {
    task: Task<u64>,
    seed: u64,
    is_aborted: bool,
}

impl Doing {
    /// Another task.
    pub fn new(shared: &Arc<Shared>, random: &mut Random, depth: u32) -> Self {
        let seed = random.number();
        Self { task: spawn_async(live(Arc::clone(shared), seed, depth)), seed, is_aborted: false }
    }

    fn check(seed: u64, is_aborted: bool, end: Result<u64, Death>) {
        match end {
            Ok(result) => assert_eq!(result, answer(seed), "another task's result"),
            Err(death) => assert!(is_aborted && death == Death::Killed, "a task has died: {death:?}"),
        }
    }

    fn perhaps_abort(&mut self, random: &mut Random) {
        if random.once_in(4) {
            self.task.abort();
            self.is_aborted = true;
        }
    }

    /// Waits for its end in a thread, or lets it run on by itself.
    pub fn end(mut self, random: &mut Random) {
        self.perhaps_abort(random);
        let Self { mut task, seed, is_aborted } = self;
        let end = match random.below(6) {
            0 => return task.detach(),
            1 => {
                // Not for ever: somebody of high rank would leave the others no time.
                for _ in 0..random.within(1..8) {
                    if task.is_finished() {
                        break;
                    }
                    sleep(moment(random));
                }
                task.join()
            }
            2 => match block_on(timeout(moment(random), &mut task)) {
                Ok(end) => end,
                Err(Elapsed) => task.join(),
            },
            // The handle goes elsewhere.
            3 => match spawn_async(task).join() {
                Ok(end) => end,
                Err(death) => panic!("a task that awaits another has died: {death:?}"),
            },
            _ => task.join(),
        };
        Self::check(seed, is_aborted, end);
    }

    /// The same in a task.
    async fn end_async(mut self, random: &mut Random) {
        self.perhaps_abort(random);
        let Self { mut task, seed, is_aborted } = self;
        let end = match random.below(8) {
            0 => return task.detach(),
            1 => match timeout(moment(random), &mut task).await {
                Ok(end) => end,
                Err(Elapsed) => task.await,
            },
            // Others poll meanwhile.
            2 => task.join(),
            _ => task.await,
        };
        Self::check(seed, is_aborted, end);
    }
}

/// The life of a task.
fn live(shared: Arc<Shared>, seed: u64, depth: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        let mut random = Random::new(seed);
        let mut made: Vec<Doing> = Vec::new();
        let mut stream = random.once_in(2).then(|| Stream::new(&shared, &mut random));
        for _ in 0..random.within(1..12) {
            match random.below(18) {
                0 => work(random.within(0..40)),
                1..3 => future::yield_now().await,
                3..5 => sleep_well(&mut random).await,
                5 => in_time(&mut random).await,
                6..9 if depth < DEPTH && shared.may_make_one_more() => {
                    made.push(Doing::new(&shared, &mut random, depth + 1));
                }
                9 => shared.unpark_somebody(&mut random),
                10 => called_by_a_timer(&mut random).await,
                // What keeps the executor: others poll meanwhile, or come to steal.
                11 => block_on(sleep_well(&mut random)),
                12 => shared.locks.mutex(&mut random),
                13 => wait_for_a_thread(&mut random),
                14 if random.once_in(4) => simulation::compute(random.within(0..100_000)),
                15 if random.once_in(3) => streams::give_up(&mut random).await,
                _ if stream.is_some() => {
                    if let Some(stream) = &mut stream {
                        stream.send(&mut random).await;
                    }
                }
                _ if !made.is_empty() => {
                    let at = random.below(made.len());
                    made.swap_remove(at).end_async(&mut random).await;
                }
                _ => work(3),
            }
        }
        drop(stream);
        for task in made {
            task.end_async(&mut random).await;
        }
        answer(seed)
    })
}

/// What a thread does with futures of its own, in `block_on`.
/// `tasks`: whether it may make tasks for that.
pub fn block(random: &mut Random, tasks: bool) {
    match random.below(5) {
        0 => block_on(sleep_well(random)),
        1 => block_on(in_time(random)),
        2 => block_on(called_by_a_timer(random)),
        3 if tasks => block_on(streams::give_up(random)),
        _ => block_on(async {
            for _ in 0..random.within(1..4) {
                future::yield_now().await;
            }
        }),
    }
}

async fn sleep_well(random: &mut Random) {
    let time = moment(random);
    let deadline = Instant::now() + time;
    if random.once_in(2) {
        future::sleep_until(deadline).await;
    } else {
        future::sleep(time).await;
    }
    assert!(Instant::now() >= deadline, "a sleep is early");
}

/// What ends by itself or by its time, whichever is first.
async fn in_time(random: &mut Random) {
    let begin = Instant::now();
    let (first, second) = (begin + moment(random), begin + moment(random));
    let end = match random.below(3) {
        0 => timeout_at(first, pending()).await,
        1 => timeout_at(first, future::sleep_until(second)).await,
        _ => {
            timeout_at(second, timeout_at(first, pending())).await.map(|inner| assert_eq!(inner, Err::<(), _>(Elapsed)))
        }
    };
    let now = Instant::now();
    match end {
        Ok(()) => assert!(now >= first.min(second), "a future is ready early"),
        Err(Elapsed) => assert!(now >= first.min(second), "a time-out is early"),
    }
}

/// It is woken in an interrupt.
async fn called_by_a_timer(random: &mut Random) {
    let called = Arc::new(AtomicU32::new(0));
    let (theirs, deadline) = (Arc::clone(&called), Instant::now() + moment(random));
    let waker = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let mut timer = Timer::new(move |_| {
        // Release: partner is the load below.
        theirs.store(1, Ordering::Release);
        waker.wake_by_ref();
        Then::Stop
    });
    timer.set(deadline);
    // Acquire: partner is the store above.
    poll_fn(|_| if called.load(Ordering::Acquire) == 0 { Poll::Pending } else { Poll::Ready(()) }).await;
    assert!(!timer.cancel(), "a timer is set that has called");
}

/// A thread is joined in a poll, which keeps its executor.
fn wait_for_a_thread(random: &mut Random) {
    let looks = random.within(0..40);
    let body = move || {
        work(looks);
        looks
    };
    let builder = Builder::new();
    let builder = if random.once_in(2) { builder.pinned(a_cpu(random)) } else { builder };
    match builder.spawn(body) {
        Ok(thread) => assert_eq!(thread.join(), Ok(looks)),
        Err(SpawnError::Reserved(_)) => {}
        Err(error) => panic!("a thread cannot be made: {error}"),
    }
}
