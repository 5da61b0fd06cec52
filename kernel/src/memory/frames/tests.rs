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

/// All memory is equally near.
const HERE: Distances<'static> = &|_| 10;

/// Three segments: one inside a block, one with odd ends, one whole.
const SEGMENTS: [(usize, usize); 3] = [(5, 300), (700, 2500), (8 * 512, 3 * 512)];

fn frames() -> Frames<'static> {
    let mut frames = Frames::new();
    for (start, count) in SEGMENTS {
        assert!(frames.add(0, segment(range(start, count))));
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
        let given: Vec<_> = core::iter::from_fn(|| frames.allocate(HERE)).collect();
        assert_eq!(given.len(), all().len());
        assert_eq!(given.iter().map(|addr| addr.as_usize() / PAGE_SIZE).collect::<BTreeSet<_>>(), all());
        assert_eq!(frames.available(), 0);
        assert_eq!(frames.allocate_contiguous(1, 1, HERE), None);
        given.iter().rev().for_each(|&frame| frames.free(frame, PAGE_SIZE));
        assert_eq!(frames.available(), frames.total());
    }
    // Frames became blocks again: as many as there are whole ones.
    assert_eq!(core::iter::from_fn(|| frames.allocate_block(HERE)).count(), 4 + 3);
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
    let run = frames.allocate_contiguous(2 * BLOCK_SIZE + PAGE_SIZE, 4 * BLOCK_SIZE, HERE).unwrap();
    assert!(run.is_aligned(4 * BLOCK_SIZE));
    assert_eq!(frames.available(), before - 2 * BLOCK_SIZE - PAGE_SIZE);
    frames.free(run, 2 * BLOCK_SIZE + PAGE_SIZE);
    assert_eq!(frames.allocate_contiguous(usize::MAX - PAGE_SIZE, 1, HERE), None);
    assert_eq!(frames.allocate_contiguous(0, 1, HERE), None);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_frame_freed_twice_is_noticed() {
    let mut frames = frames();
    let frame = frames.allocate(HERE).unwrap();
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

/// Two nodes of 8 MiB each, as seen from node 1.
fn two_nodes() -> Frames<'static> {
    let mut frames = Frames::new();
    for node in 0..2 {
        assert!(frames.add(node, segment(range(usize::from(node) * 2048 + 512, 2048))));
    }
    frames
}

const FROM_1: Distances<'static> = &|node| if node == 1 { 10 } else { 20 };

#[test]
fn the_nearest_node_gives_while_it_has_some() {
    let mut frames = two_nodes();
    assert_eq!(frames.allocate_block(FROM_1).map(|at| frames.node_of(at)), Some(1));
    assert_eq!(frames.allocate_contiguous(CHUNK_SIZE, CHUNK_SIZE, FROM_1).map(|at| frames.node_of(at)), Some(1));
    let nodes: Vec<_> = core::iter::from_fn(|| frames.allocate(FROM_1).map(|at| frames.node_of(at))).collect();
    assert!(nodes.is_sorted_by(|a, b| a >= b), "first all of node 1, then node 0");
    assert_eq!((nodes.iter().filter(|node| **node == 1).count(), nodes.len()), (2048 - 512 - 16, 4096 - 512 - 16));
    assert_eq!(frames.allocate_block(FROM_1), None);
}

#[test]
fn a_stock_saves_what_is_shared_and_returns_all() {
    let mut frames = two_nodes();
    let cpu = FrameCache::new();
    let mut refills = 0;
    let held: Vec<_> = (0..1000)
        .map(|_| {
            cpu.pop().unwrap_or_else(|| {
                refills += 1;
                cpu.refill(&mut frames, FROM_1).unwrap()
            })
        })
        .collect();
    assert_eq!(held.iter().collect::<BTreeSet<_>>().len(), 1000);
    assert_eq!(frames.available() + cpu.bytes() + 1000 * PAGE_SIZE, frames.total());
    assert_eq!(refills, 125, "8 at once");
    for frame in held {
        if !cpu.push(frame) {
            cpu.flush(frame, &mut frames);
        }
    }
    assert_eq!(frames.available() + cpu.bytes(), frames.total());
    while let Some(frame) = cpu.pop() {
        frames.free(frame, PAGE_SIZE);
    }
    assert_eq!(frames.available(), frames.total());
}

#[test]
fn a_stock_takes_no_batch_of_the_last_pages() {
    let mut frames = frames();
    let cpu = FrameCache::new();
    assert!(cpu.refill(&mut frames, HERE).is_some());
    // Less than 8 MiB from here on.
    while frames.available() >= 8 << 20 {
        assert!(frames.allocate_block(HERE).is_some());
    }
    while cpu.pop().is_some() {}
    assert!(cpu.refill(&mut frames, HERE).is_some());
    assert_eq!(cpu.bytes(), 0);
}

#[test]
#[should_panic(expected = "freed twice")]
fn a_page_freed_twice_into_stock_is_noticed() {
    let mut frames = frames();
    let cpu = FrameCache::new();
    let frame = frames.allocate(HERE).unwrap();
    assert!(cpu.push(frame));
    let _ = cpu.push(frame);
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
                    let found = frames.allocate(HERE);
                    prop_assert!(found.is_some() || free.is_empty());
                    (found, PAGE_SIZE, PAGE_SIZE)
                }
                Step::Block => (frames.allocate_block(HERE), BLOCK_SIZE, BLOCK_SIZE),
                Step::Run { bytes, align } => (frames.allocate_contiguous(bytes, align, HERE), bytes, align.max(PAGE_SIZE)),
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
