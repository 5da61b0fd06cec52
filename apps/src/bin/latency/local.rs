//! What one thread does by itself.

use crate::suite::Context;
use core::hint::black_box;
use core::ptr::NonNull;
use isochron::prelude::*;
use isochron::thread::SpawnError;

/// `mutex_uncontended`: [`Mutex::lock`] and the guard's drop, by the only thread that ever wants the mutex.
///
/// Batches of 256.
pub fn mutex(context: &Context<'_>) -> Result<(), SpawnError> {
    let mutex = Mutex::new(0u64);
    let mutex = black_box(&mutex);
    context.time("mutex_uncontended", context.plan(256), || drop(mutex.lock()));
    Ok(())
}

/// `rwlock_read_uncontended`, `rwlock_write_uncontended`: [`RwLock::read`] and [`RwLock::write`], each with its guard's drop, by the
/// only thread that ever wants the lock.
///
/// Batches of 256.
pub fn rwlock(context: &Context<'_>) -> Result<(), SpawnError> {
    let lock = RwLock::new(0u64);
    let lock = black_box(&lock);
    context.time("rwlock_read_uncontended", context.plan(256), || drop(lock.read()));
    context.time("rwlock_write_uncontended", context.plan(256), || drop(lock.write()));
    Ok(())
}

/// `once_done`: [`OnceLock::get_or_init`] of a value that is made already.
///
/// Batches of 256.
pub fn once(context: &Context<'_>) -> Result<(), SpawnError> {
    let cell = OnceLock::new();
    let cell = black_box(&cell);
    context.time("once_done", context.plan(256), || {
        black_box(cell.get_or_init(|| 7u64));
    });
    Ok(())
}

/// `alloc_free_64`: allocating 64 bytes and freeing them, through the global allocator, from the CPU's own free list.
///
/// Batches of 128. The address has to be hidden from the compiler, which would leave both out; batches in which a
/// constant address is hidden in the same way take turns with the others and are taken off.
pub fn alloc_free(context: &Context<'_>) -> Result<(), SpawnError> {
    let hide = || {
        black_box(NonNull::<[u8; 64]>::dangling());
    };
    context.difference("alloc_free_64", context.plan(128), hide, || drop(black_box(Box::<[u8; 64]>::new_uninit())));
    Ok(())
}
