//! What the host is told: records on the console, each line in one piece.

use crate::machine::Machine;
use crate::wire::{Fixed, Record, SCHEMA};
use crate::{arch, clock, console, cpu, death_reports, memory, topology};
use core::fmt;
use spin::Once;

/// What the kernel found at boot, for reports.
#[derive(Clone, Copy, Debug)]
pub struct BootFacts {
    /// The board's name.
    pub machine: &'static str,
    /// Ticks at the first instruction.
    pub entry_ticks: u64,
    /// CPUs described by the firmware (before `cores=`).
    pub cpus_described: usize,
    /// RAM found, in bytes.
    pub memory: u64,
}

static FACTS: Once<BootFacts> = Once::new();

pub(crate) fn init(machine: &Machine, entry_ticks: u64) {
    FACTS.call_once(|| BootFacts {
        machine: machine.name,
        entry_ticks,
        cpus_described: machine.cpus.len(),
        memory: machine.memory.iter().map(|range| range.len() as u64).sum(),
    });
}

/// What was found at boot.
///
/// # Panics
/// Before the kernel's init is done.
#[must_use]
pub fn facts() -> BootFacts {
    *FACTS.get().expect("boot facts asked for before they are known")
}

/// Sends one record.
///
/// # Panics
/// If a name in it is not snake_case or a unit is not one word: a figure must not be lost in silence.
#[track_caller]
pub fn send(record: &Record<'_>) {
    let sent = record.encode(&mut *console::lock());
    assert!(sent.is_ok(), "a record whose name or unit is not a word");
}

/// Sends a single figure.
///
/// # Panics
/// If `name` is not snake_case or `unit` is not one word.
#[track_caller]
pub fn value(name: &str, unit: &str, value: Fixed) {
    send(&Record::Value { name, unit, value });
}

/// Sends a remark that belongs to the result `name`.
pub fn note(name: &str, text: fmt::Arguments<'_>) {
    let _ = crate::wire::encode_note(&mut *console::lock(), name, text);
}

/// Tells that `app` begins: who and where, and the boot's own figures. `main_ticks` is when `main` was entered.
pub fn start(app: &str, main_ticks: u64) {
    let facts = facts();
    send(&Record::Start {
        schema: SCHEMA,
        app,
        machine: facts.machine,
        arch: arch::NAME,
        cpus: cpu::online_count() as u32,
        clock_hz: clock::frequency_hz(),
    });
    let boot_ns = clock::ticks_to_ns(main_ticks.saturating_sub(facts.entry_ticks));
    value("boot_to_main", "ns", Fixed::from_int(boot_ns));
    value("cpus_up", "count", Fixed::from_int(cpu::online_count() as u64));
    let parts = topology::counts();
    if parts.clusters > 1 || parts.cores < facts.cpus_described {
        note("cpus_up", format_args!("{} cores, {} clusters, {} nodes", parts.cores, parts.clusters, parts.nodes));
    }
    value("memory_found", "bytes", Fixed::from_int(facts.memory));
    value("memory_free", "bytes", Fixed::from_int(memory::stats().free));
    let clock = clock::facts();
    value("clock_error", "ppb", Fixed::from_int(clock.error_ppb.into()));
    note(
        "clock_error",
        format_args!("{}{}", clock.source, if clock.constant { "" } else { "; not known to be constant" }),
    );
}

/// Tells the code that the guest ends with.
pub(crate) fn exit(code: u8) {
    // The panic path may have stopped a CPU that held the console: the last word must not wait for it for ever.
    for _ in 0..1_000_000 {
        if let Some(mut console) = console::try_lock() {
            death_reports::close(&mut *console);
            let _ = Record::Exit { code }.encode(&mut *console);
            return;
        }
        arch::cpu::spin_hint();
    }
    death_reports::close(&mut console::Unlocked);
    let _ = Record::Exit { code }.encode(&mut console::Unlocked);
}
