//! Model checks of the state of a task, and of the notice that a thread which polls by itself waits for.
#![cfg(loom)]

use isochron_core::notice::Notice;
use isochron_core::task_state::{Begin, EndPoll, Release, TaskState};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// A task that is ready when all of its `gifts` are there. Whoever is told to queue it polls it at once.
struct Task {
    state: TaskState<u32>,
    gifts: [AtomicU32; 2],
    /// How often it was polled; `None` once the future is gone.
    future: UnsafeCell<Option<u32>>,
    output: UnsafeCell<Option<u32>>,
    /// Whatever else is in the task's memory.
    memory: UnsafeCell<u32>,
    woken: AtomicU32,
    freed: AtomicU32,
    dropped: AtomicU32,
}

// SAFETY: the state is what makes this true; the model checker watches the cells.
unsafe impl Sync for Task {}
// SAFETY: as above.
unsafe impl Send for Task {}

impl Task {
    fn new(wanted: usize) -> Arc<Self> {
        Arc::new(Self {
            state: TaskState::new(),
            gifts: [0, 1].map(|index| AtomicU32::new(u32::from(index >= wanted))),
            future: UnsafeCell::new(Some(0)),
            output: UnsafeCell::new(None),
            memory: UnsafeCell::new(0),
            woken: AtomicU32::new(0),
            freed: AtomicU32::new(0),
            dropped: AtomicU32::new(0),
        })
    }

    fn is_ready(&self) -> bool {
        self.gifts.iter().all(|gift| gift.load(Ordering::Relaxed) == 1)
    }

    /// Another CPU's executor, which runs it.
    fn executor(task: &Arc<Self>) -> thread::JoinHandle<()> {
        let task = Arc::clone(task);
        thread::spawn(move || task.run())
    }

    /// The handle is dropped.
    fn let_go(&self) {
        if self.state.leave() {
            self.drop_output();
        }
        self.release();
    }

