//! Raspberry Pi 4 Model B (BCM2711), for when the firmware passes no device tree.
//!
//! Addresses: BCM2711 ARM Peripherals, 1.2 (low peripheral mode) and 6.1 (GIC-400). Secondaries: the firmware's stub keeps
//! them in a loop on the four words from 0xd8.

use super::{AssumedMemory, Board, GicAddresses};
use crate::machine::{CpuDescription, StartMethod, Uart};
use isochron_boot::{PhysAddr, PhysRange};

/// The board's short name.
pub const NAME: &str = "raspi4b";

/// `MIDR_EL1` part number of its CPU, the Cortex-A72.
pub const CPU_PART: u64 = 0xd08;

/// The frequency of its crystal, which the counter ticks at, in Hz.
pub const CRYSTAL_HZ: u32 = 54_000_000;

/// What the PL011's and the mini UART's divisors divide unless `config.txt` says otherwise, in Hz.
pub const UART_CLOCK_HZ: u32 = 48_000_000;

const fn cpu(index: u64) -> CpuDescription {
    CpuDescription::unplaced(index, StartMethod::SpinTable { release: PhysAddr::new(0xd8 + 8 * index as usize) })
}

const fn range(start: usize, bytes: usize) -> PhysRange {
    PhysRange::with_len(PhysAddr::new(start), bytes)
}

/// All that is known without being told.
pub const BOARD: Board = Board {
    name: NAME,
    // Every model has 1 GiB or more; the graphics processor takes at most the upper half of the first (`gpu_mem`).
    memory: AssumedMemory::Fixed(range(0, 512 << 20)),
    // The firmware's stub, with the loop and the words that the other CPUs watch.
    reserved: &[range(0, 0x1000)],
    cpus: &[cpu(0), cpu(1), cpu(2), cpu(3)],
    gic: GicAddresses {
        distributor: range(0xff84_1000, 0x1000),
        cpu_interface: range(0xff84_2000, 0x2000),
        redistributors: None,
    },
    uart: Uart::Pl011 { base: PhysAddr::new(0xfe20_1000) },
    timer_irq: 27,
    timer_hz: CRYSTAL_HZ,
};
