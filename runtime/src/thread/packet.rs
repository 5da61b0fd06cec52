//! A thread's block together with what it runs.
//!
//! One allocation holds the block, the closure before the thread runs, and the result after it: in the heap, or, for a packed
//! thread, at the beginning of its slot.

use super::control::{LATE_STACK, Thread, ThreadPtr};
use super::packed;
use super::traits::Traits;
use crate::kernel;
use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use isochron_kernel::memory::packed::{self as slots, SlotSize};
use isochron_kernel::memory::{OutOfMemory, Stack};

/// What the block can do that depends on what it runs.
pub(super) struct Calls {
    pub run: unsafe fn(ThreadPtr),
    pub give_up: unsafe fn(ThreadPtr),
    pub free: unsafe fn(ThreadPtr),
    /// Of packed threads: the thread has died, and what was its body may hold anything.
    pub forget: unsafe fn(ThreadPtr),
}

/// The whole allocation; of a packed thread, with a red zone of so many words behind the block.
///
/// While the thread runs, nothing is in the body: the closure is on its stack, and the result not there yet. So a packed thread's
/// stack ends at the zone.
#[repr(C)]
struct Packet<F, T, const ZONE: usize> {
    thread: Thread,
    zone: [usize; ZONE],
    body: UnsafeCell<Body<F, T>>,
}

/// In the heap.
type Plain<F, T> = Packet<F, T, 0>;
/// In a slot.
type Packed<F, T> = Packet<F, T, { packed::WORDS }>;

enum Body<F, T> {
    Closure(F),
    Result(T),
    Taken,
}

impl<F, T, const ZONE: usize> Packet<F, T, ZONE>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    /// Each part is written where it stays: made whole elsewhere, the block would be copied.
    ///
    /// # Safety
    /// The memory is fresh, and large enough.
    #[inline(always)]
    unsafe fn fill(memory: NonNull<Self>, closure: F, traits: Traits, calls: &'static Calls, preempt_depth: u32) {
        let packet = memory.as_ptr();
        // SAFETY: the caller's promise.
        unsafe {
            (&raw mut (*packet).body).write(UnsafeCell::new(Body::Closure(closure)));
            (&raw mut (*packet).thread).write(Thread::new(traits, calls, preempt_depth));
        }
    }

    /// # Safety
    /// `thread` is the head of a packet of this very type, and this is its first and only run, on its own stack.
    unsafe fn run(thread: ThreadPtr) {
        // SAFETY: the caller's promise.
        let body = unsafe { &(*thread.cast::<Self>().as_ptr()).body };
        // SAFETY: until `complete`, the body is touched by the thread itself alone.
        let Body::Closure(closure) = (unsafe { body.get().replace(Body::Taken) }) else {
            unreachable!("a thread was started twice")
        };
        let result = closure();
        if ZONE != 0 {
            kernel::irq::without(|| packed::check(thread));
        }
        // Written over what is there: nothing, or what a packed thread's stack has left.
        // SAFETY: as above; the handle looks only after `complete`, or after it was the last to leave. A packed thread's stack
        // does not reach that far now: see `packed::LEAST_STACK`.
        unsafe { body.get().write(Body::Result(result)) };
        // SAFETY: the head of the packet is alive.
        if unsafe { thread.as_ref() }.leaves_last() {
            // Nobody will fetch it: its destructor runs here, where it may block.
            // SAFETY: the handle has left, so the body is the thread's alone again.
            drop(unsafe { body.get().replace(Body::Taken) });
        }
    }

    /// # Safety
    /// `thread` is the head of a packet of this very type, and never runs.
    unsafe fn give_up(thread: ThreadPtr) {
        // SAFETY: the head of the packet is alive.
        if unsafe { thread.as_ref() }.leaves_last() {
            // SAFETY: the caller's promise, and the handle has left: the body is the caller's alone. A handle that is there
            // drops the closure when it looks for the result.
            drop(unsafe { (*thread.cast::<Self>().as_ptr()).body.get().replace(Body::Taken) });
        }
    }

    /// # Safety
    /// `thread` is the head of a packet of this very type, of a thread that has died, and its stack does not reach to the body.
    unsafe fn forget(thread: ThreadPtr) {
        // SAFETY: the caller's promise; nobody else looks before the thread's completion.
        unsafe { (*thread.cast::<Self>().as_ptr()).body.get().write(Body::Taken) }
    }
}

