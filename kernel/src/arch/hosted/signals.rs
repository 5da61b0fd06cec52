//! Interrupts and exceptions, by signals.
//!
//! A signal handler runs on the thread's alternate stack, all of ours blocked. If the CPU's interrupts are masked, it
//! leaves a bit and goes. If not, it has interrupted a green thread in our own code (see the port's rule on the C library):
//! it masks, handles what is pending, and asks whether the thread is to be preempted. If so, it edits the context that the
//! signal returns to: the thread goes on in `preemption.rs`, on its own stack, interrupts masked. So no thread's context
//! stays on a signal stack.

use super::cpu::PerCpuArch;
use super::trap::TrapFrame;
use super::{cpu, irq, preemption, timer};
use crate::cpu::this_cpu;
use crate::irq::Ipi;
use crate::memory::{folding, sanitizer, stack};
use crate::trap::{self, Fault, FaultKind, on_fault};
use core::arch::asm;
use core::mem::zeroed;
use core::ptr;
use core::sync::atomic::{AtomicI32, Ordering};
use isochron_boot::layout::is_packed;

/// Bits of the pending word: one for each kind of IPI, and the timer's.
pub(super) const TIMER: u32 = 1 << 3;
/// The bit of an IPI.
pub(super) const fn bit(kind: Ipi) -> u32 {
    1 << kind as u32
}

/// Tells a CPU that runs to look at its pending word.
pub(super) const INTERRUPT: libc::c_int = libc::SIGUSR1;
/// The CPU's timer.
pub(super) const ALARM: libc::c_int = libc::SIGUSR2;
/// Halts a CPU whatever it does.
pub(super) const STOP_HARD: libc::c_int = libc::SIGURG;

/// The process's number.
static PROCESS: AtomicI32 = AtomicI32::new(0);

/// What stands for an exception.
const FAULTS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];

/// Bytes of the alternate stack: the host puts up to 12 KiB of registers there, and the panic path runs on it.
const SIGNAL_STACK: usize = 64 * 1024 * sanitizer::STACK_SCALE;

/// What a handler is to `sigaction`.
type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// Gives this thread its alternate stack and, on the first CPU, the process its handlers; then lets signals in.
pub(super) fn init_this_cpu() {
    // SAFETY: fresh pages, which stay for ever; a stack description that is filled in.
    unsafe {
        let stack = libc::mmap(
            ptr::null_mut(),
            SIGNAL_STACK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(stack != libc::MAP_FAILED, "no memory for a signal stack");
        let description = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: SIGNAL_STACK };
        assert!(libc::sigaltstack(&raw const description, ptr::null_mut()) == 0, "no alternate signal stack");
    }
    if this_cpu().id == crate::cpu::CpuId::PRIMARY {
        // SAFETY: asks for a number.
        PROCESS.store(unsafe { libc::getpid() }, Ordering::Relaxed);
        for signal in [INTERRUPT, ALARM] {
            handle(signal, on_interrupt);
        }
        handle(STOP_HARD, on_stop_hard);
        for signal in FAULTS {
            handle(signal, on_exception);
        }
    }
    // SAFETY: sets of signals, filled in before they are used.
    unsafe {
        let mut ours: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut ours);
        for signal in [INTERRUPT, ALARM, STOP_HARD].into_iter().chain(FAULTS) {
            libc::sigaddset(&raw mut ours, signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const ours, ptr::null_mut());
    }
}

fn handle(signal: libc::c_int, handler: Handler) {
    // SAFETY: the action is filled in; the handlers keep to what may be done in one (no locks but those that are taken
    // with interrupts masked, no call into the C library that is not a bare system call).
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        if signal == libc::SIGBUS {
            // The report of one may touch pages that are folded.
            action.sa_flags |= libc::SA_NODEFER;
        }
        // All of ours are blocked meanwhile: handlers do not nest.
        for blocked in [INTERRUPT, ALARM] {
            libc::sigaddset(&raw mut action.sa_mask, blocked);
        }
        assert!(libc::sigaction(signal, &raw const action, ptr::null_mut()) == 0, "a signal handler is refused");
    }
}

