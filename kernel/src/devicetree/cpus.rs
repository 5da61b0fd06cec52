//! `/cpus`.

use super::memory::reserve_spin_table;
use super::{Conduit, Description, is_enabled, number};
use crate::machine::{CpuDescription, StartMethod};
use dtoolkit::fdt::FdtNode;
use dtoolkit::{Node, Property};
use isochron_boot::PhysAddr;

/// The affinity fields of `MPIDR_EL1`.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// Reads the CPUs; PSCI is known by now.
pub(super) fn read(cpus: FdtNode<'_>, description: &mut Description) {
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
        let pushed = usable.map(|start| description.cpus.push(CpuDescription { hardware_id, node, start }));
        if !matches!(pushed, Some(Ok(()))) {
            description.cpus_left_out += 1;
        }
    }
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
