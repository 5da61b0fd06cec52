//! This CPU: a thread of the host's; its block in `gs`; waiting.

pub use super::frame_pointer::frame_pointer;
use super::{clock, entry, signals};
use crate::cpu::{PerCpu, this_cpu};
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::cell::Cell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// `arch_prctl`'s code for setting the base of `gs` (Linux, `asm/prctl.h`).
const ARCH_SET_GS: libc::c_int = 0x1001;

/// How long an idle CPU spins before it asks the host to sleep: about what going to sleep and being woken cost.
const SPIN_NS: u64 = 20_000;

/// The CPU runs. A signal must tell it.
pub(super) const RUNS: u32 = 0;
/// It looks at its pending word all the time.
pub(super) const SPINS: u32 = 1;
/// It sleeps in a futex call on its pending word, or is about to.
pub(super) const SLEEPS: u32 = 2;

/// What the port keeps for each CPU.
#[repr(C)]
pub struct PerCpuArch {
    /// 1 while interrupts are taken; see `irq.rs`. Written by the CPU alone.
    pub(super) enabled: Cell<u32>,
    /// Interrupts that wait: bits of `signals.rs`. Others set bits, the CPU takes them.
    pub(super) pending: AtomicU32,
    /// [`RUNS`], [`SPINS`] or [`SLEEPS`].
    pub(super) idle: AtomicU32,
    /// The host's number for the thread; 0 before it runs.
    pub(super) thread: AtomicI32,
    /// Ticks the timer is to strike at; `u64::MAX`: never.
    pub(super) deadline: Cell<u64>,
    /// Ticks that the host's timer is set to; it may be earlier than the deadline.
    pub(super) host_deadline: Cell<u64>,
    /// The host's timer.
    pub(super) timer: Cell<usize>,
    /// Top of the stack that the CPU starts on.
    pub(super) start_stack: Cell<usize>,
}

impl PerCpuArch {
    /// Of a CPU that is off.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "const")]
    pub const fn new() -> Self {
        Self {
            enabled: Cell::new(0),
            pending: AtomicU32::new(0),
            idle: AtomicU32::new(RUNS),
            thread: AtomicI32::new(0),
            deadline: Cell::new(u64::MAX),
            host_deadline: Cell::new(u64::MAX),
            timer: Cell::new(0),
            start_stack: Cell::new(0),
        }
    }
}

/// Where `gs` finds the two words of `irq.rs`.
pub(super) const ENABLED: usize = offset_of!(PerCpu, arch.enabled);
pub(super) const PENDING: usize = offset_of!(PerCpu, arch.pending);

const _: () = assert!(offset_of!(PerCpu, self_ptr) == 0 && offset_of!(PerCpu, current_thread) == 8);

/// How long to spin, in ticks: nothing where CPUs share a core, as the spinning would keep others from running.
static SPIN_TICKS: AtomicU64 = AtomicU64::new(0);
/// Whether each CPU has a core of its own.
static PINNED: AtomicBool = AtomicBool::new(false);

/// Sets the register that finds this CPU's block.
///
/// # Safety
/// The block is this CPU's, or a block of zeroes of that size, and lives for ever.
pub unsafe fn set_per_cpu(cpu: *const PerCpu) {
    // SAFETY: the caller's promise; nothing in the process but this port uses `gs`.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, cpu) };
    if result != 0 {
        // Without the register not even a panic can be told.
        super::power::exit(crate::wire::exit::FAILED)
    }
}

/// This CPU's block; null before it is set (`entry.rs` points `gs` at zeroes).
#[inline(always)]
#[must_use]
pub fn per_cpu() -> *const PerCpu {
    let cpu;
    // SAFETY: `gs` points at zeroes or at a `PerCpu`, whose first word is its address. Not `pure`: a thread may go on
    // elsewhere, and with another `gs`, since that belongs to the thread of the host's.
    unsafe { asm!("mov {}, gs:[0]", out(reg) cpu, options(readonly, nostack, preserves_flags)) }
    cpu
}

/// The running thread, by one instruction.
#[inline(always)]
#[must_use]
pub fn current_thread() -> *mut () {
    let thread;
    // SAFETY: as in `per_cpu`; the offset is checked above.
    unsafe { asm!("mov {}, gs:[8]", out(reg) thread, options(readonly, nostack, preserves_flags)) }
    thread
}

/// Sets the running thread.
///
/// # Safety
/// Interrupts are masked, and it is what runs next on this CPU.
#[inline(always)]
pub unsafe fn set_current_thread(thread: *mut ()) {
    // SAFETY: `gs` points at this CPU's block, whose second word this is; nobody else writes it.
    unsafe { asm!("mov gs:[8], {}", in(reg) thread, options(nostack, preserves_flags)) }
}

/// Signal handlers, the alternate stack, a core of its own. Interrupts stay masked.
///
/// # Safety
/// `cpu` is this CPU's block and `gs` points at it; called once on each CPU; the primary is first.
pub unsafe fn init_this_cpu(cpu: &'static PerCpu) {
    // SAFETY: the call takes nothing and cannot fail.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    // Release: partner is the acquire in `ipi::send`, which then finds a thread that takes signals (they are blocked
    // until the end of this function, and stay pending meanwhile).
    cpu.arch.thread.store(thread as i32, Ordering::Release);
    pin(cpu);
    signals::init_this_cpu();
}

