//! Nodes and their distances.

use super::*;

fn cpu8(node: u32, apic_id: u8, flags: u8) -> Vec<u8> {
    let [low, high @ ..] = node.to_le_bytes();
    [&[0, 16, low, apic_id, flags, 0, 0, 0, 0][..], &high, &[0; 4]].concat()
}

fn cpu32(node: u32, apic_id: u32, flags: u32) -> Vec<u8> {
    let mut entry = vec![2, 24, 0, 0];
    [node, apic_id, flags, 0, 0].iter().for_each(|word| entry.extend(word.to_le_bytes()));
    entry
}

fn ram(node: u32, start: u64, bytes: u64, flags: u32) -> Vec<u8> {
    let mut entry = vec![1, 40];
    entry.extend(node.to_le_bytes());
    entry.extend([0; 2]);
    entry.extend(start.to_le_bytes());
    entry.extend(bytes.to_le_bytes());
    entry.extend([0; 4]);
    entry.extend(flags.to_le_bytes());
    entry.resize(40, 0);
    entry
}

fn srat(revision: u8, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = table(b"SRAT", &[vec![0; 12], entries.concat()].concat());
    bytes[8] = revision;
    fix_sum(&mut bytes, 9);
    bytes
}

fn slit(count: u64, cells: &[u8]) -> Vec<u8> {
    table(b"SLIT", &[&count.to_le_bytes(), cells].concat())
}

fn read(table: &[u8]) -> Result<Vec<Affinity>, AcpiError> {
    let memory = Builder::new().add(table).finish(true);
    let root = find_root(&memory, None)?;
    let mut found = Vec::new();
    affinities(&memory, &root, &mut |affinity| found.push(affinity)).map(|()| found)
}

fn distances(table: &[u8]) -> Result<Vec<(u32, u32, u32)>, AcpiError> {
    let memory = Builder::new().add(table).finish(true);
    let root = find_root(&memory, None)?;
    let mut found = Vec::new();
    node_distances(&memory, &root, &mut |from, to, distance| found.push((from, to, distance))).map(|()| found)
}

#[test]
fn cpus_and_memory_are_in_nodes() {
    let entries = [
        cpu8(0, 0, 1),
        cpu8(1, 2, 1),
        cpu8(1, 3, 0),          // not there
        vec![7, 6, 0, 0, 0, 0], // of a kind that is not known
        cpu32(0x102, 300, 1),
        cpu32(3, 301, 0),
        ram(0, 0, 0xa_0000, 1),
        ram(1, 1 << 32, 1 << 30, 1),
        ram(1, 2 << 32, 1 << 30, 3), // could be plugged in
        ram(1, 3 << 32, 1 << 30, 0),
        ram(1, 4 << 32, 0, 1),
    ];
    let cpu = |node, apic_id| Affinity::Cpu { apic_id, node };
    let want = [
        cpu(0, 0),
        cpu(1, 2),
        cpu(0x102, 300),
        Affinity::Memory { node: 0, start: 0, bytes: 0xa_0000 },
        Affinity::Memory { node: 1, start: 1 << 32, bytes: 1 << 30 },
    ];
    assert_eq!(read(&srat(3, &entries)).unwrap(), want);
}

#[test]
fn old_tables_have_short_numbers() {
    let entries = [cpu8(0xabcd_ef02, 5, 1)];
    assert_eq!(read(&srat(1, &entries)).unwrap(), [Affinity::Cpu { apic_id: 5, node: 2 }]);
    assert_eq!(read(&srat(2, &entries)).unwrap(), [Affinity::Cpu { apic_id: 5, node: 0xabcd_ef02 }]);
}

#[test]
fn an_entry_that_cannot_be_ends_the_table() {
    for len in [0, 1, 15] {
        let mut bad = cpu8(1, 1, 1);
        bad[1] = len;
        let found = read(&srat(3, &[cpu8(0, 0, 1), bad, cpu8(2, 2, 1)])).unwrap();
        assert_eq!(found, [Affinity::Cpu { apic_id: 0, node: 0 }], "length {len}");
    }
    assert_eq!(read(&srat(3, &[])).unwrap(), []);
    assert_eq!(read(&table(b"SRAT", &[])).unwrap(), []);
}

#[test]
fn distances_are_a_matrix() {
    let found = distances(&slit(2, &[10, 21, 31, 10])).unwrap();
    assert_eq!(found, [(0, 0, 10), (0, 1, 21), (1, 0, 31), (1, 1, 10)]);
    // Of 17 nodes the last one's are not looked at.
    let many: Vec<u8> = (0..17 * 17).map(|cell| cell as u8).collect();
    let found = distances(&slit(17, &many)).unwrap();
    assert_eq!((found.len(), found[16]), (256, (1, 0, 17)));
}

#[test]
fn a_matrix_that_is_too_short_is_refused() {
    for (count, cells) in [(2, 3), (1 << 32, 4), (u64::MAX, 4), (1, 0)] {
        assert!(matches!(distances(&slit(count, &vec![10; cells])), Err(AcpiError::Length(_))), "{count} nodes");
    }
    assert!(matches!(distances(&table(b"SLIT", &[0; 7])), Err(AcpiError::Length(_))));
    assert_eq!(distances(&hpet()), Err(AcpiError::Missing(*b"SLIT")));
    assert_eq!(read(&hpet()), Err(AcpiError::Missing(*b"SRAT")));
}

proptest! {
    #[test]
    fn damaged_tables_never_panic(changes in prop::collection::vec((10_usize..200, any::<u8>()), 0..8), revision: u8) {
        for mut bytes in [srat(revision, &[cpu8(0, 0, 1), ram(0, 0, 1, 1), cpu32(1, 1, 1)]), slit(2, &[10, 20, 20, 10])] {
            for (at, byte) in &changes {
                if let Some(place) = bytes.get_mut(*at) {
                    *place = *byte;
                }
            }
            fix_sum(&mut bytes, 9);
            let _ = read(&bytes);
            let _ = distances(&bytes);
        }
    }
}
