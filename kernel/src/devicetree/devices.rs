//! The few devices the kernel itself uses.

use super::bus::Path;
use super::{Conduit, Found, is_enabled, number};
use crate::machine::{InterruptController, Uart};
use dtoolkit::fdt::FdtNode;
use dtoolkit::{FdtStringListIterator, Node, Property};
use heapless::Vec;

/// What is looked for.
const KNOWN: [&str; 10] = [
    "arm,gic-400",
    "arm,cortex-a15-gic",
    "arm,cortex-a9-gic",
    "arm,gic-v3",
    "arm,armv8-timer",
    "arm,psci",
    "arm,psci-0.2",
    "arm,psci-1.0",
    "arm,pl011",
    "brcm,bcm2835-aux-uart",
];

/// Takes what is wanted from `node`, a child of the last node of `path`.
pub(super) fn read<'a>(
    node: FdtNode<'a>,
    compatible: FdtStringListIterator<'a>,
    path: &Path<'a>,
    found: &mut Found<'_, 'a>,
) {
    let is_known = |name| KNOWN.contains(&name);
    if !compatible.clone().any(is_known) || !is_enabled(node) {
        return;
    }
    let description = &mut *found.description;
    for name in compatible {
        match name {
            "arm,gic-400" | "arm,cortex-a15-gic" | "arm,cortex-a9-gic" | "arm,gic-v3" => {
                if description.interrupts.is_none() {
                    description.interrupts = gic(name, node, path);
                    found.interrupt_cells = number(node, "#interrupt-cells").and_then(|n| u32::try_from(n).ok());
                }
            }
            "arm,armv8-timer" => {
                found.timer_interrupts = node.property("interrupts").and_then(|property| property.value_as().ok());
                description.timer_hz =
                    number(node, "clock-frequency").and_then(|hz| u32::try_from(hz).ok()).filter(|hz| *hz != 0);
            }
            "arm,psci" | "arm,psci-0.2" | "arm,psci-1.0" => {
                description.psci = match node.property("method").as_ref().map(Property::value) {
                    Some(b"smc\0") => Some(Conduit::Smc),
                    Some(b"hvc\0") => Some(Conduit::Hvc),
                    _ => None,
                };
            }
            _ => {
                if description.uart.is_none() {
                    description.uart = uart_called(name, node, path);
                }
                continue;
            }
        }
        return;
    }
}

/// The serial port that `node` is, if it is one we can drive.
pub(super) fn uart<'a>(node: FdtNode<'a>, path: &Path<'a>) -> Option<Uart> {
    node.compatible()?.find_map(|name| uart_called(name, node, path))
}

fn uart_called<'a>(name: &str, node: FdtNode<'a>, path: &Path<'a>) -> Option<Uart> {
    match name {
        "arm,pl011" => Some(Uart::Pl011 { base: path.registers(node, 0)?.start }),
        "brcm,bcm2835-aux-uart" => Some(Uart::MiniUart { base: path.registers(node, 0)?.start }),
        _ => None,
    }
}

fn gic<'a>(name: &str, node: FdtNode<'a>, path: &Path<'a>) -> Option<InterruptController> {
    let distributor = path.registers(node, 0)?;
    if name != "arm,gic-v3" {
        return Some(InterruptController::GicV2 { distributor, cpu_interface: path.registers(node, 1)? });
    }
    let regions = number(node, "#redistributor-regions").unwrap_or(1);
    let mut redistributors = Vec::new();
    for index in 1..=regions.min(redistributors.capacity() as u64) {
        redistributors.push(path.registers(node, index as usize)?).ok()?;
    }
    (!redistributors.is_empty()).then_some(InterruptController::GicV3 { distributor, redistributors })
}

/// The virtual timer's INTID: the third of the timer's interrupts (secure, physical, virtual, hypervisor).
pub(super) fn virtual_timer(raw: &[u8], interrupt_cells: u32) -> Option<u32> {
    const PPI: u32 = 1;
    const FIRST_PPI: u32 = 16;
    if interrupt_cells < 3 {
        return None;
    }
    let interrupt = raw.chunks_exact(interrupt_cells as usize * 4).nth(2)?;
    let (words, _) = interrupt.as_chunks::<4>();
    let (kind, number) = (u32::from_be_bytes(words[0]), u32::from_be_bytes(words[1]));
    (kind == PPI && number < 16).then_some(FIRST_PPI + number)
}
