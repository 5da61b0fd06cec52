//! Discovery: the device tree, or what is known of the board without one.

use super::clock::PLAUSIBLE_HZ;
use super::psci;
use crate::board::{AssumedMemory, Board, raspi4b, virt};
use crate::devicetree::{self, Description};
use crate::machine::{CpuDescription, InterruptController, Machine, Nodes, StartMethod, Uart};
use crate::topology::mpidr;
use aarch64_cpu::registers::{CNTFRQ_EL0, ID_AA64PFR0_EL1, MIDR_EL1, MPIDR_EL1, Readable};
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use heapless::Vec;
use isochron_boot::layout::{PAGE_SIZE, direct_map};
use isochron_boot::{BootInfo, EntryLevel, PhysRange};

/// The counter's frequency, and where it is known from.
#[derive(Clone, Copy)]
pub(super) struct Counter {
    pub(super) hz: u64,
    pub(super) source: &'static str,
}

static COUNTER_HZ: AtomicU64 = AtomicU64::new(0);
static COUNTER_SOURCE: AtomicU8 = AtomicU8::new(0);
const SOURCES: [&str; 3] = ["CNTFRQ_EL0", "the device tree", "the board's data"];

/// What [`discover`] found out about the counter.
pub(super) fn counter() -> Counter {
    // Relaxed: written before any other CPU is started.
    let source = SOURCES[usize::from(COUNTER_SOURCE.load(Ordering::Relaxed)) % SOURCES.len()];
    Counter { hz: COUNTER_HZ.load(Ordering::Relaxed), source }
}

/// Fills the machine's description. Touches no device.
#[inline(never)]
#[must_use]
pub fn discover(info: &BootInfo) -> Machine {
    let mut description = Description::default();
    let described = read_device_tree(info, &mut description);
    let board = match described {
        Ok(()) if description.board == Some(raspi4b::NAME) => &raspi4b::BOARD,
        Ok(()) => &virt::BOARD,
        Err(_) => guess_board(info),
    };
    let mut machine = empty(info, board);
    match described {
        Ok(()) => from_description(&mut machine, board, &description, info),
        Err(problem) => {
            machine.warn(format_args!("no usable device tree: {problem}; assuming a {} as it usually is", board.name));
            from_board(&mut machine, board, info);
        }
    }
    finish(&mut machine, info);
    machine
}

fn read_device_tree(info: &BootInfo, description: &mut Description) -> Result<(), &'static str> {
    let Some(range) = info.device_tree else {
        return Err(info.device_tree_problem.unwrap_or("there is none"));
    };
    // SAFETY: the boot code checked and mapped the range; nobody writes it.
    let blob = unsafe { slice::from_raw_parts(direct_map(range.start).as_mut_ptr::<u8>(), range.len()) };
    devicetree::parse_into(blob, description).map_err(|error| match error {
        devicetree::Error::Malformed => "it is damaged",
        devicetree::Error::NoMemory => "it names no memory",
        devicetree::Error::NoCpus => "it names no CPU",
    })
}

/// `virt` has no RAM below 1 GiB, a Pi 4 starts its kernels there; and only a Pi 4 is known to have this CPU there.
fn guess_board(info: &BootInfo) -> &'static Board {
    const GIB: usize = 1 << 30;
    if MIDR_EL1.read(MIDR_EL1::PartNum) == raspi4b::CPU_PART && info.image.start.as_usize() < GIB {
        &raspi4b::BOARD
    } else {
        &virt::BOARD
    }
}

fn empty(info: &BootInfo, board: &Board) -> Machine {
    let mut machine = Machine {
        name: board.name,
        command_line: info.command_line.clone(),
        memory: Vec::new(),
        reserved: Vec::new(),
        mmio: Vec::new(),
        cpus: Vec::new(),
        cpus_left_out: 0,
        nodes: Nodes::default(),
        uart: None,
        interrupts: board_gic(board),
        hpet: None,
        timer_irq: board.timer_irq,
        warnings: Vec::new(),
    };
    for range in &info.reserved {
        // Both lists hold as many.
        let _ = machine.reserved.push(*range);
    }
    machine
}

/// The board's GIC, in the version that the CPU can talk to.
fn board_gic(board: &Board) -> InterruptController {
    match board.gic.redistributors {
        Some(redistributors) if ID_AA64PFR0_EL1.get() >> 24 & 0xf != 0 => {
            let mut regions = Vec::new();
            // A fresh list has room.
            let _ = regions.push(redistributors);
            InterruptController::GicV3 { distributor: board.gic.distributor, redistributors: regions }
        }
        _ => InterruptController::GicV2 { distributor: board.gic.distributor, cpu_interface: board.gic.cpu_interface },
    }
}

