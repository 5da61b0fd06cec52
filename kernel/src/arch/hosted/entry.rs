//! From the C library's start-up to the kernel's first function.
//!
//! The program's arguments, joined by blanks, are the kernel command line. What a machine's firmware would tell is in
//! the environment: `ISOCHRON_CPUS` (else the cores that the process may use), `ISOCHRON_MEMORY` in MiB (else the host's
//! RAM); `ISOCHRON_SHARED` is a file that is open in this process, for memory that its parent reads (`memory::shared`).

use super::{clock, cpu};
use crate::cpu::PerCpu;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::{MaybeUninit, zeroed};
use isochron_boot::layout::MAX_CPUS;
use isochron_boot::{BootInfo, EntryLevel, Protocol};

/// Where `gs` points before the primary's block is there: all zeroes, so interrupts are masked, and there is no block.
#[repr(C, align(128))]
struct NoCpu(UnsafeCell<[u8; size_of::<PerCpu>()]>);

// SAFETY: only the first thread uses it, before there are others.
unsafe impl Sync for NoCpu {}

static NO_CPU: NoCpu = NoCpu(UnsafeCell::new([0; size_of::<PerCpu>()]));

struct HandOff(UnsafeCell<MaybeUninit<BootInfo>>);

// SAFETY: written once, by the first thread, and then the kernel's.
unsafe impl Sync for HandOff {}

static HAND_OFF: HandOff = HandOff(UnsafeCell::new(MaybeUninit::uninit()));

/// What the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: libc::c_int, arguments: *const *const libc::c_char) -> libc::c_int {
    let ticks = clock::ticks();
    // SAFETY: a block of zeroes of the right size, for ever.
    unsafe { cpu::set_per_cpu(NO_CPU.0.get().cast()) };
    // SAFETY: this function runs once, so nobody else has the static.
    let info = unsafe { (*HAND_OFF.0.get()).write(BootInfo::empty(Protocol::Process)) };
    info.entry_ticks = ticks;
    info.entry_level = EntryLevel::User;
    for index in 1..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the C library passes so many strings.
        let word = unsafe { CStr::from_ptr(*arguments.add(index)) };
        let separator = if info.command_line.is_empty() { "" } else { " " };
        // Whole words only: half a word could mean something else.
        let word = word.to_str().unwrap_or("?");
        if info.command_line.len() + separator.len() + word.len() > info.command_line.capacity() {
            info.command_line_cut = true;
            break;
        }
        let _ = info.command_line.push_str(separator);
        let _ = info.command_line.push_str(word);
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
    unsafe { CStr::from_ptr(text) }.to_str().ok()?.parse().ok().filter(|number| *number > 0)
}

/// The cores that the process was given when it began.
pub(super) fn host_cores() -> impl Iterator<Item = usize> {
    let set = CORES.call_once(|| {
        // SAFETY: a set of zeroes is an empty one; the call fills it.
        unsafe {
            let mut set: libc::cpu_set_t = zeroed();
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set);
            set
        }
    });
    // SAFETY: the number is below the set's size.
    (0..libc::CPU_SETSIZE as usize).filter(move |core| unsafe { libc::CPU_ISSET(*core, set) })
}

/// Asked once: binding a thread changes what the host answers.
static CORES: spin::Once<libc::cpu_set_t> = spin::Once::new();

/// How many CPUs the machine has.
pub(super) fn cpus() -> usize {
    environment(c"ISOCHRON_CPUS").unwrap_or_else(|| host_cores().count()).clamp(1, MAX_CPUS)
}

/// How much memory the machine has.
pub(super) fn memory_bytes() -> usize {
    // SAFETY: asks for numbers.
    let host = || unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    match environment(c"ISOCHRON_MEMORY") {
        Some(mib) => mib.saturating_mul(1 << 20),
        None => {
            let (pages, size) = host();
            usize::try_from(pages).unwrap_or(0).saturating_mul(usize::try_from(size).unwrap_or(0)).max(64 << 20)
        }
    }
}
