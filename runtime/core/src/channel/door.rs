//! The lock of a channel's sending side, in whose door the one receiver that waits may stand.
//!
//! # Protocol
//! The word of the lock says who is there:
//!
//! | word | meaning |
//! | --- | --- |
//! | null | open |
//! | `LOCKED` | somebody is inside |
//! | an address | open, and this receiver waits: alone, with nothing in the channel, no sender waiting, and it is not closed |
//!
//! Whoever takes the lock takes the guest out of the door with the same read-modify-write, and it is then that one's alone. So a
//! message to a receiver that waits alone costs one swap, in place of a lock, a look at a flag, a queue and a token. A sender
//! hands its message over and opens the lock; all others [put the guest into the queue](super::Channel) first, and see a
//! channel without doors.
//!
//! A guest's CPU has the lock from before its last look at the channel until its context is saved: whoever goes on after its
//! switch opens the lock by writing its address there ([`Guest::stand_in_door`]). So a guest that is found has been left, and no
//! word of the thread's says so: see `thread_state.rs`, on threads that are handed over.
//!
//! # Rejected
//! *The guest in the door before its context is saved*: two read-modify-writes more, by which it and its waker agree on that, as
//! for every other park.

use core::mem::MaybeUninit;
use core::ptr::{NonNull, null_mut, without_provenance_mut};

use crate::lock_rank::{LockRank, Ranked, opened};
use crate::spinlock::LONGEST_PAUSE;
use crate::sync::{AtomicPtr, MutPtr, Ordering, UnsafeCell, const_unless_loom, spin_loop};

/// Somebody is inside.
const LOCKED: usize = 1;

/// How the lock is taken.
// Acquire: partners are the stores in `Held::drop` and in `stand_in_door`.
const TAKING: Ordering = Ordering::Acquire;

/// What stands in a door, whatever messages go through it.
///
/// Aligned, so that the low four bits of its address are free for marks.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Guest {
    door: NonNull<AtomicPtr<Guest>>,
}

impl Guest {
    /// The guest's context is saved: opens the lock that its CPU has, and leaves it standing in the door.
    ///
    /// # Safety
    /// Its CPU has the lock, by `Inside::keep_for`, and has left the thread; nobody uses the guest after this but who takes
    /// it out.
    #[inline(always)]
    pub unsafe fn stand_in_door(guest: NonNull<Self>) {
        // SAFETY: the guest is alive, and the lock for as long as it waits (caller).
        let door = unsafe { guest.as_ref().door.as_ref() };
        // Release: partner is the swap in `swap_again`, whose caller makes the thread run: it must find the whole saved context.
        door.store(guest.as_ptr(), Ordering::Release);
    }
}

/// A value that one CPU at a time may use, for a short while; see the module's documentation.
#[derive(Debug)]
pub(super) struct Door<V> {
    word: AtomicPtr<Guest>,
    rank: Ranked,
    value: UnsafeCell<V>,
}

/// The lock is held until this is dropped.
#[must_use = "the lock is opened again when this is dropped"]
pub(super) struct Inside<'d, V> {
    // In the order of dropping.
    value: MutPtr<V>,
    held: Held<'d>,
}

/// Opens the lock at the end of the scope, a panic included.
struct Held<'d>(&'d AtomicPtr<Guest>);

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        opened(core::ptr::from_ref(self.0).addr());
        // Release: partner is the swap in `swap_again`.
        self.0.store(null_mut(), Ordering::Release);
    }
}

impl<V> Inside<'_, V> {
    /// Keeps the lock for one who will stand in its door: makes `guest` that one.
    #[inline(always)]
    pub fn keep_for(self, guest: &mut MaybeUninit<Guest>) {
        guest.write(Guest { door: NonNull::from(self.held.0) });
        // On this CPU's record it is open: it is, as soon as its next thread goes on.
        opened(core::ptr::from_ref(self.held.0).addr());
        core::mem::forget(self.held);
    }

    /// The value.
    #[inline(always)]
    pub fn get(&mut self) -> &mut V {
        // SAFETY: the lock is held, so this is the only access.
        unsafe { self.value.deref() }
    }
}

impl<V> Door<V> {
    const_unless_loom! {
        /// An open lock around `value`, of this rank.
        pub const fn new(rank: LockRank, value: V) -> Self {
            Self { word: AtomicPtr::new(null_mut()), rank: Ranked::new(rank), value: UnsafeCell::new(value) }
        }
    }

