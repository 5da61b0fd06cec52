//! The arms of a `select!`: a channel to receive from, a channel to send to.

use crate::channel::{Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError};
use crate::thread::control::ThreadPtr;
use crate::worker::channel_wait::{Wait, pointer};
use isochron_core::channel::Node;
use isochron_core::wait_queue::Wake;
use isochron_kernel::irq::IrqGuard;

/// What became of a try: `None` if the arm would have to wait, else it is chosen, and somebody's wait is over, perhaps.
pub struct Attempt(Option<Option<Wake<ThreadPtr>>>);

impl Attempt {
    /// The wake-up to be made up for, if the arm is chosen.
    pub(crate) fn chosen(self) -> Option<Option<Wake<ThreadPtr>>> {
        self.0
    }
}

/// What [`run`](super::run) asks of an arm.
pub trait Arm {
    /// The same for all arms of one channel.
    fn address(&self) -> usize;
    /// It can never be chosen.
    fn is_off(&self) -> bool;
    /// Whether a try looks worth it: a glance.
    fn may(&self) -> bool;
    /// Tries without waiting. True: it is chosen.
    fn attempt(&mut self) -> bool;
    /// Takes the channel's locks.
    fn lock(&self);
    /// Opens them.
    ///
    /// # Safety
    /// The caller has them by `lock`.
    unsafe fn unlock(&self);
    /// As `attempt`, with the locks held.
    ///
    /// # Safety
    /// They are; interrupts are masked.
    unsafe fn attempt_locked(&mut self) -> Attempt;
    /// Queues a node with this tag.
    ///
    /// # Safety
    /// As for `attempt_locked`, which was in vain since the locks were taken. The arm stays in place, and `settle` or
    /// `forget` follows.
    unsafe fn link(&mut self, wait: &Wait, tag: u32);
    /// Its node has ended the wait: it is chosen.
    fn settle(&mut self);
    /// Something else has: takes the node out.
    fn forget(&mut self);
}

/// `recv(rx) -> result`.
pub struct RecvArm<'a, T> {
    receiver: &'a Receiver<T>,
    node: Option<Node<T, ThreadPtr>>,
    result: Option<Result<T, RecvError>>,
}

impl<'a, T: Send> RecvArm<'a, T> {
    /// An arm that receives from `receiver`.
    pub fn new(receiver: &'a Receiver<T>) -> Self {
        Self { receiver, node: None, result: None }
    }

    /// Whether this is the arm that was chosen.
    pub fn is_chosen(&self) -> bool {
        self.result.is_some()
    }

    /// What came.
    ///
    /// # Errors
    /// [`RecvError`] if the channel is closed and empty.
    pub fn finish(self) -> Result<T, RecvError> {
        self.result.expect("this arm was not chosen")
    }
}

impl<T: Send> Arm for RecvArm<'_, T> {
    fn address(&self) -> usize {
        self.receiver.shared.address()
    }

    fn is_off(&self) -> bool {
        false
    }

    fn may(&self) -> bool {
        self.receiver.shared.channel.may_recv()
    }

    fn attempt(&mut self) -> bool {
        self.result = match self.receiver.try_recv() {
            Ok(message) => Some(Ok(message)),
            Err(TryRecvError::Closed) => Some(Err(RecvError)),
            Err(TryRecvError::Empty) => None,
        };
        self.is_chosen()
    }

    fn lock(&self) {
        self.receiver.shared.channel.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.receiver.shared.channel.unlock() }
    }

    unsafe fn attempt_locked(&mut self) -> Attempt {
        // SAFETY: the caller's promise.
        let (result, wake) = match unsafe { self.receiver.shared.channel.try_recv_locked() } {
            Ok((message, wake)) => (Ok(message), wake),
            Err(TryRecvError::Closed) => (Err(RecvError), None),
            Err(TryRecvError::Empty) => return Attempt(None),
        };
        self.result = Some(result);
        Attempt(Some(wake))
    }

    unsafe fn link(&mut self, wait: &Wait, tag: u32) {
        let node = self.node.insert(wait.node(tag, None));
        // SAFETY: the caller's promise.
        unsafe { self.receiver.shared.channel.link_recv(pointer(node)) };
    }

    fn settle(&mut self) {
        let message = self.node.take().and_then(|node| node.payload);
        self.result = Some(message.ok_or(RecvError));
    }

    fn forget(&mut self) {
        if let Some(node) = &mut self.node {
            let _irq = IrqGuard::new();
            // SAFETY: linked in this channel by `link`.
            unsafe { self.receiver.shared.channel.forget_receiver(pointer(node)) };
        }
        self.node = None;
    }
}

