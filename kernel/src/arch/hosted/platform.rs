//! Discovery: what the process was given.

use super::{entry, topology};
use crate::machine::{CpuDescription, InterruptController, Machine, Nodes, StartMethod};
use heapless::Vec;
use isochron_boot::layout::MAX_CPUS;
use isochron_boot::{BootInfo, PhysAddr, PhysRange};

/// Fills the description of this machine.
pub fn discover(info: &BootInfo) -> Machine {
    let mut machine = Machine {
        name: "hosted",
        command_line: info.command_line.clone(),
        memory: Vec::new(),
        reserved: Vec::new(),
        mmio: Vec::new(),
        cpus: Vec::new(),
        cpus_left_out: 0,
        nodes: Nodes::default(),
        uart: None,
        interrupts: InterruptController::Signals,
        hpet: None,
        timer_irq: 0,
        warnings: Vec::new(),
    };
    let _ = machine.memory.push(PhysRange::with_len(PhysAddr::new(0), entry::memory_bytes()));
    let cpus = entry::cpus();
    for index in 0..cpus.min(MAX_CPUS) {
        let start = if index == 0 { StartMethod::Boot } else { StartMethod::HostThread };
        let _ = machine.cpus.push(CpuDescription::unplaced(index as u64, start));
    }
    let cores = entry::host_cores().count();
    if cpus > cores {
        machine
            .warn(format_args!("{cpus} CPUs share {cores} cores of the host's: they are not bound, and do not spin"));
    } else {
        topology::find(&mut machine);
    }
    machine
}
