//! Stock, spans and the real linked list, over host memory that can run out.

use super::central::{Backing, Central, SPAN_SIZE};
use super::classes::{CLASSES, LARGEST, SIZES, class_of};
use super::extents::{Extents, Grow};
use super::*;
use core::alloc::Layout;
use core::cell::{RefCell, RefMut};
use core::ptr::{self, NonNull};
use proptest::prelude::*;
use std::sync::{Mutex, mpsc};
use std::vec::Vec;

const STEP: usize = 64 * 1024;

/// A window of host memory. Growth fails from call number `fails_at` on.
struct Window {
    base: *mut u8,
    bytes: usize,
    limit: usize,
    calls: usize,
    fails_at: usize,
}

// SAFETY: the memory belongs to the window alone.
unsafe impl Send for Window {}

impl Window {
    fn new(limit: usize, fails_at: usize) -> Self {
        let layout = Layout::from_size_align(limit, SPAN_SIZE).unwrap();
        // SAFETY: the size is not zero.
        let base = unsafe { std::alloc::alloc(layout) };
        base.expose_provenance();
        Self { base, bytes: 0, limit, calls: 0, fails_at }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.base, Layout::from_size_align(self.limit, SPAN_SIZE).unwrap()) }
    }
}

impl Grow for Window {
    fn base(&self) -> *mut u8 {
        self.base
    }

    fn grow(&mut self, bytes: usize) -> usize {
        self.calls += 1;
        if self.calls > self.fails_at || bytes > self.limit {
            return 0;
        }
        let added = bytes.next_multiple_of(STEP).min(self.limit - self.bytes);
        self.bytes += added;
        added
    }
}

type Shared = Central<Extents<Window>>;

fn shared(limit: usize, fails_at: usize) -> Shared {
    Central::new(Extents::new(Window::new(limit, fails_at)))
}

/// As the global allocator does it.
fn alloc(shared: &mut Shared, cpu: &HeapCache, layout: Layout) -> Option<usize> {
    match class_of(layout) {
        Some(class) => cpu.pop(class).or_else(|| cpu.refill(class, || shared)),
        None => shared.allocate_large(layout).map(|block| block.as_ptr().expose_provenance()),
    }
}

fn free(shared: &mut Shared, cpu: &HeapCache, block: usize, layout: Layout) {
    match class_of(layout) {
        // SAFETY: the tests free what they allocated, with the same layout.
        Some(class) => unsafe {
            if !cpu.push(class, block) {
                let shared = RefCell::new(shared);
                cpu.flush(class, block, usize::BITS - 1, |_| RefMut::map(shared.borrow_mut(), |shared| &mut **shared));
            }
        },
        // SAFETY: as above.
        None => unsafe { shared.free_large(NonNull::new(ptr::with_exposed_provenance_mut(block)).unwrap(), layout) },
    }
}

fn drain(shared: &mut Shared, cpu: &HeapCache) {
    for class in 0..CLASSES {
        while let Some(block) = cpu.pop(class) {
            // SAFETY: what is in stock was freed.
            unsafe { shared.give(class, block) };
        }
    }
    shared.release_chains();
}

/// Nothing is in use but at most one empty span for each class.
fn check_empty(shared: &Shared) {
    assert_eq!(shared.small_used(), 0);
    assert_eq!(shared.backing().used(), shared.span_bytes());
    assert!(shared.span_bytes() <= CLASSES * SPAN_SIZE);
}

fn fill(block: usize, layout: Layout, with: u8) {
    // SAFETY: the block has that many bytes and is ours.
    unsafe { ptr::with_exposed_provenance_mut::<u8>(block).write_bytes(with, layout.size()) }
}

fn check(block: usize, layout: Layout, with: u8) {
    // SAFETY: `fill` wrote these bytes.
    let bytes = unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(block), layout.size()) };
    assert!(bytes.iter().all(|&byte| byte == with), "a block was written by another's owner");
}

