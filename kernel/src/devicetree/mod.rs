//! The device tree: what it says about the machine, as plain data.
//!
//! Pure: bytes in, [`Description`] out; the blob is checked as a whole before anything is read from it, and whatever is
//! wrong with it is an [`Error`] or a warning, never a panic. One walk over all nodes finds everything; addresses are
//! translated through the `ranges` of the buses on the way (Devicetree Specification 0.4, 2.3.8).

mod bus;
mod cpus;
mod devices;
mod memory;
#[cfg(test)]
mod tests;
mod topology;

use crate::machine::{CpuDescription, InterruptController, MAX_RANGES, Nodes, Uart};
use bus::Path;
use core::fmt;
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{FdtStringListIterator, Node, Property};
use heapless::{String, Vec};
use isochron_boot::info::MAX_COMMAND_LINE;
use isochron_boot::layout::MAX_CPUS;
use isochron_boot::{PhysAddr, PhysRange};

/// Buses are nested at most this deep; what lies deeper is not looked at.
const MAX_DEPTH: usize = 8;

/// Why a device tree cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// It is not a well-formed flattened device tree.
    Malformed,
    /// It names no memory.
    NoMemory,
    /// It names no CPU that could be used.
    NoCpus,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is damaged",
            Self::NoMemory => "it names no memory",
            Self::NoCpus => "it names no CPU",
        })
    }
}

/// How PSCI is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// By `hvc`.
    Hvc,
    /// By `smc`.
    Smc,
}

/// What a device tree says.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// The first entry of the root's `compatible` is the Raspberry Pi 4's or QEMU `virt`'s: their short names.
    pub board: Option<&'static str>,
    /// RAM.
    pub memory: Vec<PhysRange, MAX_RANGES>,
    /// RAM that must be left alone: `/reserved-memory`, the reservation block, the initial RAM disk, spin tables.
    pub reserved: Vec<PhysRange, MAX_RANGES>,
    /// CPUs that can be used. The start method of the boot CPU is what the tree says.
    pub cpus: Vec<CpuDescription, MAX_CPUS>,
    /// CPUs marked unusable, or beyond [`MAX_CPUS`], or with no start method that is known.
    pub cpus_left_out: usize,
    /// NUMA nodes.
    pub nodes: Nodes,
    /// The interrupt controller.
    pub interrupts: Option<InterruptController>,
    /// INTID of the virtual timer.
    pub timer_irq: Option<u32>,
    /// The counter's frequency in Hz, for firmware that does not set the register.
    pub timer_hz: Option<u32>,
    /// The console: what `/chosen/stdout-path` names, or else the first serial port.
    pub uart: Option<Uart>,
    /// PSCI.
    pub psci: Option<Conduit>,
    /// `/chosen/bootargs`.
    pub command_line: String<MAX_COMMAND_LINE>,
    /// Whether the command line was longer than what is kept.
    pub command_line_cut: bool,
    /// Ranges that had no place in a list.
    pub dropped_ranges: usize,
}

/// Reads the flattened device tree `blob`; bytes past its end are ignored.
///
/// # Errors
/// [`Error`] if it is damaged or lacks what every machine has.
pub fn parse(blob: &[u8]) -> Result<Description, Error> {
    let mut description = Description::default();
    parse_into(blob, &mut description).map(|()| description)
}

/// As [`parse`], into a fresh description: early in the boot the stack is too small for many copies of one.
///
/// # Errors
/// As [`parse`]; the description is of no use then.
pub fn parse_into(blob: &[u8], description: &mut Description) -> Result<(), Error> {
    let tree = Fdt::new(blob).map_err(|_| Error::Malformed)?;
    let root = tree.root();
    description.board = root.compatible().and_then(|mut names| names.find_map(board));
    memory::read_reservations(tree, description);
    let mut found =
        Found { description, timer_interrupts: None, interrupt_cells: None, cpus: None, chosen: None, aliases: None };
    visit(root, &mut Path::new(), &mut found);
    let Found { description, timer_interrupts, interrupt_cells, cpus, chosen, aliases } = found;
    description.timer_irq = timer_interrupts
        .and_then(|raw| devices::virtual_timer(raw, interrupt_cells.unwrap_or(DEFAULT_INTERRUPT_CELLS)));
    if let Some(chosen) = chosen {
        read_chosen(chosen, description);
        if let Some(console) = console(root, chosen, aliases) {
            description.uart = Some(console);
        }
    }
    // After PSCI was found.
    if let Some(cpus) = cpus {
        cpus::read(root, cpus, description);
    }
    if description.memory.is_empty() {
        return Err(Error::NoMemory);
    }
    if description.cpus.is_empty() {
        return Err(Error::NoCpus);
    }
    Ok(())
}

