//! A thread's block with what it runs.
//!
//! One allocation holds the block, the closure before the thread runs, and the result after it: in the heap, or, for a packed
//! thread, at the beginning of its slot.

use super::Death;
use super::control::{Thread, ThreadPtr, ThreadRef};
use super::extras::Extras;
use super::packed;
use super::traits::Traits;
use crate::kernel;
use alloc::alloc::Layout;
use core::cell::UnsafeCell;
use core::hint::black_box;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, compiler_fence};
use isochron_kernel::memory::packed::{self as slots, SlotSize};
use isochron_kernel::memory::{OutOfMemory, Stack, heap};

/// Stacks up to this size are taken when their threads first run: so a million threads that wait for their first turn have
/// none. Larger ones are taken at once, so that whoever makes the thread is told if there is no memory.
const LATE_STACK: usize = 64 * 1024;

/// In the low bits of [`Thread::holds`]: the closure, which has not begun.
pub(super) const CLOSURE: u8 = 0;
/// The same: the result.
pub(super) const RESULT: u8 = 1;
/// The same: nothing.
pub(super) const NOTHING: u8 = 2;
/// The bits that say so. Above them, the number of a [`Death`]: why there is no result.
pub(super) const WHAT: u8 = 3;
/// Where that number begins.
pub(super) const DEATH_SHIFT: u32 = 2;

/// What the block can do that depends on what it runs.
pub(super) struct Calls {
    pub run: unsafe fn(ThreadPtr),
    /// Drops the closure or the result, whichever is there.
    pub empty: unsafe fn(ThreadPtr),
    pub free: unsafe fn(ThreadPtr),
    /// Whether dropping a result does anything.
    pub result_drops: bool,
    /// Where the body is, in bytes from the block's beginning.
    body: usize,
}

/// The whole allocation; of a packed thread, with a red zone of so many words behind the block. Aligned to cache lines; the low
/// bits of its address are free for marks.
///
/// While the thread runs, nothing is in the body: the closure is on its stack, and the result not there yet. So a packed thread's
/// stack ends at the zone.
#[repr(C, align(64))]
struct Packet<F, T, const ZONE: usize> {
    thread: ManuallyDrop<Thread>,
    zone: [usize; ZONE],
    body: UnsafeCell<Body<F, T>>,
}

/// In the heap.
type Plain<F, T> = Packet<F, T, 0>;
/// In a slot.
type Packed<F, T> = Packet<F, T, { packed::WORDS }>;

/// What is in it, [`Thread::holds`] tells.
union Body<F, T> {
    closure: ManuallyDrop<F>,
    result: ManuallyDrop<T>,
}

impl<F, T, const ZONE: usize> Packet<F, T, ZONE>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const fn calls(free: unsafe fn(ThreadPtr)) -> Calls {
        Calls {
            run: Self::run,
            empty: Self::empty,
            free,
            result_drops: core::mem::needs_drop::<T>(),
            body: core::mem::offset_of!(Self, body),
        }
    }

    /// Each part is written where it stays: made whole elsewhere, the block would be copied.
    ///
    /// # Safety
    /// The memory is fresh, and large enough.
    #[inline(always)]
    unsafe fn fill(memory: NonNull<Self>, closure: F, traits: Traits, calls: &'static Calls) {
        let packet = memory.as_ptr();
        // SAFETY: the caller's promise.
        unsafe {
            if ZONE == 0 {
                (&raw mut (*packet).body).cast::<F>().write(closure);
                (&raw mut (*packet).thread).cast::<Thread>().write(Thread::new(traits, calls));
            } else {
                (&raw mut (*packet).thread).cast::<Thread>().write(Thread::new(traits, calls));
                // Partner: the look of who folds the page, at what this CPU had written when it forgot the page (`folding.rs`). As
                // soon as there is a body to be kept, it finds a thread that has not begun.
                compiler_fence(Ordering::Release);
                (&raw mut (*packet).body).cast::<F>().write(closure);
            }
        }
    }

    /// # Safety
    /// `thread` is the head of a packet of this very type, and this is its first and only run, on its own stack.
    unsafe fn run(thread: ThreadPtr) {
        // SAFETY: the caller's promise.
        let (body, holds) = unsafe { ((*thread.cast::<Self>().as_ptr()).body.get(), &thread.as_ref().holds) };
        assert!(
            holds.replace(NOTHING | Death::PANICKED << DEATH_SHIFT) & WHAT == CLOSURE,
            "a thread was started twice"
        );
        // SAFETY: until it completes, the body is touched by the thread itself alone, and it held the closure until now.
        let mut closure = unsafe { ManuallyDrop::take(&mut (*body).closure) };
        if ZONE != 0 {
            // Off the body now, and not bit by bit: the stack may come to reach over it.
            closure = black_box(closure);
        }
        let result = closure();
        if ZONE != 0 {
            kernel::irq::without(|| packed::check(thread));
        }
        // SAFETY: as above, and it holds nothing. A packed thread's stack does not reach that far now: see `packed::LEAST_STACK`.
        unsafe { (&raw mut (*body).result).write(ManuallyDrop::new(result)) };
        holds.set(RESULT);
    }

    /// # Safety
    /// `thread` is the head of a packet of this very type, and its body is the caller's alone.
    unsafe fn empty(thread: ThreadPtr) {
        // SAFETY: the caller's promise.
        let (body, holds) = unsafe { ((*thread.cast::<Self>().as_ptr()).body.get(), &thread.as_ref().holds) };
        // Noted first: the destructor may panic, or its thread be killed.
        let held = holds.replace(holds.get() & !WHAT | NOTHING) & WHAT;
        // SAFETY: it holds what was noted, and is the caller's.
        unsafe {
            match held {
                // Not in its place: a packed thread's stack may come to reach over it.
                CLOSURE => drop(black_box(ManuallyDrop::take(&mut (*body).closure))),
                RESULT => drop(black_box(ManuallyDrop::take(&mut (*body).result))),
                _ => {}
            }
        }
    }
}

