//! The whole order of the boot, on one page.

use crate::cmdline::CommandLine;
use crate::cpu::{CpuId, CpuState, PerCpu};
use crate::machine::{CpuDescription, Machine, StartMethod};
use crate::memory::Stack;
use crate::{arch, clock, console, exit, hooks, logger, memory, report, smp, topology};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicPtr, Ordering};
use isochron_boot::BootInfo;
use spin::Once;

/// The kernel command line, kept for the program's arguments.
static COMMAND_LINE: AtomicPtr<Machine> = AtomicPtr::new(core::ptr::null_mut());

/// Set by [`isochron_kernel_start`]: the primary's block cannot come from a heap that is not there yet.
static PRIMARY: Once<PerCpu> = Once::new();

/// The kernel's first function: called by the boot code on the primary CPU, interrupts masked, on the boot stack.
#[unsafe(no_mangle)]
pub extern "C" fn isochron_kernel_start(info: &'static mut BootInfo) -> ! {
    let info: &'static BootInfo = info;
    logger::init(info.entry_ticks);

    // 1. This CPU finds its own block and can take exceptions.
    let primary = PRIMARY.call_once(|| {
        let description = CpuDescription::unplaced(info.primary_hardware_id, StartMethod::Boot);
        PerCpu::new(CpuId::PRIMARY, description)
    });
    primary.publish();
    // SAFETY: the block lives for ever and is this CPU's own.
    unsafe {
        arch::cpu::set_per_cpu(primary);
        arch::cpu::set_current_thread(core::ptr::null_mut());
        arch::cpu::init_this_cpu(primary);
    }

    // 2. What machine is this? Reads tables in memory; touches no device.
    let machine = arch::platform::discover(info);

    // 3. Where its CPUs and its memory stand; then the final address space, frames, heap.
    topology::init(&machine, primary.description.hardware_id);
    // SAFETY: primary CPU, once, with the boot code's tables active.
    if let Err(error) = unsafe { memory::init(info, &machine) } {
        panic!("memory cannot be set up: {error}");
    }
    let machine: &'static mut Machine = Box::leak(Box::new(machine));

    // 4. The console, and with it all that there was to say.
    // SAFETY: the registers are mapped now; once.
    unsafe { console::init(machine) };
    for warning in &machine.warnings {
        log::warn!("{warning}");
    }
    if info.command_line_cut {
        log::warn!("the kernel command line is longer than {} bytes; the rest is lost", info.command_line.capacity());
    }
    if info.dropped_ranges > 0 {
        log::warn!("{} memory ranges of the firmware's were left out", info.dropped_ranges);
    }

    // 5. Interrupts and clocks of this CPU.
    // SAFETY: once, with the registers mapped; `primary` is this CPU's block.
    unsafe {
        arch::interrupts::init_primary(machine);
        arch::interrupts::init_this_cpu(primary);
    }
    arch::clock::init(machine);
    clock::init();
    arch::timer::init_this_cpu();

    // 6. The command line.
    report::init(machine, info.entry_ticks);
    let machine: &'static Machine = machine;
    // Release: partner of the acquire in `arguments`.
    COMMAND_LINE.store(core::ptr::from_ref(machine).cast_mut(), Ordering::Release);
    let line = match CommandLine::parse(&machine.command_line) {
        Ok(line) => line,
        Err(error) => {
            crate::println!("{error}");
            exit::exit(2)
        }
    };
    logger::set_level(line.log);
    for key in &line.unknown {
        log::warn!("kernel command line: unknown key `{key}` is ignored");
    }
    let facts = clock::facts();
    log::info!(
        "{}: {} CPUs described, {} MiB of RAM, clock {} Hz from {} (+-{} ppb)",
        machine.name,
        machine.cpus.len(),
        memory::stats().total >> 20,
        clock::frequency_hz(),
        facts.source,
        facts.error_ppb
    );

    // 7. The other CPUs.
    let parts = topology::counts();
    log::info!("{} cores in {} clusters in {} NUMA nodes", parts.cores, parts.clusters, parts.nodes);
    if machine.nodes.dropped > 0 {
        log::warn!("{} entries about NUMA nodes are left out: too many", machine.nodes.dropped);
    }
    primary.change_state(CpuState::Off, CpuState::Starting);
    hooks::isochron_prepare_cpu();
    primary.report_online();
    describe_secondaries(machine, primary);
    smp::start_secondaries(line.cores);

    // 8. Policy takes over, on a stack with a guard page.
    run_on_worker_stack()
}

/// Gives every CPU but this one a block and a number, in the firmware's order.
fn describe_secondaries(machine: &Machine, primary: &PerCpu) {
    let others = machine.cpus.iter().filter(|cpu| cpu.hardware_id != primary.description.hardware_id);
    for (index, description) in others.enumerate().take(isochron_boot::layout::MAX_CPUS - 1) {
        Box::leak(Box::new(PerCpu::new(CpuId::new(index + 1), *description))).publish();
    }
    if machine.cpus_left_out > 0 {
        log::warn!("{} CPUs are left out: disabled by the firmware, or beyond the 64 that fit", machine.cpus_left_out);
    }
}

fn run_on_worker_stack() -> ! {
    extern "C" fn primary_main(_: *mut (), _: usize) -> ! {
        hooks::isochron_primary_main()
    }
    let Ok(stack) = Stack::backed(smp::WORKER_STACK_SIZE) else {
        panic!("no memory for the primary CPU's worker stack")
    };
    // SAFETY: the stack is fresh and, forgotten below, lives for ever.
    let worker = unsafe { arch::context::prepare(stack.top(), primary_main, core::ptr::null_mut()) };
    core::mem::forget(stack);
    let mut boot = arch::context::Context::default();
    // SAFETY: `worker` was prepared above; nobody switches back to the boot stack, where `boot` lies.
    unsafe { arch::context::switch(&raw mut boot, &raw const worker, 0) };
    unreachable!("the boot stack was switched back to")
}

/// The program's arguments, as one string: see [`crate::cmdline::split`].
#[must_use]
pub fn arguments() -> &'static str {
    command_line().map_or("", |line| line.args)
}

/// What stood behind `trace=` on the command line.
#[must_use]
pub fn trace_asked() -> Option<&'static str> {
    command_line()?.trace
}

fn command_line() -> Option<CommandLine<'static>> {
    // Acquire: partner of the release in `isochron_kernel_start`.
    let machine = COMMAND_LINE.load(Ordering::Acquire);
    // SAFETY: null, or the leaked machine description, which nobody changes any more.
    let machine = unsafe { machine.as_ref() }?;
    CommandLine::parse(&machine.command_line).ok()
}
