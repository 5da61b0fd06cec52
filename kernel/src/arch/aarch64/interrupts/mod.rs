//! The interrupt controller: a GICv2 or a GICv3 (or later, in the mode of a GICv3).
//!
//! Only private interrupts are used: software-generated ones 0 to 2 and the virtual timer. All others are off. Every
//! interrupt has one priority, so none interrupts another.

pub(super) mod gicv2;
pub(super) mod gicv3;

use super::timer;
use crate::cpu::PerCpu;
use crate::irq::Ipi;
use crate::machine::{InterruptController, Machine};
use crate::trap;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use isochron_boot::PhysRange;
use isochron_boot::layout::direct_map;

/// GICv2's distributor and CPU interface; 0 with a GICv3, whose hot paths are system registers.
static DISTRIBUTOR_V2: AtomicUsize = AtomicUsize::new(0);
static CPU_INTERFACE_V2: AtomicUsize = AtomicUsize::new(0);
/// INTID of the virtual timer.
static TIMER: AtomicU32 = AtomicU32::new(27);

/// Interrupts below are software-generated.
const FIRST_PPI: u32 = 16;
/// INTIDs from here to 1023 are answers without an interrupt (IHI 0069, 2.2.1; IHI 0048, 3.2.3).
const SPECIAL: core::ops::RangeInclusive<u32> = 1020..=1023;
/// The one priority in use: the middle of the range, visible in non-secure view with as few as 4 bits.
const PRIORITY: u8 = 0x80;
/// Polls of a register that says "write pending" or "asleep" before it is left alone.
const PATIENCE: u32 = 100_000;

/// Which of the private interrupts are used, as a mask.
fn private_mask() -> u32 {
    0b111 | 1 << TIMER.load(Ordering::Relaxed)
}

#[inline(always)]
pub(super) fn gicv2_distributor() -> Option<usize> {
    // Relaxed: written before any other CPU is started.
    match DISTRIBUTOR_V2.load(Ordering::Relaxed) {
        0 => None,
        base => Some(base),
    }
}

/// Sets up what the CPUs share.
///
/// # Safety
/// Primary CPU, once, with the registers mapped.
pub unsafe fn init_primary(machine: &Machine) {
    // Relaxed, all of them: other CPUs are started later.
    if (FIRST_PPI..32).contains(&machine.timer_irq) {
        TIMER.store(machine.timer_irq, Ordering::Relaxed);
    }
    match &machine.interrupts {
        InterruptController::GicV2 { distributor, cpu_interface } => {
            DISTRIBUTOR_V2.store(registers(*distributor), Ordering::Relaxed);
            CPU_INTERFACE_V2.store(registers(*cpu_interface), Ordering::Relaxed);
            // SAFETY: the caller's.
            unsafe { gicv2::init_distributor(registers(*distributor)) };
        }
        InterruptController::GicV3 { distributor, redistributors } => {
            // SAFETY: the caller's.
            unsafe { gicv3::init_distributor(registers(*distributor), redistributors) };
        }
        InterruptController::Apic { .. } | InterruptController::Signals => panic!("not a GIC, on ARM64"),
    }
}

/// Sets up this CPU's part.
///
/// # Safety
/// Once on each CPU, after [`init_primary`], interrupts masked; `cpu` is this CPU's block.
pub unsafe fn init_this_cpu(cpu: &'static PerCpu) {
    // SAFETY: the caller's.
    let target = unsafe {
        match gicv2_distributor() {
            Some(distributor) => {
                gicv2::init_this_cpu(distributor, CPU_INTERFACE_V2.load(Ordering::Relaxed), private_mask())
            }
            None => gicv3::init_this_cpu(super::cpu::hardware_id(), private_mask()),
        }
    };
    // Relaxed: published by the CPU's own report that it is online.
    cpu.arch.sgi_target.store(target, Ordering::Relaxed);
}

/// Takes one interrupt, if one is pending; called by the vectors on the exception stack, everything masked, and by an idle
/// CPU. The answer is whether the interrupted thread is to be preempted.
pub(super) extern "C" fn handle() -> bool {
    // Relaxed: see `gicv2_distributor`.
    let base = CPU_INTERFACE_V2.load(Ordering::Relaxed);
    let taken = if base == 0 { gicv3::acknowledge() } else { gicv2::acknowledge(base) };
    let id = if base == 0 { taken } else { taken & gicv2::ID };
    if id == TIMER.load(Ordering::Relaxed) {
        // The line stays up until the timer is off or armed anew.
        timer::disarm();
        trap::on_timer();
    } else if id < FIRST_PPI {
        match id {
            0 => trap::on_ipi(Ipi::Wake),
            1 => trap::on_ipi(Ipi::Stop),
            2 => trap::on_ipi(Ipi::Probe),
            _ => trap::on_unexpected(id),
        }
    } else if SPECIAL.contains(&id) {
        // It went away before it was acknowledged: nothing to end.
        return trap::should_preempt();
    } else {
        trap::on_unexpected(id);
    }
    if base == 0 {
        gicv3::end(taken);
    } else {
        gicv2::end(base, taken);
    }
    trap::should_preempt()
}

const _: () = assert!(Ipi::Wake as u32 == 0 && Ipi::Stop as u32 == 1 && Ipi::Probe as u32 == 2);

fn registers(range: PhysRange) -> usize {
    direct_map(range.start).as_usize()
}

unsafe fn read(base: usize, offset: usize) -> u32 {
    // SAFETY: the caller names a mapped register.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance(base + offset)) }
}

unsafe fn read64(base: usize, offset: usize) -> u64 {
    // SAFETY: the caller names a mapped register.
    unsafe { ptr::read_volatile(ptr::with_exposed_provenance(base + offset)) }
}

#[inline(always)]
unsafe fn write(base: usize, offset: usize, value: u32) {
    // SAFETY: the caller names a mapped register.
    unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut(base + offset), value) }
}

/// Four priorities at once.
fn priorities() -> u32 {
    u32::from_ne_bytes([PRIORITY; 4])
}

/// Reads `offset` until the bits of `mask` are 0, a bounded time.
unsafe fn wait_clear(base: usize, offset: usize, mask: u32) -> bool {
    // SAFETY: the caller names a mapped register.
    (0..PATIENCE).any(|_| unsafe { read(base, offset) } & mask == 0)
}
