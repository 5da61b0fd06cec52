//! The heap, the stacks, and what may be done with which page.
//@ run: usual
//@ machines: virt, q35, microvm
//@ cpus: 1, 4
//@ run: pi
//@ machines: raspi4b
//@ run: small
//@ machines: virt, q35, microvm
//@ cpus: 4
//@ memory: 64
//@ run: hardened
//@ machines: virt, q35
//@ cpus: 4
//@ memory: 64
//@ hardened: yes
//@ run: checked
//@ machines: virt
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

extern crate alloc;

use alloc::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use core::ptr::NonNull;
use isochron::kernel::arch::paging::encode_leaf;
use isochron::kernel::boot::layout::{DIRECT_MAP_BASE, PAGE_SIZE};
use isochron::kernel::boot::{PhysAddr, VirtAddr};
use isochron::kernel::memory::page_table::{BLOCK_LEVEL, Leaf, level_size};
use isochron::kernel::memory::{self, Stack};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        blocks_of_all_sizes_and_alignments,
        neighbours_keep_apart,
        zeroed_blocks_are_zero,
        reallocation_keeps_the_contents,
        impossible_blocks_are_refused,
        freed_memory_is_used_again,
        heap_under_load_of_all_cpus,
        stacks_are_used_again,
        ended_threads_leave_nothing,
        the_image_has_its_rights,
        data_cannot_be_executed,
        text_has_no_writable_twin,
        nothing_is_mapped_low,
        large_memory_is_mapped_by_large_pages,
        stacks_have_guards,
        facts_add_up,
    ])
}

/// A block with a pattern in it that depends on its address and size.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
}

impl Block {
    fn new(size: usize, align: usize) -> Outcome<Self> {
        let Ok(layout) = Layout::from_size_align(size, align) else {
            return Err(Failure::Failed(format!("no layout of {size} bytes aligned to {align}")));
        };
        // SAFETY: the size is not 0.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }) else {
            return Err(Failure::Failed(format!("no memory for {size} bytes aligned to {align}")));
        };
        check!(at.addr().get().is_multiple_of(align), "{at:?} is not aligned to {align}");
        let block = Self { at, layout };
        // SAFETY: the block is new, and this large.
        unsafe { at.write_bytes(block.byte(), size) };
        Ok(block)
    }

    fn byte(&self) -> u8 {
        (self.at.addr().get() >> 4) as u8 ^ self.layout.size() as u8 ^ 0x5a
    }

    fn is_intact(&self) -> bool {
        // SAFETY: `new` has written all of it, and nobody else has it.
        let bytes = unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.layout.size()) };
        bytes.iter().all(|&byte| byte == self.byte())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it came from `alloc` with this layout, and is given back once.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

// SAFETY: a block is its owner's alone.
unsafe impl Send for Block {}

fn blocks_of_all_sizes_and_alignments() -> Outcome {
    for align in (0..=13).map(|shift| 1 << shift) {
        for size in (1..64).chain((64..5000).step_by(61)).chain([8192, 65_536, 1 << 20]) {
            let block = Block::new(size, align)?;
            check!(block.is_intact(), "{size} bytes aligned to {align}");
        }
    }
    Ok(())
}

fn neighbours_keep_apart() -> Outcome {
    let mut random = Random::new(5);
    let mut blocks: Vec<Option<Block>> = (0..600).map(|_| None).collect();
    for turn in 0..20_000 {
        let place = random.below(blocks.len());
        if let Some(block) = blocks[place].take() {
            check!(block.is_intact(), "turn {turn}: {} bytes at {:?} were overwritten", block.layout.size(), block.at);
        } else {
            // Mostly small ones.
            let most = 1 << (3 + random.below(12));
            let size = 1 + random.below(most);
            blocks[place] = Some(Block::new(size, 1 << random.below(8))?);
        }
    }
    check!(blocks.iter().flatten().all(Block::is_intact), "a block was overwritten");
    Ok(())
}