/// `send(tx, message) -> result`.
pub struct SendArm<'a, 's, T> {
    sender: &'a Sender<T>,
    /// The message, as long as it is not sent.
    slot: &'s mut Option<T>,
    node: Option<Node<T, ThreadPtr>>,
    result: Option<Result<(), SendError<T>>>,
}

impl<'a, 's, T: Send> SendArm<'a, 's, T> {
    /// An arm that sends what is in `slot`; if nothing is, it is never chosen.
    pub fn new(sender: &'a Sender<T>, slot: &'s mut Option<T>) -> Self {
        Self { sender, slot, node: None, result: None }
    }

    /// Whether this is the arm that was chosen.
    pub fn is_chosen(&self) -> bool {
        self.result.is_some()
    }

    /// Whether it was sent.
    ///
    /// # Errors
    /// [`SendError`] with the message if the channel is closed.
    pub fn finish(self) -> Result<(), SendError<T>> {
        self.result.expect("this arm was not chosen")
    }

    /// Keeps the message that was not sent. True: the channel is closed, so the arm is chosen.
    fn keep(&mut self, error: TrySendError<T>) -> bool {
        match error {
            TrySendError::Full(message) => *self.slot = Some(message),
            TrySendError::Closed(message) => self.result = Some(Err(SendError(message))),
        }
        self.is_chosen()
    }
}

impl<T: Send> Arm for SendArm<'_, '_, T> {
    fn address(&self) -> usize {
        self.sender.shared.address()
    }

    fn is_off(&self) -> bool {
        self.slot.is_none()
    }

    fn may(&self) -> bool {
        !self.is_off() && self.sender.shared.channel.may_send()
    }

    fn attempt(&mut self) -> bool {
        let Some(message) = self.slot.take() else { return false };
        match self.sender.try_send(message) {
            Ok(()) => {
                self.result = Some(Ok(()));
                true
            }
            Err(TrySendError::Full(_)) if self.sender.capacity().is_none() => panic!("no memory for a message"),
            Err(error) => self.keep(error),
        }
    }

    fn lock(&self) {
        self.sender.shared.channel.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.sender.shared.channel.unlock() }
    }

    unsafe fn attempt_locked(&mut self) -> Attempt {
        let Some(message) = self.slot.take() else { return Attempt(None) };
        // SAFETY: the caller's promise.
        match unsafe { self.sender.shared.channel.try_send_locked(message) } {
            Ok(wake) => {
                self.result = Some(Ok(()));
                Attempt(Some(wake))
            }
            Err(error) => {
                if self.keep(error) {
                    Attempt(Some(None))
                } else {
                    Attempt(None)
                }
            }
        }
    }

    unsafe fn link(&mut self, wait: &Wait, tag: u32) {
        // An unbounded channel is never full but for want of memory, and nobody would move a waiting message in.
        if self.sender.capacity().is_none() {
            return;
        }
        let Some(message) = self.slot.take() else { return };
        let node = self.node.insert(wait.node(tag, Some(message)));
        // SAFETY: the caller's promise.
        unsafe { self.sender.shared.channel.link_send(pointer(node)) };
    }

    fn settle(&mut self) {
        let unsent = self.node.take().and_then(|node| node.payload);
        self.result = Some(unsent.map_or(Ok(()), |message| Err(SendError(message))));
    }

    fn forget(&mut self) {
        if let Some(node) = &mut self.node {
            let _irq = IrqGuard::new();
            // SAFETY: linked in this channel by `link`.
            unsafe { self.sender.shared.channel.forget_sender(pointer(node)) };
        }
        if let Some(node) = self.node.take() {
            *self.slot = node.payload;
        }
    }
}
