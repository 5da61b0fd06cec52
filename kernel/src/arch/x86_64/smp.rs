//! Starting a secondary CPU: INIT, then one or two start-up IPIs (Intel SDM vol. 3, 10.4.4).
//!
//! The ten milliseconds that old manuals ask for between INIT and start-up are for chips without an integrated APIC. A
//! CPU that is there answers within some microseconds; a second start-up IPI goes to one that does not, which is ignored
//! if the first was merely slow to arrive.

use super::clock::{frequency_hz, ticks};
use super::descriptors::{FATAL_STACK_SIZE, NMI_STACK_SIZE, PAGE_FAULT_STACK_SIZE};
use super::trampoline::{self, Slot};
use super::{agreement, ipi, paging, timer};
use crate::cpu::PerCpu;
use crate::memory::Stack;
use crate::smp::{EXCEPTION_STACK_SIZE, StartError, secondary_start};
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};
use isochron_boot::VirtAddr;

/// From INIT to the first start-up IPI.
const AFTER_INIT_US: u64 = 10;
/// From a start-up IPI to the sign of life, before the next one, or before others are started.
const AFTER_START_UP_US: u64 = 200;
/// How long a CPU that came up waits for the primary to compare clocks.
const RENDEZVOUS_US: u64 = 100;

/// A slot's phases: the CPU runs; the primary compares clocks with it.
const ALIVE: u32 = 1;
const COMPARING: u32 = 2;

/// The start-up IPI's vector: 0 before the trampoline is in its page.
static VECTOR: AtomicU32 = AtomicU32::new(0);

/// Starts a CPU that will call [`secondary_start`] on the stack that ends at `stack_top`.
///
/// # Errors
/// If there is no page below 1 MiB to start from, or no memory for its stacks. Whether it comes up shows later.
///
/// # Safety
/// On the primary CPU; the CPU is off, and block and stack are its own for ever.
pub unsafe fn start(cpu: &'static PerCpu, stack_top: VirtAddr) -> Result<(), StartError> {
    if VECTOR.load(Ordering::Relaxed) == 0 {
        // SAFETY: once, on the primary, by the caller's promise.
        let vector = unsafe { trampoline::prepare() }.ok_or(StartError::Unsupported)?;
        VECTOR.store(u32::from(vector), Ordering::Relaxed);
    }
    let stacks = [
        Stack::backed(EXCEPTION_STACK_SIZE)?,
        Stack::backed(NMI_STACK_SIZE)?,
        Stack::backed(FATAL_STACK_SIZE)?,
        Stack::backed(PAGE_FAULT_STACK_SIZE)?,
    ];
    cpu.arch.fault_stack.set(stacks[0].top().as_usize());
    cpu.arch.nmi_stack.set(stacks[1].top().as_usize());
    cpu.arch.fatal_stack.set(stacks[2].top().as_usize());
    cpu.arch.page_fault_stack.set(stacks[3].top().as_usize());
    core::mem::forget(stacks);
    let id = cpu.description.hardware_id;
    // SAFETY: the caller's promise.
    let slot = unsafe { trampoline::fill(cpu.id.index(), id, paging::root().as_u64(), stack_top.as_usize(), cpu) };

    // The timer bounds an artefact: under QEMU's instruction counting, the reset of a CPU lets virtual time jump to the
    // next event of whatever timer, which may be tens of milliseconds away. The interrupt itself is of no interest.
    timer::arm(after_us(AFTER_INIT_US));
    ipi::command(id as u32, ipi::INIT);
    let deadline = after_us(AFTER_INIT_US);
    while ticks() < deadline {
        spin_loop();
    }
    for _ in 0..2 {
        timer::arm(after_us(AFTER_INIT_US));
        ipi::command(id as u32, ipi::START_UP | VECTOR.load(Ordering::Relaxed));
        if wait_for(slot, ALIVE, AFTER_START_UP_US) {
            // Release: partner of the acquire in `wait_for` on the other side.
            slot.phase.store(COMPARING, Ordering::Release);
            let behind = agreement::compare();
            if behind > 0 {
                log::warn!("the TSC of CPU {} is at least {behind} ticks ahead of the primary's", cpu.id);
            }
            break;
        }
    }
    timer::disarm();
    Ok(())
}

fn after_us(us: u64) -> u64 {
    ticks() + frequency_hz() / 1_000_000 * us
}

fn wait_for(slot: &Slot, phase: u32, us: u64) -> bool {
    let deadline = after_us(us);
    // Acquire: partner of the release on the other side.
    while slot.phase.load(Ordering::Acquire) != phase {
        if ticks() >= deadline {
            return false;
        }
        spin_loop();
    }
    true
}

/// The first Rust code of a secondary CPU: on its stack, the final tables active, no block yet.
pub(super) extern "C" fn secondary(slot: &'static Slot) -> ! {
    // Release: partner of the acquire in `wait_for` on the primary.
    slot.phase.store(ALIVE, Ordering::Release);
    if wait_for(slot, COMPARING, RENDEZVOUS_US) {
        agreement::compare();
    }
    // SAFETY: the slot holds this CPU's block, which lives for ever.
    secondary_start(unsafe { &*slot.cpu() })
}
