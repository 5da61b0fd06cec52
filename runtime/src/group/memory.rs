//! A group's limit on memory: what is charged to it, and its end when it is over.
//!
//! The books are the kernel's ([`Account`]); here is who runs on which account, who is a member, and what happens to those who
//! are refused. A worker sets the account when a member's run begins and takes it away when that ends (`worker/grouped.rs`), so
//! threads in no such group have nothing to do with it but one look at an empty word for each allocation.

use super::roster::Roster;
use super::{Group, GroupError, Inner, ender};
use crate::thread::control::{self, Thread, ThreadPtr};
use crate::thread::current_ptr;
use crate::worker::Worker;
use alloc::sync::Arc;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use isochron_kernel::irq;
use isochron_kernel::memory::account::{self, Account};

/// The smallest limit on memory: a span of the heap, a stack and some threads' blocks must fit.
pub const SMALLEST_MEMORY_LIMIT: usize = 64 * 1024;

/// What a group has taken of the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes that are charged to it and to the groups below.
    pub used: usize,
    /// The most that ever were.
    pub peak: usize,
    /// Bytes that it may have.
    pub limit: usize,
    /// Requests that were refused because of this limit.
    pub refused: u64,
    /// Threads that are in it (not those in groups below).
    pub members: usize,
    /// Threads of it that were ended with it.
    pub ended: u64,
    /// It was over its limit, or [`Group::end`] was called: it takes no thread any more.
    pub over: bool,
}

/// What a group that has a limit on its memory, or is below one, keeps for it.
pub(crate) struct Memory {
    /// Its own, or that of a group above.
    pub account: Arc<Account>,
    /// It is its own.
    pub owned: bool,
    /// Its blocks are given back when it has ended.
    pub confined: bool,
    /// It was ended by hand.
    by_hand: AtomicBool,
    pub(super) roster: Roster,
    /// Threads that were ended with the group.
    pub ended: AtomicU64,
    /// The group itself, counted: it has ended, and its blocks are not all given back.
    kept: AtomicPtr<Inner>,
}

