//! What machine this is, as data: filled by a port's discovery, read by everybody.

use heapless::{String, Vec};
use isochron_boot::layout::MAX_CPUS;
use isochron_boot::{PhysAddr, PhysRange};

/// The most ranges of RAM, of reserved RAM and of device registers that are kept.
pub const MAX_RANGES: usize = 64;
/// The most distances between NUMA nodes that are kept: 16 nodes.
pub const MAX_NODE_DISTANCES: usize = 256;

/// How a secondary CPU is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartMethod {
    /// PSCI `CPU_ON` (Arm DEN 0022), by HVC or by SMC.
    Psci {
        /// Called by `smc` rather than `hvc`.
        smc: bool,
    },
    /// The CPU waits in a firmware loop until an address is stored at `release`.
    SpinTable {
        /// Where the address goes.
        release: PhysAddr,
    },
    /// It is the primary: it runs already.
    Boot,
    /// INIT, then start-up IPIs (Intel SDM vol. 3, 10.4.4).
    InitSipi,
    /// It becomes a thread of the host's.
    HostThread,
}

/// One CPU as the firmware describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuDescription {
    /// ARM64: `MPIDR_EL1` affinity fields; x86-64: APIC id.
    pub hardware_id: u64,
    /// NUMA node by the firmware's number, 0 where the machine has only one.
    pub node: u32,
    /// CPUs of a node with the same number are threads of one core. `None`: a core of its own.
    pub core: Option<u64>,
    /// CPUs of a node with the same number share a cache. `None`: nothing is known of it.
    pub cluster: Option<u64>,
    /// How it is started.
    pub start: StartMethod,
}

impl CpuDescription {
    /// A CPU of which nothing is known but how it is named and started.
    #[must_use]
    pub const fn unplaced(hardware_id: u64, start: StartMethod) -> Self {
        Self { hardware_id, node: 0, core: None, cluster: None, start }
    }
}

/// RAM of a NUMA node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeMemory {
    /// The node, by the firmware's number in [`Machine`], by [`crate::topology`]'s in its answers.
    pub node: u32,
    /// The range.
    pub range: PhysRange,
}

/// How far a node's memory is from another node's CPUs: 10 is the distance of a node from itself (ACPI 6.5, 5.2.17).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeDistance {
    /// The CPUs' node, by the firmware's number.
    pub from: u32,
    /// The memory's node, by the firmware's number.
    pub to: u32,
    /// The distance.
    pub distance: u8,
}

/// What the firmware says about NUMA nodes, besides which CPUs are in them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// Which RAM is whose. Empty where the machine has only one node, or does not say.
    pub memory: Vec<NodeMemory, MAX_RANGES>,
    /// Distances, those of nodes from themselves among them or not.
    pub distances: Vec<NodeDistance, MAX_NODE_DISTANCES>,
    /// Entries that had no place in a list.
    pub dropped: usize,
}

impl Nodes {
    /// Notes whose a range of RAM is.
    pub(crate) fn add_memory(&mut self, node: u32, range: PhysRange) {
        self.dropped += usize::from(self.memory.push(NodeMemory { node, range }).is_err());
    }

    /// Notes a distance. Zero and 255 mean that there is no way (ACPI), so they are no distance.
    pub(crate) fn add_distance(&mut self, from: u32, to: u32, distance: u32) {
        if let Ok(distance @ 1..=254) = u8::try_from(distance) {
            self.dropped += usize::from(self.distances.push(NodeDistance { from, to, distance }).is_err());
        }
    }
}

/// The serial port of the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uart {
    /// Arm PL011 (DDI 0183).
    Pl011 {
        /// Its registers.
        base: PhysAddr,
    },
    /// The BCM2711's mini UART (BCM2711 ARM Peripherals, 2.2).
    MiniUart {
        /// Its registers (`AUX_MU_IO_REG`).
        base: PhysAddr,
    },
    /// A 16550 behind I/O ports.
    Ns16550Port {
        /// The first port.
        port: u16,
    },
}

/// What delivers interrupts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InterruptController {
    /// GICv2: at most 8 CPUs.
    GicV2 {
        /// Distributor.
        distributor: PhysRange,
        /// CPU interface.
        cpu_interface: PhysRange,
    },
    /// GICv3 or later, used through system registers.
    GicV3 {
        /// Distributor.
        distributor: PhysRange,
        /// Redistributor regions.
        redistributors: Vec<PhysRange, 8>,
    },
    /// Local APICs, in xAPIC or x2APIC mode.
    Apic {
        /// The local APIC's registers.
        local: PhysRange,
    },
    /// The host's signals.
    Signals,
}

/// The machine as it was found.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `virt`, `raspi4b`, `q35`, `microvm`, `pc`, `hosted`.
    pub name: &'static str,
    /// The kernel command line, from wherever it came.
    pub command_line: String<{ isochron_boot::info::MAX_COMMAND_LINE }>,
    /// All RAM.
    pub memory: Vec<PhysRange, MAX_RANGES>,
    /// RAM that must not be handed out (the image is added by the memory set-up itself).
    pub reserved: Vec<PhysRange, MAX_RANGES>,
    /// Device registers to map.
    pub mmio: Vec<PhysRange, MAX_RANGES>,
    /// Every CPU that may be started, the primary among them.
    pub cpus: Vec<CpuDescription, MAX_CPUS>,
    /// CPUs beyond [`MAX_CPUS`], or marked unusable by the firmware.
    pub cpus_left_out: usize,
    /// NUMA nodes.
    pub nodes: Nodes,
    /// The console, if there is one.
    pub uart: Option<Uart>,
    /// The interrupt controller.
    pub interrupts: InterruptController,
    /// ACPI: physical address of the HPET's registers; the clock's calibration uses it.
    pub hpet: Option<PhysAddr>,
    /// ARM64: the interrupt number (INTID) of the virtual timer.
    pub timer_irq: u32,
    /// What went wrong on the way; logged as soon as the console works.
    pub warnings: Vec<String<120>, 16>,
}

impl Machine {
    /// Notes something that the user should know. Beyond 16 notes, or 120 bytes of one, the rest is lost.
    pub fn warn(&mut self, args: core::fmt::Arguments<'_>) {
        let mut text = String::new();
        let _ = core::fmt::write(&mut text, args);
        let _ = self.warnings.push(text);
    }
}