impl<F, T> Plain<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const CALLS: Calls = Self::calls(Self::free);

    /// # Safety
    /// `thread` is the head of a packet of this type that nobody refers to any more, and its body is empty.
    unsafe fn free(thread: ThreadPtr) {
        // SAFETY: nobody refers to it.
        if !Extras::is_nothing(unsafe { thread.as_ref() }.extras.load(Ordering::Relaxed)) {
            // In a function of its own, so that this one needs no frame.
            // SAFETY: the caller's.
            return unsafe { Self::free_with_extras(thread) };
        }
        // SAFETY: it was allocated so in `allocate`. What is left in it has nothing to be dropped.
        unsafe { heap::free_uncharged(thread.as_ptr().cast(), Layout::new::<Self>()) };
    }

    /// # Safety
    /// As for `free`; it has some.
    #[cold]
    #[inline(never)]
    unsafe fn free_with_extras(thread: ThreadPtr) {
        // SAFETY: the caller's, as in `free`.
        unsafe {
            Extras::free(thread.as_ref().extras.load(Ordering::Relaxed));
            heap::free_uncharged(thread.as_ptr().cast(), Layout::new::<Self>());
        }
    }
}

impl<F, T> Packed<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const IN_1_KIB: Calls = Self::calls_in::<{ SlotSize::Kib1.bytes() }>();
    const IN_2_KIB: Calls = Self::calls_in::<{ SlotSize::Kib2.bytes() }>();

    const fn calls_in<const SLOT: usize>() -> Calls {
        const { assert!(core::mem::offset_of!(Self, zone) == packed::ZONE_OFFSET) };
        Self::calls(Self::free_slot::<SLOT>)
    }

    /// # Safety
    /// `thread` is the head of a packet of this type, in a slot of so many bytes, that nobody refers to any more.
    unsafe fn free_slot<const SLOT: usize>(thread: ThreadPtr) {
        const { assert!(SlotSize::of(SLOT).is_some()) };
        let Some(slot) = SlotSize::of(SLOT) else { return };
        // SAFETY: it was made in such a slot by `allocate_packed`; nobody uses it any more, and its body is empty.
        unsafe {
            Extras::free(thread.as_ref().extras.load(Ordering::Relaxed));
            slots::give(slot, thread.cast());
        }
    }
}

/// Makes a thread that will run `closure`: with two references, the thread's own and the caller's.
#[inline]
pub(crate) fn allocate<F, T>(closure: F, traits: Traits) -> Result<ThreadPtr, OutOfMemory>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let stack_size = traits.stack_size;
    let stack = if stack_size > LATE_STACK { Some(Stack::new(stack_size)?) } else { None };
    let layout = Layout::new::<Plain<F, T>>();
    // Whoever makes it, it is charged to the group that the thread is in: see `Builder::charge`.
    let Some(memory) = NonNull::new(heap::alloc_uncharged(layout).cast::<Plain<F, T>>()) else {
        return Err(OutOfMemory);
    };
    // SAFETY: fresh memory of the right size and alignment.
    unsafe { Packet::fill(memory, closure, traits, &Plain::<F, T>::CALLS) };
    if let Some(stack) = stack {
        // SAFETY: just filled, and nobody else knows it.
        unsafe { memory.as_ref() }.thread.set_stack(stack);
    }
    // SAFETY: just made.
    #[cfg(feature = "listed")]
    unsafe {
        super::listed::add(memory.cast());
    }
    Ok(memory.cast())
}

