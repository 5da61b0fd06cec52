//! Discovery: what the ACPI tables say, made into a [`Machine`].
//!
//! The tables are read through the first page tables' direct map, which shows the first 4 GiB; a table beyond is
//! reported as out of reach. Nothing here touches a device.
//!
//! The machine's name: `microvm`, `q35` and `pc` are told apart by tables that QEMU makes (OEM id `BOCHS `): microvm's
//! FADT says "hardware-reduced", q35 has an MCFG (memory-mapped PCI Express configuration). Whatever is not QEMU is `pc`.

use super::{cpu, interrupts, trampoline};
use crate::acpi::{self, AcpiError, Affinity, Memory, Root};
use crate::machine::{CpuDescription, InterruptController, Machine, Nodes, StartMethod, Uart};
use crate::topology::cpuid::Widths;
use core::arch::x86_64::__cpuid_count;
use heapless::Vec;
use isochron_boot::layout::{DIRECT_MAP_SIZE, PAGE_SIZE, direct_map};
use isochron_boot::x86_64::FIRST_TABLES_REACH;
use isochron_boot::{BootInfo, PhysAddr, PhysRange};

/// Where the local APIC's registers are if nobody says otherwise.
const DEFAULT_LOCAL_APIC: usize = 0xfee0_0000;
/// The first serial port of a PC.
const COM1: u16 = 0x3f8;
/// The highest id that an 8-bit destination names; 255 is everybody.
const XAPIC_LAST_ID: u32 = 254;
/// Where a PC's video memory and adapter ROMs begin, and the chipset's registers at the top of the first 4 GiB: no table
/// lies there, and reading could have effects.
const HOLES: [core::ops::Range<u64>; 2] = [0xa_0000..0xc_0000, 0xfec0_0000..0x1_0000_0000];

/// Physical memory through the first tables' direct map.
struct FirstTables;

impl Memory for FirstTables {
    fn read(&self, addr: u64, into: &mut [u8]) -> bool {
        let Some(end) = addr.checked_add(into.len() as u64) else { return false };
        let in_hole = HOLES.iter().any(|hole| addr < hole.end && hole.start < end);
        if end > FIRST_TABLES_REACH as u64 || in_hole {
            return false;
        }
        let from = direct_map(PhysAddr::new(addr as usize)).as_mut_ptr::<u8>();
        for (at, byte) in into.iter_mut().enumerate() {
            // SAFETY: the direct map of the first 4 GiB is active during discovery; where no memory answers, the bus
            // reads as ones. Volatile, as firmware may own the page.
            *byte = unsafe { from.add(at).read_volatile() };
        }
        true
    }
}

/// Fills the description of this machine.
pub fn discover(info: &BootInfo) -> Machine {
    let mut machine = Machine {
        name: "pc",
        command_line: info.command_line.clone(),
        memory: info.memory.clone(),
        reserved: info.reserved.clone(),
        mmio: Vec::new(),
        cpus: Vec::new(),
        cpus_left_out: 0,
        nodes: Nodes::default(),
        uart: Some(Uart::Ns16550Port { port: COM1 }),
        interrupts: InterruptController::Apic { local: page(DEFAULT_LOCAL_APIC) },
        hpet: None,
        timer_irq: 0,
        warnings: Vec::new(),
    };
    // The primary is first, whatever the tables say.
    let primary = CpuDescription::unplaced(info.primary_hardware_id, StartMethod::Boot);
    let _ = machine.cpus.push(primary);

    match acpi::find_root(&FirstTables, info.rsdp.map(PhysAddr::as_u64)) {
        Ok(root) => read_tables(&mut machine, &root),
        Err(error) => machine.warn(format_args!("{error}: only the first CPU is used")),
    }
    if !interrupts::has_x2apic() {
        let InterruptController::Apic { local } = machine.interrupts else { unreachable!() };
        let _ = machine.mmio.push(local);
    }
    if let Some(hpet) = machine.hpet {
        let _ = machine.mmio.push(page(hpet.as_usize()));
    }
    if machine.cpus.len() > 1 {
        match trampoline::choose_page(&machine.memory, &machine.reserved) {
            Some(page) => {
                if machine.reserved.push(page).is_err() {
                    machine.warn(format_args!("too many reserved ranges: other CPUs cannot be started"));
                    machine.cpus.truncate(1);
                }
            }
            None => machine.warn(format_args!("no free page below 640 KiB: other CPUs cannot be started")),
        }
    }
    machine
}

