//! The first instructions: PVH's 32-bit entry and the bootloader's 64-bit entry, up to the first Rust function.
//!
//! Both leave the same state behind: long mode, SSE on, write protection and no-execute honoured, our own descriptor
//! table, `gs` at an empty block, the boot stack, interrupts masked.
//!
//! PVH (Xen's `hvm/start_info.h` protocol) enters in 32-bit protected mode with flat segments and paging off, the
//! start info's physical address in `ebx`. The bootloader enters in long mode on page tables and a stack of its own,
//! the address of its `BootInfo` in `rdi`.

use core::arch::global_asm;

/// Bytes of the stack that the primary CPU boots on and goes on as its worker stack.
pub const BOOT_STACK_SIZE: usize = 64 * 1024;

/// `PG | WP | NE | ET | MP | PE`: paging, read-only pages bind ring 0, SSE and x87 usable (Intel SDM vol. 3, 2.5).
const CR0: u32 = 0x8001_0033;
/// `PAE | OSFXSR | OSXMMEXCPT`. `PGE` stays off until the final tables, so that a switch of tables forgets everything.
const CR4: u32 = 0x620;
/// `IA32_EFER`.
const EFER: u32 = 0xc000_0080;
/// Long mode and no-execute.
const EFER_LME_NXE: u32 = 0x900;
/// `IA32_GS_BASE`.
const GS_BASE: u32 = 0xc000_0101;
/// A table entry: present, writable.
const TABLE: u32 = 0x3;
/// A 2 MiB page: present, writable, page size.
const PAGE_2M: u32 = 0x83;
/// No-execute, in an entry's upper half.
const NX_HIGH: u32 = 0x8000_0000;

