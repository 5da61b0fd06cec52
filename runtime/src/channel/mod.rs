//! Channels: messages from thread to thread, in order. Any number of threads may send, and any number receive.
//!
//! | made by | a sender waits |
//! | --- | --- |
//! | [`bounded`] | while so many messages are inside |
//! | [`unbounded`] | never |
//! | [`rendezvous`] | until a receiver has taken its message |
//!
//! A sender that finds a receiver waiting hands it the message directly; nobody is woken in vain, and those who wait are
//! served in the order they came, threads and tasks
//! ([`recv_async`](Receiver::recv_async), [`send_async`](Sender::send_async)) alike. [`select!`](crate::select) waits at several channels.
//!
//! A channel is closed when one side has no end left, or by [`Sender::close`] and [`Receiver::close`]. Then nothing goes in
//! any more: those who wait to send get their messages back. What is inside can still be received.
//!
//! ```ignore
//! let (tx, rx) = channel::bounded(8);
//! spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
//! assert_eq!(rx.iter().sum::<i32>(), 4950);
//! ```

mod error;
mod memory;
mod receiver;
#[doc(hidden)]
pub mod select;
mod sender;
mod tasks;

pub use error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;
pub use tasks::{RecvFuture, SendFuture};

use crate::thread::control::ThreadPtr;
use crate::worker::channel_wait;
use crate::worker::waiting::undisturbed;
use alloc::sync::Arc;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_core::channel::{Channel, Pauses};
use isochron_kernel::irq::IrqGuard;
use memory::{Heap, HeapBlock};

/// What both ends share. It is closed when either side has no end left.
struct Shared<T> {
    channel: Channel<T, ThreadPtr, Heap>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    pauses: Pauses,
}

// SAFETY: messages go from thread to thread, hence `T: Send`; the thread addresses in the wait queues are names that
// whoever takes one out may wake, on any CPU (see `channel_wait`).
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; everything behind a shared reference goes through the channel's locks or an atomic.
unsafe impl<T: Send> Sync for Shared<T> {}

/// A channel that holds up to `capacity` messages; with 0, a rendezvous. Both ends can be cloned and sent to other threads.
///
/// # Panics
/// If there is no memory for it.
#[must_use]
pub fn bounded<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let block = or_no_memory(Heap::block(capacity));
    // SAFETY: the block is new.
    pair(unsafe { Channel::bounded(block) })
}

/// A channel that holds any number of messages: sending never waits. Memory is taken as messages come and given back as
/// they go.
///
/// # Panics
/// If there is no memory for it. [`Sender::send`] panics if there is none for a message.
#[must_use]
pub fn unbounded<T: Send>() -> (Sender<T>, Receiver<T>) {
    let block = or_no_memory(Heap::first());
    // SAFETY: the block is new, and has a slot.
    pair(unsafe { Channel::unbounded(block) })
}

/// A channel that holds nothing: each message goes from hand to hand, and whoever comes first waits for the other.
///
/// # Panics
/// If there is no memory for it.
#[must_use]
pub fn rendezvous<T: Send>() -> (Sender<T>, Receiver<T>) {
    bounded(0)
}

fn or_no_memory<T>(block: Option<NonNull<HeapBlock<T>>>) -> NonNull<HeapBlock<T>> {
    block.expect("no memory for a channel")
}

fn pair<T: Send>(channel: Channel<T, ThreadPtr, Heap>) -> (Sender<T>, Receiver<T>) {
    let (senders, receivers) = (AtomicUsize::new(1), AtomicUsize::new(1));
    let shared = Arc::new(Shared { channel, senders, receivers, pauses: Pauses::new() });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> Shared<T> {
    /// The same for all ends of one channel.
    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// One end is gone: the last of its side closes the channel.
    fn leave(&self, side: &AtomicUsize) {
        // AcqRel: partners are the other ends' decrements; the last one sees all that the others did.
        if side.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// Nothing goes in any more; all who wait are told. False if it was closed before.
    #[cold]
    fn close(&self) -> bool {
        // Who is killed in the middle of it would leave others asleep.
        let _undisturbed = undisturbed();
        let first = {
            let _irq = IrqGuard::new();
            self.channel.close()
        };
        // Relaxed: whoever finds receivers still is followed by the last of them, which comes here by `leave` and finds none.
        let nobody_receives = self.receivers.load(Ordering::Relaxed) == 0;
        // Also if another has closed it, and is still at this: they share the work.
        loop {
            let irq = IrqGuard::new();
            let wake = self.channel.wake_after_close();
            let wake = if wake.is_none() && nobody_receives { self.channel.wake_returned() } else { wake };
            if wake.is_none() {
                return first;
            }
            channel_wait::end(wake, irq);
        }
    }
}
