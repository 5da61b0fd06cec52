//! The way of a secondary CPU from real mode, below 1 MiB, to the image's 64-bit code.
//!
//! A start-up IPI makes a CPU begin at a page below 1 MiB in real mode. The page holds a copy of the code here and what
//! it needs: a descriptor table and the root of a small set of page tables, which show the first 2 MiB where they are
//! (for the switch) and the image where the kernel has it. The final tables cannot serve: nothing is mapped low there,
//! and their root may lie beyond what 32 bits reach.
//!
//! CPUs go through here at the same time, so nothing here is per CPU: in the image, a CPU finds its own [`Slot`] by its
//! APIC id, and takes tables, stack and block from it.

use super::paging;
use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_boot::layout::{MAX_CPUS, PAGE_SIZE, direct_map};
use isochron_boot::{PhysAddr, PhysRange};

/// What one CPU needs on its way.
#[repr(C, align(64))]
pub struct Slot {
    /// Its APIC id + 1; 0: the slot is not in use.
    id: UnsafeCell<u64>,
    root: UnsafeCell<u64>,
    stack: UnsafeCell<u64>,
    cpu: UnsafeCell<u64>,
    /// How far it is: see `smp`.
    pub phase: core::sync::atomic::AtomicU32,
}

// SAFETY: the cells are written by the primary before the CPU is told to start, and read by that CPU afterwards.
unsafe impl Sync for Slot {}

impl Slot {
    const fn new() -> Self {
        Self {
            id: UnsafeCell::new(0),
            root: UnsafeCell::new(0),
            stack: UnsafeCell::new(0),
            cpu: UnsafeCell::new(0),
            phase: core::sync::atomic::AtomicU32::new(0),
        }
    }

    /// The block of the CPU that the slot is for.
    pub fn cpu(&self) -> *const crate::cpu::PerCpu {
        // SAFETY: written before the CPU was started, which is the only caller.
        unsafe { self.cpu.get().read() as *const _ }
    }
}

/// The slots, by logical CPU number.
static SLOTS: [Slot; MAX_CPUS] = [const { Slot::new() }; MAX_CPUS];

#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; 512]>);

// SAFETY: written by the primary before the first secondary CPU starts.
unsafe impl Sync for Table {}

impl Table {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; 512]))
    }
}

static ROOT: Table = Table::new();
static LOW: Table = Table::new();
static LOW_PAGES: Table = Table::new();

/// The page below 1 MiB; 0: there is none.
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Present, writable; and 2 MiB large.
const TABLE: u64 = 0x3;
const PAGE_2M: u64 = 0x83;
/// The end of memory below the video adapter's.
const LOW_END: usize = 0xa_0000;

/// Picks the highest free page below 640 KiB, which the caller reserves.
pub fn choose_page(memory: &[PhysRange], reserved: &[PhysRange]) -> Option<PhysRange> {
    // Page 0 holds the BIOS's vectors, and is no page for a start-up IPI's sake: 0 stands for "none".
    let page = (1..LOW_END / PAGE_SIZE).rev().map(|page| PhysAddr::new(page * PAGE_SIZE)).find_map(|start| {
        let page = PhysRange::with_len(start, PAGE_SIZE);
        let is_ram = memory.iter().any(|ram| ram.start <= page.start && page.end <= ram.end);
        (is_ram && !reserved.iter().any(|taken| taken.overlaps(page))).then_some(page)
    })?;
    PAGE.store(page.start.as_usize(), Ordering::Relaxed);
    Some(page)
}

unsafe extern "C" {
    static isochron_trampoline: u8;
    static isochron_trampoline_end: u8;
    static isochron_trampoline_data: u8;
    fn isochron_secondary_long();
}

/// What the code in the page reads, at its end.
#[repr(C, packed)]
struct Data {
    /// Limit and address of the descriptor table in the page.
    gdt_limit: u16,
    gdt: u32,
    /// Where 64-bit code begins, and its segment.
    long: u32,
    long_segment: u16,
    root: u32,
    entry: u64,
}

/// Copies the code to its page and fills the small tables. The answer is the start-up IPI's vector.
///
/// # Safety
/// Once, on the primary CPU, with the final tables active.
pub unsafe fn prepare() -> Option<u8> {
    let page = PAGE.load(Ordering::Relaxed);
    if page == 0 {
        return None;
    }
    let physical = |table: &Table| {
        crate::memory::translate(isochron_boot::VirtAddr::new(table.0.get() as usize)).map(|found| found.addr)
    };
    let (root, low, low_pages) = (physical(&ROOT)?, physical(&LOW)?, physical(&LOW_PAGES)?);
    let start = &raw const isochron_trampoline;
    let len = &raw const isochron_trampoline_end as usize - start as usize;
    let data_at = &raw const isochron_trampoline_data as usize - start as usize;
    let to = direct_map(PhysAddr::new(page)).as_mut_ptr::<u8>();
    // SAFETY: the page is reserved RAM in the direct map; the tables are not in use yet; the active root is a page of
    // memory in the direct map.
    unsafe {
        let image_entry = direct_map(paging::root()).as_mut_ptr::<u64>().add(511).read();
        ROOT.0.get().cast::<u64>().write(low.as_u64() | TABLE);
        ROOT.0.get().cast::<u64>().add(511).write(image_entry);
        LOW.0.get().cast::<u64>().write(low_pages.as_u64() | TABLE);
        LOW_PAGES.0.get().cast::<u64>().write(PAGE_2M);
        to.copy_from_nonoverlapping(start, len);
        let code = &raw const isochron_trampoline_gdt as usize - start as usize;
        let long = &raw const isochron_trampoline_long as usize - start as usize;
        to.add(data_at).cast::<Data>().write_unaligned(Data {
            gdt_limit: 3 * 8 - 1,
            gdt: (page + code) as u32,
            long: (page + long) as u32,
            long_segment: 0x08,
            root: u32::try_from(root.as_u64()).ok()?,
            entry: isochron_secondary_long as *const () as u64,
        });
    }
    Some((page / PAGE_SIZE) as u8)
}

