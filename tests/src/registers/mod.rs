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

/// What the assembly works on: a pointer in word 0, then the words that registers are filled from, after `WORDS`
/// the words that they are stored to in the same order, and last the address of a byte to clear first, or 0.
#[repr(C, align(16))]
struct Block {
    fill: [u64; port::WORDS],
    found: [u64; port::WORDS],
    touch: u64,
}

/// Fills every register that a thread has with numbers made from `seed`, spins until `stop` is not 0, and gives the
/// registers that then hold something else.
#[must_use]
pub fn hold(seed: u64, stop: &AtomicU64) -> Vec<String> {
    // SAFETY: nothing is touched.
    unsafe { hold_and_touch(seed, stop, 0) }
}

/// As [`hold`]; when all registers are filled, the word at `touch` is cleared.
///
/// # Safety
/// `touch` is a place for a word that nobody else uses, perhaps on a page that is to be backed when it is touched; or 0.
#[must_use]
pub unsafe fn hold_and_touch(seed: u64, stop: &AtomicU64, touch: usize) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut block = Box::new(Block { fill: [0; port::WORDS], found: [0; port::WORDS], touch: touch as u64 });
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

pub use port::{call_at, float_control, illegal_instruction, spin_at};