global_asm!(
    // The Xen note (type 18, XEN_ELFNOTE_PHYS32_ENTRY) that makes an ELF bootable by PVH. With an alignment of 8 QEMU
    // does not find it.
    ".pushsection .note.Xen, \"a\", @note",
    ".balign 4",
    ".global isochron_pvh_note",
    "isochron_pvh_note:",
    ".long 4, 4, 18",
    ".asciz \"Xen\"",
    ".long isochron_pvh_entry_pa",
    ".popsection",

    ".pushsection .text.boot, \"ax\", @progbits",
    ".code32",
    ".global isochron_pvh_entry",
    "isochron_pvh_entry:",
    "cli",
    "cld",
    "rdtsc",
    "mov edi, eax", // entry ticks in esi:edi, start info in ebp
    "mov esi, edx",
    "mov ebp, ebx",

    // The first 4 GiB as 2 MiB pages: four page directories side by side.
    "mov ebx, offset isochron_boot_pd_low_pa",
    "mov eax, {page_2m}",
    "mov ecx, 2048",
    "2: mov [ebx], eax",
    "add eax, 0x200000",
    "add ebx, 8",
    "dec ecx",
    "jnz 2b",
    "mov ebx, offset isochron_boot_pdpt_low_pa",
    "mov eax, offset isochron_boot_pd_low_pa",
    "or eax, {table}",
    "mov ecx, 4",
    "3: mov [ebx], eax",
    "add eax, 0x1000",
    "add ebx, 8",
    "dec ecx",
    "jnz 3b",
    // The image: entry 510 of the last 512 GiB is the first GiB again, so that BASE + p shows p.
    "mov ebx, offset isochron_boot_pdpt_high_pa",
    "mov eax, offset isochron_boot_pd_low_pa",
    "or eax, {table}",
    "mov [ebx + 510 * 8], eax",
    // Identity (for the switch), direct map (never executable), image.
    "mov ebx, offset isochron_boot_pml4_pa",
    "mov eax, offset isochron_boot_pdpt_low_pa",
    "or eax, {table}",
    "mov [ebx], eax",
    "mov [ebx + 256 * 8], eax",
    "mov dword ptr [ebx + 256 * 8 + 4], {nx_high}",
    "mov eax, offset isochron_boot_pdpt_high_pa",
    "or eax, {table}",
    "mov [ebx + 511 * 8], eax",

    "mov eax, {cr4}",
    "mov cr4, eax",
    "mov cr3, ebx",
    "mov ecx, {efer}",
    "rdmsr",
    "or eax, {lme_nxe}",
    "wrmsr",
    "mov eax, {cr0}",
    "mov cr0, eax",

    // Compatibility mode now; a far return into the 64-bit segment.
    "mov esp, offset isochron_boot_stack_top_pa",
    "sub esp, 8",
    "mov word ptr [esp], {gdt_limit}",
    "mov dword ptr [esp + 2], offset isochron_boot_gdt_pa",
    "lgdt [esp]",
    "mov eax, 0x08",
    "push eax",
    "mov eax, offset isochron_pvh_long_pa",
    "push eax",
    "retf",

    ".code64",
    ".global isochron_pvh_long",
    "isochron_pvh_long:",
    "movabs rax, offset isochron_pvh_high",
    "jmp rax",
    "isochron_pvh_high:",
    "lea rsp, [rip + isochron_boot_stack_top]",
    "mov eax, edi",
    "shl rsi, 32",
    "or rsi, rax",
    "mov edi, ebp",
    "call isochron_boot_cpu_state",
    "jmp {pvh_start}",

    ".global isochron_bootloader_entry",
    "isochron_bootloader_entry:",
    "cli",
    "cld",
    "rdtsc",
    "shl rdx, 32",
    "lea rsi, [rdx + rax]",
    // Every bit of the two registers as this kernel wants it, whatever a firmware left: above all OSFXSR, which BIOS
    // leaves clear, and PGE, which would keep translations across the switch of tables.
    "mov eax, {cr0}",
    "mov cr0, rax",
    "mov eax, {cr4}",
    "mov cr4, rax",
    "mov ecx, {efer}",
    "rdmsr",
    "or eax, {lme_nxe}",
    "wrmsr",
    "lea rsp, [rip + isochron_boot_stack_top]",
    "call isochron_boot_cpu_state",
    "jmp {bootloader_start}",

    // Our descriptor table, flat data segments, `gs` at an empty block, an ended frame-pointer chain. Keeps rdi, rsi.
    // Returns to its caller by a far return, for the code segment; the stack is 8 bytes off a multiple of 16
    // afterwards, as a function expects it at its entry.
    "isochron_boot_cpu_state:",
    "pop r8",
    "lea rax, [rip + isochron_boot_gdt]",
    "sub rsp, 16",
    "mov word ptr [rsp], {gdt_limit}",
    "mov [rsp + 2], rax",
    "lgdt [rsp]",
    "add rsp, 16",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov fs, eax",
    "mov gs, eax",
    "lea rax, [rip + isochron_early_per_cpu]",
    "mov rdx, rax",
    "shr rdx, 32",
    "mov ecx, {gs_base}",
    "wrmsr",
    "xor ebp, ebp",
    "push rbp",
    "push 0x08",
    "push r8",
    "retfq",

    // Moves the image to where the tables under the root `rcx` show it: copies `rdx` words from `rsi` to `rdi` and
    // switches. Nothing is written between the copy and the switch, so that the copy is exact, this stack included.
    ".global isochron_boot_relocate",
    "isochron_boot_relocate:",
    "mov rax, rcx",
    "mov rcx, rdx",
    "rep movsq",
    "mov cr3, rax",
    "ret",

    ".balign 8",
    ".global isochron_boot_gdt",
    "isochron_boot_gdt:",
    // Marked as accessed: the CPU would write the mark, and the table is read-only.
    ".quad 0",
    ".quad 0x00af9b000000ffff", // code, ring 0, 64 bits
    ".quad 0x00cf93000000ffff", // data, ring 0
    ".popsection",

    ".pushsection .bss.boot, \"aw\", @nobits",
    ".balign 4096",
    ".global isochron_boot_pml4, isochron_boot_pdpt_low, isochron_boot_pdpt_high, isochron_boot_pd_low",
    "isochron_boot_pml4: .skip 4096",
    "isochron_boot_pdpt_low: .skip 4096",
    "isochron_boot_pdpt_high: .skip 4096",
    "isochron_boot_pd_low: .skip 4 * 4096",
    ".global isochron_boot_pd_image",
    "isochron_boot_pd_image: .skip 4096",
    ".global isochron_boot_stack_top, isochron_early_per_cpu",
    ".skip {stack_size}",
    "isochron_boot_stack_top:",
    // What `gs` shows before the kernel sets it: no block, no thread.
    "isochron_early_per_cpu: .skip 64",
    ".popsection",

    page_2m = const PAGE_2M,
    table = const TABLE,
    nx_high = const NX_HIGH,
    cr0 = const CR0,
    cr4 = const CR4,
    efer = const EFER,
    lme_nxe = const EFER_LME_NXE,
    gs_base = const GS_BASE,
    gdt_limit = const 3 * 8 - 1,
    stack_size = const BOOT_STACK_SIZE,
    pvh_start = sym super::pvh::start,
    bootloader_start = sym super::bootloader::start,
);
