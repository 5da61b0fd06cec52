//! `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp`: what the compiler calls and the target's missing C library would
//! have.
//!
//! In assembly, so that the compiler cannot turn a loop in them into a call to themselves. SSE moves of 64 bytes a
//! round rather than `rep movsb`: a string instruction has a start-up cost that differs from CPU to CPU, and an
//! emulator does it byte by byte. Short lengths, by far the most frequent, take no loop at all: all is loaded, then
//! all is stored, with moves that may overlap, so that `memcpy` is `memmove`.
//!
//! Also the two symbols of the unwinder that the prebuilt core refers to; panics abort, so nothing calls them.

use core::arch::naked_asm;

/// Copies `len` bytes; the two ranges may overlap.
///
/// # Safety
/// As C's `memmove`.
#[unsafe(naked)]
#[cfg_attr(any(isochron_bare, isochron_hosted), unsafe(no_mangle))]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jae 20f",
        "cmp edx, 8",
        "jae 18f",
        "cmp edx, 4",
        "jae 14f",
        "test edx, edx",
        "je 12f",
        // 1 to 3: first, middle and last byte, which may be the same.
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov r9d, edx",
        "shr r9d, 1",
        "movzx r10d, byte ptr [rsi + r9]",
        "mov [rdi + r9], r10b",
        "mov [rdi + rdx - 1], r8b",
        "mov [rdi], cl",
        "12: ret",
        "14: mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "18: mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "20: cmp rdx, 32",
        "ja 23f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "23: cmp rdx, 64",
        "ja 26f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        // Downwards only if the destination begins inside the source.
        "26: mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 28f",
        // Upwards, the last 64 bytes loaded first: the loop may overwrite them.
        "movups xmm4, [rsi + rdx - 64]",
        "movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]",
        "movups xmm7, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 64]",
        "27: movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "add rsi, 64",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 27b",
        "movups [r8], xmm4",
        "movups [r8 + 16], xmm5",
        "movups [r8 + 32], xmm6",
        "movups [r8 + 48], xmm7",
        "ret",
        // Downwards, the first 64 bytes loaded first.
        "28: movups xmm4, [rsi]",
        "movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]",
        "movups xmm7, [rsi + 48]",
        "29: movups xmm0, [rsi + rdx - 16]",
        "movups xmm1, [rsi + rdx - 32]",
        "movups xmm2, [rsi + rdx - 48]",
        "movups xmm3, [rsi + rdx - 64]",
        "movups [rdi + rdx - 16], xmm0",
        "movups [rdi + rdx - 32], xmm1",
        "movups [rdi + rdx - 48], xmm2",
        "movups [rdi + rdx - 64], xmm3",
        "sub rdx, 64",
        "cmp rdx, 64",
        "ja 29b",
        "movups [rdi], xmm4",
        "movups [rdi + 16], xmm5",
        "movups [rdi + 32], xmm6",
        "movups [rdi + 48], xmm7",
        "ret",
    )
}

/// Copies `len` bytes.
///
/// # Safety
/// As C's `memcpy`.
#[unsafe(naked)]
#[cfg_attr(any(isochron_bare, isochron_hosted), unsafe(no_mangle))]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!("jmp {}", sym memmove)
}

/// Sets `len` bytes to the low byte of `value`.
///
/// # Safety
/// As C's `memset`.
#[unsafe(naked)]
#[cfg_attr(any(isochron_bare, isochron_hosted), unsafe(no_mangle))]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "movabs rcx, 0x0101010101010101",
        "imul rcx, rsi",
        "cmp rdx, 16",
        "jae 20f",
        "cmp edx, 8",
        "jae 18f",
        "cmp edx, 4",
        "jae 14f",
        "test edx, edx",
        "je 12f",
        "mov r9d, edx",
        "shr r9d, 1",
        "mov [rdi], cl",
        "mov [rdi + r9], cl",
        "mov [rdi + rdx - 1], cl",
        "12: ret",
        "14: mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        "18: mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        "20: movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "cmp rdx, 64",
        "ja 24f",
        "cmp rdx, 32",
        "jbe 23f",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "23: movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "ret",
        "24: lea r8, [rdi + rdx - 64]",
        "25: movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 25b",
        "movups [r8], xmm0",
        "movups [r8 + 16], xmm0",
        "movups [r8 + 32], xmm0",
        "movups [r8 + 48], xmm0",
        "ret",
    )
}

