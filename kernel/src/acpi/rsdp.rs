//! The root pointer, and the list of tables it leads to (ACPI 6.5, 5.2.5 to 5.2.8).

use super::table::{HEADER_LEN, sum};
use super::{AcpiError, Memory, Table, u16_at, u32_at, u64_at};

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// Bytes that the first checksum covers, and bytes of the extended structure.
const LEN_V1: u32 = 20;
const LEN_V2: u32 = 36;
/// More tables than this are not looked at.
const MAX_TABLES: u32 = 256;
/// Where the BIOS data area keeps the segment of the extended one.
const EBDA_SEGMENT: u64 = 0x40e;
/// Where a BIOS may leave the root pointer, on a multiple of 16.
const BIOS_ROM: core::ops::Range<u64> = 0xe_0000..0x10_0000;

/// The list of tables: the XSDT, or in its absence the RSDT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    list: Table,
    /// Bytes of an entry: 8 in the XSDT, 4 in the RSDT.
    entry_len: u32,
}

/// Reads the root pointer: where the boot protocol says, else where a BIOS leaves it.
///
/// # Errors
/// If there is none, or the list that it names is damaged.
pub fn find_root(memory: &impl Memory, told: Option<u64>) -> Result<Root, AcpiError> {
    if let Some(Ok(root)) = told.map(|address| read_root(memory, address)) {
        return Ok(root);
    }
    let mut segment = [0; 2];
    let ebda = if memory.read(EBDA_SEGMENT, &mut segment) { u64::from(u16_at(&segment, 0)) << 4 } else { 0 };
    let mut found = Err(AcpiError::NoRoot);
    for area in [ebda..ebda + 1024, BIOS_ROM].into_iter().filter(|area| area.start != 0) {
        for address in area.step_by(16) {
            match read_root(memory, address) {
                Ok(root) => return Ok(root),
                // Remembered only if there was something: the last damaged one is told of.
                Err(AcpiError::Signature(_) | AcpiError::Unreachable(_)) => {}
                Err(error) => found = Err(error),
            }
        }
    }
    found
}

fn read_root(memory: &impl Memory, address: u64) -> Result<Root, AcpiError> {
    let mut bytes = [0; LEN_V2 as usize];
    let (first, rest) = bytes.split_at_mut(LEN_V1 as usize);
    if !memory.read(address, &mut first[..8]) {
        return Err(AcpiError::Unreachable(address));
    }
    if first[..8] != SIGNATURE[..] {
        return Err(AcpiError::Signature(address));
    }
    if !memory.read(address, first) {
        return Err(AcpiError::Unreachable(address));
    }
    if sum(memory, address, LEN_V1)? != 0 {
        return Err(AcpiError::Checksum(address));
    }
    let revision = first[15];
    let rsdt = u64::from(u32_at(first, 16));
    if revision >= 2 && memory.read(address + u64::from(LEN_V1), rest) {
        let xsdt = u64_at(&bytes, 24);
        if sum(memory, address, LEN_V2)? == 0
            && xsdt != 0
            && let Ok(root) = Root::open(memory, xsdt, *b"XSDT", 8)
        {
            return Ok(root);
        }
    }
    Root::open(memory, rsdt, *b"RSDT", 4)
}

impl Root {
    fn open(memory: &impl Memory, address: u64, signature: [u8; 4], entry_len: u32) -> Result<Self, AcpiError> {
        let list = Table::open(memory, address)?;
        if list.signature != signature {
            return Err(AcpiError::Signature(address));
        }
        Ok(Self { list, entry_len })
    }

    /// Who made the tables.
    #[must_use]
    pub fn oem_id(&self) -> [u8; 6] {
        self.list.oem_id
    }

    /// The first sound table of a kind.
    ///
    /// # Errors
    /// If none is listed, or the last one that was had damage.
    pub fn find(&self, memory: &impl Memory, signature: [u8; 4]) -> Result<Table, AcpiError> {
        let mut found = Err(AcpiError::Missing(signature));
        let entries = (self.list.len - HEADER_LEN as u32) / self.entry_len;
        for index in 0..entries.min(MAX_TABLES) {
            let mut entry = [0; 8];
            let offset = HEADER_LEN as u32 + index * self.entry_len;
            if !self.list.read(memory, offset, &mut entry[..self.entry_len as usize]) {
                break;
            }
            let address = u64::from_le_bytes(entry);
            let mut name = [0; 4];
            if address == 0 || !memory.read(address, &mut name) || name != signature {
                continue;
            }
            match Table::open(memory, address) {
                Ok(table) => return Ok(table),
                Err(error) => found = Err(error),
            }
        }
        found
    }
}
