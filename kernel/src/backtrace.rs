//! Return addresses by the chain of frame pointers.
//!
//! Both architectures keep the same two words in a frame: the caller's frame pointer and the return address (AAPCS64
//! 6.4.6; System V ABI, x86-64 3.2.2). The host turns the addresses into names.

use crate::memory;
use isochron_boot::VirtAddr;

/// The deepest stack that is walked.
pub const MAX_FRAMES: usize = 64;

/// Calls `found` with each return address from the frame at `frame_pointer` on, innermost first.
///
/// It stops at the end of the chain (a null pointer), at a pointer that is misaligned, unmapped or not above the last
/// one, and after [`MAX_FRAMES`].
pub fn walk(frame_pointer: usize, found: &mut dyn FnMut(usize)) {
    let mut frame = frame_pointer;
    for _ in 0..MAX_FRAMES {
        if frame == 0 || !frame.is_multiple_of(16) || !is_mapped(frame) || !is_mapped(frame + 15) {
            return;
        }
        let words = VirtAddr::new(frame).as_mut_ptr::<[usize; 2]>();
        // SAFETY: aligned, and the page tables say that both words are mapped. What they hold is only taken for numbers.
        let [caller, return_address] = unsafe { words.read_volatile() };
        if return_address == 0 {
            return;
        }
        found(return_address);
        if caller <= frame {
            return;
        }
        frame = caller;
    }
}

fn is_mapped(addr: usize) -> bool {
    memory::is_mapped(VirtAddr::new(addr))
}
