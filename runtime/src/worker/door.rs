//! A thread that waits in the door of a channel's lock: it is handed over, and not parked.
//!
//! Its CPU holds the lock from before the thread's last look at the channel until its context is saved: who goes on after the
//! switch opens it, by a word that leaves the thread standing there (`isochron_core::channel`). So no compare-and-swap is needed
//! for it that the thread is parked, and none for taking it out. With nobody else to run, that would be a lock held while the CPU
//! idles: then the thread parks as it does elsewhere.

use super::Worker;
use super::switch::{AFTER_DOOR, STAND_IN_DOOR};
use crate::kernel::arch;
use crate::thread::control::ThreadPtr;
use crate::trace::points;
use core::ptr::NonNull;
use isochron_core::channel::Guest;

/// What there is to go on with.
pub enum Next {
    /// A thread, out of the queue.
    This(ThreadPtr),
    /// Nobody waits in the queue: the running thread parks, and [alone](Worker::park_alone).
    Nobody,
    /// It parks as usual, as there is more to choose from; or it is to die.
    ByRule,
}

impl Worker {
    /// Whom this CPU goes on with if the running thread is to be handed over.
    #[inline(always)]
    pub fn next_for_handed(&self, me: ThreadPtr) -> Next {
        match self.queue().pop_plain() {
            // SAFETY: the running thread's block is alive.
            Ok(Some(next)) if unsafe { me.as_ref() }.state.begin_handed() => Next::This(next),
            Ok(Some(next)) => {
                self.put_back(next);
                Next::ByRule
            }
            Ok(None) => Next::Nobody,
            Err(_) => Next::ByRule,
        }
    }

    #[cold]
    #[inline(never)]
    fn put_back(&self, next: ThreadPtr) {
        self.put_next(next);
    }

    /// Leaves the running thread for `next`; then it stands in a door. Returns when it has been taken over and queued.
    ///
    /// # Safety
    /// As for [`Guest::stand_in_door`]; [`next_for_handed`](Self::next_for_handed) has said who is next.
    #[inline(always)]
    pub unsafe fn stand_in_door(&self, me: ThreadPtr, next: ThreadPtr, guest: NonNull<Guest>) {
        #[cfg(debug_assertions)]
        assert!(isochron_kernel::lock_rank::none_held(), "a thread is left with a spin lock held");
        points::leaving(self, me, true);
        let to = self.context_of::<AFTER_DOOR>(next);
        let message = guest.as_ptr().expose_provenance() | STAND_IN_DOOR;
        // SAFETY: as in `leave`.
        let message = unsafe { arch::context::switch(me.as_ref().context.get(), to, message) };
        Self::finish::<AFTER_DOOR>(message);
    }

    /// Opens the lock in whose door the thread stands that was left.
    #[inline(always)]
    pub(super) fn let_stand(message: usize) {
        let guest = core::ptr::with_exposed_provenance_mut::<Guest>(message & !STAND_IN_DOOR);
        // SAFETY: `stand_in_door` has sent it, and the thread has been left, this moment.
        unsafe { Guest::stand_in_door(NonNull::new_unchecked(guest)) };
    }
}
