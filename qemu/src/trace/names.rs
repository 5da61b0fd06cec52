//! What the addresses in records are called: mutexes by the static that they are in, spans and counters by their labels.
//!
//! All of it stands in the program's file, so the guest does nothing for it. What lies in the heap has no name.

use isochron_wire::trace::{Event, RECORD_BYTES};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// A program's names, and which of them were asked for.
#[derive(Debug, Default)]
pub struct Names {
    /// Address, size, name.
    symbols: Vec<(u64, u64, String)>,
    /// Address, bytes: what the program is made of.
    segments: Vec<(u64, Vec<u8>)>,
    seen: HashSet<u64>,
}

/// Addresses that are looked up; a program that makes and forgets locks without end has more.
const MOST: usize = 1 << 16;

/// The longest text of a label.
const MAX_LABEL: usize = 1024;

impl Names {
    /// Of a program's file; none if it cannot be read.
    #[must_use]
    pub fn of(elf: &Path) -> Self {
        fs::read(elf).ok().and_then(|data| Self::read(&data)).unwrap_or_default()
    }

    fn read(data: &[u8]) -> Option<Self> {
        let file = ElfFile64::<LittleEndian>::parse(data).ok()?;
        let plain = |name: &str| format!("{:#}", rustc_demangle::demangle(name));
        let named = |symbol: object::read::elf::ElfSymbol64<'_, '_, LittleEndian>| {
            let is_data = symbol.kind() == object::SymbolKind::Data && symbol.size() > 0;
            is_data.then(|| Some((symbol.address(), symbol.size(), plain(symbol.name().ok()?)))).flatten()
        };
        let mut symbols: Vec<_> = file.symbols().filter_map(named).collect();
        symbols.sort_unstable();
        let bytes = |header: &object::elf::ProgramHeader64<LittleEndian>| {
            let is_loaded = header.p_type(LittleEndian) == object::elf::PT_LOAD;
            is_loaded
                .then(|| Some((header.p_vaddr(LittleEndian), header.data(LittleEndian, data).ok()?.to_vec())))
                .flatten()
        };
        let segments = file.elf_program_headers().iter().filter_map(bytes).collect();
        Some(Self { symbols, segments, seen: HashSet::new() })
    }

    /// The names of the addresses in some records that were in no records before.
    pub fn new_in(&mut self, records: &[u8]) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let word = |record: &[u8], at: usize| record[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        for record in records.as_chunks::<RECORD_BYTES>().0 {
            let address = match Event::of(record[8]) {
                Some(Event::LockWait | Event::LockEnd | Event::SpanBegin | Event::SpanEnd) => word(record, 24),
                Some(Event::Count) => word(record, 8) >> 32,
                _ => continue,
            };
            if self.seen.len() >= MOST || !self.seen.insert(address) {
                continue;
            }
            let name = match Event::of(record[8]) {
                Some(Event::LockWait | Event::LockEnd) => self.place(address),
                Some(Event::Count) => self.above(address).and_then(|full| self.label(full)),
                _ => self.label(address),
            };
            found.extend(name.map(|name| (address, name)));
        }
        found
    }

    /// The static that an address is in.
    fn place(&self, address: u64) -> Option<String> {
        let after = self.symbols.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.symbols[..after].last()?;
        let offset = address - start;
        match offset {
            0 => Some(name.clone()),
            _ if offset < *size => Some(format!("{name}+{offset:#x}")),
            _ => None,
        }
    }

    /// An address of the program whose lower half that is.
    fn above(&self, low: u64) -> Option<u64> {
        let fits = |(start, bytes): &(u64, Vec<u8>)| {
            let full = start & !0xffff_ffff | low;
            (*start..start + bytes.len() as u64).contains(&full).then_some(full)
        };
        self.segments.iter().find_map(fits)
    }

    /// The text of a label: its address and its length lie there.
    fn label(&self, address: u64) -> Option<String> {
        let word = |at: u64| self.bytes(at, 8)?.first_chunk().map(|word| u64::from_le_bytes(*word));
        let length = usize::try_from(word(address + 8)?).ok().filter(|length| *length <= MAX_LABEL)?;
        String::from_utf8(self.bytes(word(address)?, length)?.to_vec()).ok()
    }

    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let (start, bytes) = self
            .segments
            .iter()
            .rev()
            .find(|(start, bytes)| address.checked_sub(*start).is_some_and(|at| at < bytes.len() as u64))?;
        let at = (address - start) as usize;
        bytes.get(at..at.checked_add(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(&0xffff_ffff_8020_0020u64.to_le_bytes());
        bytes[8] = 5;
        bytes[32..37].copy_from_slice(b"parse");
        // A label whose text lies nowhere.
        bytes[16..24].copy_from_slice(&0x77u64.to_le_bytes());
        bytes[24] = 3;
        let symbols = vec![(0x1000, 16, "a::LOCK".into()), (0x2000, 64, "a::POOL".into())];
        Names { symbols, segments: vec![(0xffff_ffff_8020_0000, bytes)], seen: HashSet::new() }
    }

    fn record(event: Event, extra: u64, argument: u64) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[8..16].copy_from_slice(&(event.word(0) | extra << 32).to_le_bytes());
        bytes[24..].copy_from_slice(&argument.to_le_bytes());
        bytes
    }

    #[test]
    fn statics_and_labels_are_found_once() {
        let mut names = names();
        let records = [
            record(Event::LockWait, 0, 0x1000),
            record(Event::LockWait, 0, 0x2010),
            record(Event::LockWait, 0, 0x3000),
            record(Event::SpanBegin, 0, 0xffff_ffff_8020_0000),
            record(Event::SpanBegin, 0, 0xffff_ffff_8020_0010),
            record(Event::Count, 0x8020_0000, 9),
            record(Event::Mark, 0, 0x1000),
        ]
        .concat();
        let found = names.new_in(&records);
        let found: Vec<_> = found.iter().map(|(at, name)| (*at, name.as_str())).collect();
        assert_eq!(
            found,
            [(0x1000, "a::LOCK"), (0x2010, "a::POOL+0x10"), (0xffff_ffff_8020_0000, "parse"), (0x8020_0000, "parse")]
        );
        assert!(names.new_in(&records).is_empty());
    }

    #[test]
    fn a_file_that_is_no_program_has_no_names() {
        assert!(Names::read(b"no ELF").is_none());
        assert!(Names::of(Path::new("/nowhere")).new_in(&record(Event::LockWait, 0, 5)).is_empty());
    }
}
