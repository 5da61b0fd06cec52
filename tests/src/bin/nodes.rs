//! Threads' heap blocks, stacks and packed slots come from the memory of the node that they run on.
//@ machines: virt, q35
//@ run: nodes_2
//@ cpus: 2, 4
//@ numa: 2
//@ run: nodes_4
//@ cpus: 4, 8
//@ numa: 4
#![no_std]
#![no_main]

use isochron::kernel::boot::VirtAddr;
use isochron::kernel::memory::heap::{self, HeapCounts};
use isochron::kernel::{cpu, memory, topology};
use isochron::thread::SlotSize;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        blocks_are_of_the_own_node,
        blocks_freed_elsewhere_go_home,
        stacks_are_of_the_own_node,
        packed_threads_are_of_the_own_node,
        counts_are_exact,
        the_whole_memory_can_be_had,
    ])
}

/// The node of what is at an address.
fn node_of<T>(at: *const T) -> Option<u16> {
    memory::node_of(VirtAddr::new(at.addr()))
}

/// Runs `body` on a CPU, and waits for it.
fn on<T: Send + 'static>(cpu: usize, body: impl FnOnce(u16) -> Outcome<T> + Send + 'static) -> Outcome<T> {
    let cpu = CpuId::new(cpu);
    let thread = Builder::new().pinned(cpu).spawn(move || body(topology::place(cpu).node));
    thread.map_or_else(|error| Err(Failure::Failed(error.to_string())), joined)
}

/// Blocks of all sizes, small and large.
fn blocks() -> Vec<Vec<u8>> {
    (0..1000).map(|nth| vec![1; 1 + nth * 37 % 2300]).chain((1..8).map(|nth| vec![2; nth * 30_000])).collect()
}

/// How many pages of blocks are not of a node.
fn foreign(blocks: &[Vec<u8>], own: u16) -> usize {
    let pages = blocks.iter().flat_map(|block| block.iter().step_by(4096));
    pages.filter(|byte| node_of(*byte) != Some(own)).count()
}

fn blocks_are_of_the_own_node() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        on(cpu, |own| {
            let mut blocks = blocks();
            check!(blocks.len() > 1000);
            // What threads of other nodes ended with, or what was freed here, may lie in stock: half of it in each size at most.
            let strange = foreign(&blocks, own);
            blocks.clear();
            check!(strange <= 14 * 30, "{strange} pages are not of node {own}");
            // From here on the stock is the node's own.
            Ok(())
        })?;
        on(cpu, |own| {
            let strange = foreign(&blocks(), own);
            check!(strange <= 30, "{strange} pages are not of node {own}");
            Ok(())
        })?;
    }
    Ok(())
}

fn blocks_freed_elsewhere_go_home() -> Outcome {
    let last = thread::cpu_count() - 1;
    for (from, to) in [(0, last), (last, 0)] {
        let made = on(from, |own| {
            let made: Vec<_> = (0..2000_u64).map(|nth| Box::new([nth; 8])).collect();
            let strange = made.iter().filter(|block| node_of(&raw const ***block) != Some(own)).count();
            check!(strange <= 30, "{strange} blocks of 2000 are not of node {own}");
            Ok(made)
        })?;
        on(to, |own| {
            drop(made);
            let made: Vec<_> = (0..2000_u64).map(|nth| Box::new([nth; 8])).collect();
            // A stock holds up to 30 that were freed here.
            let strange = made.iter().filter(|block| node_of(&raw const ***block) != Some(own)).count();
            check!(strange <= 30, "{strange} blocks of 2000 are not of node {own}");
            Ok(())
        })?;
    }
    Ok(())
}

fn stacks_are_of_the_own_node() -> Outcome {
    for round in 0..3 {
        for cpu in (0..thread::cpu_count()).map(CpuId::new) {
            let own = topology::place(cpu).node;
            // More than a stock holds, all at once, and deeper each time: what they grow by counts, too.
            let threads: Vec<_> = (0..40)
                .map(|_| {
                    Builder::new().pinned(cpu).spawn(move || {
                        let deep = [round as u8; 3 * 4096];
                        yield_now();
                        let deep = core::hint::black_box(&deep);
                        deep.iter().step_by(4096).filter(|byte| node_of(*byte) != Some(own)).count()
                    })
                })
                .collect();
            let mut strange = 0;
            for thread in threads {
                strange +=
                    thread.map_or_else(|error| Err(Failure::Failed(error.to_string())), |thread| Ok(joined(thread)))?;
            }
            check_eq!(strange, 0, "pages of 40 stacks on CPU {cpu}, round {round}");
        }
    }
    Ok(())
}

fn packed_threads_are_of_the_own_node() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        let strange = on(cpu, move |own| {
            let mut strange = 0;
            for _ in 0..50 {
                let thread = Builder::new().pinned(CpuId::new(cpu)).spawn_packed(SlotSize::Kib2, || {
                    let here = 0_u8;
                    node_of(&raw const here)
                });
                let found =
                    thread.map_or_else(|error| Err(Failure::Failed(error.to_string())), |thread| Ok(joined(thread)))?;
                strange += usize::from(found != Some(own));
            }
            Ok(strange)
        })?;
        check_eq!(strange, 0, "of 50 threads on CPU {cpu}");
    }
    Ok(())
}

fn counts_are_exact() -> Outcome {
    let counts = || heap::counts(cpu::this_cpu());
    on(thread::cpu_count() - 1, move |_| {
        let _alone = PreemptGuard::new();
        let before = counts();
        let small: Vec<_> = (0..100_u64).map(|nth| Box::new([nth; 8])).collect();
        let large = core::hint::black_box(vec![1_u8; 10_000]);
        let between = counts();
        drop((small, large));
        let after = counts();
        let difference = |a: HeapCounts, b: HeapCounts| (b.allocs - a.allocs, b.frees - a.frees);
        // The vector of the small ones is a block, too.
        check_eq!(difference(before, between), (102, 0));
        check_eq!(difference(between, after), (0, 102));
        check_eq!(between.allocated_bytes - before.allocated_bytes, 100 * 64 + 1024 + 10_000);
        check_eq!(after.freed_bytes - between.freed_bytes, 100 * 64 + 1024 + 10_000);
        check!((2..=8).contains(&(between.refills - before.refills)), "{between:?}");
        check!((1..=7).contains(&(after.flushes - before.flushes)), "{after:?}");
        Ok(())
    })
}

fn the_whole_memory_can_be_had() -> Outcome {
    // One node's CPU gets what all nodes have, and another's gets it after that.
    for cpu in [0, thread::cpu_count() - 1] {
        on(cpu, |_| {
            let free = memory::stats().free as usize;
            let mut held: Vec<Vec<u8>> = Vec::with_capacity(4096);
            let mut bytes = 0;
            while held.len() < held.capacity() {
                let mut block = Vec::new();
                if block.try_reserve_exact(1 << 20).is_err() {
                    break;
                }
                bytes += 1 << 20;
                held.push(block);
            }
            check!(bytes + (8 << 20) >= free, "{bytes} bytes of {free}");
            Ok(())
        })?;
    }
    Ok(())
}
