//! The receiver that waits alone, in the door of the sending side's lock.

use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;

use super::blocks::Memory;
use super::door::{Guest, Inside};
use super::{Channel, Node, SendSide};
use crate::sync::Ordering;
use crate::wait_queue::{WaitNode, WaitToken};

/// A name of a thread that waits.
///
/// What is said here of its state is what [`ThreadState`](crate::thread_state::ThreadState) does for it.
pub trait Waiter: Copy {
    /// A thread that stands in a door is taken over by who took it out: true, it is the caller's to queue. False: who kills it was
    /// faster, and queues it; it will come for the lock, which the caller has.
    ///
    /// # Safety
    /// The caller has taken it out of the door, and has the lock.
    unsafe fn take_over(self) -> bool;

    /// It stood in a door and is in a queue now: from here on it is parked, and may be unparked.
    ///
    /// # Safety
    /// As for [`take_over`](Self::take_over).
    unsafe fn sit_down(self);
}

/// A [`Waiter`] that is named by its address.
pub trait Named: Sized {
    /// See [`Waiter::take_over`].
    ///
    /// # Safety
    /// The same.
    unsafe fn take_over(this: NonNull<Self>) -> bool;

    /// See [`Waiter::sit_down`].
    ///
    /// # Safety
    /// The same.
    unsafe fn sit_down(this: NonNull<Self>);
}

impl<N: Named> Waiter for NonNull<N> {
    #[inline(always)]
    unsafe fn take_over(self) -> bool {
        // SAFETY: the caller's.
        unsafe { N::take_over(self) }
    }

    #[inline]
    unsafe fn sit_down(self) {
        // SAFETY: the caller's.
        unsafe { N::sit_down(self) }
    }
}

/// A receiver that may stand in a door, on its stack.
#[derive(Debug)]
#[repr(C)]
pub struct Standing<T, W> {
    /// First: its address is this one's.
    guest: MaybeUninit<Guest>,
    waiter: W,
    token: NonNull<WaitToken>,
    /// The message that it was handed in the door. Nobody but who hands one over writes it, before the waiter is queued.
    gift: ManuallyDrop<Option<T>>,
    node: MaybeUninit<Node<T, W>>,
}

impl<T, W: Waiter> Standing<T, W> {
    /// One that is in no door and in no queue. `token` must live as long as it is.
    #[inline(always)]
    pub const fn new(waiter: W, token: &WaitToken) -> Self {
        let token = NonNull::from_ref(token);
        Self { guest: MaybeUninit::uninit(), waiter, token, gift: ManuallyDrop::new(None), node: MaybeUninit::uninit() }
    }

    /// The message that it was handed in the door.
    ///
    /// # Safety
    /// It stood in a door, its waiter is back, and this is called once.
    #[inline(always)]
    pub unsafe fn take_gift(this: NonNull<Self>) -> Option<T> {
        // SAFETY: the caller's promise: nobody else has it any more.
        ManuallyDrop::into_inner(unsafe { (&raw const (*this.as_ptr()).gift).read() })
    }

    /// Its place in a queue, as it is made anew.
    ///
    /// # Safety
    /// It is alive and in no queue; and in no door, or the caller has taken it out.
    #[inline(always)]
    pub unsafe fn new_node(this: NonNull<Self>) -> NonNull<Node<T, W>> {
        let raw = this.as_ptr();
        // SAFETY: the caller's promise; fields of what is alive.
        unsafe {
            (*raw).node.write(WaitNode::with_token((*raw).waiter, (*raw).token, 0, None));
            Self::node(this)
        }
    }

    /// The same, as it was made.
    ///
    /// # Safety
    /// It is alive.
    #[inline(always)]
    pub unsafe fn node(this: NonNull<Self>) -> NonNull<Node<T, W>> {
        // SAFETY: a field of what is alive (caller).
        unsafe { NonNull::new_unchecked(&raw mut (*this.as_ptr()).node).cast() }
    }
}

