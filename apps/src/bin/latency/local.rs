//! What one thread does by itself.

use crate::suite::Context;
use core::hint::black_box;
use isochron::prelude::*;
use isochron::thread::SpawnError;

/// `mutex_uncontended`: [`Mutex::lock`] and the guard's drop, by the only thread that ever wants the mutex.
///
/// Batches of 256.
pub fn mutex(context: &Context<'_>) -> Result<(), SpawnError> {
    let mutex = Mutex::new(0u64);
    context.time("mutex_uncontended", context.plan(256), || drop(black_box(&mutex).lock()));
    Ok(())
}

/// `alloc_free_64`: allocating 64 bytes and freeing them, through the global allocator, from the CPU's own free list.
///
/// Batches of 128.
pub fn alloc_free(context: &Context<'_>) -> Result<(), SpawnError> {
    context.time("alloc_free_64", context.plan(128), || drop(black_box(Box::<[u8; 64]>::new_uninit())));
    Ok(())
}