fn layout() -> impl Strategy<Value = Layout> {
    prop_oneof![
        6 => (1usize..=LARGEST, 0u32..5),
        1 => (1usize..40_000, 0u32..13),
    ]
    .prop_map(|(size, log)| Layout::from_size_align(size, 1 << log).unwrap())
}

#[derive(Clone, Debug)]
enum Step {
    Alloc { cpu: usize, layout: Layout },
    Free { cpu: usize, nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0usize..3, layout()).prop_map(|(cpu, layout)| Step::Alloc { cpu, layout }),
        (0usize..3, any::<usize>()).prop_map(|(cpu, nth)| Step::Free { cpu, nth }),
    ]
}

proptest! {
    #[test]
    fn blocks_are_aligned_apart_and_all_come_back(steps in prop::collection::vec(step(), 1..600)) {
        let mut shared = shared(1 << 20, usize::MAX);
        let cpus = [const { HeapCache::new() }; 3];
        let mut held = Vec::new();
        for (nth, step) in steps.into_iter().enumerate() {
            match step {
                Step::Alloc { cpu, layout } => {
                    let Some(block) = alloc(&mut shared, &cpus[cpu], layout) else { continue };
                    prop_assert!(block.is_multiple_of(layout.align()));
                    fill(block, layout, nth as u8);
                    held.push((block, layout, nth as u8));
                }
                Step::Free { cpu, nth } if !held.is_empty() => {
                    let (block, layout, with) = held.swap_remove(nth % held.len());
                    check(block, layout, with);
                    free(&mut shared, &cpus[cpu], block, layout);
                }
                Step::Free { .. } => {}
            }
        }
        for (block, layout, with) in held {
            check(block, layout, with);
            free(&mut shared, &cpus[0], block, layout);
        }
        cpus.iter().for_each(|cpu| drain(&mut shared, cpu));
        check_empty(&shared);
    }
}

#[test]
fn memory_that_runs_out_anywhere_is_an_answer_and_no_leak() {
    let mut refused_at_all = false;
    for fails_at in 0..20 {
        let mut shared = shared(2 << 20, fails_at);
        let cpus = [const { HeapCache::new() }; 2];
        let mut held = Vec::new();
        let mut refused = 0;
        for nth in 0..4000 {
            let size = if nth % 50 == 0 { 5000 } else { usize::from(SIZES[nth % CLASSES]) };
            let layout = Layout::from_size_align(size, 8).unwrap();
            match alloc(&mut shared, &cpus[nth % 2], layout) {
                Some(block) => held.push((block, layout)),
                None => refused += 1,
            }
        }
        refused_at_all |= refused > 0;
        assert!(fails_at > 0 || held.is_empty());
        for (nth, (block, layout)) in held.into_iter().enumerate() {
            free(&mut shared, &cpus[nth / 7 % 2], block, layout);
        }
        cpus.iter().for_each(|cpu| drain(&mut shared, cpu));
        check_empty(&shared);
    }
    assert!(refused_at_all);
}

#[test]
fn spans_of_one_class_become_memory_for_another() {
    let mut shared = shared(1 << 20, usize::MAX);
    let cpu = HeapCache::new();
    for size in [64, 1536, 64] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let blocks: Vec<_> = core::iter::from_fn(|| alloc(&mut shared, &cpu, layout)).collect();
        // As good as all of the memory, each time.
        assert!(blocks.len() * size > (1 << 20) * 85 / 100, "{size}: {}", blocks.len());
        assert_eq!(alloc(&mut shared, &cpu, layout), None);
        blocks.into_iter().for_each(|block| free(&mut shared, &cpu, block, layout));
        drain(&mut shared, &cpu);
        check_empty(&shared);
    }
}