/// The sending side's lock, for a receiver that found nothing, and that waits alone if it waits.
#[must_use = "it waits in the door, in the queue, or not at all"]
pub struct AtDoor<'c, T, W: Waiter, M: Memory<T>> {
    channel: &'c Channel<T, W, M>,
    inside: Inside<'c, SendSide<T, W, M>>,
}

impl<'c, T, W: Waiter, M: Memory<T>> AtDoor<'c, T, W, M> {
    /// Where the door is.
    pub(super) fn channel(&self) -> &'c Channel<T, W, M> {
        self.channel
    }

    /// It will stand in the door: [`Guest::stand_in_door`] follows when its context is saved, and opens the lock.
    ///
    /// # Safety
    /// `standing` and its token stay alive and in place until its waiter has been taken over, and has its gift; or until
    /// [`Channel::sit_down`] was called and the wait in the queue is over.
    #[inline(always)]
    pub unsafe fn stand(self, standing: NonNull<Standing<T, W>>) -> NonNull<Guest> {
        // SAFETY: alive, and nobody else's yet (caller).
        self.inside.keep_for(unsafe { &mut (*standing.as_ptr()).guest });
        standing.cast()
    }

    /// It waits in the queue instead: park until its token has an outcome.
    ///
    /// # Safety
    /// As for [`Channel::recv_or_wait`], with the [node](Standing::node).
    #[inline(always)]
    pub unsafe fn link(mut self, standing: NonNull<Standing<T, W>>) {
        // SAFETY: the caller's promise; no flag is set (`at_door`).
        unsafe { self.channel.link_alone(self.inside.get(), Standing::new_node(standing)) };
    }
}

impl<T, W: Waiter, M: Memory<T>> Channel<T, W, M> {
    /// The lock, for a receiver that has just [found nothing](Self::take_after) after `head`: if it would wait, and alone.
    #[inline(always)]
    pub fn at_door(&self, head: usize) -> Option<AtDoor<'_, T, W, M>> {
        let inside = match self.send.side.enter_alone() {
            Ok(inside) => inside,
            Err((mut inside, guest)) => {
                self.seat(inside.get(), guest);
                return None;
            }
        };
        // As in `wait_for_message`; and if nobody has put anything in behind `head`, nobody has taken anything out there.
        let empty = head == self.send.tail.load(Ordering::Relaxed);
        let alone = empty && self.send.flags.load(Ordering::Relaxed) == 0;
        alone.then_some(AtDoor { channel: self, inside })
    }

    /// Takes the sending side's lock. Who stood in its door is in the queue then.
    #[inline(always)]
    pub(super) fn enter(&self) -> Inside<'_, SendSide<T, W, M>> {
        let (mut inside, guest) = self.send.side.enter();
        if let Some(guest) = guest {
            self.seat(inside.get(), guest);
        }
        inside
    }

    /// Hands a message to who stood in the door.
    ///
    /// # Errors
    /// The message: its waiter is dying.
    #[inline(always)]
    pub(super) fn give(&self, guest: NonNull<Guest>, message: T) -> Result<W, T> {
        let standing = guest.cast::<Standing<T, W>>().as_ptr();
        // SAFETY: alive until the waiter is taken over and queued, or comes for the lock, which this CPU has. Taken out of the
        // door, so this CPU's alone.
        unsafe {
            let waiter = (*standing).waiter;
            if !waiter.take_over() {
                return Err(message);
            }
            (&raw mut (*standing).gift).write(ManuallyDrop::new(Some(message)));
            Ok(waiter)
        }
    }

    /// Puts who stood in the door into the queue, where it is the first.
    #[cold]
    #[inline(never)]
    pub(super) fn seat(&self, sending: &mut SendSide<T, W, M>, guest: NonNull<Guest>) {
        let standing = guest.cast::<Standing<T, W>>();
        // SAFETY: as in `give`; who stands in a door waits alone, so no flag is set.
        unsafe {
            self.link_alone(sending, Standing::new_node(standing));
            (*standing.as_ptr()).waiter.sit_down();
        }
    }

    /// For a receiver that stood in the door and is awake without a gift: from here on its wait is one in the queue, with its
    /// [node](Standing::node).
    pub fn sit_down(&self) {
        drop(self.enter());
    }
}
