//! Where the host's cores stand that the CPUs are bound to.

use super::entry;
use crate::machine::Machine;
use crate::topology::sysfs::{self, MAX_FILE, Text};
use core::ffi::CStr;
use core::fmt;
use heapless::String;

/// The longest path.
const MAX_PATH: usize = 128;

/// Fills in what sysfs says. Each CPU has a core of its own (`cpu::pin` gives them in the same order).
pub(super) fn find(machine: &mut Machine) {
    for (cpu, host) in machine.cpus.iter_mut().zip(entry::host_cores()) {
        sysfs::place(&read, host, cpu);
    }
    sysfs::distances(&read, &mut machine.nodes);
}

/// Reads a file of sysfs; `None` if it is not there or too long. Before other CPUs run, interrupts masked.
fn read(path: fmt::Arguments<'_>) -> Option<Text> {
    let mut name = String::<MAX_PATH>::new();
    fmt::write(&mut name, format_args!("/sys/devices/system/{path}\0")).ok()?;
    let name = CStr::from_bytes_with_nul(name.as_bytes()).ok()?;
    let mut buffer = [0_u8; MAX_FILE];
    let mut len = 0;
    // SAFETY: a string with its end; the file is this function's own until it is closed.
    let file = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if file < 0 {
        return None;
    }
    let is_whole = loop {
        let rest = &mut buffer[len..];
        // SAFETY: writes at most so many bytes to where there is room for them.
        match unsafe { libc::read(file, rest.as_mut_ptr().cast(), rest.len()) } {
            // No room for more counts as too long.
            0 => break !rest.is_empty(),
            count if count > 0 => len += count as usize,
            _ => break false,
        }
    };
    // SAFETY: opened above, and not used again.
    unsafe { libc::close(file) };
    if !is_whole {
        return None;
    }
    core::str::from_utf8(&buffer[..len]).ok()?.try_into().ok()
}
