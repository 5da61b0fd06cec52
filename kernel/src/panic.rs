//! The end when something is broken: of one thread, or of the machine.
//!
//! A panic or an exception in a thread's own code, with interrupts on, ends that thread alone: the report goes to the
//! console, and the runtime takes the thread away. It is the machine that ends where more than the thread may be broken: in
//! an interrupt handler, on a worker's own stack, with interrupts masked (so with any of the kernel's locks held), while
//! preemption is held off, and in the main thread, whose end is the program's.
//!
//! The end of the machine takes no lock, stops the other CPUs, and tells the console the CPU, the thread, the message,
//! the registers and the return addresses, which the host turns into names; then the machine ends with code 101. A second
//! panic while the first is being told ends at once.
//!
//! A packed thread's stack is too small for all that: its end is told on a spare stack. So is that of a thread whose stack would
//! have to grow for it.
//!
//! Nothing is unwound, neither the thread's stack nor the machine's: stable Rust has no unwinding without its standard
//! library. So destructors of a thread that dies do not run. What it owned is lost; what it borrowed to others stays.

use crate::arch::trap::TrapFrame;
use crate::console::{self, Unlocked};
use crate::cpu::{self, this_cpu};
use crate::irq::IrqLock;
use crate::memory::sanitizer;
use crate::trap::Cause;
use crate::wire::{self, Record};
use crate::{arch, backtrace, death_reports, hooks, irq, lock_rank, smp};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use heapless::String;
use isochron_boot::VirtAddr;
use isochron_boot::layout::is_packed;

/// 0: nobody panics; else 1 + the number of the CPU that does.
static PANICKING: AtomicUsize = AtomicUsize::new(0);

/// Held while the death of a thread is being told, so that the lines of one do not mix with those of another.
static TELLING: IrqLock<()> = IrqLock::new(lock_rank::TELLING, ());

/// A thread's name, cut to what a report has room for.
type Name = String<48>;

/// Where the backtrace begins.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'f> {
    /// An exception interrupted code, whose registers these are.
    Interrupted(&'f TrapFrame),
    /// Code has asked for its end by itself: its frame pointer.
    Called(usize),
}

/// The end of whoever runs, by its own doing.
struct End<'p> {
    why: Why<'p>,
    /// Interrupts were masked before: more than a thread may be broken.
    masked: bool,
    origin: Origin<'p>,
}

enum Why<'p> {
    Panic(Message<'p>),
    Overflow(PackedOverflow),
}

/// What a packed thread has done that used more than its stack.
#[derive(Clone, Copy, Debug)]
pub struct PackedOverflow {
    /// The lowest words of the red zone below the stack are as they should be: nothing else is damaged.
    pub contained: bool,
}

impl fmt::Display for PackedOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stack overflow: the packed thread's stack is used up")?;
        if self.contained { Ok(()) } else { f.write_str(", and its block and its neighbour's may be damaged") }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    touch_the_way(arch::cpu::frame_pointer());
    let irq = irq::IrqGuard::new();
    let origin = Origin::Called(arch::cpu::frame_pointer());
    end(&End { why: Why::Panic(Message(info)), masked: irq.were_masked(), origin })
}

/// Ends the running thread, which is packed and has overflowed; or the machine, if the overflow is not contained. Interrupts are
/// masked.
pub fn packed_overflow(overflow: PackedOverflow) -> ! {
    let origin = Origin::Called(arch::cpu::frame_pointer());
    end(&End { why: Why::Overflow(overflow), masked: !overflow.contained, origin })
}

/// Bytes of stack that the report takes, about, and the way to a spare stack for it.
const REPORT: usize = 3 * 1024;
const WAY: usize = 1024;

/// Bytes of a spare stack, on which the end of a thread is told that has too little of its own.
pub const SPARE_STACK_SIZE: usize = 4096 * sanitizer::STACK_SCALE;

/// Has the stack grow as far as the way to a spare one takes, while interrupts are on and it is the thread alone that ends if there
/// is no memory. A packed thread's does not grow.
fn touch_the_way(frame_pointer: usize) {
    // The sanitizer takes that for an access to whatever variables may lie there.
    if !is_packed(frame_pointer) && !sanitizer::IS_ON {
        // SAFETY: a byte of the running stack, or of the guard region below it. What is in it is of no interest.
        let _ = unsafe { core::ptr::with_exposed_provenance::<u8>(frame_pointer - WAY).read_volatile() };
    }
}

/// Whether the stack would have to grow for the report: with interrupts masked that takes what is for emergencies.
fn would_grow(frame_pointer: usize) -> bool {
    #[cfg(isochron_bare)]
    return crate::memory::stack::growth::is_reserved(frame_pointer - REPORT);
    #[cfg(not(isochron_bare))]
    return frame_pointer < REPORT;
}

/// On a spare stack, if the running thread needs one.
fn end(end: &End<'_>) -> ! {
    let is_short = !end.masked && would_grow(arch::cpu::frame_pointer());
    let spare = if cpu::has_this_cpu() { hooks::isochron_spare_stack(is_short) } else { None };
    let Some(stack) = spare else { tell(end) };
    // SAFETY: the stack is this CPU's, which uses it for nothing else until it has left it (the hook's contract). This one is not
    // gone on with, but stays as it is, so `end` lives.
    unsafe {
        sanitizer::stack_begins(stack.as_usize(), SPARE_STACK_SIZE);
        let context = arch::context::prepare(stack, tell_on_spare_stack, core::ptr::from_ref(end).cast_mut().cast());
        arch::context::jump(&raw const context, 0)
    }
}

