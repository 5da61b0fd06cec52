//! Accounts, one above the other, and the heap's way to them.

use super::arena::{self, Arena, Supply};
use super::ledger::{Ledger, Reached, Refused, Usage};
use crate::irq::{self, IrqLock};
use crate::memory::heap::central::Backing;
use crate::memory::heap::classes::class_of;
use crate::memory::heap::extents::{Extents, GRAIN};
use crate::memory::heap::window::Window;
use crate::memory::{OutOfMemory, this_cpu_if_set};
use crate::{hooks, lock_rank};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU8, Ordering};
use isochron_boot::layout::{CHARGED_BASE, CHARGED_SIZE};

/// The memory of all arenas.
static WINDOW: IrqLock<Extents<Window>> =
    IrqLock::new(lock_rank::HEAP, Extents::new(Window::new(CHARGED_BASE, CHARGED_SIZE)));

/// Bytes of that memory: in use, and taken from the machine.
pub(crate) fn charged_stats() -> (usize, usize) {
    let window = WINDOW.lock();
    (window.used(), window.capacity())
}

/// What a group of threads has taken, and how much it may.
///
/// It lives as long as somebody holds it or a block of its arena is in use.
pub struct Account {
    itself: Weak<Self>,
    parent: Option<Arc<Self>>,
    ledger: IrqLock<Ledger>,
    arena: IrqLock<Arena<Charged>>,
    /// Told when a level is reached, of this account or one below.
    bell: spin::Once<Box<dyn Fn() + Send + Sync>>,
    /// [`ENDED`], [`RETIRED`].
    end: AtomicU8,
}

/// In [`Account::end`]: it was ended.
const ENDED: u8 = 1;
/// The same: nobody runs on it any more.
const RETIRED: u8 = 2;

/// An arena's way to its account's limit, and to its memory.
struct Charged {
    account: *const Account,
    /// The account itself, while there are pieces.
    keep: Option<Arc<Account>>,
    /// A level was reached, and nobody was told.
    reached: bool,
    /// Who had no room, of the last request.
    refused_by: *const Account,
}

// SAFETY: the pointers are to accounts, which are shared by themselves.
unsafe impl Send for Charged {}

impl Charged {
    fn bytes(layout: Layout) -> usize {
        layout.size().next_multiple_of(GRAIN)
    }

    fn account(&self) -> &Account {
        // SAFETY: the arena is a part of its account.
        unsafe { &*self.account }
    }
}

impl Supply for Charged {
    type Owner = Account;

    fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        match self.account().add(Self::bytes(layout)) {
            Ok(reached) => self.reached |= reached,
            Err(by) => {
                self.refused_by = ptr::from_ref(by);
                return None;
            }
        }
        let memory = WINDOW.lock().allocate(layout);
        if memory.is_none() {
            self.account().take_off(Self::bytes(layout));
        } else if self.keep.is_none() {
            self.keep = self.account().itself.upgrade();
        }
        memory
    }

    unsafe fn give(&mut self, memory: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { WINDOW.lock().deallocate(memory, layout) };
        self.account().take_off(Self::bytes(layout));
    }

    fn owner(&self) -> *const Account {
        self.account
    }
}

