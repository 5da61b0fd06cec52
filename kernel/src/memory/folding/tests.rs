//! Records against the pages they were made of, and the store against a plain list.

use super::record::{self, Live, MOST, WORDS, decode, encode};
use super::store::{Reader, Store, StoreMemory};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

fn recorded(page: &[u64], live: &Live) -> Vec<u64> {
    let mut record = [!0; MOST];
    let words = encode(|word| page[word], live, &mut record);
    record[..words].to_vec()
}

fn read(record: &[u64]) -> (Vec<u64>, usize) {
    let mut page = vec![0; WORDS];
    let mut words = record.iter().copied();
    let taken = decode(|| words.next().expect("it ends"), |at, word| page[at] = word);
    (page, taken)
}

fn all() -> Live {
    let mut live = Live::none();
    live.keep(0..WORDS * 8);
    live
}

/// What pages hold: nothing, small and negative numbers, addresses, patterns, and anything.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        0..200_u64,
        (0..1_u64 << 31).prop_map(|low| 0xffff_ffff_8000_0000 | low),
        Just(0x8000_0000),
        Just(0x7fff_ffff),
        Just(0x5a3c_96e1_d287_4bf0),
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_matters_comes_back(page in prop::collection::vec(word(), WORDS), cuts in prop::collection::vec(0..=WORDS * 8, 6)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut live = Live::none();
        cuts.chunks(2).for_each(|range| live.keep(range[0]..range[1]));
        let kept = |at: usize| cuts.chunks(2).any(|range| (range[0] / 8..range[1].div_ceil(8)).contains(&at));
        let record = recorded(&page, &live);
        let (again, taken) = read(&record);
        prop_assert_eq!(taken, record.len());
        for at in 0..WORDS {
            prop_assert_eq!(again[at], if kept(at) { page[at] } else { 0 }, "word {}", at);
        }
    }
}

#[test]
fn what_takes_little() {
    let words = |page: &[u64]| recorded(page, &all()).len() - (MOST - WORDS);
    assert_eq!(words(&[0; WORDS]), 0);
    assert_eq!(words(&[u64::MAX / 3; WORDS]), 1);
    let addresses: Vec<u64> = (0..WORDS as u64).map(|word| 0xffff_ffff_8020_0000 + word).collect();
    assert_eq!(words(&addresses), WORDS / 2);
    let anything: Vec<u64> = (1..=WORDS as u64).map(|word| word << 40).collect();
    assert_eq!(words(&anything), WORDS);
    assert_eq!(recorded(&anything, &Live::none()).len(), record::MOST - WORDS);
}

#[derive(Debug, Default)]
struct Frames(Vec<u64>);

impl StoreMemory for Frames {
    fn word(&self, at: usize) -> u64 {
        self.0[at / 8]
    }
    fn set(&mut self, at: usize, word: u64) {
        self.0.resize(self.0.len().max(at / 8 + 1), 0);
        self.0[at / 8] = word;
    }
}

/// A store, the frames it was given, and what it should hold.
#[derive(Default)]
struct Model {
    next: usize,
    given: Vec<usize>,
    records: Vec<(usize, Vec<u64>)>,
}

impl Model {
    fn put(&mut self, store: &mut Store<Frames>, words: usize, seed: u64) {
        let record: Vec<u64> = (0..words as u64).map(|word| seed << 32 | word).collect();
        let frame = if store.needs_frame(words) {
            self.next += 4096;
            self.given.push(self.next);
            self.next
        } else {
            0
        };
        let place = store.put(&record, frame);
        assert!(place.is_multiple_of(8) && place != 0);
        self.records.push((place, record));
    }

    fn remove(&mut self, store: &mut Store<Frames>, nth: usize) {
        let (place, record) = self.records.swap_remove(nth);
        let mut reader = Reader::new(store.memory(), place);
        assert!(record.iter().all(|word| *word == reader.read()));
        for frame in store.remove(place, record.len()).iter() {
            let at = self.given.iter().position(|given| *given == frame).expect("a frame that was given, once");
            self.given.swap_remove(at);
        }
    }

    fn check(&self, store: &Store<Frames>) {
        assert_eq!((store.records(), store.frames()), (self.records.len(), self.given.len()));
        assert_eq!(self.records.is_empty(), self.given.is_empty(), "{} frames", self.given.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn records_are_kept_until_they_are_removed(steps in prop::collection::vec((any::<bool>(), 16..505_usize, any::<u32>()), 1..100)) {
        let (mut store, mut model) = (Store::new(Frames::default()), Model::default());
        for (adds, words, seed) in steps {
            if adds || model.records.is_empty() {
                model.put(&mut store, words, u64::from(seed));
            } else {
                let nth = seed as usize % model.records.len();
                model.remove(&mut store, nth);
            }
            model.check(&store);
        }
        while !model.records.is_empty() {
            model.remove(&mut store, 0);
            model.check(&store);
        }
    }
}

#[test]
fn records_leave_no_gaps() {
    for words in [16, 127, 255, 300, 508] {
        let (mut store, mut model) = (Store::new(Frames::default()), Model::default());
        (0..100).for_each(|seed| model.put(&mut store, words, seed));
        model.check(&store);
        assert!(store.frames() <= (100 * words).div_ceil(510) + 1, "{words}: {} frames", store.frames());
    }
}
