//! The frame allocator against a set of frames.

use super::*;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

fn range(start: usize, frames: usize) -> PhysRange {
    PhysRange::with_len(PhysAddr::new(start * PAGE_SIZE), frames * PAGE_SIZE)
}

fn segment(range: PhysRange) -> Segment<'static> {
    Segment::new(range, Box::leak(Box::new_uninit_slice(Segment::blocks_for(range))))
}

/// Three segments: one inside a block, one with odd ends, one whole.
const SEGMENTS: [(usize, usize); 3] = [(5, 300), (700, 2500), (8 * 512, 3 * 512)];

fn frames() -> Frames<'static> {
    let mut frames = Frames::new();
    for (start, count) in SEGMENTS {
        assert!(frames.add(segment(range(start, count))));
    }
    frames
}

fn all() -> BTreeSet<usize> {
    SEGMENTS.iter().flat_map(|&(start, count)| start..start + count).collect()
}

#[test]
fn every_frame_once_and_again_after_all_came_back() {
    let mut frames = frames();
    assert_eq!(frames.total(), all().len() * PAGE_SIZE);
    for _ in 0..2 {
        let given: Vec<_> = core::iter::from_fn(|| frames.allocate()).collect();
        assert_eq!(given.len(), all().len());
        assert_eq!(given.iter().map(|addr| addr.as_usize() / PAGE_SIZE).collect::<BTreeSet<_>>(), all());
        assert_eq!(frames.available(), 0);
        assert_eq!(frames.allocate_contiguous(1, 1), None);
        given.iter().rev().for_each(|&frame| frames.free(frame, PAGE_SIZE));
        assert_eq!(frames.available(), frames.total());
    }
    // Frames became blocks again: as many as there are whole ones.
    assert_eq!(core::iter::from_fn(|| frames.allocate_block()).count(), 4 + 3);
}

#[test]
fn the_size_of_a_segment_costs_nothing() {
    // 4 TiB: only the blocks that are used are written; the rest of the metadata stays as it is.
    let range = range(0x100, 1 << 30);
    let mut segment = Segment::new(range, Box::leak(Box::new_uninit_slice(Segment::blocks_for(range))));
    assert_eq!(segment.allocate(), Some(range.start));
    assert_eq!(segment.allocate_block(), Some(PhysAddr::new(BLOCK_SIZE)));
}

#[test]
fn runs_larger_than_a_block_leave_their_rest() {
    let mut frames = frames();
    let before = frames.available();
    let run = frames.allocate_contiguous(2 * BLOCK_SIZE + PAGE_SIZE, 4 * BLOCK_SIZE).unwrap();
    assert!(run.is_aligned(4 * BLOCK_SIZE));
    assert_eq!(frames.available(), before - 2 * BLOCK_SIZE - PAGE_SIZE);
    frames.free(run, 2 * BLOCK_SIZE + PAGE_SIZE);
    assert_eq!(frames.allocate_contiguous(usize::MAX - PAGE_SIZE, 1), None);
    assert_eq!(frames.allocate_contiguous(0, 1), None);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_frame_freed_twice_is_noticed() {
    let mut frames = frames();
    let frame = frames.allocate().unwrap();
    frames.free(frame, PAGE_SIZE);
    frames.free(frame, PAGE_SIZE);
}

#[test]
#[should_panic(expected = "not ours")]
fn a_frame_from_elsewhere_is_noticed() {
    frames().free(PhysAddr::new(600 * PAGE_SIZE), PAGE_SIZE);
}

#[test]
fn metadata_is_carved_from_the_range() {
    let (metadata, rest) = carve(range(3, 100)).unwrap();
    assert_eq!((metadata, rest), (range(3, 1), range(4, 99)));
    assert_eq!(carve(range(3, 1)), None);
    // 64 GiB: 32768 blocks.
    let (metadata, _) = carve(range(0, 16 << 20)).unwrap();
    assert!(metadata.len() >= 32768 * size_of::<Block>() && metadata.len() < 4 << 20);
}

#[derive(Clone, Debug)]
enum Step {
    Frame,
    Block,
    Run { bytes: usize, align: usize },
    Free { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Frame),
        1 => Just(Step::Block),
        2 => (1usize..200_000, 0u32..17).prop_map(|(bytes, log)| Step::Run { bytes, align: 1 << log }),
        1 => (1usize..3 * BLOCK_SIZE, 12u32..23).prop_map(|(bytes, log)| Step::Run { bytes, align: 1 << log }),
        4 => any::<usize>().prop_map(|nth| Step::Free { nth }),
    ]
}

proptest! {
    #[test]
    fn like_a_set_of_frames(steps in prop::collection::vec(step(), 1..200)) {
        let mut frames = frames();
        let mut free = all();
        let mut held = Vec::new();
        for step in steps {
            let (found, bytes, align) = match step {
                Step::Frame => {
                    let found = frames.allocate();
                    prop_assert!(found.is_some() || free.is_empty());
                    (found, PAGE_SIZE, PAGE_SIZE)
                }
                Step::Block => (frames.allocate_block(), BLOCK_SIZE, BLOCK_SIZE),
                Step::Run { bytes, align } => (frames.allocate_contiguous(bytes, align), bytes, align.max(PAGE_SIZE)),
                Step::Free { nth } => {
                    if !held.is_empty() {
                        let (addr, bytes): (PhysAddr, usize) = held.swap_remove(nth % held.len());
                        frames.free(addr, bytes);
                        let first = addr.as_usize() / PAGE_SIZE;
                        free.extend(first..first + bytes.div_ceil(PAGE_SIZE));
                    }
                    (None, 0, 1)
                }
            };
            if let Some(addr) = found {
                prop_assert!(addr.is_aligned(align));
                let first = addr.as_usize() / PAGE_SIZE;
                (first..first + bytes.div_ceil(PAGE_SIZE)).for_each(|frame| assert!(free.remove(&frame), "{frame}"));
                held.push((addr, bytes));
            }
            prop_assert_eq!(frames.available(), free.len() * PAGE_SIZE);
        }
    }
}