impl Account {
    /// An account with a limit, in bytes, that counts towards `parent`'s too.
    #[must_use]
    pub fn new(parent: Option<Arc<Self>>, limit: usize) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            parent,
            ledger: IrqLock::new(lock_rank::LEDGER, Ledger::new(limit)),
            arena: IrqLock::new(
                lock_rank::ARENA,
                Arena::new(Charged { account: itself.as_ptr(), keep: None, reached: false, refused_by: ptr::null() }),
            ),
            bell: spin::Once::new(),
            end: AtomicU8::new(0),
        })
    }

    /// The account and those above it.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        core::iter::successors(Some(self), |account| account.parent.as_deref())
    }

    /// How things stand.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.ledger.lock().usage()
    }

    /// Sets the limit. What is charged already stays.
    pub fn set_limit(&self, limit: usize) {
        let reached = self.ledger.lock().set_limit(limit);
        if reached {
            self.ring();
        }
    }

    /// From now on `bell` is called when usage reaches one of these levels, in per cent of the limit: by whoever has taken the
    /// memory, so it must be short, must not block or take memory, and works with interrupts masked. False: there is one already.
    pub fn watch(&self, percents: &[u8], bell: Box<dyn Fn() + Send + Sync>) -> bool {
        if self.bell.is_completed() {
            return false;
        }
        self.bell.call_once(|| bell);
        let reached = self.ledger.lock().set_levels(percents);
        if reached {
            self.ring();
        }
        true
    }

    /// The highest level that was reached since this was last asked.
    pub fn take_reached(&self) -> Option<Reached> {
        self.ledger.lock().take_reached()
    }

    /// Calls the bells of this account and of those above.
    pub fn ring(&self) {
        self.chain().filter_map(|level| level.bell.get()).for_each(|bell| bell());
    }

    /// From now on nothing is charged to it any more. False: it was so before.
    pub fn end(&self) -> bool {
        // Relaxed, here and below: flags; who goes on for a moment is charged as before.
        self.end.fetch_or(ENDED, Ordering::Relaxed) == 0
    }

    /// As [`end`](Self::end), because nobody runs on it any more.
    pub fn retire(&self) {
        self.end.fetch_or(RETIRED, Ordering::Relaxed);
    }

    /// Whether nothing is charged to it any more, whatever holds for those above it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end.load(Ordering::Relaxed) != 0
    }

    /// Whether [`end`](Self::end) was called.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        self.end.load(Ordering::Relaxed) & ENDED != 0
    }

    /// Charges `bytes` to it and to all above it.
    ///
    /// # Errors
    /// [`OutOfMemory`]: one of them has no room, and nothing is charged.
    pub fn charge(&self, bytes: usize) -> Result<Charge, OutOfMemory> {
        let account = self.itself.upgrade().ok_or(OutOfMemory)?;
        let reached = self.add(bytes).map_err(|by| {
            refused(bytes, by);
            OutOfMemory
        })?;
        if reached {
            self.ring();
        }
        Ok(Charge { account, bytes: Cell::new(bytes) })
    }

    /// Whether a level was reached; or who has no room.
    fn add(&self, bytes: usize) -> Result<bool, &Self> {
        let mut reached = false;
        for (depth, level) in self.chain().enumerate() {
            let result = if level.has_ended() { Err(Refused) } else { level.ledger.lock().charge(bytes) };
            match result {
                Ok(new) => reached |= new,
                Err(Refused) => {
                    self.chain().take(depth).for_each(|below| below.ledger.lock().discharge(bytes));
                    return Err(level);
                }
            }
        }
        Ok(reached)
    }

    fn take_off(&self, bytes: usize) {
        self.chain().for_each(|level| level.ledger.lock().discharge(bytes));
    }

    /// For the thread that runs on this account here; interrupts are masked.
    pub(crate) fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut arena = self.arena.lock();
        let block = match (self.chain().find(|level| level.has_ended()), class_of(layout)) {
            (Some(ended), _) => {
                arena.supply_mut().refused_by = ptr::from_ref(ended);
                None
            }
            (None, Some(class)) => arena.take_small(class),
            (None, None) => arena.take_large(layout),
        };
        let supply = arena.supply_mut();
        let reached = core::mem::take(&mut supply.reached);
        let by = core::mem::replace(&mut supply.refused_by, ptr::null());
        let let_go = let_go(&mut arena);
        drop(arena);
        if reached {
            self.ring();
        }
        if block.is_none() {
            // SAFETY: null, or this account or one above it.
            if let Some(by) = unsafe { by.as_ref() } {
                refused(layout.size(), by);
            }
        }
        // Another keeps it: the group of the thread that runs on it.
        drop(let_go);
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Gives back the memory that it has for blocks yet to come.
    pub fn trim(&self) {
        let let_go = {
            let mut arena = self.arena.lock();
            arena.trim();
            let_go(&mut arena)
        };
        drop(let_go);
    }

    /// Gives back up to `most` pieces of its memory, each with the blocks in it, whoever has them. How many are left.
    ///
    /// # Safety
    /// It [has ended](Self::end), and nobody uses a block any more that was taken while it was current, nor gives one back.
    pub unsafe fn abandon(&self, most: usize) -> usize {
        let mut arena = self.arena.lock();
        // SAFETY: the caller's.
        let left = unsafe { arena.abandon(most) };
        let let_go = let_go(&mut arena);
        drop(arena);
        // The caller's reference is another.
        drop(let_go);
        left
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}

/// The arena's own reference to its account, if it needs that no more: to be dropped when the lock is open.
fn let_go(arena: &mut Arena<Charged>) -> Option<Arc<Account>> {
    if arena.pieces() == 0 { arena.supply_mut().keep.take() } else { None }
}

/// Tells the runtime that the running thread was refused.
#[cold]
fn refused(bytes: usize, by: &Account) {
    hooks::isochron_memory_refused(bytes, ptr::from_ref(by));
}

/// Takes back a block of an arena.
///
/// # Safety
/// The block is charged, came from the heap with this layout, and nobody uses it.
#[cold]
#[inline(never)]
pub(crate) unsafe fn free(block: *mut u8, layout: Layout) {
    let Some(block) = NonNull::new(block) else { return };
    let class = class_of(layout);
    // SAFETY: the caller's: the block is an arena's, whose account lives as long as it has pieces.
    let let_go = unsafe {
        let account = &*arena::owner_of::<Account>(block, class.is_some());
        let mut arena = account.arena.lock();
        match class {
            Some(class) => arena.give_small(class, block),
            None => arena.give_large(block),
        }
        let_go(&mut arena)
    };
    // Not before: the account may go with it.
    drop(let_go);
}

/// Bytes that are charged until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    bytes: Cell<usize>,
}

impl Charge {
    /// How many they are.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Gives a part of it back now.
    ///
    /// # Panics
    /// If it is not as much.
    pub fn give_back(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().checked_sub(bytes).expect("more is given back than was charged"));
        self.account.take_off(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.take_off(self.bytes.get());
    }
}

/// The account that what runs on this CPU is charged to. Interrupts are masked.
#[inline(always)]
pub fn current() -> *const Account {
    this_cpu_if_set().map_or(ptr::null(), |cpu| cpu.account.get())
}

/// Sets the account that what runs on this CPU from now on is charged to; null for none. Interrupts are masked.
///
/// # Safety
/// The account lives until another is set here.
#[inline(always)]
pub unsafe fn set_current(account: *const Account) {
    if let Some(cpu) = this_cpu_if_set() {
        cpu.account.set(account);
    }
}

/// Calls `f`, which takes memory that is charged to nobody. Interrupts are masked, and stay so.
pub fn suspended<R>(f: impl FnOnce() -> R) -> R {
    debug_assert!(irq::are_masked());
    let account = current();
    // SAFETY: none lives always; the other was set here before, by whoever sees to it that it lives.
    unsafe { set_current(ptr::null()) };
    let result = f();
    // SAFETY: as above.
    unsafe { set_current(account) };
    result
}
