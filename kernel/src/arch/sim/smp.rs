//! Starting a CPU: one more coroutine.

use super::cpu::Does;
use super::{context, world};
use crate::cpu::PerCpu;
use crate::smp::{StartError, secondary_start};
use isochron_boot::VirtAddr;

/// Starts a CPU that calls [`secondary_start`] on the stack that ends at `stack`.
///
/// # Errors
/// None here.
///
/// # Safety
/// The block is published and lives for ever, the stack is unused and stays the CPU's, and the CPU is off.
pub unsafe fn start(cpu: &'static PerCpu, stack: VirtAddr) -> Result<(), StartError> {
    extern "C" fn begin(cpu: *mut (), _: usize) -> ! {
        // SAFETY: a block that lives for ever, as below.
        secondary_start(unsafe { &*cpu.cast_const().cast::<PerCpu>() })
    }
    let argument = core::ptr::from_ref(cpu).cast_mut().cast();
    // SAFETY: the caller's promise; the CPU is off, so nobody uses its context.
    unsafe { (*cpu.arch.context.get()).write(context::prepare(stack, begin, argument)) };
    cpu.arch.does.set(Does::Runs);
    world::add(cpu);
    Ok(())
}
