//! The interrupt controller's set-up, and the handlers of each vector.
//!
//! The kernel takes four kinds of interrupt: its timer and three from other CPUs. The two 8259s are masked for good; the
//! I/O APICs stay as reset left them, masked.

use super::apic::{self, Register};
use super::{io, timer};
use crate::cpu::PerCpu;
use crate::irq::Ipi;
use crate::machine::{InterruptController, Machine};
use crate::trap;
use core::arch::x86_64::__cpuid;
use isochron_boot::layout::direct_map;

/// The vectors. A higher one is delivered first.
pub const WAKE: u8 = 0xf0;
/// Answer a probe.
pub const PROBE: u8 = 0xf1;
/// The one-shot timer.
pub const TIMER: u8 = 0xf2;
/// Halt.
pub const STOP: u8 = 0xf3;
/// The local APIC's own spurious vector. Old ones want its low four bits set.
pub const SPURIOUS: u8 = 0xff;

/// `IA32_APIC_BASE`: where the registers are, whether the APIC is on and in x2APIC mode.
const APIC_BASE: u32 = 0x1b;
const APIC_ENABLED: u64 = 1 << 11;
const APIC_X2: u64 = 1 << 10;

/// A local vector that is masked; the second pin's, which is the NMI.
const MASKED: u32 = 1 << 16;
const NMI: u32 = 4 << 8;
/// In the spurious vector's register: the APIC is on.
const SOFTWARE_ENABLE: u32 = 1 << 8;

/// Command and data ports of the two 8259s.
const PICS: [(u16, u16); 2] = [(0x20, 0x21), (0xa0, 0xa1)];
/// Where an interrupt that they have already raised would land: nowhere near the exceptions.
const PIC_VECTORS: [u8; 2] = [0xe0, 0xe8];

/// Chooses between xAPIC and x2APIC, and silences the old controllers.
///
/// # Safety
/// Once, on the primary CPU, with the registers in `machine.mmio` mapped.
pub unsafe fn init_primary(machine: &Machine) {
    let InterruptController::Apic { local } = machine.interrupts else {
        panic!("an x86-64 machine without a local APIC")
    };
    apic::set_mode(if has_x2apic() { None } else { Some(direct_map(local.start)) });
    // SAFETY: the ports are the 8259s' on every PC, and nobody's on a machine without (Intel 8259A data sheet: ICW1 to
    // ICW4, then the mask). Nothing uses their interrupts.
    unsafe {
        for (index, (command, data)) in PICS.into_iter().enumerate() {
            io::out_u8(data, 0xff);
            io::out_u8(command, 0x11);
            io::out_u8(data, PIC_VECTORS[index]);
            io::out_u8(data, [0x04, 0x02][index]);
            io::out_u8(data, 0x01);
            io::out_u8(data, 0xff);
        }
    }
}

/// Whether this CPU has the x2APIC mode (CPUID 1 ECX bit 21).
pub(super) fn has_x2apic() -> bool {
    __cpuid(1).ecx & 1 << 21 != 0
}

/// Turns this CPU's local APIC on, everything masked but what other CPUs send.
///
/// # Safety
/// After [`init_primary`]; vectors are loaded; interrupts are masked.
pub unsafe fn init_this_cpu(_cpu: &'static PerCpu) {
    // SAFETY: every x86-64 CPU has the register. From off to x2APIC the way leads through xAPIC (SDM vol. 3, 11.12.5),
    // and a CPU that is in x2APIC mode already may be written the same value again.
    unsafe {
        let base = io::read_msr(APIC_BASE);
        if base & APIC_X2 == 0 {
            io::write_msr(APIC_BASE, base | APIC_ENABLED);
            if apic::is_x2apic() {
                io::write_msr(APIC_BASE, base | APIC_ENABLED | APIC_X2);
            }
        }
        apic::write(Register::TaskPriority, 0);
        let vectors = apic::read(Register::Version, 0) >> 16 & 0xff;
        apic::write(Register::LocalTimer, MASKED | u32::from(TIMER));
        apic::write(Register::LocalPin0, MASKED);
        apic::write(Register::LocalPin1, NMI);
        apic::write(Register::LocalError, MASKED | u32::from(SPURIOUS));
        if vectors >= 4 {
            apic::write(Register::LocalPerformance, MASKED | u32::from(SPURIOUS));
        }
        if vectors >= 5 {
            apic::write(Register::LocalThermal, MASKED | u32::from(SPURIOUS));
        }
        apic::write(Register::Spurious, SOFTWARE_ENABLE | u32::from(SPURIOUS));
        // What a firmware left in service would block everything at or below its priority.
        for _ in 0..=u8::MAX {
            if apic::in_service().is_none() {
                break;
            }
            apic::end_of_interrupt();
        }
    }
}

// The handlers: called by `entry.rs`, masked, on the interrupt stack. True: preempt the thread.

pub(super) extern "C" fn on_timer() -> bool {
    // SAFETY: in the handler, once; here and below.
    unsafe { apic::end_of_interrupt() };
    if timer::is_due() {
        trap::on_timer();
    }
    trap::should_preempt()
}

pub(super) extern "C" fn on_wake() -> bool {
    // SAFETY: see above.
    unsafe { apic::end_of_interrupt() };
    trap::on_ipi(Ipi::Wake);
    trap::should_preempt()
}

pub(super) extern "C" fn on_probe() -> bool {
    // SAFETY: see above.
    unsafe { apic::end_of_interrupt() };
    trap::on_ipi(Ipi::Probe);
    trap::should_preempt()
}

pub(super) extern "C" fn on_stop() -> bool {
    // SAFETY: see above.
    unsafe { apic::end_of_interrupt() };
    trap::on_ipi(Ipi::Stop);
    false
}

/// A vector that nobody uses. One from an 8259 is not in service in the APIC and is not acknowledged.
#[cold]
pub(super) extern "C" fn on_other() -> bool {
    // SAFETY: see above.
    let vector = unsafe { apic::in_service() };
    if vector.is_some() {
        // SAFETY: see above.
        unsafe { apic::end_of_interrupt() };
    }
    trap::on_unexpected(vector.map_or(0, u32::from));
    trap::should_preempt()
}

/// What the preemption's trampoline calls, on the thread's stack.
pub(super) extern "C" fn preempt() {
    trap::preempt();
}
