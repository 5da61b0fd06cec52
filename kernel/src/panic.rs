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
//! Nothing is unwound, neither the thread's stack nor the machine's: stable Rust has no unwinding without its standard
//! library. So destructors of a thread that dies do not run. What it owned is lost; what it borrowed to others stays.

use crate::arch::trap::TrapFrame;
use crate::console::{self, Unlocked};
use crate::cpu::{self, this_cpu};
use crate::irq::IrqLock;
use crate::trap::Cause;
use crate::wire::{self, Record};
use crate::{arch, backtrace, hooks, irq, lock_rank, smp};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use heapless::String;
use isochron_boot::VirtAddr;

/// 0: nobody panics; else 1 + the number of the CPU that does.
static PANICKING: AtomicUsize = AtomicUsize::new(0);

/// Held while the death of a thread is being told, so that the lines of one do not mix with those of another.
static TELLING: IrqLock<()> = IrqLock::new(lock_rank::TELLING, ());

/// A thread's name, cut to what a report has room for.
type Name = String<48>;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let irq = irq::IrqGuard::new();
    let message = Message(info);
    if !irq.were_masked() && last_words(Cause::Panic, format_args!("{message}"), None).is_some() {
        hooks::isochron_end_thread()
    }
    report(format_args!("{message}"), None)
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

/// Reports the death of the running thread, if that can die alone: then the top of its stack is returned, and it must be
/// ended. Interrupts are masked, and were not before. `frame` holds the registers if an exception told of it.
pub(crate) fn last_words(cause: Cause, message: fmt::Arguments<'_>, frame: Option<&TrapFrame>) -> Option<VirtAddr> {
    // Relaxed: whoever ends the machine stops this CPU in any case.
    if !cpu::has_this_cpu() || PANICKING.load(Ordering::Relaxed) != 0 {
        return None;
    }
    let stack = hooks::isochron_thread_dies(cause)?;
    let _telling = TELLING.lock();
    let (cpu, thread) = (this_cpu().id.index(), running_thread());
    {
        let out = &mut *console::lock();
        let _ = writeln!(out, "CPU {cpu}, thread `{thread}` died: {message}");
        let _ = wire::encode_death(out, cpu as u32, &thread, message);
    }
    // Line by line: others may print in between.
    let tell = |record: Record<'_>| {
        let _ = record.encode(&mut *console::lock());
    };
    tell_stack(frame, &tell);
    tell(Record::Buried);
    Some(stack)
}

/// Reports a broken invariant and ends the machine. `frame` holds the registers if an exception told of it.
pub(crate) fn report(message: fmt::Arguments<'_>, frame: Option<&TrapFrame>) -> ! {
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
    tell_stack(frame, &tell);
    tell(Record::Exit { code: wire::exit::PANIC });
    arch::power::exit(wire::exit::PANIC)
}

fn running_thread() -> Name {
    let mut name = Name::new();
    hooks::isochron_thread_name(&mut name);
    name
}

/// Registers and return addresses, of what an exception interrupted or else of the caller.
fn tell_stack(frame: Option<&TrapFrame>, tell: &dyn Fn(Record<'_>)) {
    match frame {
        Some(frame) => {
            frame.registers(&mut |name, value| tell(Record::Register { name, value }));
            tell(Record::Frame { pc: frame.pc() as u64 });
            backtrace::walk(frame.frame_pointer(), &mut |pc| tell(Record::Frame { pc: pc as u64 }));
        }
        None => {
            // A panic that code asked for: what matters is on the stack, and where that is.
            let fp = arch::cpu::frame_pointer();
            tell(Record::Register { name: "sp", value: (&raw const frame).addr() as u64 });
            tell(Record::Register { name: "fp", value: fp as u64 });
            backtrace::walk(fp, &mut |pc| tell(Record::Frame { pc: pc as u64 }));
        }
    }
}