fn zeroed_blocks_are_zero() -> Outcome {
    for size in [1, 8, 64, 100, 1000, 4096, 100_000] {
        // Something that is not zero lay there before.
        drop(Block::new(size, 8)?);
        let Ok(layout) = Layout::from_size_align(size, 8) else { unreachable!() };
        // SAFETY: the size is not 0; the block is read within its bounds and given back once.
        let zero = unsafe {
            let at = alloc_zeroed(layout);
            check!(!at.is_null());
            let zero = core::slice::from_raw_parts(at, size).iter().all(|&byte| byte == 0);
            dealloc(at, layout);
            zero
        };
        check!(zero, "{size} bytes");
    }
    Ok(())
}

fn reallocation_keeps_the_contents() -> Outcome {
    let mut grown = Vec::new();
    for number in 0..100_000u32 {
        grown.push(number);
    }
    check!(grown.iter().copied().eq(0..100_000));
    grown.truncate(10);
    grown.shrink_to_fit();
    check_eq!(grown, (0..10).collect::<Vec<_>>());
    Ok(())
}

fn impossible_blocks_are_refused() -> Outcome {
    let total = memory::stats().total as usize;
    for (size, align) in [(total, 8), (total * 4, 4096), (1 << 46, 8), (isize::MAX as usize - 4096, 1), (8, 1 << 45)] {
        let Ok(layout) = Layout::from_size_align(size, align) else { continue };
        // SAFETY: the size is not 0.
        let at = unsafe { alloc(layout) };
        check!(at.is_null(), "{size} bytes aligned to {align} are at {at:?}");
    }
    let block = Block::new(64, 8)?;
    // SAFETY: the block is of this layout, and stays valid when it cannot be grown.
    let grown = unsafe { realloc(block.at.as_ptr(), block.layout, total * 2) };
    check!(grown.is_null() && block.is_intact(), "a block was grown beyond all memory, or damaged by the attempt");
    let mut vector: Vec<u8> = Vec::new();
    let refused = vector.try_reserve(total * 2).is_err();
    // An allocation that nobody looks at would be left out by the compiler.
    core::hint::black_box(&mut vector);
    check!(refused, "a vector has room for twice the memory");
    Ok(())
}

fn freed_memory_is_used_again() -> Outcome {
    let total = memory::stats().total as usize;
    for size in [100, 5000, 300_000] {
        // More than there is, in all.
        for _ in 0..total.min(256 << 20) / size + 100 {
            // What nobody looks at, the compiler would leave out.
            drop(core::hint::black_box(Block::new_unfilled(size)?));
        }
    }
    Ok(())
}

impl Block {
    fn new_unfilled(size: usize) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        match bytes.try_reserve_exact(size) {
            Ok(()) => Ok(bytes),
            Err(_) => Err(Failure::Failed(format!("{size} bytes are not to be had any more"))),
        }
    }
}