impl Memory {
    /// For a group with a limit, or below a group that has one.
    pub fn new(limit: Option<usize>, confined: bool, parent: Option<&Inner>) -> Option<Self> {
        let above = parent.and_then(|parent| parent.memory.as_ref()).map(|memory| memory.account.clone());
        let account = match limit {
            Some(limit) => Account::new(above, limit),
            None => above?,
        };
        Some(Self {
            account,
            owned: limit.is_some(),
            confined,
            by_hand: AtomicBool::new(false),
            roster: Roster::new(),
            ended: AtomicU64::new(0),
            kept: AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Ends it. `group`: the one that this is of.
    fn end(&self, group: &Inner) {
        if self.confined
            && !self.account.has_ended()
            && let Some(group) = group.share()
        {
            let kept = Arc::into_raw(group).cast_mut();
            // Release: partner is the swap in `let_go`.
            if self.kept.compare_exchange(ptr::null_mut(), kept, Ordering::Release, Ordering::Relaxed).is_err() {
                // SAFETY: made by `into_raw`, and not stored.
                drop(unsafe { Arc::from_raw(kept) });
            }
        }
        if self.account.end() {
            self.account.ring();
        }
        ender::wake();
    }

    /// Its blocks are given back. The caller has a reference to the group.
    pub fn let_go(&self) {
        // Acquire: partner is the compare-and-swap in `end`.
        let kept = self.kept.swap(ptr::null_mut(), Ordering::Acquire);
        if !kept.is_null() {
            // SAFETY: made by `into_raw` in `end`, and taken once.
            drop(unsafe { Arc::from_raw(kept) });
        }
    }

    /// Whether it, or a group above it, was ended.
    pub fn is_over(&self) -> bool {
        self.account.chain().any(Account::has_ended)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.owned {
            // Nobody takes of it any more. What others have of it they give back when they like.
            self.account.retire();
            self.account.trim();
            // Who watches it goes.
            self.account.ring();
        }
    }
}

/// What a member was refused last: how many bytes, and by which account.
#[derive(Clone, Copy)]
pub(crate) struct Refusal {
    bytes: usize,
    by: *const Account,
}

/// The running thread was refused memory. Perhaps with interrupts masked.
pub(crate) fn note_refusal(bytes: usize, by: *const Account) {
    let Some(me) = control::current_ptr() else { return };
    // SAFETY: the running thread's block is alive, and this is its own.
    let thread = unsafe { me.as_ref() };
    if thread.has_extras() {
        thread.extras().refusal.set(Some(Refusal { bytes, by }));
    }
}

/// The one of `thread`'s groups that refused it so many bytes last, if one did.
///
/// # Safety
/// The caller holds the thread, and its group is not changed as long as the answer is used.
unsafe fn refused_by(thread: &Thread, bytes: Option<usize>) -> Option<(&Inner, &Memory)> {
    let refusal = thread.extras().refusal.get()?;
    // SAFETY: the caller's.
    let group = unsafe { thread.membership().group() }?;
    let owned = group.chain().filter_map(|level| Some((level, level.memory.as_ref().filter(|memory| memory.owned)?)));
    let same = bytes.is_none_or(|bytes| bytes == refusal.bytes);
    owned.filter(|_| same).find(|(_, memory)| ptr::eq(&raw const *memory.account, refusal.by))
}

/// The running thread dies because it was refused `bytes`: if that was by one of its groups, that is told and is at its end.
/// Interrupts are masked.
pub(crate) fn dies_of_refusal(me: ThreadPtr, bytes: usize) -> bool {
    // SAFETY: the running thread's block is alive, and interrupts are masked, so nobody moves it.
    let Some((group, memory)) = (unsafe { refused_by(me.as_ref(), Some(bytes)) }) else { return false };
    memory.end(group);
    true
}

/// The bytes that one of its groups refused the running thread last.
pub(crate) fn bytes_refused() -> Option<usize> {
    let me = current_ptr();
    irq::without(|| {
        // SAFETY: the running thread's block is alive, and interrupts are masked, so nobody moves it.
        let thread = unsafe { me.as_ref() };
        // SAFETY: as above.
        unsafe { refused_by(thread, None) }?;
        Some(thread.extras().refusal.get()?.bytes)
    })
}

/// Calls `f`; the memory that it takes is charged to no group, and stays when the group is ended. For what a member hands out:
/// results, messages for others, what goes into statics.
///
/// ```ignore
/// let report = group::outside(|| format!("{found} of {all}"));
/// ```
pub fn outside<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the running thread's block is alive.
    let Some(thread) = control::current_ptr().map(|me| unsafe { me.as_ref() }).filter(|me| me.has_extras()) else {
        return f();
    };
    let before = irq::without(|| {
        // SAFETY: none lives for ever.
        unsafe { account::set_current(ptr::null()) };
        thread.extras().is_outside.replace(true)
    });
    let result = f();
    irq::without(|| {
        thread.extras().is_outside.set(before);
        Worker::charge_to_its_group(thread);
    });
    result
}

impl Inner {
    /// The account that its threads' memory is charged to.
    #[inline]
    pub fn account(&self) -> *const Account {
        self.memory.as_ref().map_or(ptr::null(), |memory| Arc::as_ptr(&memory.account))
    }

    /// As [`account`](Self::account), counted; an error if the group was ended.
    pub fn open_account(&self) -> Result<Option<Arc<Account>>, GroupError> {
        match &self.memory {
            Some(memory) if memory.is_over() => Err(GroupError::Over),
            Some(memory) => Ok(Some(memory.account.clone())),
            None => Ok(None),
        }
    }

    /// A thread comes in.
    ///
    /// # Safety
    /// As for a roster's.
    pub unsafe fn joined_by(&self, thread: ThreadPtr) {
        if let Some(memory) = &self.memory {
            // SAFETY: the caller's.
            unsafe {
                thread.as_ref().extras().needs_farewell.set(true);
                memory.roster.join(thread);
            }
            if memory.is_over() {
                ender::wake();
            }
        }
    }

    /// A thread leaves.
    ///
    /// # Safety
    /// As for a roster's.
    pub unsafe fn left_by(&self, thread: ThreadPtr) {
        if let Some(memory) = &self.memory {
            // SAFETY: the caller's.
            let last = unsafe { memory.roster.leave(thread) };
            if last && memory.is_over() {
                ender::wake();
            }
        }
    }

    /// Whether it was ended by hand, and not because it was over its limit.
    pub fn was_ended_by_hand(&self) -> bool {
        let ended =
            |group: &&Self| group.memory.as_ref().is_some_and(|memory| memory.owned && memory.account.has_ended());
        let by_hand = |group: &Self| group.memory.as_ref().is_some_and(|memory| memory.by_hand.load(Ordering::Relaxed));
        self.chain().find(ended).is_some_and(by_hand)
    }
}

impl Group {
    /// What it has taken of the memory; `None` if neither it nor a group above has a limit on that.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryUse> {
        let memory = self.inner().memory.as_ref()?;
        let usage = memory.account.usage();
        Some(MemoryUse {
            used: usage.used,
            peak: usage.peak,
            limit: usage.limit,
            refused: usage.refused,
            members: memory.roster.members(),
            ended: memory.ended.load(Ordering::Relaxed),
            over: memory.is_over(),
        })
    }

    /// Gives it another limit on its memory, in bytes. What it has already it keeps, even if it is more.
    ///
    /// # Errors
    /// [`GroupError::MemoryLimit`] for less than [`SMALLEST_MEMORY_LIMIT`], [`GroupError::NoMemoryLimit`] if it was made without.
    pub fn set_memory_limit(&self, bytes: usize) -> Result<(), GroupError> {
        check(bytes)?;
        self.own_memory()?.account.set_limit(bytes);
        Ok(())
    }

    /// Ends it, and all groups below: their threads die by [`Death::Killed`](crate::thread::Death::Killed), a few at a time, and
    /// what they hold is given back as if it had been over its limit. It takes no thread and no memory from now on.
    ///
    /// Returns at once, before that; [`Group::memory`] tells how many are left.
    ///
    /// # Errors
    /// [`GroupError::NoMemoryLimit`] if it was made without.
    pub fn end(&self) -> Result<(), GroupError> {
        let memory = self.own_memory()?;
        if !memory.account.has_ended() {
            memory.by_hand.store(true, Ordering::Relaxed);
        }
        memory.end(self.inner());
        Ok(())
    }

    /// What it keeps for a limit of its own.
    pub(super) fn own_memory(&self) -> Result<&Memory, GroupError> {
        self.inner().memory.as_ref().filter(|memory| memory.owned).ok_or(GroupError::NoMemoryLimit)
    }
}

/// Whether a limit can be had.
pub(super) const fn check(bytes: usize) -> Result<(), GroupError> {
    if bytes < SMALLEST_MEMORY_LIMIT { Err(GroupError::MemoryLimit(bytes)) } else { Ok(()) }
}
