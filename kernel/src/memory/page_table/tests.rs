//! The walker against a map of pages, with a made-up entry format and memory that can run out.

use super::*;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::vec::Vec;

/// Bit 0: valid; bit 1: table; bits 2 and 3: what a leaf allows; bits 4 and 5: the level it was made for.
struct Fake<const TOP: u8>;

impl<const TOP: u8> EntryFormat for Fake<TOP> {
    fn leaf(addr: PhysAddr, level: u8, leaf: Leaf) -> u64 {
        assert!(addr.is_aligned(level_size(level)) && level >= TOP);
        addr.as_u64() | u64::from(level) << 4 | (leaf as u64) << 2 | 1
    }

    fn table(addr: PhysAddr) -> u64 {
        addr.as_u64() | 3
    }

    fn decode(raw: u64, level: u8) -> Entry {
        let addr = PhysAddr::new(raw as usize).align_down(4096);
        match raw & 3 {
            1 => {
                assert_eq!((raw >> 4) as u8 & 3, level);
                Entry::Leaf(addr)
            }
            3 => Entry::Table(addr),
            _ => Entry::Empty,
        }
    }

    fn top_leaf_level() -> u8 {
        TOP
    }

    fn publish() {}
    fn invalidate(_: VirtAddr) {}
}

/// Frames at made-up addresses, at most `left` more of them.
struct Memory {
    frames: HashMap<PhysAddr, Box<Table>>,
    next: usize,
    left: usize,
    lent: HashSet<PhysAddr>,
}

impl Memory {
    fn new(left: usize) -> Self {
        Self { frames: HashMap::new(), next: 1 << 40, left, lent: HashSet::new() }
    }
}

impl TableMemory for Memory {
    fn allocate_table(&mut self) -> Option<PhysAddr> {
        self.left = self.left.checked_sub(1)?;
        let frame = PhysAddr::new(self.next);
        self.next += 4096;
        self.frames.insert(frame, Box::new([const { AtomicU64::new(0) }; ENTRIES]));
        Some(frame)
    }

    fn allocate_frame(&mut self) -> Option<PhysAddr> {
        let frame = self.allocate_table()?;
        self.lent.insert(frame);
        Some(frame)
    }

    fn free_frame(&mut self, frame: PhysAddr) {
        assert!(self.lent.remove(&frame), "freed a frame that was not lent");
        self.left += 1;
    }

    fn entries(&self, frame: PhysAddr) -> &Table {
        &self.frames[&frame]
    }
}

const PAGE: usize = 4096;
/// A window around a 1 GiB boundary, in the upper half.
const START: usize = 0xffff_c000_4000_0000 - (2 << 21);
const PAGES: usize = 4 * 512;

fn virt(page: usize) -> VirtAddr {
    VirtAddr::new(START + page * PAGE)
}

fn leaf_of(found: Translation) -> u64 {
    found.entry >> 2 & 3
}

#[derive(Clone, Debug)]
enum Step {
    Map { page: usize, frame: usize, pages: usize, leaf: Leaf },
    Unmap { page: usize, pages: usize },
    Protect { page: usize, pages: usize, leaf: Leaf },
}

fn step() -> impl Strategy<Value = Step> {
    let leaf = || prop_oneof![Just(Leaf::Text), Just(Leaf::ReadOnly), Just(Leaf::Data)];
    // Edges of blocks are hit often.
    let page = || prop_oneof![0..PAGES, (0usize..4).prop_map(|block| block * 512)];
    let pages = || prop_oneof![1usize..20, Just(512), Just(1024), 500usize..600];
    prop_oneof![
        (page(), page(), pages(), leaf()).prop_map(|(page, frame, pages, leaf)| Step::Map { page, frame, pages, leaf }),
        (page(), pages()).prop_map(|(page, pages)| Step::Unmap { page, pages }),
        (page(), pages(), leaf()).prop_map(|(page, pages, leaf)| Step::Protect { page, pages, leaf }),
    ]
}

