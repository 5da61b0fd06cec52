//! Channels: messages from thread to thread, in order.
//!
//! A sender that finds a receiver waiting hands it the message directly; nobody is woken in vain. A bounded channel of
//! capacity 0 is a rendezvous: each message waits for its receiver.
//!
//! ```ignore
//! let (tx, rx) = channel::bounded(8);
//! spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
//! assert_eq!(rx.iter().sum::<i32>(), 4950);
//! ```

mod error;
mod receiver;
mod sender;

pub use error::{RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError};
pub use receiver::{Iter, Receiver};
pub use sender::Sender;

use crate::thread::control::ThreadPtr;
use crate::worker::waiting;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_core::channel::Channel;
use isochron_kernel::irq;

/// What both ends share. It is closed when either side has no end left.
struct Shared<T> {
    channel: Channel<T, ThreadPtr, Box<[MaybeUninit<T>]>>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

// SAFETY: messages go from thread to thread, hence `T: Send`; the thread addresses in the wait queues are names that
// whoever takes one out may wake, on any CPU (see `waiting`).
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; everything behind a shared reference goes through the channel's lock or an atomic.
unsafe impl<T: Send> Sync for Shared<T> {}

/// A channel that holds up to `capacity` messages. Both ends can be cloned and sent to other threads.
///
/// # Panics
/// If there is no memory for it.
#[must_use]
pub fn bounded<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        channel: Channel::new(Box::new_uninit_slice(capacity)),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> Shared<T> {
    /// One end is gone: the last of its side closes the channel.
    fn leave(&self, side: &AtomicUsize) {
        // AcqRel: partners are the other ends' decrements; the last one sees all that the others did.
        if side.fetch_sub(1, Ordering::AcqRel) == 1 {
            irq::without(|| self.channel.close(waiting::end));
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // The messages that nobody received. Nobody waits any more, so nobody is woken.
        while let Ok((message, _)) = self.channel.try_recv() {
            drop(message);
        }
    }
}
