//! What the ports' exception entries call.

use crate::arch::trap::TrapFrame;
use crate::cpu::this_cpu;
use crate::hooks::Noted;
use crate::irq::Ipi;
#[cfg(isochron_bare)]
use crate::memory::folding::{self, Unfolding};
#[cfg(isochron_bare)]
use crate::memory::stack::growth;
use crate::panic::{self, Origin, PackedOverflow};
use crate::{arch, hooks, smp};
use core::fmt;
use isochron_boot::VirtAddr;

/// What kind of exception a CPU took that was not an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// An access that the page tables do not allow.
    Page {
        /// It was a write.
        write: bool,
        /// It was an instruction fetch.
        fetch: bool,
    },
    /// An instruction the CPU does not know or may not run.
    IllegalInstruction,
    /// An address or stack pointer that is not aligned as it must be.
    Alignment,
    /// A breakpoint instruction.
    Breakpoint,
    /// Integer division by zero (x86-64).
    Division,
    /// A bus error that arrives later than its cause (ARM64 SError), or a machine check.
    Asynchronous,
    /// Anything else.
    Other,
}

/// Why a thread dies alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Its code panicked.
    Panic,
    /// It was refused so many bytes of memory, by code that knows no other way to say so than a panic.
    NoMemory(usize),
    /// It ran into the guard region below its stack.
    StackOverflow,
    /// Its stack was to grow, or one that it touched to be unfolded, and there was no memory.
    OutOfMemory,
    /// It caused an exception.
    Fault(FaultKind),
}

/// One exception, for the report.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// The address it is about, where the hardware tells.
    pub address: Option<usize>,
    /// The syndrome: ARM64 `ESR_EL1`, x86-64 vector in the high half and error code in the low.
    pub syndrome: u64,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Page { fetch: true, .. } => "illegal instruction fetch",
            Self::Page { write: true, .. } => "illegal write",
            Self::Page { .. } => "illegal read",
            Self::IllegalInstruction => "illegal instruction",
            Self::Alignment => "misaligned access",
            Self::Breakpoint => "breakpoint",
            Self::Division => "division by zero",
            Self::Asynchronous => "asynchronous bus error",
            Self::Other => "unexpected exception",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        if let Some(address) = self.address {
            write!(f, " at {address:#x}")?;
        }
        write!(f, " (syndrome {:#x})", self.syndrome)
    }
}

/// The one-shot timer of this CPU fired.
#[inline(always)]
pub fn on_timer() {
    this_cpu().count_interrupt();
    hooks::isochron_on_timer();
}

/// Another CPU sent an IPI.
#[inline(always)]
pub fn on_ipi(kind: Ipi) {
    this_cpu().count_interrupt();
    match kind {
        Ipi::Wake => hooks::isochron_on_wake(),
        Ipi::Probe => smp::answer_probe(),
        Ipi::Stop => {
            this_cpu().mark_stopped();
            arch::cpu::halt()
        }
    }
}

/// An interrupt that nobody asked for. It is counted; the port has acknowledged it.
#[cold]
pub fn on_unexpected(number: u32) {
    this_cpu().count_interrupt();
    hooks::isochron_noted(Noted::Unexpected(number));
    log::warn!("unexpected interrupt {number}");
}

/// Shall the port, at the end of an interrupt that came out of thread code with interrupts unmasked, make the thread
/// call [`preempt`] instead of going on?
#[inline(always)]
#[must_use]
pub fn should_preempt() -> bool {
    hooks::isochron_should_preempt()
}

/// The one preemption boundary: the port's trampoline calls it on the interrupted thread's stack, all registers saved,
/// interrupts masked, and then goes on with the thread.
#[inline(always)]
pub fn preempt() {
    hooks::isochron_preempt();
}

/// A page was touched that is not there. If a stack reserves it, it is backed, if it is folded, it is unfolded, and the access is to
/// be tried again: then true.
///
/// On the exception stack, interrupts masked. It changes whatever registers a call may change.
#[cfg(isochron_bare)]
#[must_use]
pub fn grow(address: usize, frame: &TrapFrame) -> bool {
    let unmasked = frame.is_threads_own();
    let is_there = match folding::unfold(address, unmasked) {
        Unfolding::Elsewhere => {
            let has_grown = growth::grow(address, unmasked) == growth::Growth::Grown;
            if has_grown {
                hooks::isochron_stack_grew(address);
            }
            has_grown
        }
        unfolding => unfolding == Unfolding::There,
    };
    // With interrupts masked it may be a record in the making that touched the page.
    if is_there && unmasked {
        hooks::isochron_noted(Noted::PageFault(address));
    }
    is_there
}

/// Whether a fault at this address is a stack's that could not grow, or could not be unfolded.
#[cfg(isochron_bare)]
fn is_growth(address: usize) -> bool {
    growth::is_reserved(address) || folding::is_folded(address)
}

/// The host backs stacks; when it does not, it ends the process.
#[cfg(not(isochron_bare))]
fn is_growth(_address: usize) -> bool {
    false
}

/// An exception in the code of a thread or of a worker. It is reported; if the thread alone has to end, the answer is the
/// top of its stack, on which the port then calls [`end_thread`]. If not, the machine ends here.
///
/// On the exception stack, interrupts masked.
#[cold]
#[must_use]
pub fn on_fault(fault: Fault, frame: &TrapFrame) -> VirtAddr {
    let packed = hooks::isochron_packed_interrupted(frame.sp());
    let overflow = fault.address.and_then(hooks::isochron_guard_hit);
    let starved = fault.address.is_some_and(is_growth);
    let (cause, message) = match (packed, overflow) {
        (None, None) if starved => (Cause::OutOfMemory, Message::Starved(fault)),
        (Some(overflow), _) => (Cause::StackOverflow, Message::Packed(overflow, fault)),
        (None, Some(size)) => (Cause::StackOverflow, Message::Overflow(size, fault)),
        (None, None) => (Cause::Fault(fault.kind), Message::Fault(fault)),
    };
    let contained = packed.is_none_or(|overflow| overflow.contained);
    // A bus error may come from anywhere, long ago.
    let alone = contained && frame.is_threads_own() && fault.kind != FaultKind::Asynchronous;
    let origin = Origin::Interrupted(frame);
    if alone && let Some(stack) = panic::last_words(cause, format_args!("{message}"), origin) {
        return stack;
    }
    panic::report(format_args!("{message}"), origin)
}

enum Message {
    Overflow(usize, Fault),
    Packed(PackedOverflow, Fault),
    Starved(Fault),
    Fault(Fault),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow(size, fault) => {
                write!(f, "stack overflow: the thread's {size} bytes are used up; {fault}")
            }
            Self::Packed(overflow, fault) => write!(f, "{overflow}; {fault}"),
            Self::Starved(fault) => write!(f, "out of memory: a stack cannot grow or be unfolded; {fault}"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

/// Takes the running thread away, whose death is told: on its stack, of which nothing is needed any more, interrupts masked.
pub extern "C" fn end_thread() -> ! {
    hooks::isochron_end_thread()
}