    /// It is gone, and so is its result or its future.
    fn was_freed_once(&self) {
        assert_eq!((self.freed.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed)), (1, 1));
    }

    /// What an executor does with a task from its queue.
    fn run(&self) {
        loop {
            let begin = self.state.begin();
            // SAFETY: it is being polled here, and nowhere else.
            self.future.with_mut(|polls| unsafe {
                *(*polls).as_mut().expect("a future that is gone is not polled") += 1;
            });
            if begin == Begin::Drop {
                return self.complete(None);
            }
            if self.is_ready() {
                return self.complete(Some(7));
            }
            match self.state.end_poll() {
                EndPoll::Waiting => return,
                EndPoll::Again => {}
                EndPoll::Forgotten => return self.complete(None),
            }
        }
    }

    fn complete(&self, result: Option<u32>) {
        // SAFETY: as in `run`.
        self.future.with_mut(|future| unsafe { *future = None });
        // SAFETY: the handle looks when it is done, or not at all.
        self.output.with_mut(|output| unsafe { *output = result });
        let completed = self.state.complete();
        if let Some(joiner) = completed.joiner {
            assert_eq!(self.woken.swap(joiner, Ordering::Relaxed), 0);
        }
        if completed.unwanted {
            self.drop_output();
        }
        self.release();
    }

    fn drop_output(&self) {
        // SAFETY: it belongs to one of the two sides; the model checker watches.
        self.output.with_mut(|output| unsafe { *output = None });
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn release(&self) {
        // SAFETY: whoever has a reference may read.
        self.memory.with(|memory| unsafe { *memory });
        match self.state.release() {
            Release::Nothing => {}
            Release::Enqueue => self.run(),
            Release::Free => {
                // SAFETY: nobody else refers to it; the model checker watches.
                self.memory.with_mut(|memory| unsafe { *memory = 1 });
                self.future
                    .with(|future| assert!(unsafe { *future }.is_none(), "a future is freed that was not dropped"));
                assert_eq!(self.freed.fetch_add(1, Ordering::Relaxed), 0, "a task is freed twice");
            }
        }
    }

    fn give(&self, index: usize) {
        self.gifts[index].store(1, Ordering::Relaxed);
        if self.state.wake() {
            self.run();
        }
    }

    fn output(&self) -> Option<u32> {
        // SAFETY: the task is done, which the caller has seen.
        self.output.with(|output| unsafe { *output })
    }
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_wake_up_during_a_poll_is_not_lost() {
    loom::model(|| {
        let task = Task::new(1);
        task.state.count();
        let waker = {
            let task = Arc::clone(&task);
            thread::spawn(move || {
                task.give(0);
                task.release();
            })
        };
        task.run();
        waker.join().unwrap();
        assert!(task.state.is_done(), "a wake-up was lost");
        assert_eq!(task.output(), Some(7));
        assert!(task.state.leave());
        assert_eq!(task.freed.load(Ordering::Relaxed), 0, "a task is freed before its last reference");
        task.release();
        assert_eq!(task.freed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn two_wakers_are_both_seen() {
    loom::model(|| {
        let task = Task::new(2);
        let wakers = [0, 1].map(|index| {
            task.state.count();
            let task = Arc::clone(&task);
            thread::spawn(move || {
                task.give(index);
                task.release();
            })
        });
        task.run();
        join(wakers);
        assert!(task.state.is_done(), "a wake-up was lost");
    });
}

/// The waker's own reference becomes the queue's.
#[test]
fn a_waker_gives_its_reference_to_the_queue() {
    loom::model(|| {
        let task = Task::new(1);
        task.state.count();
        let waker = {
            let task = Arc::clone(&task);
            thread::spawn(move || {
                task.gifts[0].store(1, Ordering::Relaxed);
                if task.state.wake_with_reference() { task.run() } else { task.release() }
            })
        };
        task.run();
        task.let_go();
        waker.join().unwrap();
        task.was_freed_once();
    });
}

#[test]
fn the_joiner_is_woken_or_sees_the_end() {
    loom::model(|| {
        let task = Task::new(0);
        let executor = Task::executor(&task);
        let mut left = None;
        for joiner in [1, 2] {
            match task.state.register(joiner) {
                Ok(()) => left = Some(joiner),
                Err(_) => {
                    assert_eq!(task.output(), Some(7));
                    left = None;
                    break;
                }
            }
        }
        executor.join().unwrap();
        if let Some(joiner) = left {
            assert_eq!(task.woken.load(Ordering::Relaxed), joiner, "the joiner waits for ever");
        }
    });
}

#[test]
fn who_sees_that_a_task_is_done_sees_its_result() {
    loom::model(|| {
        let task = Task::new(0);
        let executor = Task::executor(&task);
        if task.state.is_done() {
            assert_eq!(task.output(), Some(7));
        }
        executor.join().unwrap();
    });
}

#[test]
fn one_side_drops_the_result() {
    loom::model(|| {
        let task = Task::new(0);
        let executor = Task::executor(&task);
        let _ = task.state.register(1);
        task.let_go();
        executor.join().unwrap();
        task.was_freed_once();
    });
}

/// Its last waker goes while it is polled, and nobody waits for it.
#[test]
fn a_task_that_nobody_can_wake_is_dropped_once() {
    loom::model(|| {
        let task = Task::new(1);
        assert!(!task.state.leave());
        // Not the last: the queue has one.
        task.release();
        task.state.count();
        let waker = {
            let task = Arc::clone(&task);
            thread::spawn(move || task.release())
        };
        task.run();
        waker.join().unwrap();
        task.was_freed_once();
    });
}

#[test]
fn an_abort_ends_a_task_once() {
    loom::model(|| {
        let task = Task::new(2);
        let others = [true, false].map(|aborts| {
            task.state.count();
            let task = Arc::clone(&task);
            thread::spawn(move || {
                if aborts {
                    if task.state.abort() {
                        task.run();
                    }
                } else {
                    task.give(0);
                }
                task.release();
            })
        });
        task.run();
        join(others);
        assert!(task.state.is_done(), "an abort was lost");
        assert_eq!(task.output(), None);
    });
}

/// As a thread does that polls a future: it looks whenever it has taken a notice.
#[test]
fn a_notice_shows_what_its_last_giver_wrote() {
    loom::model(|| {
        let shared = Arc::new((Notice::new(), [AtomicU32::new(0), AtomicU32::new(0)], AtomicU32::new(0)));
        let givers = [0, 1].map(|index| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.1[index].store(1, Ordering::Relaxed);
                let _first = shared.0.give();
                shared.2.fetch_add(1, Ordering::Release);
            })
        });
        while shared.1.iter().any(|gift| gift.load(Ordering::Relaxed) == 0) {
            while !shared.0.take() {
                if shared.2.load(Ordering::Acquire) == 2 {
                    assert!(shared.0.take(), "a notice was taken, and what was written before it not seen");
                    break;
                }
                thread::yield_now();
            }
        }
        join(givers);
    });
}
