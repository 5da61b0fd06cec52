//! Clocks of known frequency that the TSC is measured against: the HPET and the PIT.

use super::io;
use crate::machine::Machine;
use isochron_boot::VirtAddr;
use isochron_boot::layout::direct_map;

/// Femtoseconds in a second.
pub const FS_PER_SECOND: u64 = 1_000_000_000_000_000;
/// What the PIT counts in a second.
const PIT_HZ: u64 = 1_193_182;
/// The longest period that an HPET may have (its specification, 2.3.4).
const HPET_LONGEST_PERIOD_FS: u32 = 100_000_000;

/// A clock of known frequency.
pub trait Reference {
    /// Its count now, going up, modulo `self.modulus()`.
    fn count(&self) -> u64;
    /// A power of two.
    fn modulus(&self) -> u64;
    /// Femtoseconds in a count, times 1000.
    fn period_as_fs_thousandths(&self) -> u128;
}

/// The high-precision event timer's main counter, its lower 32 bits.
pub struct Hpet {
    base: VirtAddr,
    period_fs: u32,
}

impl Hpet {
    const PERIOD: usize = 0x04;
    const CONFIGURATION: usize = 0x10;
    const COUNTER: usize = 0xf0;
    const ENABLE: u32 = 1;

    /// Sees that it runs; `None` if there is none that makes sense.
    pub fn start(machine: &Machine) -> Option<Self> {
        let mut hpet = Self { base: direct_map(machine.hpet?), period_fs: 0 };
        hpet.period_fs = hpet.read(Self::PERIOD);
        if hpet.period_fs == 0 || hpet.period_fs > HPET_LONGEST_PERIOD_FS {
            return None;
        }
        let configuration = hpet.read(Self::CONFIGURATION);
        if configuration & Self::ENABLE == 0 {
            let register = VirtAddr::new(hpet.base.as_usize() + Self::CONFIGURATION);
            // SAFETY: discovery had the registers mapped; a counter that runs disturbs nobody: no comparator is used.
            unsafe { register.as_mut_ptr::<u32>().write_volatile(configuration | Self::ENABLE) };
        }
        Some(hpet)
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: discovery had the registers mapped; reading them changes nothing.
        unsafe { VirtAddr::new(self.base.as_usize() + register).as_mut_ptr::<u32>().read_volatile() }
    }
}

impl Reference for Hpet {
    fn count(&self) -> u64 {
        u64::from(self.read(Self::COUNTER))
    }

    fn modulus(&self) -> u64 {
        1 << 32
    }

    fn period_as_fs_thousandths(&self) -> u128 {
        u128::from(self.period_fs) * 1000
    }
}

/// The 8254's channel 2, which nobody else uses and whose gate is at hand (Intel 8254 data sheet).
pub struct Pit;

impl Pit {
    const CHANNEL_2: u16 = 0x42;
    const COMMAND: u16 = 0x43;
    /// Gate in bit 0, loudspeaker in bit 1.
    const GATE: u16 = 0x61;
    /// Channel 2, both bytes, mode 2: counts down from 65536 over and over.
    const MODE: u8 = 0b1011_0100;
    /// Hold channel 2's count for reading.
    const LATCH: u8 = 0b1000_0000;

    /// Lets it run. Whether there is one shows when it counts.
    pub fn start() -> Self {
        // SAFETY: the PIT's ports, or nobody's. Channel 2 drives only the loudspeaker, which is switched off.
        unsafe {
            io::out_u8(Self::GATE, io::in_u8(Self::GATE) & !0b10 | 0b01);
            io::out_u8(Self::COMMAND, Self::MODE);
            io::out_u8(Self::CHANNEL_2, 0);
            io::out_u8(Self::CHANNEL_2, 0);
        }
        Self
    }
}

impl Reference for Pit {
    fn count(&self) -> u64 {
        // SAFETY: as in `start`.
        let (low, high) = unsafe {
            io::out_u8(Self::COMMAND, Self::LATCH);
            (io::in_u8(Self::CHANNEL_2), io::in_u8(Self::CHANNEL_2))
        };
        u64::from(u16::from_le_bytes([low, high]).wrapping_neg())
    }

    fn modulus(&self) -> u64 {
        1 << 16
    }

    fn period_as_fs_thousandths(&self) -> u128 {
        u128::from(FS_PER_SECOND) * 1000 / u128::from(PIT_HZ)
    }
}