proptest! {
    // Each case looks at 2048 pages after every step.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn like_a_map_of_pages(steps in prop::collection::vec(step(), 1..30)) {
        let mut tree = PageTable::<Fake<1>, _>::new(Memory::new(usize::MAX)).unwrap();
        let mut model = BTreeMap::<usize, (usize, u64)>::new();
        for step in steps {
            match step {
                Step::Map { page, frame, pages, leaf } => {
                    let pages = pages.min(PAGES - page);
                    let result = tree.map(virt(page), PhysAddr::new(frame * PAGE), pages * PAGE, leaf);
                    match model.range(page..page + pages).next() {
                        Some(_) => prop_assert!(matches!(result, Err(MapError::AlreadyMapped(_)))),
                        None => {
                            prop_assert_eq!(result, Ok(()));
                            model.extend((0..pages).map(|nth| (page + nth, ((frame + nth) * PAGE, leaf as u64))));
                        }
                    }
                }
                Step::Unmap { page, pages } => {
                    let pages = pages.min(PAGES - page);
                    match tree.unmap(virt(page), pages * PAGE) {
                        Ok(()) => (page..page + pages).for_each(|page| assert!(model.remove(&page).is_some())),
                        Err(error) => check_refusal(&tree, &model, error, page, pages),
                    }
                }
                Step::Protect { page, pages, leaf } => {
                    let pages = pages.min(PAGES - page);
                    match tree.protect(virt(page), pages * PAGE, leaf) {
                        Ok(()) => (page..page + pages).for_each(|page| model.get_mut(&page).unwrap().1 = leaf as u64),
                        Err(error) => check_refusal(&tree, &model, error, page, pages),
                    }
                }
            }
            for page in 0..PAGES {
                let found = tree.translate(virt(page).offset(5));
                let expected = model.get(&page).map(|&(phys, leaf)| (PhysAddr::new(phys + 5), leaf));
                prop_assert_eq!(found.map(|found| (found.addr, leaf_of(found))), expected, "page {}", page);
            }
        }
    }
}

/// An error must be true: a hole in the range, or a block that the range cuts.
fn check_refusal(
    tree: &PageTable<Fake<1>, Memory>,
    model: &BTreeMap<usize, (usize, u64)>,
    error: MapError,
    page: usize,
    pages: usize,
) {
    match error {
        MapError::NotMapped(at) => assert!(!model.contains_key(&((at.as_usize() - START) / PAGE))),
        MapError::InsideBlock(at) => {
            let size = level_size(tree.translate(at).unwrap().level);
            assert!(size > PAGE);
            assert!(at < virt(page) || at.offset(size) > virt(page + pages));
        }
        other => panic!("{other}"),
    }
}

fn levels<const TOP: u8>(virt: usize, phys: usize, bytes: usize) -> (Vec<u8>, usize) {
    let mut tree = PageTable::<Fake<TOP>, _>::new(Memory::new(usize::MAX)).unwrap();
    tree.map(VirtAddr::new(virt), PhysAddr::new(phys), bytes, Leaf::Data).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes {
        let translation = tree.translate(VirtAddr::new(virt + at)).unwrap();
        assert_eq!(translation.addr, PhysAddr::new(phys + at));
        found.push(translation.level);
        at += level_size(translation.level);
    }
    (found, tree.memory.frames.len())
}

#[test]
fn the_largest_blocks_that_fit() {
    const BASE: usize = 0xffff_8000_0000_0000;
    const GIB: usize = 1 << 30;
    const MIB2: usize = 1 << 21;
    // Root, one table of gigabytes: nothing more is needed for whole ones.
    assert_eq!(levels::<1>(BASE + GIB, GIB, 2 * GIB), (vec![1, 1], 2));
    assert_eq!(levels::<2>(BASE + GIB, GIB, GIB), (vec![2; 512], 3));
    assert_eq!(levels::<1>(BASE + GIB - MIB2 - PAGE, GIB - MIB2 - PAGE, GIB + MIB2 + 2 * PAGE).0, [3, 2, 1, 3]);
    // Virtual and physical address differ by a page: pages only.
    assert_eq!(levels::<1>(BASE, PAGE, MIB2).0, [3; 512]);
    // The end of the address space.
    assert_eq!(levels::<1>(usize::MAX - PAGE + 1, PAGE, PAGE).0, [3]);
}

