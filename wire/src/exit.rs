//! How a guest's exit code becomes QEMU's exit status.
//!
//! ARM64 semihosting (`SYS_EXIT` with `ADP_Stopped_ApplicationExit`) hands the code over unchanged. The x86 device
//! `isa-debug-exit` turns a written value `v` into the status `(v << 1) | 1`; a guest writes its code plus
//! [`X86_OFFSET`], so that QEMU's own failure (status 1) is never taken for a guest's code. The same offset on both
//! would cost ARM64's plain codes, so the host asks the machine's architecture which rule holds.

/// The code of a guest that ended as it should.
pub const PASSED: u8 = 0;
/// The code of a guest with failed tests.
pub const FAILED: u8 = 1;
/// The code of a guest that panicked.
pub const PANIC: u8 = 101;
/// The largest code that both architectures can carry.
pub const MAX: u8 = 111;
/// What an x86-64 guest adds to its code before it writes it to the device.
pub const X86_OFFSET: u8 = 16;

/// The value an x86-64 guest writes to `isa-debug-exit` for `code`; one above [`MAX`] is sent as [`MAX`].
#[must_use]
pub const fn x86_port_value(code: u8) -> u32 {
    let code = if code > MAX { MAX } else { code };
    (code + X86_OFFSET) as u32
}

/// The guest's code behind QEMU's exit status on x86-64, or `None` if the status is QEMU's own.
#[must_use]
pub const fn x86_code(status: i32) -> Option<u8> {
    if status & 1 == 0 || status < 0 || status > 255 {
        return None;
    }
    let value = (status >> 1) as u8;
    value.checked_sub(X86_OFFSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU does with a value written to `isa-debug-exit`.
    fn device(value: u32) -> i32 {
        i32::try_from(((value << 1) | 1) & 0xff).unwrap()
    }

    #[test]
    fn x86_codes_survive() {
        for code in 0..=MAX {
            assert_eq!(x86_code(device(x86_port_value(code))), Some(code));
        }
        assert_eq!(x86_code(device(x86_port_value(255))), Some(MAX));
    }

    #[test]
    fn qemus_own_statuses_are_not_codes() {
        for status in [-1, 0, 1, 2, 3, 31, 34, 256, 1000] {
            assert_eq!(x86_code(status), None, "{status}");
        }
        assert_eq!(x86_code(33), Some(PASSED));
    }
}
