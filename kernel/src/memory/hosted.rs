//! What heap, stacks and packed slots grow by in a process: the host's pages, in the same four windows.
//!
//! The windows are reserved at once, without access and so without cost; what is backed becomes accessible. The host
//! gives a page when it is first touched, so the sum that is kept here, against the machine's memory, is of addresses:
//! a limit for programs that are run with one, no promise of the host's.

use super::pieces::Pieces;
use super::shortage::{self, Supply};
use super::stack::{backed_at_first, guard_size};
use super::{OutOfMemory, heap, packed, pieces, stack};
use crate::machine::Machine;
use core::ffi::CStr;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use isochron_boot::layout::{
    CHARGED_BASE, CHARGED_SIZE, HEAP_BASE, HEAP_SIZE, PACKED_BASE, PACKED_SIZE, PAGE_SIZE, STACKS_BASE, STACKS_SIZE,
    is_charged,
};
use isochron_boot::{BootInfo, VirtAddr};

/// Guard regions of the kind that needs a mapping of its own: the host allows 65530 mappings in a process.
const MAX_SPLIT_GUARDS: usize = 30_000;
/// Makes a region a guard without a mapping of its own (Linux 6.13, `MADV_GUARD_INSTALL`).
pub(super) const GUARD_INSTALL: libc::c_int = 102;
/// Heap and stacks become accessible in pieces of so many bytes: few calls, and room for the host's large pages in the heap.
const STRIDE: usize = 64 << 20;

// Relaxed: counters. The locks of heap and stacks order what they count.
static RAM: AtomicUsize = AtomicUsize::new(0);
static BACKED: AtomicUsize = AtomicUsize::new(0);
/// Ends of what is accessible in the pieces of the window of stacks, 0 before a piece has any; under the lock of the piece.
static STACKS_ENDS: [AtomicUsize; pieces::MOST] = [const { AtomicUsize::new(0) }; pieces::MOST];
/// The same of the heap's.
static HEAP_ENDS: [AtomicUsize; pieces::MOST] = [const { AtomicUsize::new(0) }; pieces::MOST];
/// The same of what is charged to groups; under that window's lock.
static CHARGED_END: AtomicUsize = AtomicUsize::new(CHARGED_BASE);
static SPLIT_GUARDS: AtomicUsize = AtomicUsize::new(0);
static READY: AtomicBool = AtomicBool::new(false);

/// Why the memory could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitError {
    /// The host does not give the addresses.
    Window(VirtAddr),
    /// Too little memory for a heap.
    NoMemory,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window(at) => write!(f, "the host does not give the addresses from {:#x} on", at.as_usize()),
            Self::NoMemory => f.write_str("too little memory for a heap"),
        }
    }
}