/// Compares `len` bytes: the sign of the first difference.
///
/// # Safety
/// As C's `memcmp`.
#[unsafe(naked)]
#[cfg_attr(any(isochron_bare, isochron_hosted), unsafe(no_mangle))]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        "cmp rdx, 16",
        "jb 21f",
        "20: movups xmm0, [rdi]",
        "movups xmm1, [rsi]",
        "pcmpeqb xmm0, xmm1",
        "pmovmskb ecx, xmm0",
        "xor ecx, 0xffff",
        "jnz 25f",
        "add rdi, 16",
        "add rsi, 16",
        "sub rdx, 16",
        "cmp rdx, 16",
        "jae 20b",
        "21: cmp edx, 8",
        "jb 23f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 26f",
        "add rdi, 8",
        "add rsi, 8",
        "sub edx, 8",
        "23: test edx, edx",
        "je 24f",
        "22: movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jnz 27f",
        "inc rdi",
        "inc rsi",
        "dec edx",
        "jnz 22b",
        "24: xor eax, eax",
        "27: ret",
        "25: bsf ecx, ecx",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx ecx, byte ptr [rsi + rcx]",
        "sub eax, ecx",
        "ret",
        // The first byte counts most: turned round, the words compare as numbers.
        "26: bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
    )
}

/// Compares `len` bytes: zero if they are equal.
///
/// # Safety
/// As POSIX's `bcmp`.
#[unsafe(naked)]
#[cfg_attr(any(isochron_bare, isochron_hosted), unsafe(no_mangle))]
pub unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("jmp {}", sym memcmp)
}

/// Named by the prebuilt core's unwind tables; never called, as panics abort.
#[cfg(any(isochron_bare, isochron_hosted))]
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// Named by prebuilt landing pads; never called, as panics abort.
#[cfg(any(isochron_bare, isochron_hosted))]
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around every branch, and some in the loops.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..=200).chain([255, 256, 257, 1000, 4096])
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn moves_with_every_overlap() {
        for len in lengths() {
            for shift in [-200_isize, -65, -64, -63, -17, -16, -8, -1, 0, 1, 7, 8, 15, 16, 17, 63, 64, 65, 129, 200] {
                let mut got = pattern(len + 500);
                let mut want = got.clone();
                let (from, to) = (220_usize, 220_usize.wrapping_add_signed(shift));
                want.copy_within(from..from + len, to);
                let base = got.as_mut_ptr();
                // SAFETY: both ranges lie inside the vector.
                let answer = unsafe { memmove(base.add(to), base.add(from), len) };
                assert_eq!(answer.addr(), base.addr() + to);
                assert!(got == want, "{len} bytes by {shift}");
            }
        }
    }

    #[test]
    fn copies_between_buffers() {
        for len in lengths() {
            let from = pattern(len);
            let mut to = vec![0xaa; len + 32];
            // SAFETY: inside both vectors.
            unsafe { memcpy(to.as_mut_ptr().add(16), from.as_ptr(), len) };
            assert!(to[16..16 + len] == from[..]);
            assert!(to[..16].iter().chain(&to[16 + len..]).all(|byte| *byte == 0xaa), "{len}: wrote outside");
        }
    }

    #[test]
    fn sets() {
        for len in lengths() {
            let mut to = vec![0x11; len + 32];
            // SAFETY: inside the vector.
            unsafe { memset(to.as_mut_ptr().add(16), 0x1_5a, len) };
            assert!(to[16..16 + len].iter().all(|byte| *byte == 0x5a), "{len}");
            assert!(to[..16].iter().chain(&to[16 + len..]).all(|byte| *byte == 0x11), "{len}: wrote outside");
        }
    }

    #[test]
    fn compares_like_slices() {
        for len in lengths() {
            let left = pattern(len);
            // SAFETY: here and below: inside the vectors.
            assert_eq!(unsafe { bcmp(left.as_ptr(), left.clone().as_ptr(), len) }, 0);
            for at in 0..len {
                for change in [1_u8, 0x80, 0xff] {
                    let mut right = left.clone();
                    right[at] = right[at].wrapping_add(change);
                    // SAFETY: both vectors hold `len` bytes.
                    let got = unsafe { memcmp(left.as_ptr(), right.as_ptr(), len) };
                    assert_eq!(got.signum(), left.cmp(&right) as i32, "{len} bytes, differing at {at}");
                }
            }
        }
    }
}