    /// Takes the lock, and with it whoever stands in the door, who is the caller's from then on. Not to be nested.
    #[inline(always)]
    pub fn enter(&self) -> (Inside<'_, V>, Option<NonNull<Guest>>) {
        let guest = self.take();
        (self.inside(), guest)
    }

    /// As [`enter`](Self::enter), where mostly nobody is: then that is one question.
    ///
    /// # Errors
    /// Whoever stood in the door, and the lock.
    #[inline(always)]
    pub fn enter_alone(&self) -> Result<Inside<'_, V>, (Inside<'_, V>, NonNull<Guest>)> {
        let found = self.swap();
        if found.is_null() { Ok(self.inside()) } else { self.enter_after(found) }
    }

    #[cold]
    #[inline(never)]
    fn enter_after(&self, found: *mut Guest) -> Result<Inside<'_, V>, (Inside<'_, V>, NonNull<Guest>)> {
        match self.taken(found) {
            None => Ok(self.inside()),
            Some(guest) => Err((self.inside(), guest)),
        }
    }

    #[inline(always)]
    fn inside(&self) -> Inside<'_, V> {
        Inside { value: self.value.get_mut(), held: Held(&self.word) }
    }

    /// The same, for callers that hold a number of locks at a time. [`unlock`](Self::unlock) must follow.
    #[inline(always)]
    pub fn take(&self) -> Option<NonNull<Guest>> {
        let found = self.swap();
        if found.addr() > LOCKED { NonNull::new(found) } else { self.taken(found) }
    }

    #[inline(always)]
    fn swap(&self) -> *mut Guest {
        // Before it is waited for: so a circle is told, not entered.
        self.rank.taken(core::ptr::from_ref(&self.word).addr());
        self.swap_again()
    }

    #[inline(always)]
    fn swap_again(&self) -> *mut Guest {
        #[cfg(not(loom))]
        let found = self.word.swap(without_provenance_mut(LOCKED), TAKING);
        // A swap that finds the lock taken writes what it has found. The model checker does not know that nothing can come in
        // between: to it, that may undo what the other stores to open the lock. So here it is not written.
        #[cfg(loom)]
        let found = {
            let found = self.word.load(Ordering::Relaxed);
            if found.addr() == LOCKED {
                return found;
            }
            match self.word.compare_exchange(found, without_provenance_mut(LOCKED), TAKING, Ordering::Relaxed) {
                Ok(found) => found,
                Err(_) => without_provenance_mut(LOCKED),
            }
        };
        found
    }

    /// The lock has been asked for, and `found` was there: if it was somebody else's, asks until it is not.
    #[inline(always)]
    fn taken(&self, found: *mut Guest) -> Option<NonNull<Guest>> {
        if found.addr() == LOCKED { self.wait() } else { NonNull::new(found) }
    }

    /// Another CPU has it: looks again after a pause, which doubles each time.
    #[cold]
    #[inline(never)]
    fn wait(&self) -> Option<NonNull<Guest>> {
        let mut pause = 1;
        loop {
            (0..pause).for_each(|_| spin_loop());
            pause = (pause * 2).min(LONGEST_PAUSE);
            // A look first, for the sake of who has it. Not in models, where a load may find the old word for ever.
            if !cfg!(loom) && self.word.load(Ordering::Relaxed).addr() == LOCKED {
                continue;
            }
            let found = self.swap_again();
            if found.addr() != LOCKED {
                return NonNull::new(found);
            }
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Safety
    /// The caller took the lock by [`take`](Self::take), or nobody else has a reference to it; and no other such call is under
    /// way.
    #[inline(always)]
    pub unsafe fn with_locked<R>(&self, f: impl FnOnce(&mut V) -> R) -> R {
        // SAFETY: the lock is held, so this is the only access (caller).
        self.value.with_mut(|value| f(unsafe { &mut *value }))
    }

    /// Opens the lock.
    ///
    /// # Safety
    /// The caller took it by [`take`](Self::take), and uses the value no more.
    #[inline(always)]
    pub unsafe fn unlock(&self) {
        drop(Held(&self.word));
    }

    /// Whether somebody stands in the door: a glance.
    pub fn has_guest(&self) -> bool {
        self.word.load(Ordering::Relaxed).addr() > LOCKED
    }
}

// SAFETY: the lock gives the value to one CPU at a time, which is the same as sending it there. A guest goes from CPU to CPU as
// its waiter does.
unsafe impl<V: Send> Sync for Door<V> {}
// SAFETY: a lock that moves takes its value along; nobody stands in the door of one that does.
unsafe impl<V: Send> Send for Door<V> {}