unsafe extern "C" {
    static isochron_trampoline_gdt: u8;
    static isochron_trampoline_long: u8;
}

/// Fills the slot of the CPU with logical number `index`.
///
/// # Safety
/// The CPU is off; `stack` and `cpu` stay its own.
pub unsafe fn fill(
    index: usize,
    apic_id: u64,
    root: u64,
    stack: usize,
    cpu: *const crate::cpu::PerCpu,
) -> &'static Slot {
    let slot = &SLOTS[index];
    // SAFETY: nobody reads the slot before the CPU starts. CPUs that look for theirs read only `id`, which is written
    // last; x86-64 keeps stores in order.
    unsafe {
        slot.root.get().write(root);
        slot.stack.get().write(stack as u64);
        slot.cpu.get().write(cpu as u64);
        slot.id.get().write_volatile(apic_id + 1);
    }
    slot
}

global_asm!(
    ".pushsection .rodata.isochron_trampoline, \"a\", @progbits",
    ".balign 16",
    ".global isochron_trampoline, isochron_trampoline_end, isochron_trampoline_data",
    ".global isochron_trampoline_gdt, isochron_trampoline_long",
    ".code16",
    "isochron_trampoline:",
    "cli",
    "cld",
    "movw %cs, %ax",
    "movw %ax, %ds",
    "lgdtl isochron_trampoline_data - isochron_trampoline",
    "movl ${cr4}, %eax",
    "movl %eax, %cr4",
    "movl isochron_trampoline_data - isochron_trampoline + 12, %eax",
    "movl %eax, %cr3",
    "movl ${efer}, %ecx",
    "rdmsr",
    "orl ${lme_nxe}, %eax",
    "wrmsr",
    // From real mode straight to long mode: protection and paging come on together.
    "movl ${cr0}, %eax",
    "movl %eax, %cr0",
    "ljmpl *(isochron_trampoline_data - isochron_trampoline + 6)",
    ".code64",
    "isochron_trampoline_long:",
    "movl $0x10, %eax",
    "movl %eax, %ds",
    "movl %eax, %es",
    "movl %eax, %ss",
    "movq isochron_trampoline_data + 16(%rip), %rax",
    "jmpq *%rax",
    ".balign 8",
    "isochron_trampoline_gdt:",
    ".quad 0",
    ".quad 0x00af9b000000ffff",
    ".quad 0x00cf93000000ffff",
    "isochron_trampoline_data:",
    ".skip {data_len}",
    "isochron_trampoline_end:",
    ".popsection",

    // In the image: the CPU finds its slot by its APIC id (CPUID leaf 0xb, or else 1, as `boot` reads the primary's).
    ".pushsection .text.isochron_secondary, \"ax\", @progbits",
    ".global isochron_secondary_long",
    "isochron_secondary_long:",
    "xorl %eax, %eax",
    "cpuid",
    "cmpl $0xb, %eax",
    "jb 2f",
    "movl $0xb, %eax",
    "xorl %ecx, %ecx",
    "cpuid",
    "movl %edx, %esi",
    "testl %ebx, %ebx",
    "jnz 3f",
    "2: movl $1, %eax",
    "cpuid",
    "movl %ebx, %esi",
    "shrl $24, %esi",
    "3: incq %rsi",
    "leaq {slots}(%rip), %rdi",
    "movl ${slot_count}, %ecx",
    "4: cmpq %rsi, (%rdi)",
    "je 5f",
    "addq ${slot_len}, %rdi",
    "decl %ecx",
    "jnz 4b",
    // Nobody asked for this CPU.
    "6: cli",
    "hlt",
    "jmp 6b",
    "5: movq 8(%rdi), %rax",
    "movq %rax, %cr3",
    "movq 16(%rdi), %rsp",
    // A descriptor table that stays mapped, and `gs` at the boot code's empty block.
    "leaq isochron_boot_gdt(%rip), %rax",
    "subq $16, %rsp",
    "movw $23, (%rsp)",
    "movq %rax, 2(%rsp)",
    "lgdt (%rsp)",
    "addq $16, %rsp",
    "xorl %eax, %eax",
    "movl %eax, %fs",
    "movl %eax, %gs",
    "leaq isochron_early_per_cpu(%rip), %rax",
    "movq %rax, %rdx",
    "shrq $32, %rdx",
    "movl ${gs_base}, %ecx",
    "wrmsr",
    "xorl %ebp, %ebp",
    "pushq %rbp",
    "jmp {secondary}",
    ".popsection",

    cr4 = const 0x620,
    cr0 = const 0x8001_0033_u32,
    efer = const 0xc000_0080_u32,
    lme_nxe = const 0x900,
    gs_base = const 0xc000_0101_u32,
    data_len = const size_of::<Data>(),
    slots = sym SLOTS,
    slot_count = const MAX_CPUS,
    slot_len = const size_of::<Slot>(),
    secondary = sym super::smp::secondary,
    options(att_syntax),
);

const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Data, long) == 6 && offset_of!(Data, root) == 12 && offset_of!(Data, entry) == 16);
    assert!(offset_of!(Slot, id) == 0 && offset_of!(Slot, root) == 8 && offset_of!(Slot, stack) == 16);
};
