//! What AddressSanitizer has to be told, in builds with `isochron_asan` (`run APP --machine hosted --sanitizer address`). In all
//! others, this is nothing.
//!
//! The compiler puts a look at a shadow of the memory before each access. It knows of its own what is around the variables of a
//! frame and around statics. It does not know of our heap and of our stacks:
//!
//! * A small block of the heap is *poisoned* while it is free, and so is what it really has beyond what was asked for. Who reads or
//!   writes there ends the process, with a report. Only [`load`] and [`store`] reach into free blocks, for the links of the heap.
//!   (Large blocks are not poisoned: the linked list that holds them is another crate's, and keeps its links in them.)
//! * A stack is clean whenever somebody begins at its top: who was there before may have left without returning, and then what was
//!   around its variables would be poisoned still.
//!
//! A block that is given out again at once is nobody's fault to the sanitizer, as there is no quarantine.

/// Whether there is a sanitizer.
pub const IS_ON: bool = cfg!(isochron_asan);

/// By how much more stack the kernel's small ones have: there is something around each variable.
pub const STACK_SCALE: usize = if IS_ON { 8 } else { 1 };

/// Nobody may touch these bytes until they are [unpoisoned](unpoison).
#[inline(always)]
pub fn poison(at: usize, bytes: usize) {
    #[cfg(isochron_asan)]
    // SAFETY: changes the shadow of our own memory.
    unsafe {
        __asan_poison_memory_region(at, bytes);
    }
    #[cfg(not(isochron_asan))]
    let _ = (at, bytes);
}

/// These bytes are somebody's. What follows them up to the next multiple of eight stays as it is.
#[inline(always)]
pub fn unpoison(at: usize, bytes: usize) {
    #[cfg(isochron_asan)]
    // SAFETY: changes the shadow of our own memory.
    unsafe {
        __asan_unpoison_memory_region(at, bytes);
    }
    #[cfg(not(isochron_asan))]
    let _ = (at, bytes);
}

/// Somebody begins at the top of a stack of so many bytes.
#[inline(always)]
pub fn stack_begins(top: usize, bytes: usize) {
    unpoison(top.saturating_sub(bytes), bytes);
}

/// A word of a block that may be free.
///
/// # Safety
/// It is there, and was written.
#[cfg_attr(isochron_asan, inline(never), sanitize(address = "off"))]
#[cfg_attr(not(isochron_asan), inline(always))]
pub unsafe fn load<T: Copy>(at: *const T) -> T {
    // SAFETY: the caller's promise.
    unsafe { *at }
}

/// Writes such a word.
///
/// # Safety
/// It is there, and nobody else touches it.
#[cfg_attr(isochron_asan, inline(never), sanitize(address = "off"))]
#[cfg_attr(not(isochron_asan), inline(always))]
pub unsafe fn store<T: Copy>(at: *mut T, value: T) {
    // SAFETY: the caller's promise.
    unsafe { *at = value }
}

#[cfg(isochron_asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(at: usize, bytes: usize);
    fn __asan_unpoison_memory_region(at: usize, bytes: usize);
}
