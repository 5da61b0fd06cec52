//! GICv3 (IHI 0069), through system registers; a GICv4 is one.

use super::{priorities, read, read64, registers, wait_clear, write};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_boot::PhysRange;

// Distributor (IHI 0069H, 12.8).
const GICD_CTLR: usize = 0x0000;
const GICD_TYPER: usize = 0x0004;
const GICD_ICENABLER: usize = 0x0180;
/// `GICD_CTLR`: a register write is pending; affinity routing; groups 1 and 0 (bits 1 and 0, whichever view this is).
const RWP: u32 = 1 << 31;
const ARE: u32 = 1 << 4;
const GROUPS: u32 = 0b11;

// Redistributor (12.10): a frame for control, then one for private interrupts.
const GICR_CTLR: usize = 0x0000;
const GICR_TYPER: usize = 0x0008;
const GICR_WAKER: usize = 0x0014;
const SGI_FRAME: usize = 0x1_0000;
const GICR_IGROUPR0: usize = SGI_FRAME + 0x0080;
const GICR_ISENABLER0: usize = SGI_FRAME + 0x0100;
const GICR_ICENABLER0: usize = SGI_FRAME + 0x0180;
const GICR_ICPENDR0: usize = SGI_FRAME + 0x0280;
const GICR_IPRIORITYR: usize = SGI_FRAME + 0x0400;
const GICR_IGRPMODR0: usize = SGI_FRAME + 0x0d00;
/// `GICR_TYPER.Last` and `.VLPIS`: the region's last; two more frames for virtual LPIs.
const LAST: u64 = 1 << 4;
const VLPIS: u64 = 1 << 1;
/// `GICR_WAKER.ProcessorSleep` and `.ChildrenAsleep`.
const PROCESSOR_SLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;

/// Redistributor regions: start and bytes.
static REGIONS: [(AtomicUsize, AtomicUsize); 8] = [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 8];

/// All shared interrupts off, the distributor on with affinity routing.
pub(super) unsafe fn init_distributor(base: usize, redistributors: &[PhysRange]) {
    for (slot, region) in REGIONS.iter().zip(redistributors) {
        // Relaxed: other CPUs are started later.
        slot.0.store(registers(*region), Ordering::Relaxed);
        slot.1.store(region.len(), Ordering::Relaxed);
    }
    // SAFETY: the caller's; registers of the distributor.
    unsafe {
        write(base, GICD_CTLR, 0);
        wait_clear(base, GICD_CTLR, RWP);
        let banks = (read(base, GICD_TYPER) & 0x1f) as usize + 1;
        for bank in 1..banks {
            write(base, GICD_ICENABLER + 4 * bank, u32::MAX);
        }
        wait_clear(base, GICD_CTLR, RWP);
        // Affinity routing first, with the groups off (12.9.4, ARE).
        write(base, GICD_CTLR, ARE);
        write(base, GICD_CTLR, ARE | GROUPS);
        wait_clear(base, GICD_CTLR, RWP);
    }
}

/// This CPU's redistributor and CPU interface. The answer: its address in `ICC_SGI1R_EL1`.
pub(super) unsafe fn init_this_cpu(hardware_id: u64, private: u32) -> u64 {
    let [aff0, aff1, aff2, aff3] = affinity(hardware_id);
    // SAFETY: the caller's.
    unsafe {
        match redistributor(aff3 << 24 | aff2 << 16 | aff1 << 8 | aff0) {
            Some(base) => init_redistributor(base, private),
            // A CPU without it takes no interrupts; the primary reports it as silent or the user sees this.
            None => log::error!("the interrupt controller has no redistributor for hardware id {hardware_id:#x}"),
        }
        asm!(
            "mrs {sre}, icc_sre_el1",
            "orr {sre}, {sre}, #1",     // system registers, not memory
            "msr icc_sre_el1, {sre}",
            "isb",
            "msr icc_ctlr_el1, xzr",    // EOImode 0: the end of an interrupt is one write
            "msr icc_bpr1_el1, xzr",
            "msr icc_pmr_el1, {all}",
            "msr icc_igrpen1_el1, {one}",
            "isb",
            sre = out(reg) _, all = in(reg) 0xff_u64, one = in(reg) 1_u64,
            options(nostack, preserves_flags)
        );
    }
    // ICC_SGI1R_EL1 (12.2.21): range selector and bit of Aff0 within its 16, then the other levels.
    (aff0 >> 4) << 44 | aff3 << 48 | aff2 << 32 | aff1 << 16 | 1 << (aff0 & 0xf)
}

/// Aff0 to Aff3.
fn affinity(hardware_id: u64) -> [u64; 4] {
    [hardware_id & 0xff, hardware_id >> 8 & 0xff, hardware_id >> 16 & 0xff, hardware_id >> 32 & 0xff]
}

/// The redistributor whose `GICR_TYPER` has this affinity.
unsafe fn redistributor(wanted: u64) -> Option<usize> {
    for (start, bytes) in &REGIONS {
        let (start, bytes) = (start.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
        let mut offset = 0;
        while offset + 2 * SGI_FRAME <= bytes {
            // SAFETY: within the region, which the caller has had mapped.
            let kind = unsafe { read64(start + offset, GICR_TYPER) };
            if kind >> 32 == wanted {
                return Some(start + offset);
            }
            if kind & LAST != 0 {
                break;
            }
            offset += if kind & VLPIS == 0 { 2 * SGI_FRAME } else { 4 * SGI_FRAME };
        }
    }
    None
}

unsafe fn init_redistributor(base: usize, private: u32) {
    // SAFETY: the caller's; registers of this CPU's redistributor.
    unsafe {
        // Awake before anything else is asked of it (IHI 0069, 11.1).
        let waker = read(base, GICR_WAKER);
        write(base, GICR_WAKER, waker & !PROCESSOR_SLEEP);
        if !wait_clear(base, GICR_WAKER, CHILDREN_ASLEEP) {
            log::warn!("a redistributor of the interrupt controller does not wake up");
        }
        write(base, GICR_ICENABLER0, u32::MAX);
        wait_clear(base, GICR_CTLR, 1 << 3);
        write(base, GICR_ICPENDR0, u32::MAX);
        write(base, GICR_IGROUPR0, u32::MAX);
        write(base, GICR_IGRPMODR0, 0);
        for word in 0..8 {
            write(base, GICR_IPRIORITYR + 4 * word, priorities());
        }
        write(base, GICR_ISENABLER0, private);
    }
}

#[inline(always)]
pub(in super::super) fn send(target: u64, id: u32) {
    // SAFETY: generates an interrupt and has no other effect. The ISB bounds when (IHI 0069, 12.1.6).
    unsafe {
        asm!("msr icc_sgi1r_el1, {}", "isb", in(reg) target | u64::from(id) << 24, options(nostack, preserves_flags));
    }
}

#[inline(always)]
pub(super) fn acknowledge() -> u32 {
    let taken: u64;
    // SAFETY: the vectors call this in interrupt context. The DSB makes the acknowledgement take effect before what the
    // handler does (IHI 0069, 12.1.6).
    unsafe { asm!("mrs {}, icc_iar1_el1", "dsb sy", out(reg) taken, options(nostack, preserves_flags)) };
    taken as u32
}

#[inline(always)]
pub(super) fn end(taken: u32) {
    // SAFETY: `taken` is what `acknowledge` answered.
    unsafe { asm!("msr icc_eoir1_el1, {}", in(reg) u64::from(taken), options(nostack, preserves_flags)) };
}