/// Bytes that [`allocate`] takes for a thread beside its stack.
pub(super) const fn block_size<F, T>() -> usize {
    size_of::<Plain<F, T>>()
}

/// Whether a slot has room for a thread that runs a closure of type `F`.
pub(super) const fn fits<F, T>(slot: SlotSize) -> bool
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let body_end = core::mem::offset_of!(Packed<F, T>, body) + size_of::<Body<F, T>>();
    align_of::<Packed<F, T>>() <= 1024 && body_end + packed::LEAST_STACK <= slot.bytes()
}

/// As [`allocate`], in a slot, which [fits]; the stack's size is the slot's.
#[inline]
pub(super) fn allocate_packed<F, T>(closure: F, traits: Traits, slot: SlotSize) -> Result<ThreadPtr, OutOfMemory>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let memory = slots::take(slot)?.cast::<Packed<F, T>>();
    let calls = match slot {
        SlotSize::Kib1 => &Packed::<F, T>::IN_1_KIB,
        SlotSize::Kib2 => &Packed::<F, T>::IN_2_KIB,
    };
    // SAFETY: a fresh slot, larger than a packet, and aligned to 1024.
    unsafe {
        Packet::fill(memory, closure, traits, calls);
        packed::paint(memory.cast());
        #[cfg(feature = "listed")]
        super::listed::add(memory.cast());
    }
    Ok(memory.cast())
}

#[cfg(not(any(feature = "trace", feature = "listed")))]
const _: () = assert!(size_of::<Plain<[u64; 3], [u64; 3]>>() == 128, "a thread with a small closure is two lines");

/// The one reference that may fetch the result, of type `T`.
pub(crate) struct Fetch<T> {
    thread: ManuallyDrop<ThreadRef>,
    result: PhantomData<fn() -> T>,
}

impl<T> Fetch<T> {
    /// Takes over the reference that `allocate` counted for the caller.
    ///
    /// # Safety
    /// There is one, and the thread's closure returns a `T`.
    pub unsafe fn new(thread: ThreadPtr) -> Self {
        // SAFETY: the caller's promise.
        Self { thread: ManuallyDrop::new(unsafe { ThreadRef::from_counted(thread) }), result: PhantomData }
    }

    /// The thread.
    #[inline(always)]
    pub fn thread(&self) -> &ThreadRef {
        &self.thread
    }

    /// The result, or why there is none.
    ///
    /// # Safety
    /// The thread's completion is done.
    #[inline]
    pub unsafe fn take(self) -> Result<T, Death> {
        let mut this = ManuallyDrop::new(self);
        let thread = this.thread.as_ptr();
        let holds = this.thread.holds.get();
        let found = if holds & WHAT == RESULT {
            // SAFETY: the offset is that of the packet's body, in which there is a `T`; the thread is done with it, and this
            // handle, which is consumed, is the only one.
            Some(unsafe { thread.byte_add(this.thread.calls.body).cast::<T>().read() })
        } else {
            None
        };
        // SAFETY: `self` is not dropped, and this is the one time.
        let thread = unsafe { ManuallyDrop::take(&mut this.thread) };
        found.ok_or_else(|| no_result(thread, holds))
    }
}

/// Why there is no result, and drops a closure that was never run.
#[cold]
#[inline(never)]
fn no_result(thread: ThreadRef, holds: u8) -> Death {
    if holds & WHAT == CLOSURE {
        // SAFETY: the thread has never run and is at its end, and its one handle is the caller.
        unsafe { Thread::empty(thread.as_ptr()) };
    }
    Death::numbered(holds >> DEATH_SHIFT)
}

impl<T> Drop for Fetch<T> {
    #[inline]
    fn drop(&mut self) {
        if self.thread.completion.abandon() {
            // SAFETY: the thread is at its end, and this is its one handle.
            unsafe { Thread::empty(self.thread.as_ptr()) };
        }
        // SAFETY: once, and it is not used after this.
        unsafe { ManuallyDrop::drop(&mut self.thread) }
    }
}
