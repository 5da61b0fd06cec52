//! Starting a secondary CPU.

use super::{paging, psci};
use crate::cpu::PerCpu;
use crate::machine::StartMethod;
use crate::smp::{StartError, secondary_start};
use core::arch::asm;
use isochron_boot::VirtAddr;
use isochron_boot::aarch64::{SecondaryStart, prepare_secondary};
use isochron_boot::layout::direct_map;

/// Starts a CPU that will call [`secondary_start`] on the stack that ends at `stack_top`.
///
/// # Errors
/// What the firmware said, or that there is no way.
///
/// # Safety
/// The CPU is off, its block lives for ever and its exception stack is set; the stack is nobody else's.
pub unsafe fn start(cpu: &'static PerCpu, stack_top: VirtAddr) -> Result<(), StartError> {
    extern "C" fn enter(block: *const ()) -> ! {
        // SAFETY: `argument` below, which lives for ever.
        secondary_start(unsafe { &*block.cast::<PerCpu>() })
    }
    let start = SecondaryStart {
        hardware_id: cpu.description.hardware_id,
        root: paging::root(),
        stack_top,
        entry: enter,
        argument: core::ptr::from_ref(cpu).cast(),
    };
    match cpu.description.start {
        StartMethod::Psci { smc } => {
            // SAFETY: the CPU is off (the caller's word); slots go by CPU number; discovery found PSCI with this conduit.
            unsafe {
                let entry = prepare_secondary(&start);
                psci::cpu_on(smc, cpu.description.hardware_id, entry.as_u64()).map_err(StartError::Firmware)
            }
        }
        StartMethod::SpinTable { release } => {
            let word = direct_map(release).as_mut_ptr::<u64>();
            // SAFETY: the CPU waits in the firmware's loop; discovery reserved the word's page, and all RAM is in the direct
            // map. The loop reads memory with its caches off (Linux boot protocol, "spin-table"), so the word is cleaned
            // there before the event.
            unsafe {
                let entry = prepare_secondary(&start);
                word.write_volatile(entry.as_u64());
                asm!("dc cvac, {}", "dsb sy", "sev", in(reg) word, options(nostack, preserves_flags));
            }
            Ok(())
        }
        StartMethod::Boot | StartMethod::InitSipi | StartMethod::HostThread => Err(StartError::Unsupported),
    }
}
