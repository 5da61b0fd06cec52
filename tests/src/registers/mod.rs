//! Every register of the CPU, filled and watched: does it survive what happens to the thread meanwhile?

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
use aarch64 as port;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64 as port;

use crate::random::Random;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

/// What the assembly works on: a pointer in word 0, then the words that registers are filled from, and after `WORDS`
/// the words that they are stored to in the same order.
#[repr(C, align(16))]
struct Block {
    fill: [u64; port::WORDS],
    found: [u64; port::WORDS],
}

/// Fills every register that a thread has with numbers made from `seed`, spins until `stop` is not 0, and gives the
/// registers that then hold something else.
#[must_use]
pub fn hold(seed: u64, stop: &AtomicU64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut block = Box::new(Block { fill: [0; port::WORDS], found: [0; port::WORDS] });
    for word in &mut block.fill {
        *word = random.number();
    }
    port::make_valid(&mut block.fill);
    block.fill[0] = core::ptr::from_ref(stop).expose_provenance() as u64;
    // SAFETY: word 0 is the address of an atomic that outlives the call, and the control words are valid.
    unsafe { port::fill_and_spin(&raw mut *block) };
    let mut damaged = Vec::new();
    for word in 1..port::WORDS {
        let (before, after) = (block.fill[word], block.found[word]);
        if (before ^ after) & port::mask(word) != 0 {
            damaged.push(format!("{}: {before:#x} became {after:#x}", port::name(word)));
        }
    }
    damaged
}

pub use port::{float_control, illegal_instruction};
