//! One table: its header, its checksum, its bytes.

use super::{AcpiError, Memory, u32_at};

/// Bytes of the header that every table but the root pointer begins with (ACPI 6.5, 5.2.6).
pub(super) const HEADER_LEN: usize = 36;
/// A longer table is not believed; the largest that are read here (MADT, SRAT) have some bytes a CPU.
const MAX_LEN: u32 = 1 << 20;

/// A table whose header and checksum are in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// Where it is.
    pub address: u64,
    /// What it is.
    pub signature: [u8; 4],
    /// Bytes, header included.
    pub len: u32,
    /// Who made it.
    pub oem_id: [u8; 6],
}

impl Table {
    /// Reads the header at `address` and checks the whole table's sum.
    ///
    /// # Errors
    /// If it is out of reach, has an impossible length or a wrong sum.
    pub fn open(memory: &impl Memory, address: u64) -> Result<Self, AcpiError> {
        let mut header = [0; HEADER_LEN];
        if !memory.read(address, &mut header) {
            return Err(AcpiError::Unreachable(address));
        }
        let len = u32_at(&header, 4);
        if (len as usize) < HEADER_LEN || len > MAX_LEN {
            return Err(AcpiError::Length(address));
        }
        let signature = [header[0], header[1], header[2], header[3]];
        let oem_id = [header[10], header[11], header[12], header[13], header[14], header[15]];
        let table = Self { address, signature, len, oem_id };
        if table.sum(memory)? != 0 {
            return Err(AcpiError::Checksum(address));
        }
        Ok(table)
    }

    /// Reads the bytes at `offset`, if they are inside the table.
    pub fn read(&self, memory: &impl Memory, offset: u32, into: &mut [u8]) -> bool {
        let end = u64::from(offset) + into.len() as u64;
        let Some(address) = self.address.checked_add(u64::from(offset)) else { return false };
        end <= u64::from(self.len) && memory.read(address, into)
    }

    fn sum(&self, memory: &impl Memory) -> Result<u8, AcpiError> {
        sum(memory, self.address, self.len)
    }
}

/// The sum of bytes, which is 0 for whatever ACPI protects.
pub(super) fn sum(memory: &impl Memory, address: u64, len: u32) -> Result<u8, AcpiError> {
    let mut sum = 0_u8;
    let mut chunk = [0; 64];
    let mut done = 0;
    while done < len {
        let now = (len - done).min(chunk.len() as u32);
        let part = &mut chunk[..now as usize];
        let at = address.checked_add(u64::from(done)).ok_or(AcpiError::Unreachable(address))?;
        if !memory.read(at, part) {
            return Err(AcpiError::Unreachable(address));
        }
        sum = part.iter().fold(sum, |sum, byte| sum.wrapping_add(*byte));
        done += now;
    }
    Ok(sum)
}
