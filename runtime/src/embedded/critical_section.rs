//! `critical-section`: interrupts masked, and a lock for all CPUs, which nests.
//!
//! The section is one for the whole machine, so it is for short things: all CPUs that want it wait for each other. A thread must
//! not block in it; a panic in it ends the machine, as in any place with interrupts masked.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::cpu::this_cpu;
use isochron_kernel::irq::IrqGuard;

struct Section;

critical_section::set_impl!(Section);

static LOCK: SpinLock<()> = SpinLock::new(lock_rank::CRITICAL_SECTION, ());

/// Which CPU is in it, counted from 1; 0 for none. Written by that CPU alone.
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// What restores the interrupts of whoever is in it.
struct Outermost(UnsafeCell<Option<IrqGuard>>);

// SAFETY: used with `LOCK` held, by the CPU that holds it.
unsafe impl Sync for Outermost {}

static OUTERMOST: Outermost = Outermost(UnsafeCell::new(None));

// SAFETY: between `acquire` that returns false and its `release`, `LOCK` is held and interrupts are masked, so nobody else is in
// the section. `acquire` returns true on the CPU that is in it already.
unsafe impl critical_section::Impl for Section {
    unsafe fn acquire() -> bool {
        let irq = IrqGuard::new();
        let me = this_cpu().id.index() + 1;
        // Relaxed: only this CPU writes its own number, and takes it away again.
        if OWNER.load(Ordering::Relaxed) == me {
            // Interrupts were masked before, by the outermost.
            return true;
        }
        LOCK.lock();
        OWNER.store(me, Ordering::Relaxed);
        // SAFETY: the lock is held.
        unsafe { *OUTERMOST.0.get() = Some(irq) };
        false
    }

    unsafe fn release(nested: bool) {
        if !nested {
            // SAFETY: the lock is held since `acquire` (the caller's promise), and opened once.
            unsafe {
                let irq = (*OUTERMOST.0.get()).take();
                OWNER.store(0, Ordering::Relaxed);
                LOCK.unlock();
                drop(irq);
            }
        }
    }
}