#[test]
fn stock_saves_the_shared_part() {
    let mut shared = shared(1 << 20, usize::MAX);
    let cpu = HeapCache::new();
    let layout = Layout::new::<[u64; 8]>();
    for _ in 0..1000 {
        let block = alloc(&mut shared, &cpu, layout).unwrap();
        free(&mut shared, &cpu, block, layout);
    }
    let counts = cpu.counts();
    assert_eq!((counts.refills, counts.flushes, counts.allocs, counts.frees), (1, 0, 1000, 1000));
    // At the edge of the stock, either way, a batch is moved once for many blocks.
    let held: Vec<_> = (0..1000).map(|_| alloc(&mut shared, &cpu, layout).unwrap()).collect();
    held.into_iter().for_each(|block| free(&mut shared, &cpu, block, layout));
    let HeapCounts { refills, flushes, allocs, frees, .. } = cpu.counts();
    assert!(refills < 80 && flushes < 80, "{refills} {flushes}");
    assert_eq!((allocs, frees), (2000, 2000));
}

/// What is allocated in a row lies in a row, which the CPU's prefetchers follow: so who goes through it again waits for memory less.
#[test]
fn new_blocks_come_with_rising_addresses() {
    let (mut shared, cpu) = (shared(1 << 20, usize::MAX), HeapCache::new());
    for &size in &SIZES {
        let layout = Layout::from_size_align(size.into(), 8).unwrap();
        let blocks: Vec<usize> = (0..100).map(|_| alloc(&mut shared, &cpu, layout).unwrap()).collect();
        let same_span = |pair: &&[usize]| (pair[0] ^ pair[1]) < SPAN_SIZE;
        assert!(blocks.windows(2).filter(same_span).all(|pair| pair[0] + usize::from(size) == pair[1]), "{blocks:x?}");
        blocks.into_iter().for_each(|block| free(&mut shared, &cpu, block, layout));
    }
    drain(&mut shared, &cpu);
    check_empty(&shared);
}

#[test]
fn chains_go_from_cpu_to_cpu_without_their_spans() {
    let mut shared = shared(1 << 20, usize::MAX);
    let (producer, consumer) = (HeapCache::new(), HeapCache::new());
    let layout = Layout::new::<[u64; 8]>();
    let mut seen = std::collections::BTreeSet::<usize>::new();
    for _ in 0..100 {
        let held: Vec<_> = (0..15).map(|_| alloc(&mut shared, &producer, layout).unwrap()).collect();
        seen.extend(held.iter().copied());
        held.into_iter().for_each(|block| free(&mut shared, &consumer, block, layout));
    }
    // The same blocks, round and round: the two stocks' and a chain's or two.
    assert!(seen.len() <= 75, "{} blocks", seen.len());
    let (made, freed) = (producer.counts(), consumer.counts());
    assert_eq!((made.allocs, made.frees, made.allocated_bytes), (1500, 0, 1500 * 64));
    assert_eq!((freed.allocs, freed.frees, freed.freed_bytes), (0, 1500, 1500 * 64));
    assert_eq!(made.refills, 100);
    assert!((97..=100).contains(&freed.flushes), "{freed:?}");
    // What lies in chains is not in use.
    assert_eq!(shared.small_used(), (consumer.len(3) + producer.len(3)) * 64);
    [producer, consumer].iter().for_each(|cpu| drain(&mut shared, cpu));
    check_empty(&shared);
}

#[test]
fn chains_are_memory_when_there_is_no_other() {
    let mut shared = shared(STEP, 1);
    let cpus = [const { HeapCache::new() }; 2];
    let small = Layout::new::<[u64; 8]>();
    let held: Vec<_> = core::iter::from_fn(|| alloc(&mut shared, &cpus[0], small)).collect();
    assert!(held.len() > 600, "all of the memory is in blocks of 64 bytes");
    // Here and there, so that chains hold blocks of all spans.
    (0..held.len()).for_each(|nth| free(&mut shared, &cpus[1], held[nth * 97 % held.len()], small));
    while let Some(block) = cpus[1].pop(3) {
        // SAFETY: what is in stock was freed.
        unsafe { shared.give(3, block) };
    }
    // One span stays with its class; the chains' must not.
    let other = Layout::from_size_align(1536, 8).unwrap();
    let got = core::iter::from_fn(|| alloc(&mut shared, &cpus[0], other)).count();
    assert!(got >= 20, "{got} blocks, 10 to a span");
}

