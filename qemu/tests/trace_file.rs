//! A trace's file that was cut, damaged or made up: read up to the fault, which is named, and never a panic.

use isochron_qemu::trace::area::Taken;
use isochron_qemu::trace::file::{Counts, Facts, TraceFile, Writer};
use isochron_wire::trace::{Event, Note, RECORD_BYTES};
use proptest::prelude::*;
use std::io::Cursor;

/// Where chunks begin in what [`sample`] makes, and how many records there are before each.
type Bounds = Vec<(usize, usize)>;

/// A file with two CPUs' records, their times in turn.
fn sample() -> (Vec<u8>, Bounds) {
    let (mut bytes, mut bounds, mut records) = (Vec::new(), Bounds::new(), 0);
    let mut writer = Writer::new(&mut bytes).unwrap();
    writer.facts(&Facts::from([("clock_hz".to_owned(), "1000".to_owned())])).unwrap();
    for batch in 0..4u64 {
        let cpu = (batch % 2) as u32;
        let made: Vec<u8> = (0..10).flat_map(|at| record((batch / 2 * 10 + at) * 2 + u64::from(cpu))).collect();
        writer
            .records(cpu, &Taken { first: batch / 2 * 10, count: 10, dropped: batch, left: 0, peak: 0 }, &made)
            .unwrap();
    }
    writer.name(0x1000, "a::LOCK").unwrap();
    writer.end(&[Counts { written: 20, dropped: 2 }, Counts { written: 20, dropped: 5 }], "ended with code 0").unwrap();
    let mut at = 16;
    while at < bytes.len() {
        bounds.push((at, records));
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        records += if word(at) == 2 { 10 } else { 0 };
        at += 16 + word(at + 4) as usize;
    }
    (bytes, bounds)
}

fn record(time: u64) -> [u8; RECORD_BYTES] {
    let words = [time, Event::Mark.word(0), 7, time];
    let mut bytes = [0; RECORD_BYTES];
    words.iter().enumerate().for_each(|(at, word)| bytes[at * 8..][..8].copy_from_slice(&word.to_le_bytes()));
    bytes
}

fn open(bytes: Vec<u8>) -> Result<TraceFile<Cursor<Vec<u8>>>, String> {
    TraceFile::read(Cursor::new(bytes)).unwrap()
}

fn notes(file: &mut TraceFile<Cursor<Vec<u8>>>) -> Vec<Note> {
    file.notes().unwrap().collect()
}

#[test]
fn all_is_there_and_in_order() {
    let mut file = open(sample().0).unwrap();
    assert_eq!((file.clock_hz(), file.fault.clone(), file.names[&0x1000].as_str()), (1000, None, "a::LOCK"));
    assert_eq!(file.counts().iter().map(|of| (of.written, of.dropped)).collect::<Vec<_>>(), [(20, 2), (20, 5)]);
    assert!(notes(&mut file).iter().map(|note| note.time).eq(0..40));
    assert_eq!(file.end.unwrap().ending, "ended with code 0");
}

#[test]
fn a_file_cut_anywhere_is_read_up_to_there() {
    let (bytes, bounds) = sample();
    for length in 0..bytes.len() {
        match open(bytes[..length].to_vec()) {
            Err(why) => assert!(length < 16 && why == "it is no trace", "{length}: {why}"),
            Ok(mut file) => {
                let (at, records) = *bounds.iter().rfind(|(at, _)| *at <= length).unwrap();
                assert_eq!(notes(&mut file).len(), records, "cut at {length}");
                assert_eq!(file.fault.unwrap().at, at as u64, "cut at {length}");
            }
        }
    }
}

#[test]
fn a_changed_byte_is_found_where_it_is() {
    let (bytes, bounds) = sample();
    for place in 16..bytes.len() {
        let mut other = bytes.clone();
        other[place] ^= 0x20;
        let mut file = open(other).unwrap();
        let (at, records) = *bounds.iter().rfind(|(at, _)| *at <= place).unwrap();
        assert_eq!(file.fault.clone().map(|fault| fault.at), Some(at as u64), "byte {place}");
        assert_eq!(notes(&mut file).len(), records, "byte {place}");
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut bytes = sample().0;
    bytes[8] = 99;
    assert!(open(bytes).unwrap_err().contains("version 99"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), begin in 0..3usize) {
        let good = sample().0;
        let keep = [0, 16, 300][begin];
        bytes.splice(0..0, good[..keep].iter().copied());
        if let Ok(mut file) = open(bytes) {
            prop_assert!(file.fault.is_some());
            notes(&mut file);
        }
    }

    #[test]
    fn no_records_are_too_strange(records in proptest::collection::vec(any::<[u8; RECORD_BYTES]>(), 0..40)) {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        let taken = Taken { count: records.len() as u64, ..Taken::default() };
        writer.records(63, &taken, &records.concat()).unwrap();
        writer.end(&[], "").unwrap();
        let mut file = open(bytes).unwrap();
        prop_assert_eq!(file.fault.clone(), None);
        prop_assert!(notes(&mut file).len() <= records.len());
    }
}
