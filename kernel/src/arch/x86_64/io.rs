//! Ports and model-specific registers.

use core::arch::asm;

/// Reads a byte from a port.
///
/// # Safety
/// The device behind the port allows it: reading some has side effects.
#[inline]
pub unsafe fn in_u8(port: u16) -> u8 {
    let value;
    // SAFETY: the caller's promise.
    unsafe { asm!("in al, dx", out("al") value, in("dx") port, options(nomem, nostack, preserves_flags)) }
    value
}

/// Writes a byte to a port.
///
/// # Safety
/// What the device behind the port does then is wanted, and touches no memory that Rust knows of.
#[inline]
pub unsafe fn out_u8(port: u16, value: u8) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) }
}

/// Writes 32 bits to a port.
///
/// # Safety
/// As [`out_u8`].
#[inline]
pub unsafe fn out_u32(port: u16, value: u32) {
    // SAFETY: the caller's promise.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) }
}

/// Reads a model-specific register.
///
/// # Safety
/// The CPU has it (else it takes a general-protection fault).
#[inline(always)]
pub unsafe fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(low) | u64::from(high) << 32
}

/// Writes a model-specific register. The compiler moves no memory access across it.
///
/// # Safety
/// The CPU has it and takes the value, and what it then does is wanted.
#[inline(always)]
pub unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}