fn page(addr: usize) -> PhysRange {
    PhysRange::with_len(PhysAddr::new(addr).align_down(PAGE_SIZE), PAGE_SIZE)
}

fn read_tables(machine: &mut Machine, root: &Root) {
    machine.name = name(root);
    // An 8-bit id cannot name a CPU beyond 254.
    let last_id = if interrupts::has_x2apic() { u32::MAX - 1 } else { XAPIC_LAST_ID };
    let found = acpi::madt_cpus(&FirstTables, root, &mut |cpu| {
        let hardware_id = u64::from(cpu.apic_id);
        if machine.cpus.iter().any(|known| known.hardware_id == hardware_id) {
            return;
        }
        let cpu_description = CpuDescription::unplaced(hardware_id, StartMethod::InitSipi);
        if cpu.apic_id > last_id || machine.cpus.push(cpu_description).is_err() {
            machine.cpus_left_out += 1;
        }
    });
    match found {
        Ok(madt) => {
            let local = PhysAddr::new(madt.local_apic as usize);
            machine.interrupts = InterruptController::Apic { local: page(local.as_usize()) };
        }
        Err(error) => machine.warn(format_args!("{error}: only the first CPU is used")),
    }
    read_nodes(machine, root);
    let ids = Widths::read(&|leaf, sub_leaf| {
        let found = __cpuid_count(leaf, sub_leaf);
        [found.eax, found.ebx, found.ecx, found.edx]
    });
    for cpu in &mut machine.cpus {
        cpu.core = Some(ids.core(cpu.hardware_id));
        cpu.cluster = Some(ids.cluster(cpu.hardware_id));
    }
    machine.hpet = acpi::hpet_base(&FirstTables, root).ok().map(|base| PhysAddr::new(base as usize));
}

/// Which CPU and which RAM is in which node, if the firmware says so.
fn read_nodes(machine: &mut Machine, root: &Root) {
    let Machine { cpus, nodes, .. } = machine;
    let read = acpi::affinities(&FirstTables, root, &mut |affinity| match affinity {
        Affinity::Cpu { apic_id, node } => {
            cpus.iter_mut().filter(|cpu| cpu.hardware_id == u64::from(apic_id)).for_each(|cpu| cpu.node = node);
        }
        Affinity::Memory { node, start, bytes } => {
            if let Some(end) = start.checked_add(bytes)
                && end <= DIRECT_MAP_SIZE as u64
            {
                nodes.add_memory(node, PhysRange::with_len(PhysAddr::new(start as usize), bytes as usize));
            }
        }
    });
    let read = read.and_then(|()| {
        acpi::node_distances(&FirstTables, root, &mut |from, to, distance| nodes.add_distance(from, to, distance))
    });
    match read {
        // A machine with one node need not have the tables.
        Ok(()) | Err(AcpiError::Missing(_)) => {}
        Err(error) => machine.warn(format_args!("{error}: not all is known of the NUMA nodes")),
    }
}

/// `HW_REDUCED_ACPI` in the FADT's flags, which are at this offset (ACPI 6.5, 5.2.9).
const FADT_FLAGS: u32 = 112;
const HARDWARE_REDUCED: u32 = 1 << 20;

fn name(root: &Root) -> &'static str {
    let mut flags = [0; 4];
    if root.oem_id() != *b"BOCHS " || !cpu::has_hypervisor() {
        return "pc";
    }
    match root.find(&FirstTables, *b"FACP") {
        Ok(fadt)
            if fadt.read(&FirstTables, FADT_FLAGS, &mut flags) && u32::from_le_bytes(flags) & HARDWARE_REDUCED != 0 =>
        {
            "microvm"
        }
        _ if root.find(&FirstTables, *b"MCFG").is_ok() => "q35",
        _ => "pc",
    }
}
