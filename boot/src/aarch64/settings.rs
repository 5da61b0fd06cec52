//! Values of the system registers and page-table bits that boot code and kernel share.
//!
//! Names and bits: Arm ARM DDI 0487, D19.2 (system registers) and D8.3 (VMSAv8-64 descriptors).

/// `SCTLR_EL1` with everything off: its RES1 bits (LSMAOE, nTLSMD, SPAN, EIS, TSCXT, EOS), little-endian.
pub const SCTLR_OFF: u64 = 1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11;
/// `SCTLR_EL1` as the kernel runs: MMU (M), data cache (C), stack alignment checks (SA, SA0), instruction cache (I),
/// and nothing writable is executable (WXN).
pub const SCTLR_ON: u64 = SCTLR_OFF | 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 19;

/// Index in [`MAIR`] of Normal memory, inner and outer write-back.
const NORMAL: u64 = 0;
/// Index in [`MAIR`] of Device-nGnRE memory.
const DEVICE_NGNRE: u64 = 1;
/// `MAIR_EL1`: attribute 0 Normal write-back, read- and write-allocate; attribute 1 Device-nGnRE.
pub const MAIR: u64 = 0xff << (8 * NORMAL) | 0x04 << (8 * DEVICE_NGNRE);

/// `TCR_EL1` but for IPS: 48-bit addresses on both sides, 4 KiB granule, inner-shareable write-back walks.
pub const TCR: u64 = {
    const T0SZ: u64 = 16;
    const T1SZ: u64 = 16 << 16;
    const IRGN0_ORGN0: u64 = 1 << 8 | 1 << 10;
    const SH0: u64 = 3 << 12;
    const IRGN1_ORGN1: u64 = 1 << 24 | 1 << 26;
    const SH1: u64 = 3 << 28;
    const TG1_4K: u64 = 2 << 30;
    T0SZ | T1SZ | IRGN0_ORGN0 | SH0 | IRGN1_ORGN1 | SH1 | TG1_4K
};
/// `TCR_EL1.EPD0`: no walks for the lower half.
pub const TCR_EPD0: u64 = 1 << 7;
/// `TCR_EL1.EPD1`: no walks for the upper half.
pub const TCR_EPD1: u64 = 1 << 23;

/// `CPACR_EL1.FPEN`: no trap for floating point and SIMD.
pub const CPACR_FP: u64 = 3 << 20;

/// A valid leaf at level 3, and a valid table at the levels above.
pub const PAGE: u64 = 0b11;
/// A valid table descriptor at levels 0 to 2.
pub const TABLE: u64 = 0b11;
/// A valid leaf at levels 1 and 2.
pub const BLOCK: u64 = 0b01;
/// The output address of a descriptor (48 bits).
pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

const ACCESS_FLAG: u64 = 1 << 10;
const INNER_SHAREABLE: u64 = 3 << 8;
const READ_ONLY_BIT: u64 = 1 << 7;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
const WRITE_BACK: u64 = NORMAL << 2 | INNER_SHAREABLE | ACCESS_FLAG;

/// Attributes of memory that may be read and executed.
pub const TEXT: u64 = WRITE_BACK | READ_ONLY_BIT | UXN;
/// Attributes of memory that may be read.
pub const READ_ONLY: u64 = WRITE_BACK | READ_ONLY_BIT | UXN | PXN;
/// Attributes of memory that may be read and written.
pub const DATA: u64 = WRITE_BACK | UXN | PXN;
/// Attributes of device registers.
pub const DEVICE: u64 = DEVICE_NGNRE << 2 | ACCESS_FLAG | UXN | PXN;

/// The PL011 of QEMU's `virt`: for the one message that cannot wait for the kernel, which knows boards
/// (`kernel/src/board`, the same address).
pub const UART_VIRT: u64 = 0x0900_0000;
/// The PL011 of a Raspberry Pi 4, for the same.
pub const UART_PI: u64 = 0xfe20_1000;
/// The part number of a Raspberry Pi 4's CPUs, Cortex-A72 (`MIDR_EL1`).
pub const PI_CPU_PART: u64 = 0xd08;