#[test]
fn what_is_not_pages_is_refused() {
    let mut tree = PageTable::<Fake<1>, _>::new(Memory::new(9)).unwrap();
    for (virt, phys, bytes) in [(1, 0, PAGE), (PAGE, 7, PAGE), (PAGE, PAGE, 100), (usize::MAX - PAGE + 1, 0, 2 * PAGE)]
    {
        let result = tree.map(VirtAddr::new(virt), PhysAddr::new(phys), bytes, Leaf::Data);
        assert_eq!(result, Err(MapError::Misaligned));
    }
    assert_eq!(tree.map(virt(0), PhysAddr::new(0), 0, Leaf::Data), Ok(()));
    assert_eq!(tree.translate(virt(0)), None);
}

#[test]
fn a_table_left_behind_is_used_where_a_block_would_fit() {
    let mut tree = PageTable::<Fake<1>, _>::new(Memory::new(9)).unwrap();
    tree.map(virt(0), PhysAddr::new(PAGE), PAGE, Leaf::Data).unwrap();
    tree.unmap(virt(0), PAGE).unwrap();
    tree.map(virt(0), PhysAddr::new(0), 512 * PAGE, Leaf::Data).unwrap();
    assert_eq!(tree.translate(virt(511)).map(|found| (found.addr, found.level)), Some((PhysAddr::new(511 * PAGE), 3)));
}

#[test]
fn memory_that_runs_out_anywhere_leaves_nothing_half_done() {
    // A range over three tables. First so little memory that the root fails, in the end enough.
    let range = (virt(1000), 600 * PAGE);
    let mut succeeded = 0;
    for left in (0..12).chain((12..600).step_by(49)).chain(595..620) {
        let Ok(mut tree) = PageTable::<Fake<1>, _>::new(Memory::new(left)) else {
            assert_eq!(left, 0);
            continue;
        };
        match tree.map_fresh(range.0, 0, range.1, Leaf::Data) {
            Ok(()) => {
                succeeded += 1;
                let frames: HashSet<_> =
                    (1000..1600).map(|page| tree.translate(virt(page)).expect("mapped").addr).collect();
                assert_eq!(frames, tree.memory.lent);
                assert_eq!(frames.len(), 600);
                assert!(tree.translate(virt(999)).is_none() && tree.translate(virt(1600)).is_none());
            }
            Err(error) => {
                assert_eq!(error, MapError::OutOfMemory);
                assert!(tree.memory.lent.is_empty());
                assert!((0..PAGES).all(|page| tree.translate(virt(page)).is_none()));
            }
        }
        // The same for mapping what exists: pages, so that tables are needed on the way.
        let mut tree = PageTable::<Fake<1>, _>::new(Memory::new(left)).unwrap();
        if tree.map(range.0, PhysAddr::new(PAGE * 7), range.1, Leaf::Data).is_err() {
            assert!((0..PAGES).all(|page| tree.translate(virt(page)).is_none()));
        }
    }
    // Root, one table of 1 GiB, two of 2 MiB, three of pages, 600 frames: 607 are the least that succeed.
    assert_eq!(succeeded, 620 - 607);
}

#[test]
fn fresh_frames_never_replace_a_mapping() {
    let mut tree = PageTable::<Fake<1>, _>::new(Memory::new(99)).unwrap();
    tree.map(virt(3), PhysAddr::new(0), PAGE, Leaf::Text).unwrap();
    assert_eq!(tree.map_fresh(virt(0), 0, 8 * PAGE, Leaf::Data), Err(MapError::AlreadyMapped(virt(3))));
    assert!(tree.memory.lent.is_empty());
    assert_eq!(tree.translate(virt(0)), None);
}

#[test]
fn what_is_reserved_gets_entries_and_no_frames() {
    let mut tree = PageTable::<Fake<1>, _>::new(Memory::new(99)).unwrap();
    // Over the edge of a table, with two pages backed.
    tree.map_fresh(virt(500), 20 * PAGE, 22 * PAGE, Leaf::Data).unwrap();
    assert_eq!(tree.memory.lent.len(), 2);
    let raw = |page| {
        let table = last_table::<Fake<1>>(tree.root(), |table| tree.memory.entries(table), virt(page));
        table.map(|table| page_entry(table, virt(page)).load(Ordering::Relaxed))
    };
    assert!((500..520).all(|page| raw(page) == Some(RESERVED) && tree.translate(virt(page)).is_none()));
    assert!((520..522).all(|page| tree.translate(virt(page)).is_some_and(|found| raw(page) == Some(found.entry))));
    assert_eq!((raw(499), raw(522), raw(2 * 512)), (Some(0), Some(0), None));
}
