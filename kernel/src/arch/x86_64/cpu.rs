//! This CPU: its block in `gs`, its control registers, waiting.

use super::descriptors::{self, Tables};
pub use super::frame_pointer::frame_pointer;
use super::io;
use crate::cpu::PerCpu;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32};

/// `IA32_GS_BASE`.
const GS_BASE: u32 = 0xc000_0101;
/// AMD's `DE_CFG`: bit 1 makes `lfence` wait for all earlier instructions.
const AMD_DE_CFG: u32 = 0xc001_1029;

/// `PG | WP | NE | ET | MP | PE`.
const CR0: u64 = 0x8001_0033;
/// `PAE | MCE | PGE | OSFXSR | OSXMMEXCPT`. `OSXSAVE` stays off: there are no AVX registers for a switch to lose.
const CR4: u64 = 0x6e0;

/// What the port keeps for each CPU.
pub struct PerCpuArch {
    /// Descriptor table and task state.
    pub(super) tables: UnsafeCell<Tables>,
    /// Tops of the stacks for exceptions, NMIs, and what is beyond repair. 0: the primary's static ones.
    pub(super) fault_stack: Cell<usize>,
    /// The same for page faults, until it is clear whether they go back.
    pub(super) page_fault_stack: Cell<usize>,
    pub(super) nmi_stack: Cell<usize>,
    pub(super) fatal_stack: Cell<usize>,
    /// Ticks the timer is armed for; `u64::MAX`: for nothing.
    pub(super) deadline: Cell<u64>,
    /// The next NMI means "halt".
    pub(super) stop_by_nmi: AtomicBool,
}

impl PerCpuArch {
    /// Of a CPU that is off.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "const")]
    pub const fn new() -> Self {
        Self {
            tables: UnsafeCell::new(Tables::new()),
            fault_stack: Cell::new(0),
            page_fault_stack: Cell::new(0),
            nmi_stack: Cell::new(0),
            fatal_stack: Cell::new(0),
            deadline: Cell::new(u64::MAX),
            stop_by_nmi: AtomicBool::new(false),
        }
    }
}

const _: () = assert!(offset_of!(PerCpu, self_ptr) == 0 && offset_of!(PerCpu, current_thread) == 8);

/// Sets the register that finds this CPU's block.
///
/// # Safety
/// The block is this CPU's, published, and lives for ever.
pub unsafe fn set_per_cpu(cpu: *const PerCpu) {
    // SAFETY: the caller's promise; every x86-64 CPU has the register, and the address is canonical.
    unsafe { io::write_msr(GS_BASE, cpu as u64) }
}

/// This CPU's block; null before it is set (the boot code points `gs` at a word of zeroes).
#[inline(always)]
#[must_use]
pub fn per_cpu() -> *const PerCpu {
    let cpu;
    // SAFETY: `gs` points at the boot code's empty block or at a `PerCpu`, whose first word is its address. Not `pure`:
    // a thread may go on elsewhere.
    unsafe { asm!("mov {}, gs:[0]", out(reg) cpu, options(readonly, nostack, preserves_flags)) }
    cpu
}

/// The running thread, by one instruction.
#[inline(always)]
#[must_use]
pub fn current_thread() -> *mut () {
    let thread;
    // SAFETY: as in `per_cpu`; the offset is checked above.
    unsafe { asm!("mov {}, gs:[8]", out(reg) thread, options(readonly, nostack, preserves_flags)) }
    thread
}

/// Sets the running thread.
///
/// # Safety
/// Interrupts are masked, and it is what runs next on this CPU.
#[inline(always)]
pub unsafe fn set_current_thread(thread: *mut ()) {
    // SAFETY: `gs` points at this CPU's block, whose second word this is; nobody else writes it.
    unsafe { asm!("mov gs:[8], {}", in(reg) thread, options(nostack, preserves_flags)) }
}

/// Control registers, descriptor tables, interrupt vectors. Interrupts stay masked.
///
/// # Safety
/// `cpu` is this CPU's block and `gs` points at it; called once on each CPU; the primary is first.
pub unsafe fn init_this_cpu(cpu: &'static PerCpu) {
    // SAFETY: paging, long mode and SSE stay as the boot code set them; global pages come on. The rest is the caller's
    // promise.
    unsafe {
        asm!("mov cr0, {}", in(reg) CR0, options(nostack));
        asm!("mov cr4, {}", in(reg) CR4, options(nostack));
        descriptors::init_this_cpu(cpu);
    }
    make_lfence_serialise();
}

