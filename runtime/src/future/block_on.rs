//! A thread that polls a future by itself, and parks in between.

use super::executor;
use crate::thread::{self, Thread, current_ptr, die_if_doomed, is_doomed};
use crate::worker;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};
use isochron_core::notice::Notice;

struct Parked {
    thread: Thread,
    notice: Notice,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.notice.give() {
            worker::wake(NonNull::from(self.thread.block()));
        }
    }
}

/// Polls `future` in the running thread until it is ready; parks in between, and other threads run.
///
/// In a task's poll it works too: another executor thread then takes over for the CPU, so that other tasks go on. It costs a
/// thread for that time; `await` costs nothing.
///
/// # Panics
/// If it must wait where a thread must not block.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    // In a box, and not on this stack: who dies in the middle leaves its stack to others, and parts of the future may be known
    // to whom it waits for. What is in the box then stays where it is, for ever.
    let mut future = Box::pin(future);
    let parked = Arc::new(Parked { thread: thread::current(), notice: Notice::new() });
    let waker = Waker::from(Arc::clone(&parked));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
            return result;
        }
        while !parked.notice.take() {
            executor::step_aside();
            worker::block_current();
            if is_doomed(current_ptr()) {
                drop(future);
                die_if_doomed();
                unreachable!("a thread that is to die goes on");
            }
        }
    }
}
