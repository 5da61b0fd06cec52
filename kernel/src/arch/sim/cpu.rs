//! This CPU: a coroutine.

use super::buffer::Buffer;
use super::context::Context;
pub use super::frame_pointer::frame_pointer;
use super::{interrupt, world};
use crate::cpu::{PerCpu, this_cpu};
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::AtomicU32;

/// What a CPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Does {
    /// It has not started.
    Off,
    /// It runs, or would.
    Runs,
    /// It is busy until then, and takes interrupts.
    Computes(u64),
    /// It waits for an interrupt, since then.
    Sleeps(u64),
    /// It has stopped for good.
    Halted,
}

/// What the port keeps for each CPU.
pub struct PerCpuArch {
    /// Interrupts are taken.
    pub(super) enabled: Cell<bool>,
    pub(super) does: Cell<Does>,
    /// It does not go on before then: what became of a CPU that the host, or firmware, holds.
    pub(super) held_until: Cell<u64>,
    pub(super) lines: interrupt::Lines,
    pub(super) buffer: Buffer,
    /// Where it goes on, once it has left or was started.
    pub(super) context: UnsafeCell<MaybeUninit<Context>>,
}

impl PerCpuArch {
    /// Of a CPU that is off.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "const")]
    pub const fn new() -> Self {
        Self {
            enabled: Cell::new(false),
            does: Cell::new(Does::Off),
            held_until: Cell::new(0),
            lines: interrupt::Lines::new(),
            buffer: Buffer::new(),
            context: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }
}

/// Sets what CPU runs.
///
/// # Safety
/// The block lives for ever; it is the one whose code runs, or is about to.
pub unsafe fn set_per_cpu(cpu: *const PerCpu) {
    world::set_running(cpu);
}

/// This CPU's block; null before it is set.
#[inline(always)]
#[must_use]
pub fn per_cpu() -> *const PerCpu {
    world::running()
}

/// The running thread.
#[inline(always)]
#[must_use]
pub fn current_thread() -> *mut () {
    // SAFETY: null, or a block that lives for ever.
    unsafe { per_cpu().as_ref() }.map_or(ptr::null_mut(), |cpu| cpu.current_thread.get())
}

/// Sets the running thread.
///
/// # Safety
/// Interrupts are masked, and it is what runs next on this CPU.
#[inline(always)]
pub unsafe fn set_current_thread(thread: *mut ()) {
    this_cpu().current_thread.set(thread);
}

/// It runs from here on.
///
/// # Safety
/// `cpu` is this CPU's block, and set; called once on each CPU; the primary is first.
pub unsafe fn init_this_cpu(cpu: &'static PerCpu) {
    cpu.arch.does.set(Does::Runs);
    if cpu.id == crate::cpu::CpuId::PRIMARY {
        super::faults::init();
    }
}

/// This CPU's number, as in the description: its index.
#[must_use]
pub fn hardware_id() -> u64 {
    this_cpu().description.hardware_id
}

/// Nothing here takes time.
#[inline(always)]
pub fn prefetch(_addr: usize) {}

/// It waits for another CPU, so that one goes on.
pub fn spin_hint() {
    world::spin();
}

/// How often a parking thread's stay on its CPU is prolonged, if nobody else wants that: not at all, as a wake-up by way of
/// the worker loop costs little more.
pub const LONGER_STAYS: u32 = 0;

/// Whether this CPU may watch a word without keeping another from running: what the environment says.
#[must_use]
pub fn has_own_core() -> bool {
    super::entry::has_own_cores()
}

/// Waits until `word` may have changed from `seen`; returns after a moment in any case.
pub fn wait_for_store(_word: &AtomicU32, _seen: u32) {
    spin_hint();
}

/// Sleeps until an interrupt can be seen, takes it, and returns masked.
pub fn wait_for_interrupt_irqoff() {
    let cpu = this_cpu();
    super::trace::note(super::trace::What::Sleeps, 0, 0);
    cpu.arch.does.set(Does::Sleeps(world::now()));
    while !interrupt::is_due(cpu) {
        world::leave();
    }
    cpu.arch.does.set(Does::Runs);
    interrupt::handle_all(cpu);
}

/// Never goes on.
pub fn halt() -> ! {
    this_cpu().arch.does.set(Does::Halted);
    loop {
        world::leave();
    }
}

/// Writes what it is.
pub fn describe(out: &mut dyn core::fmt::Write) {
    let _ = out.write_str("simulated");
}
