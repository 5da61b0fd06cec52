//! `/cpus`.

use super::memory::reserve_spin_table;
use super::{Conduit, Description, is_enabled, number, topology};
use crate::machine::{CpuDescription, StartMethod};
use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property};
use heapless::Vec;
use isochron_boot::PhysAddr;

/// The affinity fields of `MPIDR_EL1`.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// Reads the CPUs; PSCI is known by now.
pub(super) fn read<'a>(root: FdtNode<'a>, cpus: FdtNode<'a>, description: &mut Description) {
    let mut usable_nodes = Vec::new();
    for cpu in cpus.children() {
        if cpu.property("device_type").is_none_or(|kind| kind.value() != b"cpu\0") {
            continue;
        }
        let Some(hardware_id) = number(cpu, "reg").map(|id| id & AFFINITY) else {
            description.cpus_left_out += 1;
            continue;
        };
        if description.cpus.iter().any(|known| known.hardware_id == hardware_id) {
            continue;
        }
        let usable = is_enabled(cpu).then(|| start_method(cpu, description)).flatten();
        let node = number(cpu, "numa-node-id").and_then(|node| u32::try_from(node).ok()).unwrap_or(0);
        let described = usable.map(|start| CpuDescription { node, ..CpuDescription::unplaced(hardware_id, start) });
        match described.map(|cpu| description.cpus.push(cpu)) {
            // Both lists hold as many.
            Some(Ok(())) => drop(usable_nodes.push(cpu)),
            _ => description.cpus_left_out += 1,
        }
    }
    topology::read(root, cpus, &usable_nodes, description);
}

fn start_method(cpu: FdtNode<'_>, description: &mut Description) -> Option<StartMethod> {
    let method = cpu.property("enable-method");
    match method.as_ref().map(Property::value) {
        Some(b"spin-table\0") => {
            let release = reserve_spin_table(cpu.property("cpu-release-addr")?.value(), description)?;
            Some(StartMethod::SpinTable { release: PhysAddr::new(release as usize) })
        }
        Some(b"psci\0") => Some(StartMethod::Psci { smc: description.psci? == Conduit::Smc }),
        // A machine with one CPU need not say how to start it.
        None => {
            Some(description.psci.map_or(StartMethod::Boot, |psci| StartMethod::Psci { smc: psci == Conduit::Smc }))
        }
        Some(_) => None,
    }
}
