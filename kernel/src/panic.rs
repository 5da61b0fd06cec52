//! The end when an invariant is broken.
//!
//! It takes no lock, stops the other CPUs, and tells the console the CPU, the thread, the message, the registers and
//! the return addresses, which the host turns into names; then the machine ends with code 101. A second panic while
//! the first is being told ends at once.

use crate::arch::trap::TrapFrame;
use crate::console::{self, Unlocked};
use crate::cpu::{self, this_cpu};
use crate::wire::{self, Record};
use crate::{arch, backtrace, hooks, irq, smp};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use heapless::String;

/// 0: nobody panics; else 1 + the number of the CPU that does.
static PANICKING: AtomicUsize = AtomicUsize::new(0);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => {
            report(format_args!("{} ({}:{}:{})", info.message(), place.file(), place.line(), place.column()), None)
        }
        None => report(format_args!("{}", info.message()), None),
    }
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

    let mut thread: String<48> = String::new();
    if cpu::has_this_cpu() {
        hooks::isochron_thread_name(&mut thread);
    }
    let out = &mut Unlocked;
    // A line may have been cut where the other CPUs stopped.
    let _ = writeln!(out, "\nCPU {cpu}, thread `{thread}` panicked: {message}");
    let _ = wire::encode_panic(out, cpu as u32, &thread, message);
    let tell = |record: Record<'_>| {
        let _ = record.encode(&mut Unlocked);
    };
    match frame {
        Some(frame) => {
            frame.registers(&mut |name, value| tell(Record::Register { name, value }));
            tell(Record::Frame { pc: frame.pc() as u64 });
            backtrace::walk(frame.frame_pointer(), &mut |pc| tell(Record::Frame { pc: pc as u64 }));
        }
        None => {
            // A panic that code asked for: what matters is on the stack, and where that is.
            let fp = arch::cpu::frame_pointer();
            tell(Record::Register { name: "sp", value: (&raw const thread).addr() as u64 });
            tell(Record::Register { name: "fp", value: fp as u64 });
            backtrace::walk(fp, &mut |pc| tell(Record::Frame { pc: pc as u64 }));
        }
    }
    tell(Record::Exit { code: wire::exit::PANIC });
    arch::power::exit(wire::exit::PANIC)
}
