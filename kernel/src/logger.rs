//! The `log` crate's back end: a line with the time since reset, the CPU, the level and the origin.

use crate::{arch, clock, console, cpu};
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};
use log::{LevelFilter, Log, Metadata, Record};

struct ConsoleLog;

static LOGGER: ConsoleLog = ConsoleLog;
static START: AtomicU64 = AtomicU64::new(0);

/// Installs the logger; `start` is the reset's tick.
pub(crate) fn init(start: u64) {
    START.store(start, Ordering::Relaxed);
    // An error would mean that it was called twice; the first logger stays.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(LevelFilter::Warn);
}

/// Sets the least important level that is printed.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

impl Log for ConsoleLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let us = clock::ticks_to_ns(arch::clock::ticks() - START.load(Ordering::Relaxed)) / 1000;
        let cpu = if cpu::has_this_cpu() { cpu::this_cpu().id.index() } else { 0 };
        let target = record.target();
        let target = target.strip_prefix("isochron_").unwrap_or(target);
        let _ = writeln!(
            console::lock(),
            "[{:>5}.{:06}] cpu{cpu} {:<5} {target}: {}",
            us / 1_000_000,
            us % 1_000_000,
            record.level(),
            record.args()
        );
    }

    fn flush(&self) {}
}
