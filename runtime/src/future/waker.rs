//! What wakes a task: one counted reference, and the queue of the CPU where it was polled last.

use super::executor;
use super::record::{Record, RecordPtr};
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::task::{Context, RawWaker, RawWakerVTable, Waker};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// A waker of a task that is being polled, without a reference of its own: it must not outlive the poll.
///
/// # Safety
/// The task is alive as long as the waker.
pub(super) unsafe fn borrowed(task: RecordPtr) -> ManuallyDrop<Waker> {
    // SAFETY: the functions of the table take the address of a task; see them for the rest of the contract.
    ManuallyDrop::new(unsafe { Waker::new(task.as_ptr().cast_const().cast(), &VTABLE) })
}

/// Whether it is that very task that `context` polls.
pub(super) fn is_polling(context: &Context<'_>, task: RecordPtr) -> bool {
    let waker = context.waker();
    core::ptr::eq(waker.vtable(), &VTABLE) && waker.data() == task.as_ptr().cast_const().cast()
}

/// # Safety
/// `data` is that of a waker of ours: the address of a task that is alive, and so for the following.
unsafe fn task_of(data: *const ()) -> RecordPtr {
    // SAFETY: it was a `NonNull` in `borrowed`.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Record>()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned has a reference, or the poll that lends it.
    unsafe { task_of(data).as_ref() }.state.count();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's reference becomes the queue's, or is given back.
    unsafe {
        let task = task_of(data);
        if task.as_ref().state.wake_with_reference() { executor::push(task) } else { Record::release(task) }
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker has a reference; the queue gets one more.
    unsafe {
        let task = task_of(data);
        if task.as_ref().state.wake() {
            executor::push(task);
        }
    }
}

unsafe fn release(data: *const ()) {
    // SAFETY: the waker's reference, which it does not use any more.
    unsafe { Record::release(task_of(data)) }
}
