//! The HPET's description table (IA-PC HPET specification 1.0a, 3.2.4).

use super::{AcpiError, Memory, Root, u64_at};

/// Physical address of the HPET's registers, if it has them in memory.
///
/// # Errors
/// If there is no sound table.
pub fn hpet_base(memory: &impl Memory, root: &Root) -> Result<u64, AcpiError> {
    let table = root.find(memory, *b"HPET")?;
    let mut address = [0; 12];
    // A generic address structure at offset 40: its first byte names the space, 0 for memory.
    if !table.read(memory, 40, &mut address) {
        return Err(AcpiError::Length(table.address));
    }
    match (address[0], u64_at(&address, 4)) {
        (0, base) if base != 0 => Ok(base),
        _ => Err(AcpiError::Missing(*b"HPET")),
    }
}
