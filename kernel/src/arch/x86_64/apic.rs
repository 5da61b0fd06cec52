//! The local APIC's registers, in xAPIC mode (memory) or x2APIC mode (model-specific registers): Intel SDM vol. 3,
//! chapter 11.

use super::io;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_boot::VirtAddr;

/// A register, by its offset in xAPIC mode; x2APIC has it at MSR 0x800 + offset / 16.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Register {
    /// Version, and how many local vectors there are.
    Version = 0x30,
    /// Task priority: 0 lets all interrupts through.
    TaskPriority = 0x80,
    /// End of interrupt.
    EndOfInterrupt = 0xb0,
    /// Spurious vector, and the switch that turns the APIC on.
    Spurious = 0xf0,
    /// First of the eight words of vectors in service.
    InService = 0x100,
    /// Interrupt command; in xAPIC mode its lower half, which sends.
    Command = 0x300,
    /// Its upper half in xAPIC mode: the destination.
    CommandHigh = 0x310,
    /// The timer's vector and mode.
    LocalTimer = 0x320,
    /// The thermal sensor's vector.
    LocalThermal = 0x330,
    /// The performance counters' vector.
    LocalPerformance = 0x340,
    /// The two interrupt pins of the CPU.
    LocalPin0 = 0x350,
    /// The second of them: NMI.
    LocalPin1 = 0x360,
    /// The vector for the APIC's own errors.
    LocalError = 0x370,
    /// The timer counts down from here.
    TimerInitial = 0x380,
    /// The timer's count.
    TimerCurrent = 0x390,
    /// What the timer's clock is divided by.
    TimerDivide = 0x3e0,
}

/// Where the registers are mapped; 0 in x2APIC mode.
static BASE: AtomicUsize = AtomicUsize::new(0);

/// Chooses the mode for all CPUs: `None` is x2APIC. Set by the primary before any other CPU runs.
pub fn set_mode(registers: Option<VirtAddr>) {
    BASE.store(registers.map_or(0, VirtAddr::as_usize), Ordering::Relaxed);
}

/// Whether the APICs are in x2APIC mode.
#[inline(always)]
pub fn is_x2apic() -> bool {
    BASE.load(Ordering::Relaxed) == 0
}

const fn msr(register: Register, index: u32) -> u32 {
    0x800 + (register as u32 >> 4) + index
}

/// Reads a register; `index` counts on from it, for those that come in rows.
///
/// # Safety
/// [`set_mode`] was called with the mode that this CPU's APIC is in.
#[inline(always)]
pub unsafe fn read(register: Register, index: u32) -> u32 {
    match BASE.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise: the APIC is in x2APIC mode, so it has these registers.
        0 => unsafe { io::read_msr(msr(register, index)) as u32 },
        // SAFETY: the caller's promise: the registers are mapped here, uncached.
        base => unsafe {
            VirtAddr::new(base + register as usize + index as usize * 16).as_mut_ptr::<u32>().read_volatile()
        },
    }
}

/// Writes a register. In x2APIC mode the write is not ordered after earlier stores: see `ipi`.
///
/// # Safety
/// As [`read`], and what the write does is wanted.
#[inline(always)]
pub unsafe fn write(register: Register, value: u32) {
    match BASE.load(Ordering::Relaxed) {
        // SAFETY: as in `read`.
        0 => unsafe { io::write_msr(msr(register, 0), u64::from(value)) },
        // SAFETY: as in `read`.
        base => unsafe { VirtAddr::new(base + register as usize).as_mut_ptr::<u32>().write_volatile(value) },
    }
}

/// Tells the APIC that the interrupt in service is done. The next one comes when interrupts are unmasked.
///
/// # Safety
/// As [`read`]; in an interrupt's handler, once.
#[inline(always)]
pub unsafe fn end_of_interrupt() {
    // SAFETY: the caller's promise.
    unsafe { write(Register::EndOfInterrupt, 0) }
}

/// The highest vector in service: the interrupt that this handler runs for.
///
/// # Safety
/// As [`read`].
pub unsafe fn in_service() -> Option<u8> {
    (0..8_u32).rev().find_map(|word| {
        // SAFETY: the caller's promise.
        let bits = unsafe { read(Register::InService, word) };
        (bits != 0).then(|| (word * 32 + bits.ilog2()) as u8)
    })
}
