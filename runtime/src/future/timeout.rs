//! Waiting for a future, but not for ever.

use super::sleep::{Sleep, sleep_until};
use crate::{Duration, Instant};
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// The time was over before the future was ready. The future is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is over")
    }
}

impl core::error::Error for Elapsed {}

/// Waits for `future`, for `time` at the most. A future that is ready at once is ready whatever the time.
pub fn timeout<F: Future>(time: Duration, future: F) -> Timeout<F> {
    timeout_at(Instant::now() + time, future)
}

/// Waits for `future`, until `deadline` at the most; one that is past lets it be polled once.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, end: sleep_until(deadline) }
}

/// Future of [`timeout`] and [`timeout_at`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Timeout<F> {
    future: F,
    end: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the future is pinned with the whole, and moved out nowhere; the other field is not pinned.
        let (future, end) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.end)
        };
        match future.poll(context) {
            Poll::Ready(result) => Poll::Ready(Ok(result)),
            Poll::Pending => Pin::new(end).poll(context).map(|()| Err(Elapsed)),
        }
    }
}
