//! What few threads have, in a block of its own, so that those that have nothing of it do not pay for it in memory.
//!
//! A thread without any refers to one block that all share, and that nobody writes: so what is asked here needs no look at
//! whether there is a block. Whoever has to write makes one first.

use super::control::Thread;
use crate::fork::ScopeState;
use crate::group::Membership;
use crate::group::memory::Refusal;
use crate::group::roster::Place;
use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};
use isochron_core::layers::Rank;
use isochron_kernel::memory::account::Charge;
use isochron_kernel::memory::{OutOfMemory, heap};

/// See the module's documentation.
pub(crate) struct Extras {
    /// The name it was given. Fixed.
    pub name: Option<Box<str>>,
    /// The scope that waits for its end; null for none. Fixed.
    pub scope: *const ScopeState,
    /// Its rank without a boost, while it has one.
    pub base: Cell<Rank>,
    /// When its boost ends, in ticks; 0 for none.
    pub boost_end: Cell<u64>,
    /// Its group.
    pub membership: Membership,
    /// How often its group had no time at its turn, since it last ran as a member. Whoever holds the thread writes it.
    pub in_vain: Cell<u32>,
    /// If that was too often: it waits as if of this rank, that of those who used the time up. As above.
    pub lent_rank: Cell<Rank>,
    /// Its place among the group's threads.
    pub place: Place,
    /// At its end it leaves its group or its scope, or gives something back. Its own.
    pub needs_farewell: Cell<bool>,
    /// What it takes now is charged to nobody. Its own.
    pub is_outside: Cell<bool>,
    /// It is to be ended because its group was over its limit.
    pub is_over_limit: AtomicBool,
    /// What its group refused it last. Its own.
    pub refusal: Cell<Option<Refusal>>,
    /// What was charged for its block and its stack. Fixed.
    pub charge: Option<Charge>,
    /// How much of that is its stack, until it gives that back. Its own.
    pub charged_stack: Cell<usize>,
}

/// The one that all others share.
struct Shared(Extras);

// SAFETY: nobody writes it: the cells are written by way of `extras_of_its_own` alone.
unsafe impl Sync for Shared {}

static NOTHING: Shared = Shared(Extras::new(None, ptr::null()));

impl Extras {
    const fn new(name: Option<Box<str>>, scope: *const ScopeState) -> Self {
        Self {
            name,
            needs_farewell: Cell::new(!scope.is_null()),
            scope,
            base: Cell::new(Rank::NORMAL),
            boost_end: Cell::new(0),
            membership: Membership::new(),
            in_vain: Cell::new(0),
            lent_rank: Cell::new(Rank::BATCH),
            place: Place::new(),
            is_outside: Cell::new(false),
            is_over_limit: AtomicBool::new(false),
            refusal: Cell::new(None),
            charge: None,
            charged_stack: Cell::new(0),
        }
    }

    /// Notes what was charged for the thread, `stack` bytes of it for its stack.
    pub fn set_charge(&mut self, charge: Charge, stack: usize) {
        self.charge = Some(charge);
        self.charged_stack.set(stack);
        self.needs_farewell.set(self.needs_farewell.get() || stack != 0);
    }

    /// # Errors
    /// [`OutOfMemory`].
    pub fn boxed(name: Option<Box<str>>, scope: *const ScopeState) -> Result<Box<Self>, OutOfMemory> {
        let memory = heap::alloc_uncharged(Layout::new::<Self>()).cast::<Self>();
        let memory = NonNull::new(memory).ok_or(OutOfMemory)?;
        // SAFETY: fresh memory, allocated as a box is.
        unsafe {
            memory.write(Self::new(name, scope));
            Ok(Box::from_raw(memory.as_ptr()))
        }
    }

    /// For a thread's block.
    #[inline(always)]
    pub fn into_raw(extras: Option<Box<Self>>) -> *mut Self {
        extras.map_or(Self::nothing(), Box::into_raw)
    }

    #[inline(always)]
    const fn nothing() -> *mut Self {
        (&raw const NOTHING.0).cast_mut()
    }

    /// Whether `raw` is the one that all others share.
    #[inline(always)]
    pub fn is_nothing(raw: *const Self) -> bool {
        ptr::eq(raw, Self::nothing())
    }

    /// Takes back what [`into_raw`](Self::into_raw) gave.
    ///
    /// # Safety
    /// Nobody uses it any more.
    #[inline(always)]
    pub unsafe fn free(raw: *mut Self) {
        if raw != Self::nothing() {
            // SAFETY: it was a box, and is nobody's any more.
            unsafe { Self::free_box(raw) }
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn free_box(raw: *mut Self) {
        // SAFETY: the caller's.
        drop(unsafe { Box::from_raw(raw) });
    }
}

impl Thread {
    /// What it has, or the nothing that it shares with others: to be read.
    #[inline(always)]
    pub fn extras(&self) -> &Extras {
        // Acquire: partner is the compare-and-swap in `extras_of_its_own`.
        // SAFETY: never null; what is there stays for as long as the thread, but for the shared one, which stays for ever.
        unsafe { &*self.extras.load(Ordering::Acquire) }
    }

    /// Whether it has some of its own.
    #[inline(always)]
    pub fn has_extras(&self) -> bool {
        !ptr::eq(self.extras(), Extras::nothing())
    }

    /// What it has, to be written.
    ///
    /// # Errors
    /// [`OutOfMemory`], if it has none yet.
    #[cold]
    pub fn extras_of_its_own(&self) -> Result<&Extras, OutOfMemory> {
        if !self.has_extras() {
            let made = Box::into_raw(Extras::boxed(None, ptr::null())?);
            // Release: partner is the load in `extras`, which sees the block filled.
            if self.extras.compare_exchange(Extras::nothing(), made, Ordering::Release, Ordering::Relaxed).is_err() {
                // Somebody else was faster.
                // SAFETY: nobody knows it.
                unsafe { Extras::free_box(made) };
            }
        }
        Ok(self.extras())
    }
}
