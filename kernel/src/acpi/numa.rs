//! NUMA: which CPU and which RAM is in which node (SRAT; ACPI 6.5, 5.2.16), and how far nodes are apart (SLIT; 5.2.17).

use super::{AcpiError, Memory, Root, u32_at, u64_at};

/// Offset of the SRAT's first entry.
const ENTRIES: u32 = 48;
/// Processor local APIC: 8-bit id.
const LOCAL_APIC: u8 = 0;
/// Memory range.
const MEMORY: u8 = 1;
/// Processor local x2APIC: 32-bit id.
const LOCAL_X2APIC: u8 = 2;
/// The entry counts.
const ENABLED: u32 = 1;
/// The range could be filled while the machine runs: it may be empty now.
const HOT_PLUGGABLE: u32 = 2;
/// From this revision on the nodes of processors have 32 bits.
const WIDE_REVISION: u8 = 2;
/// Offsets in the SLIT of the number of nodes and of the matrix.
const LOCALITIES: u32 = 36;
const MATRIX: u32 = 44;
/// Distances of nodes beyond are not looked at.
const MAX_LOCALITIES: u32 = 16;

/// Something that is in a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Affinity {
    /// A CPU.
    Cpu {
        /// Its APIC id.
        apic_id: u32,
        /// Its node.
        node: u32,
    },
    /// RAM.
    Memory {
        /// Its node.
        node: u32,
        /// Its first byte.
        start: u64,
        /// How much it is.
        bytes: u64,
    },
}

/// Calls `found` with each entry of the SRAT that counts.
///
/// # Errors
/// If there is no sound SRAT. One that ends in the middle of an entry counts up to there.
pub fn affinities(memory: &impl Memory, root: &Root, found: &mut dyn FnMut(Affinity)) -> Result<(), AcpiError> {
    let table = root.find(memory, *b"SRAT")?;
    let mut revision = [0];
    if !table.read(memory, 8, &mut revision) {
        return Err(AcpiError::Length(table.address));
    }
    let mut offset = ENTRIES;
    let mut entry = [0; 40];
    while table.read(memory, offset, &mut entry[..2]) {
        let (kind, len) = (entry[0], u32::from(entry[1]));
        let known = match kind {
            LOCAL_APIC => 16,
            MEMORY => 40,
            LOCAL_X2APIC => 24,
            _ => 2,
        };
        if (len as usize) < known || !table.read(memory, offset, &mut entry[..known]) {
            break;
        }
        match kind {
            LOCAL_APIC if u32_at(&entry, 4) & ENABLED != 0 => {
                let high = if revision[0] >= WIDE_REVISION { u32_at(&entry, 8) & !0xff } else { 0 };
                found(Affinity::Cpu { apic_id: u32::from(entry[3]), node: high | u32::from(entry[2]) });
            }
            LOCAL_X2APIC if u32_at(&entry, 12) & ENABLED != 0 => {
                found(Affinity::Cpu { apic_id: u32_at(&entry, 8), node: u32_at(&entry, 4) });
            }
            MEMORY if u32_at(&entry, 28) & (ENABLED | HOT_PLUGGABLE) == ENABLED => {
                let (start, bytes) = (u64_at(&entry, 8), u64_at(&entry, 16));
                if bytes != 0 {
                    found(Affinity::Memory { node: u32_at(&entry, 2), start, bytes });
                }
            }
            _ => {}
        }
        offset += len;
    }
    Ok(())
}

/// Calls `found` with (from, to, distance) of each pair of nodes in the SLIT.
///
/// # Errors
/// If there is no sound SLIT, or it is shorter than its own number of nodes needs.
pub fn node_distances(
    memory: &impl Memory,
    root: &Root,
    found: &mut dyn FnMut(u32, u32, u32),
) -> Result<(), AcpiError> {
    let table = root.find(memory, *b"SLIT")?;
    let mut count = [0; 8];
    if !table.read(memory, LOCALITIES, &mut count) {
        return Err(AcpiError::Length(table.address));
    }
    let count = u64_at(&count, 0);
    if count.checked_mul(count).is_none_or(|cells| cells > u64::from(table.len - MATRIX)) {
        return Err(AcpiError::Length(table.address));
    }
    // The length that was just checked bounds it far below 32 bits.
    let count = count as u32;
    for from in 0..count.min(MAX_LOCALITIES) {
        for to in 0..count.min(MAX_LOCALITIES) {
            let mut cell = [0];
            if table.read(memory, MATRIX + from * count + to, &mut cell) {
                found(from, to, u32::from(cell[0]));
            }
        }
    }
    Ok(())
}
