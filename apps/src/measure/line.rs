//! What two CPUs that watch each other need: lines of their own, and ways to wait that spare an emulator.

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::arch::cpu::spin_hint;
use isochron::{Duration, Instant};

/// Something on cache lines of its own: 128 bytes, because some CPUs fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Line<T>(pub T);

impl Line<AtomicU64> {
    /// Looks until it is not 0; what it is then.
    #[inline(always)]
    pub fn written(&self) -> u64 {
        let mut value = 0;
        spin_until(|| {
            // Relaxed: the value is all that is passed.
            value = self.0.load(Ordering::Relaxed);
            value != 0
        });
        value
    }
}

/// Looks that are made before the CPU is told that this is a wait.
///
/// `PAUSE` holds some x86-64 CPUs up for longer than a line takes from core to core, so a short wait must do without. A
/// long one must not: an emulator that runs all CPUs in one thread goes on to the next CPU at the hint only.
const LOOKS: u32 = 64;

/// Looks until `done`.
#[inline(always)]
pub fn spin_until(mut done: impl FnMut() -> bool) {
    loop {
        for _ in 0..LOOKS {
            if done() {
                return;
            }
        }
        spin_hint();
    }
}

/// Keeps the CPU for `time`.
pub fn pause(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        spin_hint();
    }
}
