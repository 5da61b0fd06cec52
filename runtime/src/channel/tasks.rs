//! Waiting at a channel in a task.

use super::receiver::Receiver;
use super::sender::Sender;
use super::{RecvError, SendError, Shared, TrySendError};
use crate::worker::channel_wait;
use crate::worker::task_wait::TaskWait;
use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use isochron_core::channel::{RETURNED, Step};
use isochron_kernel::irq::IrqGuard;

impl<T: Send> Receiver<T> {
    /// As [`Receiver::recv`], in a task.
    ///
    /// Dropping the future loses no message: one that was handed to it already goes back into the channel, behind those that have
    /// come since, even if that is closed by then. (Who was told before that nothing will come any more has been told so.)
    ///
    /// # Errors
    /// [`RecvError`](super::RecvError), if the channel is closed and empty.
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture { receiver: self, wait: None }
    }
}

impl<T: Send> Sender<T> {
    /// As [`Sender::send`], in a task.
    ///
    /// If the future is dropped, the message has been sent, or is dropped with it.
    ///
    /// # Errors
    /// [`SendError`](super::SendError) with the message, if the channel is closed or no receiver is left; an unbounded channel
    /// that gets no memory says so too.
    pub fn send_async(&self, message: T) -> SendFuture<'_, T> {
        SendFuture { sender: self, message: Some(message), wait: None }
    }
}

/// Future of [`Receiver::recv_async`]. Once it was ready it may be polled for the next message.
#[must_use = "a future does nothing unless it is awaited"]
pub struct RecvFuture<'a, T: Send> {
    receiver: &'a Receiver<T>,
    /// While its node is linked.
    wait: Option<TaskWait<Option<T>>>,
}

/// Future of [`Sender::send_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct SendFuture<'a, T: Send> {
    sender: &'a Sender<T>,
    /// Before it is sent, and while no node has it.
    message: Option<T>,
    /// While its node is linked.
    wait: Option<TaskWait<Option<T>>>,
}

// Nothing in them is pinned.
impl<T: Send> Unpin for RecvFuture<'_, T> {}
impl<T: Send> Unpin for SendFuture<'_, T> {}

impl<T: Send> RecvFuture<'_, T> {
    /// Leaves the queue; the message that it was given already.
    fn leave(&mut self) -> Option<T> {
        let wait = self.wait.take()?;
        if wait.give_up() {
            let _irq = IrqGuard::new();
            // SAFETY: linked in this channel, and given up.
            unsafe { self.receiver.shared.channel.forget_receiver(wait.node()) };
        }
        wait.into_payload()
    }
}

impl<T: Send> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(wait) = &self.wait {
            if wait.is_over() {
                let message = self.wait.take().and_then(TaskWait::into_payload);
                return Poll::Ready(message.ok_or(RecvError));
            }
            if wait.will_wake(context) {
                return Poll::Pending;
            }
            if let Some(message) = self.leave() {
                return Poll::Ready(Ok(message));
            }
        }
        let channel = &self.receiver.shared.channel;
        {
            let irq = IrqGuard::new();
            if let Some((message, wake)) = channel.take() {
                channel_wait::end(wake, irq);
                return Poll::Ready(Ok(message));
            }
        }
        let wait = TaskWait::new(context.waker().clone(), None);
        let irq = IrqGuard::new();
        // SAFETY: the node is in the heap, and stays there until the wait is over, or is forgotten in `leave`.
        match unsafe { channel.recv_or_wait(wait.node()) } {
            Step::Waiting => {
                drop(irq);
                self.wait = Some(wait);
                Poll::Pending
            }
            Step::Done((message, wake)) => {
                channel_wait::end(wake, irq);
                Poll::Ready(Ok(message))
            }
            Step::Closed => Poll::Ready(Err(RecvError)),
        }
    }
}

impl<T: Send> Drop for RecvFuture<'_, T> {
    fn drop(&mut self) {
        if let Some(message) = self.leave() {
            put_back(&self.receiver.shared, message);
        }
    }
}

