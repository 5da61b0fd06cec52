//! The MADT: which CPUs there are, and where their local APICs are (ACPI 6.5, 5.2.12).

use super::{AcpiError, Memory, Root, u32_at, u64_at};

/// Offset of the first entry.
const ENTRIES: u32 = 44;
/// Processor local APIC: 8-bit id.
const LOCAL_APIC: u8 = 0;
/// Local APIC address override: 64 bits.
const ADDRESS_OVERRIDE: u8 = 5;
/// Processor local x2APIC: 32-bit id.
const LOCAL_X2APIC: u8 = 9;
/// The CPU is there and may be used.
const ENABLED: u32 = 1;
/// The id of a slot with no CPU in it, in an 8-bit entry.
const NO_CPU: u32 = 0xff;

/// What the MADT says of the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Madt {
    /// The local APIC's registers.
    pub local_apic: u64,
    /// There is a pair of 8259 interrupt controllers, which must be masked.
    pub has_pics: bool,
}

/// A CPU that may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MadtCpu {
    /// Its APIC id.
    pub apic_id: u32,
}

/// Reads the MADT, and calls `found` with each usable CPU in the firmware's order.
///
/// Entries for CPUs that could be plugged in later are passed over: they are not there. So is a CPU that is listed
/// with a short id after it was listed with a long one, or the other way about, if `found` keeps count of ids.
///
/// # Errors
/// If there is no sound MADT. One that ends in the middle of an entry counts up to there.
pub fn madt_cpus(memory: &impl Memory, root: &Root, found: &mut dyn FnMut(MadtCpu)) -> Result<Madt, AcpiError> {
    let table = root.find(memory, *b"APIC")?;
    let mut head = [0; 8];
    if !table.read(memory, 36, &mut head) {
        return Err(AcpiError::Length(table.address));
    }
    let mut madt = Madt { local_apic: u64::from(u32_at(&head, 0)), has_pics: u32_at(&head, 4) & 1 != 0 };
    let mut offset = ENTRIES;
    let mut entry = [0; 16];
    while table.read(memory, offset, &mut entry[..2]) {
        let (kind, len) = (entry[0], u32::from(entry[1]));
        let known = match kind {
            LOCAL_APIC => 8,
            ADDRESS_OVERRIDE => 12,
            LOCAL_X2APIC => 16,
            _ => 2,
        };
        if (len as usize) < known || !table.read(memory, offset, &mut entry[..known]) {
            break;
        }
        let (apic_id, flags) = match kind {
            LOCAL_APIC => (u32::from(entry[3]), u32_at(&entry, 4)),
            LOCAL_X2APIC => (u32_at(&entry, 4), u32_at(&entry, 8)),
            ADDRESS_OVERRIDE => {
                madt.local_apic = u64_at(&entry, 4);
                (0, 0)
            }
            _ => (0, 0),
        };
        let is_slot = kind == LOCAL_APIC && apic_id == NO_CPU;
        if flags & ENABLED != 0 && !is_slot {
            found(MadtCpu { apic_id });
        }
        offset += len;
    }
    Ok(madt)
}
