//! What the atomics of `isochron-core` call: see `runtime/core/src/sync/simulated.rs`.

use super::{threads, world};
use core::sync::atomic::Ordering;
use isochron_boot::layout::{STACKS_BASE, STACKS_SIZE, is_packed};

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_point() {
    world::point();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_load(at: usize) -> Option<u64> {
    world::running_cpu()?.arch.buffer.look(at)
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_store(at: usize, bytes: usize, value: u64, order: Ordering) -> bool {
    let Some(cpu) = world::running_cpu() else { return false };
    let buffer = &cpu.arch.buffer;
    // Frames come and go there, and no fence says so.
    let is_stack = (STACKS_BASE..STACKS_BASE + STACKS_SIZE).contains(&at) || is_packed(at);
    if !world::keeps_stores() || is_stack {
        // What came before a release is not to come after it.
        buffer.update(at, order);
        return false;
    }
    buffer.keep(at, bytes, value, order, world::now());
    true
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_update(at: usize, order: Ordering) {
    if let Some(cpu) = world::running_cpu() {
        cpu.arch.buffer.update(at, order);
    }
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_order(order: Ordering) {
    if let Some(cpu) = world::running_cpu() {
        cpu.arch.buffer.order(order);
    }
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_settle() {
    world::settle();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_weak_fails() -> bool {
    world::weak_fails()
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_spin() {
    world::spin();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_thread(thread: usize, note: u8) {
    threads::note(thread, note);
}
