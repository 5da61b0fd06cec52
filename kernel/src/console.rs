//! The console: whole pieces of text from many CPUs, one after the other.
//!
//! What is printed before the serial port works is kept, up to 4 KiB, and comes out first. The lock is held, with
//! interrupts masked, while one piece goes out; a real UART takes 87 us a character at 115200 baud, so code that is
//! being timed does not print.

use crate::irq::{IrqLock, IrqLockGuard};
use crate::machine::Machine;
use crate::{arch, lock_rank, memory};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, Ordering};
use heapless::String;

static CONSOLE: IrqLock<Console> = IrqLock::new(lock_rank::CONSOLE, Console { early: String::new() });

/// Whether the serial port can be written. Set once, on the primary CPU, before the others start.
static READY: AtomicBool = AtomicBool::new(false);

/// The console's state: what could not be printed yet.
pub struct Console {
    early: String<4096>,
}

impl Console {
    /// Writes bytes that need not be text. Once the serial port works.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        if READY.load(Ordering::Relaxed) {
            arch::serial::write(bytes);
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if READY.load(Ordering::Relaxed) {
            arch::serial::write(text.as_bytes());
        } else {
            // What does not fit is lost: there is nowhere to put it.
            let _ = self.early.push_str(text);
        }
        Ok(())
    }
}

/// Starts the serial port and prints what was kept.
///
/// # Safety
/// The device registers in `machine.mmio` are mapped; called once, on the primary CPU.
pub(crate) unsafe fn init(machine: &Machine) {
    // SAFETY: the caller's promise.
    unsafe { arch::serial::init(machine) };
    let console = lock();
    READY.store(true, Ordering::Relaxed);
    arch::serial::write(console.early.as_bytes());
}

/// Takes the console, for output that must stay together.
pub fn lock() -> IrqLockGuard<'static, Console> {
    CONSOLE.lock()
}

/// Takes the console if nobody has it.
pub(crate) fn try_lock() -> Option<IrqLockGuard<'static, Console>> {
    CONSOLE.try_lock()
}

/// Prints formatted text; what [`crate::print!`] calls.
pub fn print(args: fmt::Arguments<'_>) {
    let _ = lock().write_fmt(args);
}

/// A writer that takes no lock: for the panic path alone, when every other CPU has been told to stop.
pub(crate) struct Unlocked;

impl Write for Unlocked {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if READY.load(Ordering::Relaxed) {
            arch::serial::write(text.as_bytes());
        }
        Ok(())
    }
}

/// For a panic before the serial port works: starts it by what is known of the machine, if memory is set up, and
/// prints what was kept.
pub(crate) fn rescue() {
    if READY.load(Ordering::Relaxed) || !memory::is_ready() {
        return;
    }
    if let Some(console) = CONSOLE.try_lock() {
        READY.store(true, Ordering::Relaxed);
        arch::serial::write(console.early.as_bytes());
    }
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(::core::format_args!($($arg)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(::core::format_args!("\n")) };
    ($($arg:tt)*) => { $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($($arg)*))) };
}