/// Blocks every signal for this thread, as it is about to halt or to start another.
pub(super) fn block_all() -> libc::sigset_t {
    // SAFETY: sets of signals, filled in before they are used.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (zeroed(), zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

/// Handles all that is pending. Interrupts are masked.
pub(super) fn deliver() {
    let arch = &this_cpu().arch;
    // SeqCst: see `cpu::wait_for_interrupt_irqoff`; also the acquire that partners with the senders' release.
    let pending = arch.pending.swap(0, Ordering::SeqCst);
    if pending & bit(Ipi::Stop) != 0 {
        trap::on_ipi(Ipi::Stop);
    }
    if pending & TIMER != 0 && timer::is_due() {
        trap::on_timer();
    }
    for kind in [Ipi::Wake, Ipi::Probe] {
        if pending & bit(kind) != 0 {
            trap::on_ipi(kind);
        }
    }
}

fn is_pending(arch: &PerCpuArch) -> bool {
    // Relaxed: who takes the bits synchronises.
    arch.pending.load(Ordering::Relaxed) != 0
}

/// What came while interrupts were masked is taken now that they are not: as if it came now.
#[cold]
#[inline(never)]
pub(super) fn take_pending() {
    if is_packed(cpu::current_thread().addr()) {
        // Its stack is too small for handlers: they run on this signal's, then.
        return interrupt_self();
    }
    loop {
        // The state is known: unmasked.
        let _ = irq::mask();
        deliver();
        if trap::should_preempt() {
            preemption::preempt_here();
        }
        let arch = &this_cpu().arch;
        arch.enabled.set(1);
        // Unmasked again, and perhaps moved: at worst this looks at a CPU that has nothing to do with it.
        if !is_pending(arch) {
            return;
        }
    }
}

/// Handles all that is pending, until nothing is.
pub(super) fn deliver_all() {
    while is_pending(&this_cpu().arch) {
        deliver();
    }
}

/// Sends this thread of the host's [`INTERRUPT`]. Takes nothing of the stack. If the green thread is moved in the middle of it, what
/// was pending has been taken, and the signal is one more elsewhere.
fn interrupt_self() {
    let process = PROCESS.load(Ordering::Relaxed);
    // SAFETY: two system calls that read no memory, the second with the answer of the first: a signal that has a handler.
    unsafe {
        asm!(
            "syscall",
            "mov esi, eax",
            "mov eax, {tgkill}",
            "syscall",
            tgkill = const libc::SYS_tgkill as i32,
            inlateout("eax") libc::SYS_gettid as i32 => _,
            in("edi") process,
            inlateout("esi") 0 => _,
            in("edx") INTERRUPT,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

/// [`INTERRUPT`] and [`ALARM`].
extern "C" fn on_interrupt(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let arch = &this_cpu().arch;
    if signal == ALARM {
        timer::host_timer_struck(arch);
        // SeqCst: partner is the waiting side's look, see `cpu::wait_for_interrupt_irqoff`.
        arch.pending.fetch_or(TIMER, Ordering::SeqCst);
    }
    if arch.enabled.get() == 0 {
        return;
    }
    arch.enabled.set(0);
    // SAFETY: the host gives a handler of this kind the context that it goes back to.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    preemption::finish_leaving(context);
    deliver_all();
    // SAFETY: the context of a green thread that was interrupted unmasked in our own code.
    let leaves = trap::should_preempt() && unsafe { preemption::redirect(context) };
    if !leaves {
        arch.enabled.set(1);
    }
}

/// The end, for a CPU that did not listen.
extern "C" fn on_stop_hard(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    this_cpu().mark_stopped();
    cpu::halt()
}

/// Whether a page that was touched was folded, or is of a stack that grows, and is there now.
///
/// Interrupts are masked meanwhile, so that nothing of this delivers one: those that come are signals too, which wait for the end of
/// this one.
fn was_away(signal: libc::c_int, address: usize) -> bool {
    let enabled = &this_cpu().arch.enabled;
    let before = enabled.replace(0);
    // SAFETY: this thread's; what was interrupted may be about to read it.
    let error = unsafe { *libc::__errno_location() };
    let is_there = if signal == libc::SIGBUS { folding::unfold(address) } else { stack::hosted::touched(address) };
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = error };
    enabled.set(before);
    is_there
}

/// Whether it was an instruction that was to be fetched.
fn is_fetch(context: *const libc::c_void) -> bool {
    // SAFETY: the host gives the context to a handler of this kind.
    let error = unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_ERR as usize] };
    error & 1 << 4 != 0
}

extern "C" fn on_exception(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let is_access = signal == libc::SIGBUS || signal == libc::SIGSEGV && !is_fetch(context);
    // SAFETY: the host gives it to a handler of this kind.
    if is_access && was_away(signal, unsafe { (*info).si_addr() as usize }) {
        return;
    }
    let unmasked = this_cpu().arch.enabled.replace(0) != 0;
    // SAFETY: the host gives both to a handler of this kind.
    let (context, address) = unsafe { (&mut *context.cast::<libc::ucontext_t>(), (*info).si_addr() as usize) };
    let frame = TrapFrame::new(context, unmasked);
    let (write, fetch) = (frame.error() & 1 << 1 != 0, frame.error() & 1 << 4 != 0);
    let (kind, address) = match signal {
        libc::SIGSEGV => (FaultKind::Page { write, fetch }, Some(address)),
        libc::SIGILL => (FaultKind::IllegalInstruction, None),
        libc::SIGFPE => (FaultKind::Division, None),
        libc::SIGTRAP => (FaultKind::Breakpoint, None),
        _ => (FaultKind::Other, Some(address)),
    };
    let stack = on_fault(Fault { kind, address, syndrome: frame.vector() << 32 | frame.error() & 0xffff_ffff }, &frame);
    preemption::abandon(context, stack);
}
