//! Misuse of memory, one kind for each run: the sanitizer names it and ends the process.
//@ machines: hosted
//@ sanitizer: only
//@ cpus: 1, 2
//@ expect: exit 101
//@ run: read_after_free
//@ args: read_after_free
//@ says: AddressSanitizer: use-after-poison
//@ says: sanitized::misuse
//@ run: write_beyond_the_end
//@ args: write_beyond_the_end
//@ says: AddressSanitizer: use-after-poison
//@ says: sanitized::misuse
//@ run: copy_beyond_the_end
//@ args: copy_beyond_the_end
//@ says: AddressSanitizer: use-after-poison
//@ run: freed_twice
//@ args: freed_twice
//@ says: AddressSanitizer: use-after-poison
//@ run: beside_a_variable
//@ args: beside_a_variable
//@ says: AddressSanitizer: stack-buffer-overflow
#![no_std]
#![no_main]

use core::hint::black_box;
use core::ptr;
use isochron::prelude::*;

extern crate alloc;
use alloc::alloc::{Layout, alloc, dealloc};

/// Bytes of the block: less than it really has.
const SIZE: usize = 40;

#[isochron::main]
fn main() -> Result<(), &'static str> {
    let Some(what) = isochron::args().next() else { return Err("say what shall go wrong") };
    // On a green thread's stack, with another's frames below.
    spawn(move || misuse(what)).join().map_err(|_| "the thread died alone")?;
    Err("nothing was found")
}

#[inline(never)]
fn misuse(what: &str) {
    let layout = Layout::new::<[u8; SIZE]>();
    let mut variable = [0_u8; SIZE];
    // SAFETY: none, on purpose; the process does not live on.
    unsafe {
        let block = black_box(alloc(layout));
        match what {
            "read_after_free" => {
                dealloc(block, layout);
                black_box(block.read_volatile());
            }
            "write_beyond_the_end" => block.add(SIZE).write_volatile(1),
            "copy_beyond_the_end" => {
                ptr::copy_nonoverlapping(black_box(&variable).as_ptr(), block.add(8), black_box(SIZE))
            }
            "freed_twice" => {
                dealloc(block, layout);
                dealloc(block, layout);
            }
            "beside_a_variable" => black_box(&mut variable).as_mut_ptr().add(SIZE).write_volatile(1),
            _ => {}
        }
    }
}
