//! What a stack tells of itself, at its highest addresses, for who trims stacks.
//!
//! Stacks are never unmade, so whoever knows of one may look there at any time. Nearly all of them stay as they were made, with two
//! pages, and nobody has to do with their headers. One that grows is entered in a roll, for good, by the fault that it grows by; from
//! then on it says whose it is. So a thread on a stack that has not grown pays nothing for it.

use core::cell::Cell;
use core::ptr::NonNull;
#[cfg(isochron_hosted)]
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::{AtomicBool, Ordering};
use isochron_boot::VirtAddr;
use isochron_boot::layout::PAGE_SIZE;
use isochron_core::link::{Link, Linked};
#[cfg(isochron_hosted)]
use isochron_core::page_word::PageWord;
use isochron_core::roll::Roll;
use isochron_core::stack_owner::{Owner, StackOwner};

use super::{HEADER, backed_at_first};
use crate::irq;

/// All stacks that have ever grown.
static GROWN: Roll<Header> = Roll::new();

/// A stack's, at its top.
#[repr(C, align(16))]
pub(in crate::memory) struct Header {
    owner: StackOwner,
    link: Link<Self>,
    size: usize,
    /// It is in the roll. Changed by the one who runs on it.
    // Relaxed: what others see of it they see by the roll.
    has_grown: AtomicBool,
    /// It may be that its thread waits: see `trim`. For the one who trims.
    pub(super) is_in_doubt: Cell<bool>,
    /// What is to become of its lower part, in a process.
    #[cfg(isochron_hosted)]
    pub(super) word: PageWord,
    /// Where the part ends that the word is about.
    #[cfg(isochron_hosted)]
    pub(super) shut_to: AtomicUsize,
}

// What the pool keeps there comes after it.
const _: () = assert!(size_of::<Header>() + size_of::<super::pool::Link>() <= HEADER);

// SAFETY: atomics, what never changes, and a cell that one at a time uses.
unsafe impl Sync for Header {}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Header {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (the trait's contract), so the field's address is in bounds.
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

/// What is in use of a stack that somebody has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InUse {
    /// What is above this address: its thread waits.
    Above(usize),
    /// Perhaps the same. The thread may be about to wait; it does once every CPU has passed a barrier, or has gone on by then.
    PerhapsAbove(usize),
    /// All of it, for what is known.
    All,
}

/// Says what a thread, which is alive and named by its address, has in use of its stack.
///
/// # Safety
/// The thread is alive.
pub type Judge = unsafe fn(thread: usize) -> InUse;

/// Writes the header of a new stack of `size` bytes.
///
/// # Safety
/// `top` is its top, which is backed, and nobody uses it yet.
pub(super) unsafe fn write(top: usize, size: usize) {
    let header = Header {
        owner: StackOwner::new(),
        link: Link::new(),
        size,
        has_grown: AtomicBool::new(false),
        is_in_doubt: Cell::new(false),
        #[cfg(isochron_hosted)]
        word: PageWord::new(0),
        #[cfg(isochron_hosted)]
        shut_to: AtomicUsize::new(0),
    };
    // SAFETY: the caller's.
    unsafe { VirtAddr::new(top).as_mut_ptr::<Header>().write(header) }
}

/// # Safety
/// `top` is a stack's.
pub(super) unsafe fn at(top: usize) -> &'static Header {
    // SAFETY: it was written when the stack was made, and stays.
    unsafe { &*VirtAddr::new(top).as_mut_ptr::<Header>() }
}

/// All stacks that have grown.
pub(super) fn grown() -> impl Iterator<Item = &'static Header> {
    GROWN.iter()
}

/// Whether the stack with this top has ever grown: then who begins on it [says so](taken), and who ends on it [too](left).
///
/// # Safety
/// The caller has that stack.
#[inline]
#[must_use]
pub unsafe fn has_grown(top: usize) -> bool {
    // SAFETY: the caller's.
    unsafe { at(top) }.has_grown.load(Ordering::Relaxed)
}

/// The stack with this top, which has grown or has just, is `thread`'s: an address that a [`Judge`] knows.
///
/// # Safety
/// The thread has that stack, and stays alive until [`left`].
pub unsafe fn taken(top: usize, thread: usize) {
    // SAFETY: the caller's.
    let header = unsafe { at(top) };
    header.owner.take(thread);
    // By one step: a fault may do the same in the middle of it.
    if !header.has_grown.swap(true, Ordering::Relaxed) {
        // SAFETY: stacks stay for ever, and this is once.
        unsafe { GROWN.enter(NonNull::from(header)) };
    }
}

/// The stack with this top, which is [taken], is to stay as it is until it is left.
///
/// # Safety
/// The caller is the thread that has it.
pub unsafe fn kept(top: usize) {
    // SAFETY: the caller's.
    unsafe { at(top) }.owner.keep();
}

/// The thread that has [taken] the stack with this top has left it for good; or it `is_lost`: others have some of it, and nobody gets
/// it any more.
///
/// # Safety
/// That is so, and it has not been said before.
pub unsafe fn left(top: usize, is_lost: bool) {
    // SAFETY: the caller's.
    let owner = unsafe { &at(top).owner };
    if is_lost {
        owner.lose();
    } else {
        owner.leave();
    }
}

impl Header {
    fn end(&self) -> usize {
        core::ptr::from_ref(self).addr() + HEADER
    }

    /// The lowest address of the stack.
    pub(super) fn bottom(&self) -> usize {
        self.end() - self.size
    }

    /// Where that part ends that it can grow by.
    pub(super) fn first(&self) -> usize {
        self.end() - backed_at_first(self.size)
    }

    /// What is not in use, as `judge` has it: what is below that address, which is a page's; or, `Err`: perhaps that.
    /// `None`: nothing is known.
    ///
    /// Calls `f` with the answer, before the thread may be freed or can say that all is to [stay](kept).
    pub(super) fn look<R>(&self, judge: Judge, f: impl FnOnce(Option<Result<usize, usize>>) -> R) -> R {
        irq::without(|| match self.owner.look() {
            Owner::Nobody => f(Some(Ok(self.first()))),
            Owner::Kept => f(None),
            Owner::Of(thread) => {
                // SAFETY: the thread stays until it was looked at.
                let result = f(match unsafe { judge(thread) } {
                    InUse::Above(at) => self.limit(at).map(Ok),
                    InUse::PerhapsAbove(at) => self.limit(at).map(Err),
                    InUse::All => None,
                });
                self.owner.looked();
                result
            }
        })
    }

    /// What can go below a stack pointer: not the page below it, where the thread goes on.
    fn limit(&self, at: usize) -> Option<usize> {
        let is_inside = (self.bottom()..=self.end()).contains(&at);
        is_inside.then(|| ((at & !(PAGE_SIZE - 1)) - PAGE_SIZE).clamp(self.bottom(), self.first()))
    }
}
