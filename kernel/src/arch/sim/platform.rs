//! Discovery: what the environment asks for.

use super::entry;
use crate::machine::{CpuDescription, InterruptController, Machine, Nodes, StartMethod};
use heapless::Vec;
use isochron_boot::{BootInfo, PhysAddr, PhysRange};

/// Bytes of memory: enough for any program here, and little enough to be copied fast.
const MEMORY: usize = 256 << 20;

/// Fills the description of this machine.
pub fn discover(info: &BootInfo) -> Machine {
    let mut machine = Machine {
        name: "simulated",
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
    let _ = machine.memory.push(PhysRange::with_len(PhysAddr::new(0), MEMORY));
    for index in 0..entry::cpus() {
        let start = if index == 0 { StartMethod::Boot } else { StartMethod::HostThread };
        let _ = machine.cpus.push(CpuDescription::unplaced(index as u64, start));
    }
    machine
}