/// On AMD's CPUs `lfence` orders `rdtsc` only if a bit says so; newer ones have it always (AMD APM vol. 2, 3.2.4 and
/// CPUID 0x8000_0021 EAX bit 2). Under a hypervisor the bit is the host's business.
fn make_lfence_serialise() {
    let vendor = __cpuid(0);
    let is_amd = (vendor.ebx, vendor.edx, vendor.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163);
    if !is_amd || has_hypervisor() {
        return;
    }
    let is_always = __cpuid(0x8000_0000).eax >= 0x8000_0021 && __cpuid(0x8000_0021).eax & 1 << 2 != 0;
    // The extended family is added from 0xf on: the register is there from 0x10 on.
    let has_register = __cpuid(1).eax >> 20 & 0xff >= 1;
    if !is_always && has_register {
        // SAFETY: the register exists on these families; the bit only makes `lfence` stricter.
        unsafe { io::write_msr(AMD_DE_CFG, io::read_msr(AMD_DE_CFG) | 1 << 1) }
    }
}

/// Whether a hypervisor says that it is there (CPUID 1 ECX bit 31).
pub(super) fn has_hypervisor() -> bool {
    __cpuid(1).ecx & 1 << 31 != 0
}

/// This CPU's APIC id, as in the MADT.
#[must_use]
pub fn hardware_id() -> u64 {
    isochron_boot::x86_64::apic_id()
}

/// Has the line of an address fetched, for writing. A hint: any address will do.
#[inline(always)]
pub fn prefetch(addr: usize) {
    // SAFETY: a hint, which reads nothing as far as the program can tell.
    unsafe { asm!("prefetchw [{}]", in(reg) addr, options(nostack, preserves_flags, readonly)) };
}

/// Tells the CPU that it spins.
#[inline(always)]
pub fn spin_hint() {
    core::hint::spin_loop();
}

/// How often a parking thread's stay on its CPU is prolonged, if nobody else wants that: not at all, as a wake-up by way of
/// the worker loop costs little more.
pub const LONGER_STAYS: u32 = 0;

/// Whether this CPU may watch a word without keeping another from running.
#[must_use]
pub fn has_own_core() -> bool {
    true
}

/// Waits until `word` may have changed from `seen`; returns after a moment in any case.
///
/// Not by `MWAIT`: it ends with an interrupt or a store only, so a bound on it would cost an interrupt.
#[inline(always)]
pub fn wait_for_store(_word: &AtomicU32, _seen: u32) {
    spin_hint();
}

/// Sleeps until an interrupt is pending, takes it, and returns masked.
///
/// No interrupt is slept over: `sti` takes effect only after the next instruction (Intel SDM vol. 2, "STI"), so one
/// that is pending wakes the `hlt`.
#[inline(always)]
pub fn wait_for_interrupt_irqoff() {
    // SAFETY: handlers are set up before anybody waits; masked again behind the wait. No `nomem`: handlers write memory.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}

/// Masks everything and sleeps for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: taking no interrupts and sleeping touches nothing; an NMI wakes it into the loop again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) }
    }
}

/// Writes the CPU's brand string, or its vendor where it has none.
pub fn describe(out: &mut dyn core::fmt::Write) {
    let mut text = [0_u8; 48];
    let leaves = if __cpuid(0x8000_0000).eax >= 0x8000_0004 { 0x8000_0002..=0x8000_0004 } else { 0..=0 };
    for (leaf, place) in leaves.clone().zip(text.chunks_exact_mut(16)) {
        let words = __cpuid_count(leaf, 0);
        let order =
            if leaf == 0 { [words.ebx, words.edx, words.ecx, 0] } else { [words.eax, words.ebx, words.ecx, words.edx] };
        for (word, bytes) in order.iter().zip(place.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let _ = out.write_str(core::str::from_utf8(text).unwrap_or("x86-64").trim());
}