fn heap_under_load_of_all_cpus() -> Outcome {
    let (tx, rx) = isochron::channel::bounded::<Block>(32);
    let threads: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|seed| {
            let (tx, rx) = (tx.clone(), rx.clone());
            spawn(move || {
                let mut random = Random::new(seed as u64);
                let mut kept = Vec::new();
                for _ in 0..1500 {
                    let block = Block::new(1 + random.below(2000), 1 << random.below(7))?;
                    match random.below(4) {
                        0 => kept.push(block),
                        1 => {
                            // Another thread frees it, on whatever CPU.
                            let _ = tx.try_send(block);
                        }
                        2 => check!(rx.try_recv().map_or(true, |block| block.is_intact()), "a block came damaged"),
                        _ => drop(block),
                    }
                    if kept.len() > 40 {
                        let place = random.below(kept.len());
                        check!(kept.swap_remove(place).is_intact(), "a block was overwritten");
                    }
                }
                check!(kept.iter().all(Block::is_intact), "a block was overwritten");
                Ok(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(joined)
}

fn stacks_are_used_again() -> Outcome {
    let round = || -> Outcome<u64> {
        for _ in 0..20 {
            let crowd: Vec<_> = (0..20).map(|_| spawn(yield_now)).collect();
            crowd.into_iter().for_each(joined);
        }
        Ok(memory::stats().stacks)
    };
    // A stack lies in the stock of the CPU that it was last used on, so a CPU may ask for some more at first.
    let warm = (0..5).map(|_| round()).collect::<Outcome<Vec<_>>>()?;
    let before = warm.iter().max().copied().unwrap_or_default();
    let mut after = before;
    for _ in 0..5 {
        after = round()?;
    }
    let stacks = thread::cpu_count() as u64 * 15;
    check!(after <= before + stacks * 32 * 1024, "2000 threads, 20 at a time, took {} KiB", (after - before) >> 10);
    Ok(())
}

fn ended_threads_leave_nothing() -> Outcome {
    let round = || {
        for _ in 0..300 {
            Builder::new().name("a name that takes some memory").spawn(|| vec![0u8; 100]).map(joined).ok();
            spawn(|| vec![0u8; 300]).detach();
        }
        let gone = spawn(|| ());
        gone.join().unwrap();
    };
    (0..5).for_each(|_| round());
    let before = memory::stats().heap.used;
    (0..20).for_each(|_| round());
    poll("6000 threads have left nothing behind", || memory::stats().heap.used <= before + 256 * 1024)
}

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
}

/// What an address may be used for; none: nothing is mapped there.
fn rights(addr: usize) -> Option<Leaf> {
    let found = memory::translate(VirtAddr::new(addr))?;
    let block = PhysAddr::new(found.addr.as_usize() & !(level_size(found.level) - 1));
    [Leaf::Text, Leaf::ReadOnly, Leaf::Data, Leaf::Device]
        .into_iter()
        .find(|leaf| encode_leaf(block, found.level, *leaf) == found.entry)
}

fn the_image_has_its_rights() -> Outcome {
    let sections = [
        (&raw const __text_start, &raw const __text_end, Leaf::Text),
        (&raw const __rodata_start, &raw const __rodata_end, Leaf::ReadOnly),
        (&raw const __data_start, &raw const __data_end, Leaf::Data),
    ];
    for (start, end, leaf) in sections {
        check!(start < end, "the section of {leaf:?} is empty");
        for page in (start.addr()..end.addr()).step_by(PAGE_SIZE) {
            check_eq!(rights(page), Some(leaf), "at {page:#x}");
        }
    }
    static CONSTANT: [u64; 4] = [1, 2, 3, 4];
    static VARIABLE: AtomicU64 = AtomicU64::new(1);
    check_eq!(rights(main as *const () as usize), Some(Leaf::Text));
    check_eq!(rights((&raw const CONSTANT).addr()), Some(Leaf::ReadOnly));
    check_eq!(rights((&raw const VARIABLE).addr()), Some(Leaf::Data));
    Ok(())
}

fn data_cannot_be_executed() -> Outcome {
    let on_heap = Box::new(1u64);
    let on_stack = 1u64;
    check_eq!(rights(core::ptr::from_ref(&*on_heap).addr()), Some(Leaf::Data));
    check_eq!(rights((&raw const on_stack).addr()), Some(Leaf::Data));
    let large = vec![1u8; 3 << 20];
    for offset in (0..large.len()).step_by(PAGE_SIZE) {
        check_eq!(rights(large.as_ptr().addr() + offset), Some(Leaf::Data));
    }
    // The same memory, seen through the direct map.
    for page in [on_heap.as_ref() as *const u64 as usize, large.as_ptr().addr()] {
        let Some(found) = memory::translate(VirtAddr::new(page)) else {
            return Err(Failure::Failed("unmapped".into()));
        };
        check_eq!(rights(DIRECT_MAP_BASE + found.addr.as_usize()), Some(Leaf::Data));
    }
    Ok(())
}

fn text_has_no_writable_twin() -> Outcome {
    for (start, end) in
        [(&raw const __text_start, &raw const __text_end), (&raw const __rodata_start, &raw const __rodata_end)]
    {
        for page in (start.addr()..end.addr()).step_by(PAGE_SIZE) {
            let Some(found) = memory::translate(VirtAddr::new(page)) else {
                return Err(Failure::Failed(format!("{page:#x} is not mapped")));
            };
            let twin = rights(DIRECT_MAP_BASE + found.addr.as_usize());
            check!(!matches!(twin, Some(Leaf::Data | Leaf::Text | Leaf::Device)), "{page:#x} has a twin: {twin:?}");
        }
    }
    Ok(())
}

fn nothing_is_mapped_low() -> Outcome {
    for page in [0, 1, PAGE_SIZE, 0x8000, 1 << 20, 0x4000_0000, 0x4008_0000, 1 << 32, 0x7fff_ffff_f000] {
        check!(!memory::is_mapped(VirtAddr::new(page)), "{page:#x} is mapped");
    }
    Ok(())
}

fn large_memory_is_mapped_by_large_pages() -> Outcome {
    let large = vec![1u8; 4 << 20];
    let size = level_size(BLOCK_LEVEL);
    let block = large.as_ptr().addr().next_multiple_of(size);
    let Some(found) = memory::translate(VirtAddr::new(block)) else { return Err(Failure::Failed("unmapped".into())) };
    check_eq!(found.level, BLOCK_LEVEL, "2 MiB of the heap");
    let direct = memory::translate(VirtAddr::new(DIRECT_MAP_BASE + found.addr.as_usize()));
    check!(direct.is_some_and(|direct| direct.level <= BLOCK_LEVEL), "the same in the direct map: {direct:?}");
    Ok(())
}

fn stacks_have_guards() -> Outcome {
    for size in [4096, 8192, 32 * 1024, 1 << 20, 5 << 20] {
        let Ok(stack) = Stack::new(size) else { return Err(Failure::Failed(format!("no stack of {size} bytes"))) };
        let (bottom, top) = (stack.bottom().as_usize(), stack.top().as_usize());
        // Above its top lies what tells whose it is.
        check!(
            (top - bottom).next_multiple_of(PAGE_SIZE) >= size && top - bottom > size - 256 && top.is_multiple_of(16)
        );
        let edge = top - size.min(2 * PAGE_SIZE);
        for page in (bottom..edge).step_by(PAGE_SIZE) {
            check!(!memory::is_mapped(VirtAddr::new(page)), "{:#x} above the bottom", page - bottom);
        }
        // The lowest page brings all of it.
        // SAFETY: the stack is this test's.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(bottom).write_volatile(1) };
        for page in (bottom..top).step_by(PAGE_SIZE) {
            check_eq!(rights(page), Some(Leaf::Data), "at {:#x} above the bottom", page - bottom);
        }
        for page in (bottom - 4096..bottom).step_by(512) {
            check!(!memory::is_mapped(VirtAddr::new(page)), "the guard of a stack of {size} bytes is mapped");
            check!(stack.guard_hit(page));
        }
        check!(!stack.guard_hit(bottom));
    }
    // The stack that this runs on, too.
    let here = 0u8;
    let mut page = (&raw const here).addr() & !(PAGE_SIZE - 1);
    let start = page;
    while memory::is_mapped(VirtAddr::new(page)) {
        page -= PAGE_SIZE;
        check!(start - page <= isochron::entry::MAIN_STACK_SIZE, "main's stack has no end");
    }
    Ok(())
}

fn facts_add_up() -> Outcome {
    let stats = memory::stats();
    check!(stats.free <= stats.total, "{stats:?}");
    check!(stats.heap.used <= stats.heap.capacity, "{stats:?}");
    check!(stats.heap.capacity + stats.stacks + stats.free <= stats.total, "{stats:?}");
    let block = core::hint::black_box(vec![0u8; 1 << 20]);
    check!(memory::stats().heap.used >= stats.heap.used + block.len() as u64, "a block of 1 MiB is not counted");
    Ok(())
}
