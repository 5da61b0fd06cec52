//! GICv2 (IHI 0048B), GIC-400 included.

use super::{priorities, read, write};

// Distributor (IHI 0048B, 4.1.2).
const GICD_CTLR: usize = 0x000;
const GICD_TYPER: usize = 0x004;
const GICD_ISENABLER: usize = 0x100;
const GICD_ICENABLER: usize = 0x180;
const GICD_ICPENDR: usize = 0x280;
const GICD_IPRIORITYR: usize = 0x400;
const GICD_ITARGETSR: usize = 0x800;
const GICD_SGIR: usize = 0xf00;

// CPU interface (4.1.3).
const GICC_CTLR: usize = 0x000;
const GICC_PMR: usize = 0x004;
const GICC_BPR: usize = 0x008;
const GICC_IAR: usize = 0x00c;
const GICC_EOIR: usize = 0x010;

/// The interrupt's number in what [`acknowledge`] answers; above it stands the sender.
pub(super) const ID: u32 = 0x3ff;

/// All shared interrupts off, the distributor on.
pub(super) unsafe fn init_distributor(base: usize) {
    // SAFETY: the caller's; registers of the distributor.
    unsafe {
        write(base, GICD_CTLR, 0);
        let banks = (read(base, GICD_TYPER) & 0x1f) as usize + 1;
        for bank in 1..banks {
            write(base, GICD_ICENABLER + 4 * bank, u32::MAX);
        }
        // Bit 0 is the group that non-secure code sees; bit 1 the other, where there is no security extension.
        write(base, GICD_CTLR, 0b11);
    }
}

/// This CPU's private interrupts and its interface. The answer: its bit in `GICD_SGIR`.
pub(super) unsafe fn init_this_cpu(distributor: usize, interface: usize, private: u32) -> u64 {
    // SAFETY: the caller's; the first bank of each register is this CPU's own.
    unsafe {
        write(distributor, GICD_ICENABLER, u32::MAX);
        write(distributor, GICD_ICPENDR, u32::MAX);
        for word in 0..8 {
            write(distributor, GICD_IPRIORITYR + 4 * word, priorities());
        }
        write(distributor, GICD_ISENABLER, private);
        write(interface, GICC_PMR, 0xff);
        write(interface, GICC_BPR, 0);
        // EOImode 0: the end of an interrupt is one write.
        write(interface, GICC_CTLR, 1);
        // The private interrupts' targets read as this CPU's own bit (4.3.12); on a GIC for one CPU as 0. Which of the
        // fields are there is the implementation's choice.
        let word = (0..8).map(|word| read(distributor, GICD_ITARGETSR + 4 * word)).fold(0, |all, word| all | word);
        let own = word.to_ne_bytes().iter().fold(0, |all, byte| all | byte);
        u64::from(if own == 0 { 1 } else { own }) << 16
    }
}

#[inline(always)]
pub(in super::super) fn send(distributor: usize, target: u64, id: u32) {
    // SAFETY: `distributor` is that of `init_primary`. The write generates an interrupt and has no other effect.
    unsafe { write(distributor, GICD_SGIR, target as u32 | id) }
}

#[inline(always)]
pub(super) fn acknowledge(interface: usize) -> u32 {
    // SAFETY: `interface` is that of `init_primary`; the vectors call this in interrupt context.
    unsafe { read(interface, GICC_IAR) }
}

#[inline(always)]
pub(super) fn end(interface: usize, taken: u32) {
    // SAFETY: as above; `taken` is what `acknowledge` answered.
    unsafe { write(interface, GICC_EOIR, taken) }
}
