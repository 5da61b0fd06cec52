//! Pages, chunks and blocks of physical memory: from the CPU's own node, through a stock on each CPU.
//@ run: flat
//@ machines: virt, q35, microvm
//@ cpus: 1, 2, 4
//@ run: small
//@ machines: virt, q35
//@ memory: 16
//@ run: nodes_2
//@ machines: virt, q35
//@ cpus: 2, 4
//@ numa: 2
//@ run: nodes_4
//@ machines: virt, q35
//@ cpus: 4, 8
//@ numa: 4
//@ run: checked
//@ machines: virt
//@ numa: 2
//@ checked: yes
#![no_std]
#![no_main]

use isochron::kernel::boot::PhysAddr;
use isochron::kernel::boot::layout::PAGE_SIZE;
use isochron::kernel::memory::frames::{self, BLOCK_SIZE, CHUNK_SIZE};
use isochron::kernel::memory::{self, Origin};
use isochron::kernel::{cpu, topology};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        every_cpu_is_given_its_own_nodes_memory,
        a_page_goes_home_whoever_frees_it,
        the_next_node_helps_out,
        each_page_is_one_cpus_at_a_time,
        sizes_are_aligned,
    ])
}

/// Runs `body` on a CPU, and waits for it.
fn on<T: Send + 'static>(cpu: usize, body: impl FnOnce(u16) -> Outcome<T> + Send + 'static) -> Outcome<T> {
    let cpu = CpuId::new(cpu);
    let thread = Builder::new().pinned(cpu).spawn(move || body(topology::place(cpu).node));
    thread.map_or_else(|error| Err(Failure::Failed(error.to_string())), joined)
}

fn some(frame: Option<PhysAddr>) -> Outcome<PhysAddr> {
    frame.ok_or_else(|| Failure::Failed("no memory".into()))
}

/// What the CPU that this runs on was given so far.
fn origin() -> Origin {
    memory::origin(cpu::this_cpu())
}

fn every_cpu_is_given_its_own_nodes_memory() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        on(cpu, |own| {
            let before = origin();
            let pages = (0..100).map(|_| some(frames::alloc())).collect::<Outcome<Vec<_>>>()?;
            let chunk = some(frames::alloc_chunk())?;
            check!(
                pages.iter().chain([&chunk]).all(|page| topology::node_at(*page) == own),
                "not all of node {own}: {pages:?}"
            );
            pages.into_iter().for_each(frames::free);
            frames::free_contiguous(chunk, CHUNK_SIZE);
            let after = origin();
            let given = after.local - before.local;
            // Up to a batch more, and less by what was in stock.
            check!((85 * PAGE_SIZE..=108 * PAGE_SIZE).contains(&(given as usize - CHUNK_SIZE)), "{given} bytes");
            check_eq!(after.remote, before.remote);
            Ok(())
        })?;
    }
    Ok(())
}

fn a_page_goes_home_whoever_frees_it() -> Outcome {
    let before = memory::stats().free;
    let last = thread::cpu_count() - 1;
    for (from, to) in [(0, last), (last, 0)] {
        let pages = on(from, |_| (0..40).map(|_| some(frames::alloc())).collect::<Outcome<Vec<_>>>())?;
        on(to, |own| {
            pages.into_iter().for_each(frames::free);
            let pages = (0..40).map(|_| some(frames::alloc())).collect::<Outcome<Vec<_>>>()?;
            check!(pages.iter().all(|page| topology::node_at(*page) == own), "not all of node {own}");
            pages.into_iter().for_each(frames::free);
            Ok(())
        })?;
    }
    // The threads themselves may have taken some for good.
    check!(memory::stats().free + (1 << 20) >= before, "{} bytes before, {} after", before, memory::stats().free);
    Ok(())
}

fn the_next_node_helps_out() -> Outcome {
    if topology::has_one_node() {
        ignore!("one node has all the memory");
    }
    on(thread::cpu_count() - 1, |own| {
        let before = origin();
        let mut blocks = Vec::with_capacity(4096);
        let mut foreign = None;
        while foreign.is_none() && blocks.len() < blocks.capacity() {
            let block = some(frames::alloc_block())?;
            foreign = (topology::node_at(block) != own).then_some(block);
            blocks.push(block);
        }
        let after = origin();
        blocks.iter().for_each(|block| frames::free_contiguous(*block, BLOCK_SIZE));
        check_eq!(foreign, blocks.last().copied(), "the node has no end");
        check_eq!((after.local - before.local) as usize, (blocks.len() - 1) * BLOCK_SIZE);
        check_eq!((after.remote - before.remote) as usize, BLOCK_SIZE);
        let again = some(frames::alloc_block())?;
        frames::free_contiguous(again, BLOCK_SIZE);
        check_eq!(topology::node_at(again), own, "what came back is not used again");
        Ok(())
    })
}

fn each_page_is_one_cpus_at_a_time() -> Outcome {
    const PAGES: usize = 60;
    let threads: Vec<_> = (0..thread::cpu_count())
        .map(|cpu| {
            let body = move || {
                let mut random = Random::new(cpu as u64);
                let mut held = Vec::with_capacity(PAGES);
                for turn in 0..3000_usize {
                    if held.len() < PAGES && random.below(2) == 0 {
                        let Some(page) = frames::alloc() else { continue };
                        // SAFETY: the page is ours, and the direct map shows it.
                        unsafe { first_word(page).write_volatile(turn + cpu * 10_000) };
                        held.push((page, turn + cpu * 10_000));
                    } else if !held.is_empty() {
                        let (page, mark) = held.swap_remove(random.below(held.len()));
                        // SAFETY: as above.
                        check_eq!(unsafe { first_word(page).read_volatile() }, mark, "{page:?} is another's too");
                        frames::free(page);
                    }
                }
                held.into_iter().for_each(|(page, _)| frames::free(page));
                Ok(())
            };
            Builder::new().pinned(CpuId::new(cpu)).spawn(body)
        })
        .collect();
    for thread in threads {
        thread.map_or_else(|error| Err(Failure::Failed(error.to_string())), joined)?;
    }
    Ok(())
}

fn first_word(page: PhysAddr) -> *mut usize {
    isochron::kernel::boot::layout::direct_map(page).as_mut_ptr()
}

fn sizes_are_aligned() -> Outcome {
    for (alloc, size) in [(frames::alloc_chunk as fn() -> _, CHUNK_SIZE), (frames::alloc_block, BLOCK_SIZE)] {
        let found = some(alloc())?;
        frames::free_contiguous(found, size);
        check!(found.is_aligned(size), "{found:?} is not aligned to {size} bytes");
    }
    let page = some(frames::alloc())?;
    frames::free(page);
    check_eq!(frames::alloc(), Some(page), "what came last goes first");
    frames::free(page);
    Ok(())
}
