//! Starting the other CPUs, stopping them, and probing the way to them.

use crate::cpu::{self, CpuId, CpuState, PerCpu, this_cpu};
use crate::irq::{self, Ipi};
use crate::memory::{OutOfMemory, Stack};
use crate::{arch, clock, hooks};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// Why a CPU was not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The firmware refused, with its own code (PSCI return value).
    Firmware(i64),
    /// It was told to start and said nothing for [`START_TIMEOUT_MS`].
    Silent,
    /// There was no memory for its stacks.
    OutOfMemory,
    /// This machine has no way to start it.
    Unsupported,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firmware(code) => write!(f, "the firmware refused with code {code}"),
            Self::Silent => write!(f, "no sign of life within {START_TIMEOUT_MS} ms"),
            Self::OutOfMemory => f.write_str("no memory for its stacks"),
            Self::Unsupported => f.write_str("no known way to start it"),
        }
    }
}

impl From<OutOfMemory> for StartError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// How long a CPU may take from the start call to its report.
pub const START_TIMEOUT_MS: u64 = 1000;

/// Bytes of the stack that exceptions run on, one per CPU.
pub const EXCEPTION_STACK_SIZE: usize = 16 * 1024;

/// Bytes of the stack that a CPU's worker loop runs on.
pub const WORKER_STACK_SIZE: usize = 32 * 1024;

/// Starts every described CPU up to `limit` CPUs in all. Those that do not come up are reported and left out.
///
/// All are told to start before the first is waited for, so that their start-up overlaps.
pub(crate) fn start_secondaries(limit: usize) {
    for cpu in cpu::described().filter(|cpu| cpu.id != CpuId::PRIMARY).take(limit.saturating_sub(1)) {
        if let Err(error) = start(cpu) {
            cpu.change_state(CpuState::Starting, CpuState::LeftOut);
            log::warn!("CPU {} (hardware id {:#x}) is left out: {error}", cpu.id, cpu.description.hardware_id);
        }
    }
    let deadline = clock::Instant::now() + clock::Duration::from_millis(START_TIMEOUT_MS);
    for cpu in cpu::described() {
        while cpu.state() == CpuState::Starting {
            if clock::Instant::now() >= deadline && cpu.change_state(CpuState::Starting, CpuState::LeftOut) {
                log::warn!(
                    "CPU {} (hardware id {:#x}) is left out: {}",
                    cpu.id,
                    cpu.description.hardware_id,
                    StartError::Silent
                );
            }
            arch::cpu::spin_hint();
        }
    }
    cpu::count_online();
}

fn start(cpu: &'static PerCpu) -> Result<(), StartError> {
    let stack = Stack::backed(WORKER_STACK_SIZE)?;
    let exceptions = Stack::backed(EXCEPTION_STACK_SIZE)?;
    cpu.exception_stack_top.set(exceptions.top().as_usize());
    cpu.change_state(CpuState::Off, CpuState::Starting);
    // SAFETY: the block is published and lives for ever, the stack is fresh and is given away below; the CPU is off, so
    // nobody else runs on either.
    let started = unsafe { arch::smp::start(cpu, stack.top()) };
    // Both stacks are the CPU's for ever, even if it was left out: it may still come up late and halt on them.
    core::mem::forget((stack, exceptions));
    started
}

/// The first Rust code of a secondary CPU, on its worker stack, interrupts masked. Called by the port.
pub extern "C" fn secondary_start(cpu: &'static PerCpu) -> ! {
    // SAFETY: this is this CPU's own block, not yet in use by anybody, and its exception stack is set.
    unsafe {
        arch::cpu::set_per_cpu(cpu);
        arch::cpu::set_current_thread(core::ptr::null_mut());
        arch::cpu::init_this_cpu(cpu);
        arch::interrupts::init_this_cpu(cpu);
    }
    arch::timer::init_this_cpu();
    hooks::isochron_prepare_cpu();
    if !cpu.report_online() {
        arch::cpu::halt();
    }
    hooks::isochron_secondary_main()
}

/// Tells every other CPU to halt, and waits a bounded time until they say that they do.
pub fn stop_others() {
    if !cpu::has_this_cpu() {
        return;
    }
    let me = this_cpu().id;
    for other in cpu::online().filter(|other| other.id != me) {
        arch::ipi::send(other, Ipi::Stop);
    }
    if wait_until_stopped(me) {
        return;
    }
    // Those have their interrupts masked for good.
    for other in cpu::online().filter(|other| other.id != me) {
        arch::ipi::stop_hard(other);
    }
    wait_until_stopped(me);
}

/// Waits until `me` alone runs. A CPU that cannot be stopped must not keep this one from ending; and the clock may not
/// have been set up yet, so the bound is a count. 1e6 rounds are some milliseconds.
fn wait_until_stopped(me: CpuId) -> bool {
    (0..1_000_000).any(|_| {
        arch::cpu::spin_hint();
        cpu::online().all(|other| other.id == me)
    })
}

/// Ticks at which the last probe was answered, by CPU. Zero: not yet.
static ANSWERS: [AtomicU64; isochron_boot::layout::MAX_CPUS] =
    [const { AtomicU64::new(0) }; isochron_boot::layout::MAX_CPUS];