/// Decides whether CPUs get cores of their own, for `cpus` of them.
pub(super) fn plan_pinning(cpus: usize) {
    // Relaxed: the other CPUs start later.
    PINNED.store(cpus <= entry::host_cores().count(), Ordering::Relaxed);
}

/// The clock is known: spinning has a length.
pub(super) fn set_spin(hz: u64) {
    if PINNED.load(Ordering::Relaxed) {
        SPIN_TICKS.store((u128::from(hz) * u128::from(SPIN_NS) / 1_000_000_000) as u64, Ordering::Relaxed);
    }
}

/// Binds this thread of the host's to a core, if there are enough of them.
fn pin(cpu: &PerCpu) {
    if cpu.description.start == crate::machine::StartMethod::Boot {
        plan_pinning(entry::cpus());
    }
    if !PINNED.load(Ordering::Relaxed) {
        return;
    }
    let Some(core) = entry::host_cores().nth(cpu.id.index()) else { return };
    // SAFETY: a set of zeroes is an empty set; the call reads it. If the host refuses, the thread stays unbound, which
    // costs jitter and nothing else.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// This CPU's number, as in the description: its index.
#[must_use]
pub fn hardware_id() -> u64 {
    this_cpu().description.hardware_id
}

/// Has the line of an address fetched, for writing. A hint: any address will do.
#[inline(always)]
pub fn prefetch(addr: usize) {
    // SAFETY: a hint, which reads nothing as far as the program can tell.
    unsafe { asm!("prefetchw [{}]", in(reg) addr, options(nostack, preserves_flags, readonly)) };
}

/// Tells the CPU that it spins.
#[inline(always)]
pub fn spin_hint() {
    core::hint::spin_loop();
}

/// How often a parking thread's stay on its CPU is prolonged, if nobody else wants that: to 4 us in all. Between cores that are
/// far from each other, or while the host is at something else, an answer takes longer than the first stay. A wake-up by way
/// of the worker loop takes so long then that its answer finds the other side away as well, and so on for good.
pub const LONGER_STAYS: u32 = 7;

/// Whether this CPU may watch a word without keeping another from running.
#[must_use]
pub fn has_own_core() -> bool {
    PINNED.load(Ordering::Relaxed)
}

/// Waits until `word` may have changed from `seen`; returns after a moment in any case.
#[inline(always)]
pub fn wait_for_store(_word: &AtomicU32, _seen: u32) {
    spin_hint();
}

/// Sleeps until an interrupt is pending, takes it, and returns masked.
///
/// No interrupt is slept over: a sender sets its bit first and then looks whether it has to signal, to wake or neither;
/// this side says what it is going to do first and then looks for bits. All four are sequentially consistent, so one of
/// the two sees the other. The futex call looks once more, in the kernel.
pub fn wait_for_interrupt_irqoff() {
    let arch = &this_cpu().arch;
    let spin_until = clock::ticks_unordered() + SPIN_TICKS.load(Ordering::Relaxed);
    // SeqCst, here and in the looks below: partner is `ipi::send`, which sets a bit and then loads this word.
    arch.idle.store(SPINS, Ordering::SeqCst);
    while arch.pending.load(Ordering::SeqCst) == 0 {
        let now = clock::ticks_unordered();
        if now >= arch.deadline.get() {
            // Sooner than the signal, which then finds nothing due.
            // SeqCst: partner is the swap in `signals::deliver`, on this very CPU; it is one of the word's four.
            arch.pending.fetch_or(signals::TIMER, Ordering::SeqCst);
            break;
        }
        if now >= spin_until {
            // SeqCst: partner is `ipi::send`, as above.
            arch.idle.store(SLEEPS, Ordering::SeqCst);
            while arch.pending.load(Ordering::SeqCst) == 0 {
                // SAFETY: the word lives for ever. A signal ends the call; its handler has set a bit then.
                unsafe {
                    libc::syscall(
                        libc::SYS_futex,
                        arch.pending.as_ptr(),
                        libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                        0,
                        core::ptr::null::<libc::timespec>(),
                    );
                }
            }
            break;
        }
        spin_hint();
    }
    // Before the bits are taken: a sender that still sees this CPU asleep has set its bit before that.
    // SeqCst: partner is `ipi::send`, as above.
    arch.idle.store(RUNS, Ordering::SeqCst);
    signals::deliver();
}

/// Masks everything and sleeps for ever.
pub fn halt() -> ! {
    signals::block_all();
    loop {
        // SAFETY: takes nothing; with every signal blocked it does not return.
        unsafe { libc::pause() };
    }
}

/// Writes the CPU's brand string.
pub fn describe(out: &mut dyn core::fmt::Write) {
    let mut text = [0_u8; 48];
    if __cpuid_count(0x8000_0000, 0).eax >= 0x8000_0004 {
        for (leaf, place) in (0x8000_0002..=0x8000_0004).zip(text.chunks_exact_mut(16)) {
            let words = __cpuid_count(leaf, 0);
            for (word, bytes) in [words.eax, words.ebx, words.ecx, words.edx].iter().zip(place.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let _ = out.write_str(core::str::from_utf8(text).unwrap_or("x86-64").trim());
}
