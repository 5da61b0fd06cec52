//! The end of the process.

use super::{context, cpu, trace, world};
use crate::wire::exit;
use core::cell::UnsafeCell;
use core::ptr;
use isochron_boot::VirtAddr;

/// Bytes of the stack that a failure is told from: the one that runs may be small.
const STACK: usize = 64 * 1024;

#[repr(C, align(16))]
struct LastStack(UnsafeCell<[u8; STACK]>);

// SAFETY: the process has one thread, and it uses it once.
unsafe impl Sync for LastStack {}

static LAST_STACK: LastStack = LastStack(UnsafeCell::new([0; STACK]));

/// Ends the process with the guest's own code. One that tells of a failure is preceded by what happened last.
pub fn exit(code: u8) -> ! {
    if code == exit::PASSED || !world::has_begun() {
        end(code)
    }
    world::end();
    let of = (code, cpu::frame_pointer());
    let top = VirtAddr::new(LAST_STACK.0.get().addr() + STACK);
    // SAFETY: nobody uses that stack, and this one is not gone on with, but stays as it is, so `of` lives.
    unsafe {
        let context = context::prepare(top, tell_and_end, ptr::from_ref(&of).cast_mut().cast());
        context::jump(&raw const context, 0)
    }
}

extern "C" fn tell_and_end(argument: *mut (), _message: usize) -> ! {
    // SAFETY: `exit` got it from a reference, and has left the stack that it is on as it was.
    let (code, frame) = unsafe { argument.cast::<(u8, usize)>().read() };
    trace::tell(frame);
    end(code)
}

fn end(code: u8) -> ! {
    // SAFETY: ends the process at once; nothing of ours waits in a buffer of the C library's.
    unsafe { libc::_exit(code.into()) }
}