extern "C" fn tell_on_spare_stack(argument: *mut (), _message: usize) -> ! {
    // SAFETY: `end` got it from a reference, and has left the stack that it is on as it was.
    tell(unsafe { &*argument.cast::<End<'_>>() })
}

fn tell(end: &End<'_>) -> ! {
    let (cause, message): (_, &dyn fmt::Display) = match &end.why {
        // What may be broken is not asked more than it has to be.
        Why::Panic(message) if end.masked => (Cause::Panic, message),
        Why::Panic(message) => (cause_of(message), message),
        Why::Overflow(overflow) => (Cause::StackOverflow, overflow),
    };
    if !end.masked && last_words(cause, format_args!("{message}"), end.origin).is_some() {
        hooks::isochron_end_thread()
    }
    report(format_args!("{message}"), end.origin)
}

/// The text by which `alloc` panics where memory is refused to code that cannot tell; stable Rust has no handler for that.
const NO_MEMORY: (&str, &str) = ("memory allocation of ", " bytes failed");

fn cause_of(message: &Message<'_>) -> Cause {
    let mut text = String::<64>::new();
    // What is too long is another message.
    let _ = write!(text, "{}", message.0.message());
    let bytes = text.strip_prefix(NO_MEMORY.0).and_then(|rest| rest.strip_suffix(NO_MEMORY.1)?.parse().ok());
    bytes.map_or(Cause::Panic, Cause::NoMemory)
}

struct Message<'p>(&'p core::panic::PanicInfo<'p>);

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.message().fmt(f)?;
        match self.0.location() {
            Some(place) => write!(f, " ({}:{}:{})", place.file(), place.line(), place.column()),
            None => Ok(()),
        }
    }
}

/// Reports the death of the running thread (unless too many die at once: [`death_reports`]), if that can die alone: then the top
/// of its stack is returned, and it must be ended. Interrupts are masked, and were not before.
pub(crate) fn last_words(cause: Cause, message: fmt::Arguments<'_>, origin: Origin<'_>) -> Option<VirtAddr> {
    // Relaxed: whoever ends the machine stops this CPU in any case.
    if !cpu::has_this_cpu() || PANICKING.load(Ordering::Relaxed) != 0 {
        return None;
    }
    let stack = hooks::isochron_thread_dies(cause)?;
    if !death_reports::count() {
        return Some(stack);
    }
    let _telling = TELLING.lock();
    let (cpu, thread) = (this_cpu().id.index(), running_thread());
    {
        let out = &mut *console::lock();
        let left_out = death_reports::left_out_since();
        if left_out > 0 {
            let _ = writeln!(out, "{left_out} threads died before, and too fast to be reported one by one");
        }
        let _ = writeln!(out, "CPU {cpu}, thread `{thread}` died: {message}");
        let _ = wire::encode_death(out, cpu as u32, &thread, message);
    }
    // Line by line: others may print in between.
    let tell = |record: Record<'_>| {
        let _ = record.encode(&mut *console::lock());
    };
    tell_stack(origin, &tell);
    tell(Record::Buried);
    Some(stack)
}

/// Reports a broken invariant and ends the machine.
pub(crate) fn report(message: fmt::Arguments<'_>, origin: Origin<'_>) -> ! {
    let _irq = irq::IrqGuard::new();
    let cpu = if cpu::has_this_cpu() { this_cpu().id.index() } else { 0 };
    // Relaxed: only the value matters; the first CPU to swap goes on.
    match PANICKING.compare_exchange(0, cpu + 1, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => {}
        // The report itself failed: nothing more that can be trusted.
        Err(first) if first == cpu + 1 => {
            let _ = Unlocked.write_str("\npanicked again while reporting a panic\n");
            arch::power::exit(wire::exit::PANIC)
        }
        Err(_) => {
            if cpu::has_this_cpu() {
                this_cpu().mark_stopped();
            }
            arch::cpu::halt()
        }
    }
    smp::stop_others();
    console::rescue();

    let thread = if cpu::has_this_cpu() { running_thread() } else { Name::new() };
    let out = &mut Unlocked;
    // A line may have been cut where the other CPUs stopped.
    let _ = writeln!(out, "\nCPU {cpu}, thread `{thread}` panicked: {message}");
    let _ = wire::encode_panic(out, cpu as u32, &thread, message);
    let tell = |record: Record<'_>| {
        let _ = record.encode(&mut Unlocked);
    };
    tell_stack(origin, &tell);
    tell(Record::Exit { code: wire::exit::PANIC });
    arch::power::exit(wire::exit::PANIC)
}

fn running_thread() -> Name {
    let mut name = Name::new();
    hooks::isochron_thread_name(&mut name);
    name
}

/// Registers and return addresses.
fn tell_stack(origin: Origin<'_>, tell: &dyn Fn(Record<'_>)) {
    match origin {
        Origin::Interrupted(frame) => {
            frame.registers(&mut |name, value| tell(Record::Register { name, value }));
            tell(Record::Frame { pc: frame.pc() as u64 });
            backtrace::walk(frame.frame_pointer(), &mut |pc| tell(Record::Frame { pc: pc as u64 }));
        }
        // A panic that code asked for: what matters is on the stack, and where that is.
        Origin::Called(fp) => {
            tell(Record::Register { name: "fp", value: fp as u64 });
            backtrace::walk(fp, &mut |pc| tell(Record::Frame { pc: pc as u64 }));
        }
    }
}