impl<F, T> Plain<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const CALLS: Calls = Calls { run: Self::run, give_up: Self::give_up, free: Self::free, forget: Self::forget };

    /// # Safety
    /// `thread` is the head of a packet of this type that nobody refers to any more.
    unsafe fn free(thread: ThreadPtr) {
        // SAFETY: it was made by `Box::into_raw` of this type in `allocate`.
        drop(unsafe { Box::from_raw(thread.cast::<Self>().as_ptr()) });
    }
}

impl<F, T> Packed<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    const IN_1_KIB: Calls = Self::calls::<1024>();
    const IN_2_KIB: Calls = Self::calls::<2048>();

    const fn calls<const SLOT: usize>() -> Calls {
        const { assert!(core::mem::offset_of!(Self, zone) == packed::ZONE_OFFSET) };
        Calls { run: Self::run, give_up: Self::give_up, free: Self::free_slot::<SLOT>, forget: Self::forget }
    }

    /// # Safety
    /// `thread` is the head of a packet of this type, in a slot of so many bytes, that nobody refers to any more.
    unsafe fn free_slot<const SLOT: usize>(thread: ThreadPtr) {
        const { assert!(SlotSize::of(SLOT).is_some()) };
        let Some(slot) = SlotSize::of(SLOT) else { return };
        // SAFETY: it was made in such a slot by `allocate_packed`; nobody uses it any more.
        unsafe {
            thread.cast::<Self>().drop_in_place();
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
    // SAFETY: a packet is not zero-sized.
    let Some(memory) = NonNull::new(unsafe { alloc::alloc::alloc(layout) }.cast::<Plain<F, T>>()) else {
        return Err(OutOfMemory);
    };
    // SAFETY: fresh memory of the right size and alignment.
    unsafe { Packet::fill(memory, closure, traits, &Plain::<F, T>::CALLS, 0) };
    if let Some(stack) = stack {
        // SAFETY: just filled, and nobody else knows it.
        unsafe { memory.as_ref() }.thread.set_stack(stack);
    }
    Ok(memory.cast())
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
        Packet::fill(memory, closure, traits, calls, packed::PACKED);
        packed::paint(memory.cast());
    }
    Ok(memory.cast())
}

/// How a join handle gets at a result of type `T` whose closure's type it has forgotten.
pub(super) struct BodyAccess<T> {
    pub take: unsafe fn(ThreadPtr) -> Option<T>,
}

impl<T> Clone for BodyAccess<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for BodyAccess<T> {}

impl<T> BodyAccess<T> {
    /// For threads that [`allocate`] made from a closure of type `F`.
    pub fn of<F>() -> Self {
        Self { take: take::<F, T, 0> }
    }

    /// For threads that [`allocate_packed`] made from a closure of type `F`.
    pub fn of_packed<F>() -> Self {
        if cfg!(isochron_sim) { Self::of::<F>() } else { Self { take: take::<F, T, { packed::WORDS }> } }
    }
}

/// # Safety
/// The thread is of a packet of this very type, is done with its body, and nobody else takes the result.
unsafe fn take<F, T, const ZONE: usize>(thread: ThreadPtr) -> Option<T> {
    // SAFETY: the caller's promise.
    let body = unsafe { (*thread.cast::<Packet<F, T, ZONE>>().as_ptr()).body.get() };
    // SAFETY: as above.
    match unsafe { ptr::replace(body, Body::Taken) } {
        Body::Result(result) => Some(result),
        Body::Closure(_) | Body::Taken => None,
    }
}
