//! The handle of a task.

use super::record::{Record, RecordPtr};
use super::{block_on, executor, record, waker};
use crate::thread::{Death, SpawnError};
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

/// The way to a task's result: `await` it in a task, [`join`](Task::join) it in a thread. Dropping it lets the task run on by
/// itself.
#[must_use = "dropping it lets the task run on by itself: say so with `detach`"]
pub struct Task<T> {
    /// `None` when the result was taken.
    record: Option<RecordPtr>,
    result: PhantomData<fn() -> T>,
}

// SAFETY: the handle may go anywhere that the result may; the record is made for sharing.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: a shared handle asks and aborts only.
unsafe impl<T: Send> Sync for Task<T> {}

/// Makes a task of `future`, which the executors of this machine's CPUs poll from now on.
///
/// # Panics
/// If there is no memory for it: [`try_spawn_async`] returns that as an error.
#[track_caller]
pub fn spawn_async<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match try_spawn_async(future) {
        Ok(task) => task,
        Err(error) => panic!("a task cannot be made: {error}"),
    }
}

/// As [`spawn_async`].
///
/// # Errors
/// [`SpawnError::OutOfMemory`]; the future is dropped then.
#[track_caller]
pub fn try_spawn_async<F>(future: F) -> Result<Task<F::Output>, SpawnError>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let home = executor::ready()?;
    let record = record::allocate(future, home)?;
    let task = Task { record: Some(record), result: PhantomData };
    // SAFETY: a new task is to be queued, once.
    unsafe { executor::push(record) };
    Ok(task)
}

impl<T> Task<T> {
    /// Waits for the task's end and returns its result. In a thread; in a task, `await` it.
    ///
    /// # Errors
    /// Why there is none: the task panicked, say, or was aborted.
    ///
    /// # Panics
    /// If a task joins itself.
    #[track_caller]
    pub fn join(self) -> Result<T, Death> {
        assert!(self.record.is_none() || executor::polled_here() != self.record, "{JOINS_ITSELF}");
        block_on(self)
    }

    /// Asks the task to end: its future is dropped where it waits, or at its next `await`, and who joins it gets
    /// [`Death::Killed`]. Returns at once, before that. Without effect on one that has ended.
    pub fn abort(&self) {
        let Some(record) = self.record else { return };
        // SAFETY: alive by the handle's reference; the queue gets one of its own.
        unsafe {
            if record.as_ref().state.abort() {
                executor::push(record);
            }
        }
    }

    /// Whether the task has ended: then `join` returns at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        // SAFETY: alive by the handle's reference.
        self.record.is_none_or(|record| unsafe { record.as_ref() }.state.is_done())
    }

    /// Lets the task run on by itself; its result is dropped when it is there.
    pub fn detach(self) {}
}

const JOINS_ITSELF: &str = "a task that joins itself would wait for ever";

impl<T> Future for Task<T> {
    type Output = Result<T, Death>;

    /// # Panics
    /// After it was ready, and if a task awaits itself.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(record) = self.record else { panic!("a task is awaited after its result was taken") };
        // SAFETY: alive by the handle's reference.
        let state = unsafe { &record.as_ref().state };
        if !state.is_done() {
            assert!(!waker::is_polling(context, record), "{JOINS_ITSELF}");
            if state.register(context.waker().clone()).is_ok() {
                return Poll::Pending;
            }
        }
        self.record = None;
        // SAFETY: it is done, its result is the handle's, and `T` its type; then the handle's reference goes.
        unsafe {
            let result = Record::take(record);
            Record::release(record);
            Poll::Ready(result)
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        let Some(record) = self.record else { return };
        // SAFETY: the handle leaves once, and gives its reference back; a result that is there is its own. Of a task that died
        // there is none, and what is left of its future is nobody's.
        unsafe {
            if record.as_ref().state.leave() && !record.as_ref().has_died() {
                Record::clear(record);
            }
            Record::release(record);
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
