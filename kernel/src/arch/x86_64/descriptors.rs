//! Segments, the task state with its stacks, and the interrupt vectors (Intel SDM vol. 3, 3.5, 6.14, 8.7).

use super::entry;
use crate::cpu::PerCpu;
use crate::smp::EXCEPTION_STACK_SIZE;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use x86_64::VirtAddr;
use x86_64::instructions::tables::load_tss;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, instructions::segmentation::Segment, registers::segmentation as segments};

/// Bytes of a CPU's stack for NMIs: they only halt it, or are reported.
pub const NMI_STACK_SIZE: usize = 8 * 1024;
/// Bytes of a CPU's stack for what is beyond repair.
pub const FATAL_STACK_SIZE: usize = 8 * 1024;
/// Bytes of a CPU's stack for page faults that go back.
pub const PAGE_FAULT_STACK_SIZE: usize = 8 * 1024;

/// Indices in the task state's interrupt stack table. Interrupts are never nested in one another, and neither are
/// exceptions in exceptions, unless the report of one fails; but an exception may strike in an interrupt's handler, and a page fault
/// in either, by a page that is folded. A page fault that has no way back is reported on the stack of the other exceptions.
pub const IST_INTERRUPT: u16 = 0;
/// Exceptions.
pub const IST_FAULT: u16 = 1;
/// Non-maskable interrupts.
pub const IST_NMI: u16 = 2;
/// Double fault and machine check.
pub const IST_FATAL: u16 = 3;
/// Page faults, until it is clear whether they go back.
pub const IST_PAGE_FAULT: u16 = 4;

const CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);

/// One CPU's segments and task state.
pub struct Tables {
    gdt: GlobalDescriptorTable,
    tss: TaskStateSegment,
}

impl Tables {
    /// Not loaded yet.
    pub const fn new() -> Self {
        Self { gdt: GlobalDescriptorTable::new(), tss: TaskStateSegment::new() }
    }
}

struct Idt(UnsafeCell<InterruptDescriptorTable>);

// SAFETY: written once, by the primary, before any other CPU runs.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new(InterruptDescriptorTable::new()));

#[repr(C, align(16))]
struct StaticStack<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: only the primary CPU's hardware uses it, as a stack.
unsafe impl<const SIZE: usize> Sync for StaticStack<SIZE> {}

impl<const SIZE: usize> StaticStack<SIZE> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; SIZE]))
    }

    fn top(&self) -> usize {
        self.0.get() as usize + SIZE
    }
}

/// The primary's stacks: it takes exceptions before there is a heap.
static INTERRUPT_STACK: StaticStack<EXCEPTION_STACK_SIZE> = StaticStack::new();
static FAULT_STACK: StaticStack<EXCEPTION_STACK_SIZE> = StaticStack::new();
static NMI_STACK: StaticStack<NMI_STACK_SIZE> = StaticStack::new();
static FATAL_STACK: StaticStack<FATAL_STACK_SIZE> = StaticStack::new();
static PAGE_FAULT_STACK: StaticStack<PAGE_FAULT_STACK_SIZE> = StaticStack::new();

/// Loads this CPU's descriptor tables; the primary fills the vectors first.
///
/// # Safety
/// As [`super::cpu::init_this_cpu`].
pub unsafe fn init_this_cpu(cpu: &'static PerCpu) {
    let or = |told: &Cell<usize>, own: usize| {
        if told.get() == 0 {
            told.set(own);
        }
        VirtAddr::new(told.get() as u64)
    };
    // SAFETY: once on each CPU, by the caller's promise, so nobody else looks at its tables; they live as long as the
    // block, for ever. Selectors are those of the entries appended here.
    unsafe {
        let tables = &mut *cpu.arch.tables.get();
        let mut stacks = tables.tss.interrupt_stack_table;
        stacks[usize::from(IST_INTERRUPT)] = or(&cpu.exception_stack_top, INTERRUPT_STACK.top());
        stacks[usize::from(IST_FAULT)] = or(&cpu.arch.fault_stack, FAULT_STACK.top());
        stacks[usize::from(IST_NMI)] = or(&cpu.arch.nmi_stack, NMI_STACK.top());
        stacks[usize::from(IST_FATAL)] = or(&cpu.arch.fatal_stack, FATAL_STACK.top());
        stacks[usize::from(IST_PAGE_FAULT)] = or(&cpu.arch.page_fault_stack, PAGE_FAULT_STACK.top());
        tables.tss.interrupt_stack_table = stacks;
        tables.gdt.append(Descriptor::kernel_code_segment());
        let data = tables.gdt.append(Descriptor::kernel_data_segment());
        let tss = tables.gdt.append(Descriptor::tss_segment_unchecked(&raw const tables.tss));
        tables.gdt.load_unsafe();
        segments::CS::set_reg(CODE);
        segments::SS::set_reg(data);
        // `gs` is left alone: loading it would clear its base.
        asm!("mov ds, {0:e}", "mov es, {0:e}", in(reg) u32::from(data.0), options(nostack, preserves_flags));
        load_tss(tss);
        let idt = &mut *IDT.0.get();
        if cpu.id == crate::cpu::CpuId::PRIMARY {
            entry::fill(idt);
        }
        idt.load_unsafe();
    }
}
