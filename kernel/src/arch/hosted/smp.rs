//! Starting a CPU: one more thread.

use super::{context, signals};
use crate::cpu::PerCpu;
use crate::smp::{StartError, secondary_start};
use core::mem::zeroed;
use core::ptr;
use isochron_boot::VirtAddr;

/// Starts a CPU that calls [`secondary_start`] on the stack that ends at `stack`.
///
/// # Errors
/// [`StartError::Firmware`] with the host's error number.
///
/// # Safety
/// The block is published and lives for ever, the stack is unused and stays the CPU's, and the CPU is off.
pub unsafe fn start(cpu: &'static PerCpu, stack: VirtAddr) -> Result<(), StartError> {
    cpu.arch.start_stack.set(stack.as_usize());
    // The new thread must take no signal before its `gs` is its own: it starts with all blocked.
    let before = signals::block_all();
    // SAFETY: no attributes are the default ones; `begin` takes the block for ever. The
    // mask that is set is the one from before.
    let result = unsafe {
        let mut thread: libc::pthread_t = zeroed();
        let argument = ptr::from_ref(cpu).cast_mut().cast();
        let result = libc::pthread_create(&raw mut thread, ptr::null(), begin, argument);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        result
    };
    if result == 0 { Ok(()) } else { Err(StartError::Firmware(result.into())) }
}

/// On the stack that the C library made; it is left for the CPU's own.
extern "C" fn begin(cpu: *mut libc::c_void) -> *mut libc::c_void {
    extern "C" fn on_own_stack(cpu: *mut (), _: usize) -> ! {
        // SAFETY: `start` passed a block that lives for ever.
        secondary_start(unsafe { &*cpu.cast_const().cast::<PerCpu>() })
    }
    // SAFETY: as above, and its stack is fresh. Nothing on the old one is used again; all signals are blocked.
    unsafe {
        let top = (*cpu.cast::<PerCpu>()).arch.start_stack.get();
        let own = context::prepare(VirtAddr::new(top), on_own_stack, cpu.cast());
        context::jump(&raw const own, 0)
    }
}
