//! ACPI's static tables, as far as a kernel without drivers needs them (ACPI 6.5, chapter 5).
//!
//! Pure: memory is behind [`Memory`], so that all of it runs on the host, on tables that are wrong in every way. Every
//! length is bounded and every checksum is checked before a field is believed.

mod hpet;
mod madt;
mod numa;
mod rsdp;
mod table;

#[cfg(test)]
mod tests;

pub use hpet::hpet_base;
pub use madt::{Madt, MadtCpu, madt_cpus};
pub use numa::{Affinity, affinities, node_distances};
pub use rsdp::{Root, find_root};
pub use table::Table;

use core::fmt;

/// Physical memory to read tables from.
pub trait Memory {
    /// Fills `into` from `addr` on; false if any byte of it cannot be read.
    fn read(&self, addr: u64, into: &mut [u8]) -> bool;
}

/// Why a table is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcpiError {
    /// There is no root pointer where one may be.
    NoRoot,
    /// It lies where memory cannot be read.
    Unreachable(u64),
    /// It does not begin with the signature it should.
    Signature(u64),
    /// Its bytes do not add up to zero.
    Checksum(u64),
    /// It claims to be shorter than its kind can be, or longer than is believed.
    Length(u64),
    /// No table of this kind is listed.
    Missing([u8; 4]),
}

impl fmt::Display for AcpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoot => f.write_str("no ACPI root pointer"),
            Self::Unreachable(addr) => write!(f, "the ACPI table at {addr:#x} is out of reach"),
            Self::Signature(addr) => write!(f, "the ACPI table at {addr:#x} has a wrong signature"),
            Self::Checksum(addr) => write!(f, "the ACPI table at {addr:#x} has a wrong checksum"),
            Self::Length(addr) => write!(f, "the ACPI table at {addr:#x} has an impossible length"),
            Self::Missing(name) => write!(f, "no ACPI table {}", name.escape_ascii()),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