/// A GIC's interrupts have kind, number and flags.
const DEFAULT_INTERRUPT_CELLS: u32 = 3;

/// What the walk gathers.
struct Found<'d, 'a> {
    description: &'d mut Description,
    /// The timer's `interrupts`, to be read when the interrupt controller's cells are known.
    timer_interrupts: Option<&'a [u8]>,
    /// The interrupt controller's `#interrupt-cells`.
    interrupt_cells: Option<u32>,
    cpus: Option<FdtNode<'a>>,
    chosen: Option<FdtNode<'a>>,
    aliases: Option<FdtNode<'a>>,
}

fn board(compatible: &str) -> Option<&'static str> {
    match compatible {
        "raspberrypi,4-model-b" => Some(crate::board::raspi4b::NAME),
        "linux,dummy-virt" => Some(crate::board::virt::NAME),
        _ => None,
    }
}

/// Looks at every node below `node` whose addresses can be translated, parents first.
///
/// Each property is decoded once: this walk is most of what the boot does.
fn visit<'a>(node: FdtNode<'a>, path: &mut Path<'a>, found: &mut Found<'_, 'a>) {
    if path.push(node).is_err() {
        return;
    }
    for child in node.children() {
        if path.len() == 1 {
            let name = child.name();
            match name.split('@').next().unwrap_or(name) {
                "memory" => memory::read(child, found.description),
                "reserved-memory" => memory::read_reserved(child, found.description),
                "cpus" => found.cpus = Some(child),
                "chosen" => found.chosen = Some(child),
                "aliases" => found.aliases = Some(child),
                "distance-map" => topology::read_distances(child, found.description),
                _ => look_at(child, path, found),
            }
        } else {
            look_at(child, path, found);
        }
    }
    path.pop();
}

fn look_at<'a>(node: FdtNode<'a>, path: &mut Path<'a>, found: &mut Found<'_, 'a>) {
    let mut compatible = None;
    let mut is_bus = false;
    for property in node.properties() {
        match property.name() {
            "compatible" => compatible = property.value_as::<FdtStringListIterator<'a>>().ok(),
            "ranges" => is_bus = true,
            _ => {}
        }
    }
    if let Some(compatible) = compatible {
        devices::read(node, compatible, path, found);
    }
    if is_bus {
        visit(node, path, found);
    }
}

fn read_chosen(chosen: FdtNode<'_>, description: &mut Description) {
    if let Some(Ok(arguments)) = chosen.property("bootargs").map(|p| p.value_as::<&str>()) {
        for char in arguments.chars() {
            if description.command_line.push(char).is_err() {
                description.command_line_cut = true;
                break;
            }
        }
    }
    if let (Some(start), Some(end)) = (number(chosen, "linux,initrd-start"), number(chosen, "linux,initrd-end"))
        && start < end
    {
        reserve(description, PhysRange { start: PhysAddr::new(start as usize), end: PhysAddr::new(end as usize) });
    }
}

/// A property of one or two cells.
fn number(node: FdtNode<'_>, name: &str) -> Option<u64> {
    cells(node.property(name)?.value())
}

/// One or two big-endian cells.
fn cells(bytes: &[u8]) -> Option<u64> {
    match *bytes {
        [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
        [a, b, c, d, e, f, g, h] => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    }
}

/// The serial port that `stdout-path` names, directly or by an alias, options after a colon.
fn console(root: FdtNode<'_>, chosen: FdtNode<'_>, aliases: Option<FdtNode<'_>>) -> Option<Uart> {
    let property = chosen.property("stdout-path")?;
    let value: &str = property.value_as().ok()?;
    let name = value.split(':').next()?;
    let alias;
    let target = if name.starts_with('/') {
        name
    } else {
        alias = aliases?.property(name)?;
        alias.value_as().ok()?
    };
    let mut path = Path::new();
    let mut node = root;
    for part in target.split('/').filter(|part| !part.is_empty()) {
        path.push(node).ok()?;
        node = node.child(part)?;
    }
    devices::uart(node, &path)
}

fn reserve(description: &mut Description, range: PhysRange) {
    if !range.is_empty() && description.reserved.push(range).is_err() {
        description.dropped_ranges += 1;
    }
}

/// Whether the node may be used: `status` is absent, `okay` or `ok`.
fn is_enabled(node: FdtNode<'_>) -> bool {
    match node.property("status") {
        None => true,
        Some(status) => matches!(status.value(), b"okay\0" | b"ok\0"),
    }
}