/// Sends `target` an IPI and waits until its handler has answered.
///
/// The answer is (sent, handled) in ticks, both read by the clock of the CPU they happened on. `None`: no answer within
/// 100 ms.
#[must_use]
pub fn probe(target: CpuId) -> Option<(u64, u64)> {
    let target = cpu::cpu(target)?;
    let answer = &ANSWERS[target.id.index()];
    answer.store(0, Ordering::Relaxed);
    let sent = arch::clock::ticks();
    arch::ipi::send(target, Ipi::Probe);
    let limit = sent + clock::ticks_in_ms(100);
    loop {
        // Relaxed: the value is all that is passed.
        match answer.load(Ordering::Relaxed) {
            0 if arch::clock::ticks() > limit => return None,
            0 => arch::cpu::spin_hint(),
            handled => return Some((sent, handled)),
        }
    }
}

/// The number of the last system-wide barrier that was asked for.
static BARRIER: AtomicU64 = AtomicU64::new(0);

/// The number of the last one that each CPU has passed.
static PASSED: [AtomicU64; isochron_boot::layout::MAX_CPUS] =
    [const { AtomicU64::new(0) }; isochron_boot::layout::MAX_CPUS];

/// How long a CPU may take to pass a barrier: "this will never happen", not "this took too long".
const BARRIER_PATIENCE_MS: u64 = 10_000;

/// Has every CPU execute a full barrier between the call and the return: see `isochron::sync::system_wide_barrier`.
///
/// An interrupt makes each other CPU do it. What that CPU did before its own is seen by the caller afterwards, and what the
/// caller did before the call is seen by that CPU after it. Callers on several CPUs do not wait for each other's turn: one
/// barrier serves all who asked before it.
///
/// # Errors
/// The CPU that has not answered within ten seconds: it has its interrupts masked, or has died.
pub fn system_wide_barrier() -> Result<(), CpuId> {
    let (me, ticket) = irq::without(|| {
        let me = this_cpu().id;
        // Acquire and release: partner is the load in `pass_barrier`, which must find this number once it has been
        // interrupted. With the fence it is this CPU's own barrier.
        let ticket = BARRIER.fetch_add(1, Ordering::AcqRel) + 1;
        fence(Ordering::SeqCst);
        forget_if_asked();
        for other in cpu::online().filter(|other| other.id != me) {
            arch::ipi::send(other, Ipi::Probe);
        }
        (me, ticket)
    });
    // With interrupts on: another CPU may be doing the same and wait for this one.
    let limit = arch::clock::ticks() + clock::ticks_in_ms(BARRIER_PATIENCE_MS);
    for other in cpu::online().filter(|other| other.id != me) {
        // Acquire: partner is the store in `pass_barrier`.
        while PASSED[other.id.index()].load(Ordering::Acquire) < ticket {
            if arch::clock::ticks() > limit {
                return Err(other.id);
            }
            arch::cpu::spin_hint();
        }
    }
    // Partner: the fences in `pass_barrier`; the caller's loads come after them.
    fence(Ordering::SeqCst);
    Ok(())
}

/// This CPU's part in a system-wide barrier.
fn pass_barrier() {
    // Acquire: partner is the addition in `system_wide_barrier`.
    let asked = BARRIER.load(Ordering::Acquire);
    fence(Ordering::SeqCst);
    forget_if_asked();
    // Release: partner is the load in `system_wide_barrier`.
    PASSED[this_cpu().id.index()].store(asked, Ordering::Release);
}

/// How often all CPUs were asked to forget their translations.
#[cfg(isochron_bare)]
static FORGETS: AtomicU64 = AtomicU64::new(0);

/// How many of these each CPU has done.
#[cfg(isochron_bare)]
static FORGOTTEN: [AtomicU64; isochron_boot::layout::MAX_CPUS] =
    [const { AtomicU64::new(0) }; isochron_boot::layout::MAX_CPUS];

/// Has every CPU forget what the page tables said, so that what was taken out of them before is seen to be gone. An interrupt
/// makes each other CPU do it. Interrupts are on.
///
/// # Errors
/// The CPU that has not answered, see [`system_wide_barrier`].
#[cfg(isochron_bare)]
pub(crate) fn forget_translations() -> Result<(), CpuId> {
    // Relaxed: the barrier's number, which is taken after this, hands it on.
    FORGETS.fetch_add(1, Ordering::Relaxed);
    system_wide_barrier()
}

/// On the way through a barrier. Interrupts are masked.
#[inline(always)]
fn forget_if_asked() {
    #[cfg(isochron_bare)]
    if !arch::paging::INVALIDATES_EVERYWHERE {
        let (asked, done) = (FORGETS.load(Ordering::Relaxed), &FORGOTTEN[this_cpu().id.index()]);
        if done.load(Ordering::Relaxed) != asked {
            arch::paging::forget_all();
            done.store(asked, Ordering::Relaxed);
        }
    }
}

/// The handler's side of [`probe`] and of [`system_wide_barrier`].
pub(crate) fn answer_probe() {
    ANSWERS[this_cpu().id.index()].store(arch::clock::ticks(), Ordering::Relaxed);
    pass_barrier();
}
