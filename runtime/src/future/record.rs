//! The memory of one task: what does not depend on its future, the future before its end, and the result after it.

use super::executor;
use crate::thread::Death;
use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::future::Future;
use core::pin::Pin;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering};
use core::task::{Context, Poll, Waker};
use isochron_core::link::{Link, Linked};
use isochron_core::task_state::{Release, TaskState};
use isochron_kernel::memory::{OutOfMemory, heap};

/// What queues hold.
pub(super) type RecordPtr = NonNull<Record>;

/// The part of a task that does not depend on its future.
#[repr(C)]
pub(super) struct Record {
    pub state: TaskState<Waker>,
    /// For the one queue that it may be in.
    link: Link<Self>,
    calls: &'static Calls,
    /// Whose executor polled it last.
    home: AtomicU16,
    /// Why it ended without a result, if it did. Written before it is done, read after.
    death: Cell<Option<Death>>,
}

// SAFETY: the link is a field, found without making a reference to the whole.
unsafe impl Linked for Record {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (the trait's contract), so the field's address is in bounds.
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

// SAFETY: `death` is written by whoever ends the task and read by its handle when it is done; the rest may be shared.
unsafe impl Sync for Record {}
// SAFETY: as above; future and result behind it are `Send`, by the bounds of `allocate`.
unsafe impl Send for Record {}

/// What the task can do that depends on its future.
struct Calls {
    poll: unsafe fn(RecordPtr, &mut Context<'_>) -> Poll<()>,
    clear: unsafe fn(RecordPtr),
    take: unsafe fn(RecordPtr, *mut ()),
    free: unsafe fn(RecordPtr),
}

/// The whole allocation.
#[repr(C)]
struct Packet<F: Future> {
    record: Record,
    body: UnsafeCell<Body<F, F::Output>>,
}

enum Body<F, T> {
    Future(F),
    Result(T),
    Gone,
}

impl<F: Future> Packet<F> {
    const CALLS: Calls = Calls { poll: Self::poll, clear: Self::clear, take: Self::take, free: Self::free };

    /// # Safety
    /// `task` is the head of a packet of this type.
    unsafe fn body(task: RecordPtr) -> *mut Body<F, F::Output> {
        // SAFETY: the field's address, without a reference to the whole (caller).
        unsafe { UnsafeCell::raw_get(&raw const (*task.cast::<Self>().as_ptr()).body) }
    }

    /// # Safety
    /// As for `body`, and the body is the caller's alone.
    unsafe fn poll(task: RecordPtr, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the caller's promise.
        let body = unsafe { &mut *Self::body(task) };
        let Body::Future(future) = body else { unreachable!("a task is polled after its end") };
        // SAFETY: the future stays where it is until it is dropped there.
        match unsafe { Pin::new_unchecked(future) }.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                *body = Body::Result(result);
                Poll::Ready(())
            }
        }
    }

    /// # Safety
    /// As for `poll`.
    unsafe fn clear(task: RecordPtr) {
        // SAFETY: the caller's promise. A future is dropped where it is.
        unsafe { *Self::body(task) = Body::Gone };
    }

    /// # Safety
    /// As for `poll`; `out` is that of an `Option<F::Output>`.
    unsafe fn take(task: RecordPtr, out: *mut ()) {
        // SAFETY: the caller's promise; it is no future any more, which must not move.
        unsafe {
            if let Body::Result(result) = core::mem::replace(&mut *Self::body(task), Body::Gone) {
                *out.cast::<Option<F::Output>>() = Some(result);
            }
        }
    }

    /// # Safety
    /// As for `body`, and nobody refers to the task any more.
    unsafe fn free(task: RecordPtr) {
        // SAFETY: it was made by `allocate`, with the layout of a box.
        drop(unsafe { Box::from_raw(task.cast::<Self>().as_ptr()) });
    }
}

/// Makes a task: with two references, one for the queue that the caller puts it into, and one for its handle.
pub(super) fn allocate<F>(future: F, home: usize) -> Result<RecordPtr, OutOfMemory>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let layout = Layout::new::<Packet<F>>();
    let Some(memory) = NonNull::new(heap::alloc_uncharged(layout).cast::<Packet<F>>()) else {
        return Err(OutOfMemory);
    };
    // SAFETY: fresh memory of the right size and alignment.
    unsafe {
        memory.write(Packet {
            record: Record {
                state: TaskState::new(),
                link: Link::new(),
                calls: &Packet::<F>::CALLS,
                home: AtomicU16::new(home as u16),
                death: Cell::new(None),
            },
            body: UnsafeCell::new(Body::Future(future)),
        });
    }
    Ok(memory.cast())
}

impl Record {
    /// # Safety
    /// The caller has begun to poll the task, and nobody else has it.
    pub unsafe fn poll(task: RecordPtr, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `calls` belongs to the packet's true type; the rest is the caller's promise.
        unsafe { (task.as_ref().calls.poll)(task, context) }
    }

    /// Drops the future or the result.
    ///
    /// # Safety
    /// As for `poll`, or the task is done and its result the caller's.
    pub unsafe fn clear(task: RecordPtr) {
        // SAFETY: as above.
        unsafe { (task.as_ref().calls.clear)(task) }
    }

    /// The result, or why there is none.
    ///
    /// # Safety
    /// The task is done, and this is its handle, which takes the result once; `T` is its type.
    pub unsafe fn take<T>(task: RecordPtr) -> Result<T, Death> {
        // SAFETY: alive by the handle's reference; nobody writes it any more.
        if let Some(death) = unsafe { task.as_ref() }.death.get() {
            return Err(death);
        }
        let mut result: Option<T> = None;
        // SAFETY: the caller's promise.
        unsafe { (task.as_ref().calls.take)(task, (&raw mut result).cast()) };
        match result {
            Some(result) => Ok(result),
            None => unreachable!("the result of a task is taken twice"),
        }
    }

    /// Says why it ends without a result.
    ///
    /// # Safety
    /// The caller is about to complete it.
    pub unsafe fn set_death(&self, death: Death) {
        self.death.set(Some(death));
    }

    /// Whether it ended without a result. When it is done.
    pub fn has_died(&self) -> bool {
        self.death.get().is_some()
    }

    /// Whose executor polled it last.
    pub fn home(&self) -> usize {
        usize::from(self.home.load(Ordering::Relaxed))
    }

    /// Notes whose executor polls it.
    pub fn set_home(&self, home: usize) {
        self.home.store(home as u16, Ordering::Relaxed);
    }

    /// Gives back one reference.
    ///
    /// # Safety
    /// It is the caller's, who does not use the task any more.
    pub unsafe fn release(task: RecordPtr) {
        // SAFETY: alive until the reference is given back.
        match unsafe { task.as_ref() }.state.release() {
            Release::Nothing => {}
            // SAFETY: that was the last reference, and its future is gone.
            Release::Free => unsafe { (task.as_ref().calls.free)(task) },
            // SAFETY: the state says that it is to be queued.
            Release::Enqueue => unsafe { executor::push(task) },
        }
    }
}
