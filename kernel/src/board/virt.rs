//! QEMU's ARM64 `virt` machine, for when its device tree is missing or damaged.
//!
//! QEMU's documentation asks guests to read the device tree; RAM at 1 GiB and flash and devices below it are the part it
//! promises, and the addresses here have not changed since the machine exists.

use super::{AssumedMemory, Board, GicAddresses};
use crate::machine::Uart;
use isochron_boot::{PhysAddr, PhysRange};

/// The board's short name.
pub const NAME: &str = "virt";

/// What its PL011 divides, in Hz (the machine's `apb-pclk`).
pub const UART_CLOCK_HZ: u32 = 24_000_000;

const fn range(start: usize, bytes: usize) -> PhysRange {
    PhysRange::with_len(PhysAddr::new(start), bytes)
}

/// All that is known without being told. How many CPUs there are, and how much RAM, is not.
pub const BOARD: Board = Board {
    name: NAME,
    memory: AssumedMemory::FromImage(32 << 20),
    reserved: &[],
    cpus: &[],
    gic: GicAddresses {
        distributor: range(0x0800_0000, 0x1_0000),
        cpu_interface: range(0x0801_0000, 0x1_0000),
        // One frame of 128 KiB for each of up to 123 CPUs.
        redistributors: Some(range(0x080a_0000, 0xf6_0000)),
    },
    uart: Uart::Pl011 { base: PhysAddr::new(0x0900_0000) },
    timer_irq: 27,
    timer_hz: 62_500_000,
};
