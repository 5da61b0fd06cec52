//! From the C library's start-up to the kernel's first function.
//!
//! The program's arguments, joined by blanks, are the kernel command line; `ISOCHRON_CPUS` says how many CPUs there
//! are, `ISOCHRON_OWN_CORES` (1 or 0) whether an idle one may spin.

use super::world::MAX_CPUS;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use isochron_boot::{BootInfo, EntryLevel, Protocol};

struct HandOff(UnsafeCell<MaybeUninit<BootInfo>>);

// SAFETY: written once, by the only thread, and then the kernel's.
unsafe impl Sync for HandOff {}

static HAND_OFF: HandOff = HandOff(UnsafeCell::new(MaybeUninit::uninit()));

/// What the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: libc::c_int, arguments: *const *const libc::c_char) -> libc::c_int {
    // SAFETY: this function runs once, so nobody else has the static.
    let info = unsafe { (*HAND_OFF.0.get()).write(BootInfo::empty(Protocol::Process)) };
    info.entry_level = EntryLevel::User;
    for index in 1..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the C library passes so many strings.
        let word = unsafe { CStr::from_ptr(*arguments.add(index)) }.to_str().unwrap_or("?");
        let separator = if info.command_line.is_empty() { "" } else { " " };
        if info.command_line.push_str(separator).and_then(|()| info.command_line.push_str(word)).is_err() {
            info.command_line_cut = true;
            break;
        }
    }
    crate::init::isochron_kernel_start(info)
}

/// A number in the environment.
fn environment(name: &CStr) -> Option<usize> {
    // SAFETY: a string with its end; nobody changes the environment.
    let text = unsafe { libc::getenv(name.as_ptr()) };
    if text.is_null() {
        return None;
    }
    // SAFETY: the C library's answer is a string, which stays.
    unsafe { CStr::from_ptr(text) }.to_str().ok()?.parse().ok()
}

/// How many CPUs the machine has.
pub(super) fn cpus() -> usize {
    environment(c"ISOCHRON_CPUS").unwrap_or(1).clamp(1, MAX_CPUS)
}

/// Whether they are to believe that each has a core of its own.
pub(super) fn has_own_cores() -> bool {
    environment(c"ISOCHRON_OWN_CORES") == Some(1)
}
