//! Sound tables, damaged tables, and noise.

mod numa;

use super::*;
use proptest::prelude::*;

/// Memory that begins at a physical address.
struct Fake {
    base: u64,
    bytes: Vec<u8>,
}

impl Memory for Fake {
    fn read(&self, addr: u64, into: &mut [u8]) -> bool {
        let Some(start) = addr.checked_sub(self.base) else { return false };
        let Ok(start) = usize::try_from(start) else { return false };
        match start.checked_add(into.len()).and_then(|end| self.bytes.get(start..end)) {
            Some(found) => {
                into.copy_from_slice(found);
                true
            }
            None => false,
        }
    }
}

const BASE: u64 = 0xe_0000;

/// Puts tables behind one another, the root pointer first.
struct Builder {
    bytes: Vec<u8>,
    listed: Vec<u64>,
}

fn fix_sum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[at] = sum.wrapping_neg();
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(signature);
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend([1, 0]);
    bytes.extend(b"BOCHS BXPC    ");
    bytes.extend([0; 12]);
    bytes.extend(body);
    fix_sum(&mut bytes, 9);
    bytes
}

impl Builder {
    fn new() -> Self {
        Self { bytes: vec![0; 64], listed: Vec::new() }
    }

    fn add(mut self, bytes: &[u8]) -> Self {
        self.listed.push(BASE + self.bytes.len() as u64);
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        self
    }

    fn finish(mut self, extended: bool) -> Fake {
        let list: Vec<u8> = if extended {
            self.listed.iter().flat_map(|address| address.to_le_bytes()).collect()
        } else {
            self.listed.iter().flat_map(|address| (*address as u32).to_le_bytes()).collect()
        };
        let at = BASE + self.bytes.len() as u64;
        self.bytes.extend(table(if extended { b"XSDT" } else { b"RSDT" }, &list));
        let mut root = Vec::from(b"RSD PTR \0BOCHS ");
        root.push(if extended { 2 } else { 0 });
        root.extend(if extended { 0 } else { at as u32 }.to_le_bytes());
        fix_sum(&mut root, 8);
        root.extend(36_u32.to_le_bytes());
        root.extend(if extended { at } else { 0 }.to_le_bytes());
        root.extend([0; 4]);
        fix_sum(&mut root, 32);
        self.bytes[..36].copy_from_slice(&root);
        Fake { base: BASE, bytes: self.bytes }
    }
}

fn madt() -> Vec<u8> {
    let mut body = Vec::from(0xfee0_0000_u32.to_le_bytes());
    body.extend(1_u32.to_le_bytes());
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]); // APIC id 0, enabled
    body.extend([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // an I/O APIC
    body.extend([0, 8, 1, 4, 0, 0, 0, 0]); // APIC id 4, disabled
    body.extend([0, 8, 2, 6, 2, 0, 0, 0]); // APIC id 6, could be plugged in
    body.extend([0, 8, 3, 0xff, 1, 0, 0, 0]); // an empty slot
    body.extend([9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]); // x2APIC id 300, enabled
    body.extend([5, 12, 0, 0, 0, 0, 0xd0, 0xfe, 1, 0, 0, 0]); // the registers are at 0x1_fed0_0000
    table(b"APIC", &body)
}

fn hpet() -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend([0, 64, 0, 0]);
    body.extend(0xfed0_0000_u64.to_le_bytes());
    body.extend([0; 4]);
    table(b"HPET", &body)
}

fn cpus(memory: &Fake) -> Result<(Madt, Vec<u32>), AcpiError> {
    let root = find_root(memory, None)?;
    let mut ids = Vec::new();
    let madt = madt_cpus(memory, &root, &mut |cpu| ids.push(cpu.apic_id))?;
    Ok((madt, ids))
}

#[test]
fn reads_both_kinds_of_list() {
    for extended in [false, true] {
        let memory = Builder::new().add(&hpet()).add(&madt()).finish(extended);
        let (madt, ids) = cpus(&memory).unwrap();
        assert_eq!(madt, Madt { local_apic: 0x1_fed0_0000, has_pics: true });
        assert_eq!(ids, [0, 300]);
        let root = find_root(&memory, Some(BASE)).unwrap();
        assert_eq!(hpet_base(&memory, &root), Ok(0xfed0_0000));
        assert_eq!(&root.oem_id(), b"BOCHS ");
        assert_eq!(root.find(&memory, *b"MCFG"), Err(AcpiError::Missing(*b"MCFG")));
    }
}

#[test]
fn a_wrong_hint_falls_back_to_the_search() {
    let memory = Builder::new().add(&madt()).finish(true);
    assert!(find_root(&memory, Some(0xdead_0000)).is_ok());
    assert!(find_root(&memory, Some(u64::MAX)).is_ok());
}

#[test]
fn every_damaged_byte_is_noticed() {
    let sound = Builder::new().add(&madt()).finish(true);
    let len = 64 + madt().len();
    // The root pointer's reserved bytes are in its sum, too; bytes 36 to 64 are padding.
    for at in (0..36).chain(64..len) {
        let mut memory = Fake { base: BASE, bytes: sound.bytes.clone() };
        memory.bytes[at] ^= 0x10;
        assert!(cpus(&memory).is_err(), "byte {at} was changed and nobody noticed");
    }
}

#[test]
fn a_list_that_ends_in_an_entry_counts_up_to_there() {
    for (len, want) in [(8, vec![1]), (7, vec![1]), (1, vec![1]), (0, vec![1])] {
        let mut body = vec![0; 8];
        body.extend([0, 8, 0, 1, 1, 0, 0, 0]);
        body.extend([0, len, 0, 2, 1, 0]);
        let memory = Builder::new().add(&table(b"APIC", &body)).finish(false);
        assert_eq!(cpus(&memory).unwrap().1, want, "an entry of {len} bytes");
    }
}

#[test]
fn impossible_lengths() {
    for len in [0, 35, 1 << 20, u32::MAX] {
        let mut bytes = madt();
        bytes[4..8].copy_from_slice(&len.to_le_bytes());
        let memory = Builder::new().add(&bytes).finish(true);
        assert!(cpus(&memory).is_err(), "length {len}");
    }
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2048), told in any::<u64>()) {
        let memory = Fake { base: BASE, bytes };
        let _ = find_root(&memory, Some(told));
        if let Ok(table) = Table::open(&memory, BASE) {
            prop_assert!(table.len as usize <= memory.bytes.len());
        }
    }

    #[test]
    fn damaged_tables_never_panic(
        changes in proptest::collection::vec((64_usize..400, any::<u8>()), 0..8),
        fix in any::<bool>(),
    ) {
        let mut memory = Builder::new().add(&madt()).add(&hpet()).finish(true);
        let madt_len = madt().len();
        for (at, byte) in changes {
            if let Some(place) = memory.bytes.get_mut(at) {
                *place = byte;
            }
        }
        if fix {
            // A table that adds up again, so that what is in it is looked at.
            fix_sum(&mut memory.bytes[64..64 + madt_len], 9);
        }
        let _ = cpus(&memory);
        if let Ok(root) = find_root(&memory, None) {
            let _ = hpet_base(&memory, &root);
        }
    }
}