/// Reserves the windows and backs the heap's first part.
///
/// # Errors
/// [`InitError`]; the machine cannot go on then.
///
/// # Safety
/// Called once, on the primary CPU.
pub unsafe fn init(_info: &BootInfo, machine: &Machine) -> Result<(), InitError> {
    RAM.store(machine.memory.iter().map(|range| range.len()).sum(), Ordering::Relaxed);
    for (base, size) in
        [(HEAP_BASE, HEAP_SIZE), (STACKS_BASE, STACKS_SIZE), (PACKED_BASE, PACKED_SIZE), (CHARGED_BASE, CHARGED_SIZE)]
    {
        // SAFETY: reserves addresses that nobody has (the host refuses otherwise), without access.
        let got = unsafe {
            libc::mmap(
                core::ptr::without_provenance_mut(base),
                size,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if got.addr() != base {
            return Err(InitError::Window(VirtAddr::new(base)));
        }
    }
    prefer_large_pages(HEAP_BASE, HEAP_SIZE);
    READY.store(true, Ordering::Relaxed);
    stack::init();
    packed::init();
    if heap::init() { Ok(()) } else { Err(InitError::NoMemory) }
}

/// Whether the memory is set up.
#[must_use]
pub fn is_ready() -> bool {
    READY.load(Ordering::Relaxed)
}

/// Whether something that can be read is at an address. Takes no lock.
///
/// The host is asked by a call that reads eight bytes there and then finds that it makes no sense.
#[must_use]
pub fn is_mapped(addr: VirtAddr) -> bool {
    const NO_SUCH_OPERATION: libc::c_int = -1;
    let at = core::ptr::without_provenance::<u64>(addr.as_usize() & !7);
    let _irq = crate::irq::IrqGuard::new();
    // SAFETY: the call changes nothing, as there is no such operation; a wrong address is an error of the call's. The
    // error number is this thread's, read right after it.
    unsafe {
        let nothing = core::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, NO_SUCH_OPERATION, at, nothing, size_of::<u64>());
        *libc::__errno_location() != libc::EFAULT
    }
}

/// Bytes of memory that the machine has.
pub(super) fn ram_bytes() -> usize {
    RAM.load(Ordering::Relaxed)
}

/// Bytes that nobody has.
pub(super) fn available() -> usize {
    ram_bytes().saturating_sub(BACKED.load(Ordering::Relaxed))
}

/// Takes bytes off what is available.
fn take(bytes: usize) -> bool {
    if shortage::refuses(Supply::Frames) {
        return false;
    }
    let limit = ram_bytes();
    let add = |backed: usize| backed.checked_add(bytes).filter(|sum| *sum <= limit);
    BACKED.try_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

/// Counts bytes that have memory again, or records of what is folded, whatever the limit.
#[cfg(not(isochron_sim))]
pub(super) fn count_in(bytes: usize) {
    BACKED.fetch_add(bytes, Ordering::Relaxed);
}

/// Counts bytes that have no memory now.
#[cfg(not(isochron_sim))]
pub(super) fn count_out(bytes: usize) {
    BACKED.fetch_sub(bytes, Ordering::Relaxed);
}

/// Whether the host can give large pages there is its own affair.
fn prefer_large_pages(from: usize, bytes: usize) {
    let _irq = crate::irq::IrqGuard::new();
    // SAFETY: pages of the windows, which are ours; what is in them stays.
    unsafe { libc::madvise(core::ptr::without_provenance_mut(from), bytes, libc::MADV_HUGEPAGE) };
}

/// Makes pages of a window accessible, which ends at `limit`, up to `end` at least, where they are so up to `opened`.
fn open_to(end: usize, opened: &AtomicUsize, limit: usize) -> bool {
    let from = opened.load(Ordering::Relaxed);
    if end <= from {
        return true;
    }
    let more = (end - from).next_multiple_of(STRIDE).min(limit - from);
    let done = open(from, more);
    if done {
        opened.store(from + more, Ordering::Relaxed);
    }
    done
}

/// Makes `bytes` bytes from `at` on accessible, in a window in pieces, of which each is so up to its end.
fn open_in(pieces: &Pieces, ends: &[AtomicUsize; pieces::MOST], at: usize, bytes: usize) -> bool {
    let (end, piece) = (&ends[pieces.of(at)], pieces.range(pieces.of(at)));
    if end.load(Ordering::Relaxed) == 0 {
        end.store(piece.start, Ordering::Relaxed);
    }
    open_to(at + bytes, end, piece.end)
}

/// Makes pages of a window accessible.
fn open(from: usize, bytes: usize) -> bool {
    // SAFETY: pages of the windows, which are ours, that nobody has used yet.
    let result =
        unsafe { libc::mprotect(core::ptr::without_provenance_mut(from), bytes, libc::PROT_READ | libc::PROT_WRITE) };
    result == 0
}

/// Backs the next bytes of the heap, or of what is charged to groups, at `at`, where `wanted` bytes are wanted. How many it was.
pub(super) fn back_heap(at: VirtAddr, wanted: usize) -> Option<usize> {
    let at = at.as_usize();
    if is_charged(at) {
        return back(wanted, |bytes| open_to(at + bytes, &CHARGED_END, CHARGED_BASE + CHARGED_SIZE));
    }
    back(wanted, |bytes| open_in(&heap::PIECES, &HEAP_ENDS, at, bytes))
}

/// As many bytes of those that are wanted as there are, if they can be opened.
fn back(wanted: usize, open: impl FnOnce(usize) -> bool) -> Option<usize> {
    let bytes = wanted.next_multiple_of(PAGE_SIZE).min(available() & !(PAGE_SIZE - 1));
    if bytes == 0 || !take(bytes) {
        return None;
    }
    if open(bytes) {
        return Some(bytes);
    }
    BACKED.fetch_sub(bytes, Ordering::Relaxed);
    None
}

/// Backs the next bytes of the packed slots at `at`, where `wanted` bytes are wanted. How many it was.
pub(super) fn back_packed(at: VirtAddr, wanted: usize) -> Option<usize> {
    let bytes = back(wanted, |bytes| open(at.as_usize(), bytes))?;
    prefer_large_pages(at.as_usize(), bytes);
    Some(bytes)
}

/// Makes a stack, or nothing, and the region below it a guard. Under the lock of the stacks.
///
/// Its top is counted; what it grows by is between it and the host, which gives a page when it is touched.
pub(super) fn make_stack(bottom: VirtAddr, bytes: usize) -> Result<(), OutOfMemory> {
    let first = backed_at_first(bytes);
    if !take(first) {
        return Err(OutOfMemory);
    }
    if !open_in(&stack::PIECES, &STACKS_ENDS, bottom.as_usize(), bytes) {
        BACKED.fetch_sub(first, Ordering::Relaxed);
        return Err(OutOfMemory);
    }
    guard_off(bottom.as_usize(), guard_size(bytes), bytes - first, bytes);
    Ok(())
}

/// The file that the one who started the process has given it for that, by a number in the environment.
pub(super) fn shared(bytes: usize) -> Option<NonNull<u8>> {
    let _irq = crate::irq::IrqGuard::new();
    // SAFETY: the C library's answer is null or a string; nobody changes the environment. A new mapping, wherever the host likes.
    let got = unsafe {
        let file = libc::getenv(c"ISOCHRON_SHARED".as_ptr());
        let file = if file.is_null() { return None } else { CStr::from_ptr(file).to_str().ok()?.parse().ok()? };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(core::ptr::null_mut(), bytes, access, libc::MAP_SHARED, file, 0)
    };
    if got == libc::MAP_FAILED { None } else { NonNull::new(got.cast()) }
}

/// Makes the region of `guard` bytes below a stack fault, and the lower part of that, `rest` of its bytes, when it is first touched.
/// Where the host cannot do it without a mapping for each, only so many have the former, and the stacks above are told apart by
/// untouched pages alone.
fn guard_off(bottom: usize, guard: usize, rest: usize, bytes: usize) {
    let region = core::ptr::without_provenance_mut(bottom - guard);
    // A simulated CPU's stack grows by nobody's leave.
    let rest = if cfg!(isochron_sim) { 0 } else { rest };
    // SAFETY: the pages below a stack belong to nobody, and those of a new one hold nothing.
    if unsafe { libc::madvise(region, guard + rest, GUARD_INSTALL) } == 0 {
        if !cfg!(isochron_sim) {
            stack::hosted::made(bottom, bottom + rest, bottom + bytes);
        }
        return;
    }
    let count = SPLIT_GUARDS.fetch_add(1, Ordering::Relaxed);
    if count < MAX_SPLIT_GUARDS {
        // SAFETY: as above. If the host refuses, the region stays as it is.
        unsafe { libc::mprotect(region, guard, libc::PROT_NONE) };
    }
}

/// The host backs it as it is used, from now on without a signal.
pub(super) fn back_all_of_stack(bottom: VirtAddr) -> Result<(), OutOfMemory> {
    if stack::hosted::back_all(bottom.as_usize()) { Ok(()) } else { Err(OutOfMemory) }
}

/// Bytes of all stacks that the host has given pages for; `used` are the parts of the window where there are some.
pub(super) fn backed_stack_bytes(used: impl Iterator<Item = core::ops::Range<usize>>) -> usize {
    used.map(|range| resident(range.start, range.end)).sum()
}

/// Bytes from `from` up to `to` that the host has in memory, as far as it tells.
pub(super) fn resident(from: usize, to: usize) -> usize {
    const PAGES: usize = 4096;
    let mut pages = [0_u8; PAGES];
    let mut count = 0;
    for at in (from..to).step_by(PAGES * PAGE_SIZE) {
        let bytes = (to - at).min(PAGES * PAGE_SIZE);
        let _irq = crate::irq::IrqGuard::new();
        // SAFETY: asks about pages of ours; there is a byte for each.
        let done = unsafe { libc::mincore(core::ptr::without_provenance_mut(at), bytes, pages.as_mut_ptr()) };
        if done == 0 {
            count += pages[..bytes / PAGE_SIZE].iter().filter(|page| **page & 1 != 0).count();
        }
    }
    count * PAGE_SIZE
}

/// The host does not say where its pages are.
pub(super) const fn node_of(_addr: VirtAddr) -> Option<u16> {
    None
}

/// Nothing is known.
pub(super) const fn origin(_cpu: &crate::cpu::PerCpu) -> super::Origin {
    super::Origin { local: 0, remote: 0 }
}
