//! The functions that the kernel asks for by name: see `isochron_kernel::hooks`.

use crate::thread::{self, control};
use crate::trace::points;
use crate::{entry, group, worker};
use core::fmt::Write;
use isochron_kernel::boot::VirtAddr;
use isochron_kernel::hooks::Noted;
use isochron_kernel::memory::account::Account;
use isochron_kernel::panic::PackedOverflow;
use isochron_kernel::trap::Cause;

#[unsafe(no_mangle)]
extern "Rust" fn isochron_prepare_cpu() {
    watch_locks();
    worker::Worker::install();
}

/// The kernel keeps what a CPU holds of the runtime's spin locks too, in builds that check their order.
fn watch_locks() {
    #[cfg(debug_assertions)]
    {
        use isochron_core::lock_rank::{Event, LockRank, watch};
        use isochron_kernel::lock_rank as kernel;
        watch(|event| match event {
            Event::Taken(LockRank { order, name, several }, address) => {
                kernel::taken(kernel::LockRank { order, name, several }, address);
            }
            Event::Opened(address) => kernel::opened(address),
        });
    }
}

/// For the loops of `isochron-core`, which knows no machine.
#[cfg(isochron_bare)]
#[unsafe(no_mangle)]
extern "Rust" fn isochron_spin_hint() {
    isochron_kernel::arch::cpu::spin_hint();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_primary_main() -> ! {
    entry::primary()
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_secondary_main() -> ! {
    worker::Worker::this().run()
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_on_timer() {
    worker::Worker::this().on_timer();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_on_wake() {
    worker::Worker::this().on_wake();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_should_preempt() -> bool {
    worker::Worker::this().should_preempt()
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_preempt() {
    worker::Worker::this().preempt();
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_thread_dies(cause: Cause) -> Option<VirtAddr> {
    thread::note_death(cause)
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_end_thread() -> ! {
    thread::end_current()
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_memory_refused(bytes: usize, by: *const Account) {
    points::refused(bytes);
    group::memory::note_refusal(bytes, by);
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_noted(noted: Noted) {
    points::noted(noted);
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_thread_name(out: &mut dyn Write) {
    let _ = match control::current_ptr() {
        None => out.write_str("worker"),
        Some(thread) if thread::packed::is_breached(thread) => write!(out, "packed at {:#x}", thread.as_ptr().addr()),
        // SAFETY: the current-thread register holds a thread that runs on this CPU, so its control block is alive.
        Some(thread) => unsafe { thread.as_ref() }.write_name(out),
    };
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_guard_hit(addr: usize) -> Option<usize> {
    let thread = control::current_ptr()?;
    // SAFETY: as above.
    unsafe { thread.as_ref() }.guard_hit(addr)
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_stack_grew(addr: usize) {
    if let Some(thread) = control::current_ptr() {
        thread::control::Thread::stack_grew(thread, addr);
    }
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_packed_interrupted(sp: usize) -> Option<PackedOverflow> {
    thread::packed::interrupted(sp)
}

#[unsafe(no_mangle)]
extern "Rust" fn isochron_spare_stack(is_short: bool) -> Option<VirtAddr> {
    worker::spare_stack(is_short)
}

#[cfg(isochron_sim)]
#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_may_run(state: usize) -> u64 {
    let offset = core::mem::offset_of!(control::Thread, state);
    let thread = core::ptr::with_exposed_provenance::<control::Thread>(state - offset);
    // SAFETY: the kernel names the state of a thread that waits for a CPU, so its block is alive.
    worker::may_run(unsafe { &*thread })
}

#[cfg(isochron_sim)]
#[unsafe(no_mangle)]
extern "Rust" fn isochron_sim_dump(out: &mut dyn Write) {
    let _ = worker::dump::dump(out);
}