impl<T: Send> SendFuture<'_, T> {
    /// Leaves the queue, with the message if that has not gone.
    fn leave(&mut self) {
        let Some(wait) = self.wait.take() else { return };
        if wait.give_up() {
            let _irq = IrqGuard::new();
            // SAFETY: linked in this channel, and given up.
            unsafe { self.sender.shared.channel.forget_sender(wait.node()) };
        }
        self.message = wait.into_payload();
    }
}

impl<T: Send> Future for SendFuture<'_, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    /// After it was ready.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(wait) = &self.wait {
            if wait.is_over() {
                let message = self.wait.take().and_then(TaskWait::into_payload);
                return Poll::Ready(message.map_or(Ok(()), |message| Err(SendError(message))));
            }
            if wait.will_wake(context) {
                return Poll::Pending;
            }
            self.leave();
            if self.message.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
        let Some(message) = self.message.take() else { panic!("a message is sent twice") };
        let channel = &self.sender.shared.channel;
        let irq = IrqGuard::new();
        let message = match channel.try_send(message) {
            Ok(wake) => {
                channel_wait::end(wake, irq);
                return Poll::Ready(Ok(()));
            }
            Err(TrySendError::Closed(message)) => return Poll::Ready(Err(SendError(message))),
            Err(TrySendError::Full(message)) if channel.capacity().is_none() => {
                return Poll::Ready(Err(SendError(message)));
            }
            Err(TrySendError::Full(message)) => message,
        };
        drop(irq);
        let wait = TaskWait::new(context.waker().clone(), Some(message));
        let irq = IrqGuard::new();
        // SAFETY: as for a receiver; the payload is `Some`.
        match unsafe { channel.send_or_wait(wait.node()) } {
            Step::Waiting => {
                drop(irq);
                self.wait = Some(wait);
                return Poll::Pending;
            }
            Step::Done(wake) => channel_wait::end(wake, irq),
            Step::Closed => drop(irq),
        }
        Poll::Ready(wait.into_payload().map_or(Ok(()), |message| Err(SendError(message))))
    }
}

impl<T: Send> Drop for SendFuture<'_, T> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A message that a receiver was given which is gone. The caller has that receiver.
#[cold]
fn put_back<T: Send>(shared: &Shared<T>, message: T) {
    let irq = IrqGuard::new();
    let message = match shared.channel.try_send(message) {
        Ok(wake) => return channel_wait::end(wake, irq),
        Err(TrySendError::Closed(message) | TrySendError::Full(message)) => message,
    };
    drop(irq);
    // It waits for a receiver, as a sender that nobody waits for: whoever wakes it frees it.
    let abandoned = Box::into_raw(Box::new(Abandoned { wait: None }));
    // SAFETY: from a box, just now; it is freed by the waker's one call, or below.
    let node = unsafe {
        let waker = Waker::new(abandoned.cast_const().cast(), &Abandoned::<T>::VTABLE);
        (*abandoned).wait.insert(TaskWait::with_tag(waker, RETURNED, Some(message))).node()
    };
    let irq = IrqGuard::new();
    // SAFETY: the node is in the heap until the waker is called, after the end of the wait. The caller has a receiver, and the
    // last one to go ends the wait (`Shared::close`).
    match unsafe { shared.channel.put_back(node) } {
        Step::Waiting => return,
        Step::Done(wake) => channel_wait::end(wake, irq),
        Step::Closed => drop(irq),
    }
    // SAFETY: its node is linked nowhere, so the waker is not called.
    unsafe { Abandoned::<T>::free(abandoned.cast_const().cast()) }
}

/// A message that was put back, and waits for room, or in a closed channel.
struct Abandoned<T> {
    wait: Option<TaskWait<Option<T>>>,
}

impl<T> Abandoned<T> {
    /// For a waker that is cloned and called once, when the wait is over.
    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| RawWaker::new(data, &Self::VTABLE),
        |data| {
            // SAFETY: called once, and nobody else knows of it.
            unsafe { Self::free(data) }
        },
        |_| {},
        |_| {},
    );

    /// # Safety
    /// `data` is the address of one from a box, and it is not used after this.
    unsafe fn free(data: *const ()) {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(data.cast_mut().cast::<Self>()) });
    }
}

impl<T: Send> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").field("waits", &self.wait.is_some()).finish()
    }
}

impl<T: Send> fmt::Debug for SendFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture").field("waits", &self.wait.is_some()).finish()
    }
}
