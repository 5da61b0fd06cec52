//! Tasks: futures that the CPUs poll, beside the threads that they run.
//!
//! ```ignore
//! let (tx, rx) = channel::bounded(4);
//! let sum = spawn_async(async move {
//!     let mut sum = 0;
//!     while let Ok(n) = rx.recv_async().await {
//!         sum += n;
//!     }
//!     sum
//! });
//! ```
//!
//! A thread keeps a stack while it waits, a task only what its future keeps: some hundred bytes. In return a task must not wait
//! but by `await`: a poll that computes for long, or locks a mutex that is taken, keeps its executor thread, and tasks of that
//! queue wait until another executor takes them. (Preemption is for threads, executors among them: a task cannot keep a *thread*
//! from running.)
//!
//! * [`spawn_async`] makes a task; its [`Task`] handle is joined by threads and awaited by tasks, and can abort it.
//! * [`block_on()`] polls a future in a thread.
//! * [`sleep`], [`sleep_until`], [`timeout`] and [`timeout_at`] go by the CPUs' timers; [`yield_now`] lets other tasks go first.
//! * Wakers work in threads and interrupt handlers, on any CPU, and after the end of what they wake.
//!
//! # When a task panics
//! Nothing is unwound. The executor thread that polls it dies, as any thread that panics, and another takes its place; who joins
//! the task gets the [`Death`](crate::thread::Death). The future's memory stays taken for ever, since others may hold references
//! into it (a timer, a queue of waiters), and its destructors do not run.
//!
//! How tasks come to run is told in `executor.rs`.

mod block_on;
mod executor;
mod record;
mod seat;
mod sleep;
mod task;
mod timeout;
mod waker;
mod yield_now;

pub use block_on::block_on;
pub use executor::EXECUTOR_STACK_SIZE;
pub use sleep::{Sleep, sleep, sleep_until};
pub use task::{Task, spawn_async, try_spawn_async};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use yield_now::{YieldNow, yield_now};