#[test]
fn blocks_of_two_parts_go_home() {
    let mut parts = [shared(1 << 20, usize::MAX), shared(1 << 20, usize::MAX)];
    let cpu = HeapCache::new();
    let homes: Vec<_> = parts.iter_mut().map(|part| part.take(3).unwrap() & !(SPAN_SIZE - 1)).collect();
    let blocks: Vec<_> = (0..200).map(|nth| parts[usize::from(nth % 5 == 0)].take(3).unwrap()).collect();
    let parts = parts.map(RefCell::new);
    for block in blocks {
        if !cpu.push(3, block) {
            let home = |block| usize::from(block & !(SPAN_SIZE - 1) != homes[0]);
            // SAFETY: the blocks are of this class, and their parts are told apart by their spans.
            unsafe { cpu.flush(3, block, SPAN_SIZE.ilog2(), |block| parts[home(block)].borrow_mut()) };
        }
    }
    while let Some(block) = cpu.pop(3) {
        let home = usize::from(block & !(SPAN_SIZE - 1) != homes[0]);
        // SAFETY: as above.
        unsafe { parts[home].borrow_mut().give(3, block) };
    }
    for part in &parts {
        part.borrow_mut().release_chains();
        assert_eq!(part.borrow().small_used(), 64, "all is back but the one that told the span");
    }
}

#[test]
fn a_request_without_end_is_refused() {
    let mut shared = shared(1 << 20, usize::MAX);
    for size in [1 << 21, isize::MAX as usize - 4095] {
        assert_eq!(shared.allocate_large(Layout::from_size_align(size, 4096).unwrap()), None);
    }
    assert_eq!(shared.backing().capacity(), 0);
    assert!(shared.backing_mut().allocate(Layout::from_size_align(1 << 19, 16).unwrap()).is_some());
}

#[test]
#[should_panic(expected = "another layout")]
fn a_wrong_class_is_noticed() {
    let mut shared = shared(1 << 20, usize::MAX);
    let block = shared.take(3).unwrap();
    // SAFETY: it is not safe, and is noticed.
    unsafe { shared.give(4, block) };
}

#[test]
fn blocks_go_from_cpu_to_cpu() {
    const EACH: usize = 20_000;
    let shared = Mutex::new(shared(8 << 20, usize::MAX));
    std::thread::scope(|scope| {
        let (to, from): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::sync_channel(64)).unzip();
        for (cpu, from) in from.into_iter().enumerate() {
            let to = to[(cpu + 1) % 3].clone();
            let shared = &shared;
            scope.spawn(move || {
                let cache = HeapCache::new();
                let producer = scope.spawn(move || {
                    let cache = HeapCache::new();
                    for nth in 0..EACH {
                        let layout = Layout::from_size_align(1 + nth * 37 % LARGEST, 8).unwrap();
                        let block = alloc(&mut shared.lock().unwrap(), &cache, layout).expect("there is enough");
                        fill(block, layout, nth as u8);
                        to.send((block, layout, nth as u8)).unwrap();
                    }
                    drain(&mut shared.lock().unwrap(), &cache);
                });
                for (block, layout, with) in from.iter().take(EACH) {
                    check(block, layout, with);
                    free(&mut shared.lock().unwrap(), &cache, block, layout);
                }
                producer.join().unwrap();
                drain(&mut shared.lock().unwrap(), &cache);
            });
        }
    });
    check_empty(&shared.lock().unwrap());
}
