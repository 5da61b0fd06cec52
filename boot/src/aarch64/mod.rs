//! ARM64: from the Linux boot protocol to the hand-off.
//!
//! | file | what |
//! | --- | --- |
//! | `entry.s` | the `Image` header, the primary's and the secondaries' first instructions |
//! | `level.s` | EL2 to EL1 |
//! | `lse.s` | what a build with LSE atomics says on a CPU without |
//! | `tables.s` | the first page tables, built with the MMU off |
//! | `mmu.s` | the MMU's switch, from the identity map |
//! | `vectors.s` | vectors that turn a probe's abort into an answer |
//! | `handoff.rs` | [`BootInfo`](crate::BootInfo) |
//! | `image.rs` | where the image lies; replacing the page tables |
//! | `secondary.rs` | what a secondary CPU needs to come up |
//! | `settings.rs` | the values of the system registers |
//!
//! Until the MMU is on, memory is Device memory to the CPU (Arm ARM DDI 0487, D8.2.8 "The effects of disabling an
//! address translation stage"): an unaligned access faults and exclusives need not work. A compiler does not
//! know that, so this part is assembly. It keeps everything in registers and writes nothing but the tables.

use core::arch::global_asm;

mod handoff;
mod image;
mod secondary;
pub mod settings;

pub use image::{image_to_phys, replace_root};
pub use secondary::{SecondaryStart, prepare_secondary};

global_asm!(
    include_str!("entry.s"),
    include_str!("level.s"),
    include_str!("lse.s"),
    include_str!("tables.s"),
    include_str!("mmu.s"),
    include_str!("vectors.s"),
    LSE = const cfg!(target_feature = "lse") as usize,
    UART_VIRT = const settings::UART_VIRT,
    UART_PI = const settings::UART_PI,
    PI_CPU_PART = const settings::PI_CPU_PART,
    SCTLR_OFF = const settings::SCTLR_OFF,
    SCTLR_ON = const settings::SCTLR_ON,
    MAIR = const settings::MAIR,
    TCR = const settings::TCR,
    TCR_EPD0 = const settings::TCR_EPD0,
    TCR_EPD1 = const settings::TCR_EPD1,
    CPACR = const settings::CPACR_FP,
    TEXT = const settings::PAGE | settings::TEXT,
    RODATA = const settings::PAGE | settings::READ_ONLY,
    DATA = const settings::PAGE | settings::DATA,
    BLOCK_DATA = const settings::BLOCK | settings::DATA,
    BLOCK_TEXT = const settings::BLOCK | settings::TEXT,
    DIRECT_MAP = const crate::layout::DIRECT_MAP_BASE,
    MAX_DEVICE_TREE = const handoff::MAX_DEVICE_TREE,
    STACK_SIZE = const 96 * 1024,
    TABLES_SIZE = const 24 * crate::layout::PAGE_SIZE,
    PROBLEM_NONE = const handoff::PROBLEM_NONE,
    PROBLEM_ABSENT = const handoff::PROBLEM_ABSENT,
    PROBLEM_ALIGNMENT = const handoff::PROBLEM_ALIGNMENT,
    PROBLEM_RANGE = const handoff::PROBLEM_RANGE,
    PROBLEM_ABORT = const handoff::PROBLEM_ABORT,
    PROBLEM_MAGIC = const handoff::PROBLEM_MAGIC,
    PROBLEM_SIZE = const handoff::PROBLEM_SIZE,
    PROBLEM_OVERLAP = const handoff::PROBLEM_OVERLAP,
    SLOTS = sym secondary::SLOTS,
    SLOT_SIZE = const size_of::<secondary::Slot>(),
    SLOTS_USED = sym secondary::USED,
);

/// This CPU's number: the affinity fields of `MPIDR_EL1` (Arm ARM D19.2.100).
#[must_use]
pub fn hardware_id() -> u64 {
    use aarch64_cpu::registers::{MPIDR_EL1, Readable};
    MPIDR_EL1.get() & 0xff_00ff_ffff
}