fn from_description(machine: &mut Machine, board: &Board, description: &Description, info: &BootInfo) {
    machine.name = description.board.unwrap_or("arm64");
    machine.command_line.clone_from(&description.command_line);
    if description.command_line_cut {
        machine.warn(format_args!(
            "the command line is longer than {} bytes; the rest is lost",
            machine.command_line.len()
        ));
    }
    if description.dropped_ranges > 0 {
        machine.warn(format_args!("{} memory ranges of the device tree's were left out", description.dropped_ranges));
    }
    machine.memory.clone_from(&description.memory);
    for range in &description.reserved {
        if machine.reserved.push(*range).is_err() {
            machine.warn(format_args!("too many reserved ranges: {:#x} is lost", range.start.as_usize()));
        }
    }
    machine.cpus_left_out = description.cpus_left_out;
    machine.nodes.clone_from(&description.nodes);
    // An HVC would go to EL2, which was ours and has no handler.
    let no_hvc = info.entry_level == EntryLevel::El2 && description.psci == Some(devicetree::Conduit::Hvc);
    if no_hvc {
        machine.warn(format_args!("the device tree wants firmware called by HVC, but there is none: EL2 was entered"));
    }
    for cpu in &description.cpus {
        if no_hvc && cpu.start == (StartMethod::Psci { smc: false }) {
            machine.cpus_left_out += usize::from(cpu.hardware_id != info.primary_hardware_id);
            continue;
        }
        // Both lists hold as many.
        let _ = machine.cpus.push(*cpu);
    }
    match &description.interrupts {
        Some(found) => machine.interrupts = found.clone(),
        None => {
            machine.warn(format_args!("the device tree names no known interrupt controller; assuming {}'s", board.name))
        }
    }
    match description.timer_irq {
        Some(found) => machine.timer_irq = found,
        None => {
            machine.warn(format_args!("the device tree names no virtual timer; assuming interrupt {}", board.timer_irq))
        }
    }
    match description.uart {
        Some(found) => machine.uart = Some(found),
        None => {
            machine.uart = Some(board.uart);
            machine.warn(format_args!("the device tree names no known serial port; assuming {}'s", board.name));
        }
    }
    if let Some(psci) = description.psci
        && !no_hvc
    {
        psci::set_conduit(psci == devicetree::Conduit::Smc);
    }
    find_counter(machine, board, description.timer_hz);
}

fn from_board(machine: &mut Machine, board: &Board, info: &BootInfo) {
    let memory = match board.memory {
        AssumedMemory::Fixed(range) => range,
        AssumedMemory::FromImage(bytes) => PhysRange::with_len(info.image.start.align_down(1 << 21), bytes),
    };
    // Fresh lists have room, here and below.
    let _ = machine.memory.push(memory);
    for range in board.reserved {
        if machine.reserved.push(*range).is_err() {
            machine.warn(format_args!("too many reserved ranges: {:#x} is lost", range.start.as_usize()));
        }
    }
    for cpu in board.cpus {
        let _ = machine.cpus.push(*cpu);
    }
    machine.uart = Some(board.uart);
    find_counter(machine, board, None);
}

/// The register, if what it says can be true; else what was described; else the board's.
fn find_counter(machine: &mut Machine, board: &Board, described: Option<u32>) {
    let register = CNTFRQ_EL0.get();
    let described = described.map(u64::from).filter(|hz| PLAUSIBLE_HZ.contains(hz));
    let (hz, source) = match described {
        _ if PLAUSIBLE_HZ.contains(&register) => (register, 0),
        Some(hz) => (hz, 1),
        None => (u64::from(board.timer_hz), 2),
    };
    if source != 0 {
        let name = SOURCES[usize::from(source)];
        machine.warn(format_args!("CNTFRQ_EL0 says {register} Hz, which cannot be; using {hz} Hz from {name}"));
    }
    // Relaxed: see `counter`.
    COUNTER_HZ.store(hz, Ordering::Relaxed);
    COUNTER_SOURCE.store(source, Ordering::Relaxed);
}

/// The primary CPU, whatever was described, and the registers to map.
fn finish(machine: &mut Machine, info: &BootInfo) {
    let primary = info.primary_hardware_id;
    match machine.cpus.iter_mut().find(|cpu| cpu.hardware_id == primary) {
        Some(cpu) => cpu.start = StartMethod::Boot,
        None => {
            let own = CpuDescription::unplaced(primary, StartMethod::Boot);
            if machine.cpus.push(own).is_err() {
                machine.cpus_left_out += 1;
                machine.cpus.pop();
                let _ = machine.cpus.push(own);
            }
        }
    }
    // What the device tree does not say is in the numbers.
    let multithreaded = MPIDR_EL1.matches_all(MPIDR_EL1::MT::SET);
    for cpu in &mut machine.cpus {
        let (core, cluster) = mpidr::core_and_cluster(cpu.hardware_id, multithreaded);
        cpu.core = cpu.core.or(Some(core));
        cpu.cluster = cpu.cluster.or(Some(cluster));
    }
    let mut registers: Vec<PhysRange, 12> = Vec::new();
    // At most 1 + 8 + 1.
    match &machine.interrupts {
        InterruptController::GicV2 { distributor, cpu_interface } => {
            let _ = registers.extend_from_slice(&[*distributor, *cpu_interface]);
        }
        InterruptController::GicV3 { distributor, redistributors } => {
            let _ = registers.push(*distributor);
            let _ = registers.extend_from_slice(redistributors);
        }
        InterruptController::Apic { .. } | InterruptController::Signals => {}
    }
    if let Some(Uart::Pl011 { base } | Uart::MiniUart { base }) = machine.uart {
        let _ = registers.push(PhysRange::with_len(base, PAGE_SIZE));
    }
    for range in registers {
        let pages = PhysRange { start: range.start.align_down(PAGE_SIZE), end: range.end.align_up(PAGE_SIZE) };
        let _ = machine.mmio.push(pages);
    }
}
