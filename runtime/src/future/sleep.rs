//! Waiting for a deadline.
//!
//! The timer is in a box, and not in the future: a thread that dies leaves its stack to others, and a timer there would stay in
//! its CPU's wheel.

use crate::worker::{Action, Home, Next, TimerNode, set_timer, wake_in_time};
use crate::{Duration, Instant};
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

/// Waits for `time`; it may be longer by an interrupt and a switch, and by what goes before the task in its queue.
pub fn sleep(time: Duration) -> Sleep {
    sleep_until(Instant::now() + time)
}

/// Waits until `deadline`; not at all if that is past.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, set: None }
}

/// Future of [`sleep`] and [`sleep_until`]. Ready from its deadline on, however often it is polled.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    /// Once it has been polled in vain.
    set: Option<(NonNull<Alarm>, Home)>,
}

#[repr(C)]
struct Alarm {
    timer: TimerNode,
    /// The timer's action's from when it is set until it is idle.
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the alarm belongs to the future, or to its timer's action; both may be on any CPU.
unsafe impl Send for Sleep {}
// SAFETY: a shared reference does nothing.
unsafe impl Sync for Sleep {}

impl Sleep {
    /// When it is over.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes the timer back, if it is set, with its waker, which may have been used.
    fn cancel(&mut self) {
        if let Some((alarm, home)) = self.set.take() {
            // SAFETY: from `Box::into_raw` in `poll`, and set there; idle after this, so nobody else has it.
            unsafe {
                home.cancel(alarm.cast());
                drop(Box::from_raw(alarm.as_ptr()));
            }
        }
    }

    fn has_fired(&self) -> bool {
        // SAFETY: alive until `cancel`, and this future is its owner, who has set it.
        self.set.is_some_and(|(alarm, _)| unsafe { TimerNode::has_fired(alarm.cast()) })
    }

    /// Whether the timer is set, and will wake whoever `context` is of.
    fn will_wake(&self, context: &Context<'_>) -> bool {
        self.set.is_some_and(|(alarm, _)| {
            // SAFETY: alive until `cancel`. Nobody writes the waker while the timer is set; whoever has it now only reads.
            let waker = unsafe { &*(*alarm.as_ptr()).waker.get() };
            waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()))
        })
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // The timer too, which counts by another CPU's clock, perhaps.
        if self.has_fired() || Instant::now() >= self.deadline {
            self.cancel();
            return Poll::Ready(());
        }
        if !self.will_wake(context) {
            self.cancel();
            let alarm = Box::into_raw(Box::new(Alarm {
                timer: TimerNode::new(Action::Call(wake)),
                waker: UnsafeCell::new(Some(context.waker().clone())),
            }));
            // SAFETY: a box is not null. The timer, its first field, is new, and stays in its box until `cancel`.
            unsafe {
                let alarm = NonNull::new_unchecked(alarm);
                self.set = Some((alarm, set_timer(alarm.cast(), self.deadline.ticks())));
            }
        }
        Poll::Pending
    }
}

/// The timer's action.
///
/// # Safety
/// The timer is that of an `Alarm`, whose action this is.
unsafe fn wake(timer: NonNull<TimerNode>, _now: u64) -> Next {
    // SAFETY: the caller's promise; its future waits for the end of this before it frees it.
    let waker = unsafe { &*(*timer.cast::<Alarm>().as_ptr()).waker.get() };
    if let Some(waker) = waker {
        wake_in_time(|| waker.wake_by_ref());
    }
    Next::Done
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
