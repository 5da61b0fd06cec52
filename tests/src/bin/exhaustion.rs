//! Memory runs out, is refused in good order, and comes back.
//@ machines: virt, q35, hosted
//@ cpus: 1, 4
//@ memory: 64
#![no_std]
#![no_main]

extern crate alloc;

use alloc::alloc::{Layout, alloc, dealloc};
use isochron::kernel::memory;
use isochron::thread::park;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    // The stacks first: what the heap has once taken stays the heap's, and so does a stack of one size stay a stack of
    // that size. As they may take all there is, the heap takes its part before.
    drop(core::hint::black_box(vec![0u8; 16 << 20]));
    run(cases![
        threads_and_heap_work_before,
        stacks_run_out_and_come_back,
        threads_without_stacks_end_with_the_reason,
        large_blocks_run_out_and_come_back,
        small_blocks_run_out_and_come_back,
        threads_and_heap_work_afterwards,
    ])
}

/// What a thread that parks takes at the most: the top of its stack, tables for the rest, its block.
const EACH: u64 = 16 << 10;

/// Threads with stacks of 1 MiB until there are no more; how many there were.
fn fill_with_threads() -> Outcome<usize> {
    let mut threads = Vec::with_capacity(1 << 14);
    let error = loop {
        match Builder::new().stack_size(1 << 20).spawn(park) {
            Ok(thread) => threads.push(thread),
            Err(error) => break error,
        }
    };
    let count = threads.len();
    check_eq!(error, SpawnError::OutOfMemory, "after {count} threads");
    for thread in threads {
        thread.thread().unpark();
        thread.join().unwrap();
    }
    Ok(count)
}

fn stacks_run_out_and_come_back() -> Outcome {
    let first = fill_with_threads()?;
    check!(first as u64 > memory::stats().total / EACH / 2, "only {first} threads fit into memory");
    let second = fill_with_threads()?;
    // Each CPU keeps one ready for its own threads, and may be about to give back that of the last one that it ran.
    check!(second + 2 * thread::cpu_count() >= first, "{first} stacks the first time, {second} the second");
    Ok(())
}

/// Small stacks are taken when their threads first run: those for which there is none then end, and say why. All CPUs have
/// more of them waiting than they have stacks, so one follows the other.
fn threads_without_stacks_end_with_the_reason() -> Outcome {
    let mut hold = Vec::with_capacity(1 << 14);
    // For the blocks of those threads, when all other memory is gone.
    let blocks = vec![0u8; 1 << 20];
    while let Ok(thread) = Builder::new().stack_size(1 << 20).spawn(park) {
        hold.push(thread);
    }
    drop(core::hint::black_box(blocks));
    const THREADS: usize = 2000;
    let (mut parked, mut dead) = (0, 0);
    let mut threads = Vec::with_capacity(THREADS);
    while threads.len() < THREADS
        && let Ok(thread) = Builder::new().stack_size(65536).spawn(|| thread::sleep(Duration::from_millis(20)))
    {
        threads.push(thread);
    }
    let made = threads.len();
    for thread in threads {
        match thread.join() {
            Ok(()) => parked += 1,
            Err(death) => {
                check_eq!(death, thread::Death::OutOfMemory);
                dead += 1;
            }
        }
    }
    for thread in hold {
        thread.thread().unpark();
        thread.join().unwrap();
    }
    check_eq!(parked + dead, made);
    check!(dead > 0, "all of {made} threads had a stack of 64 KiB");
    Ok(())
}

/// A list of blocks that is kept inside them, so that it needs no memory of its own.
struct Blocks {
    first: *mut *mut u8,
    layout: Layout,
    count: usize,
}

impl Blocks {
    /// Takes blocks of `size` bytes until there are no more.
    fn take_all(size: usize) -> Outcome<Self> {
        let Ok(layout) = Layout::from_size_align(size, 16) else { return Err(Failure::Failed("layout".into())) };
        let mut blocks = Self { first: core::ptr::null_mut(), layout, count: 0 };
        loop {
            // SAFETY: the size is not 0.
            let block = unsafe { alloc(layout) }.cast::<*mut u8>();
            if block.is_null() {
                return Ok(blocks);
            }
            // SAFETY: a new block of at least a pointer's size and alignment.
            unsafe { block.write(blocks.first.cast()) };
            blocks.first = block;
            blocks.count += 1;
        }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        while !self.first.is_null() {
            let block = self.first;
            // SAFETY: `take_all` put the block in the list and the next one's address into it; it is given back once.
            unsafe {
                self.first = block.read().cast();
                dealloc(block.cast(), self.layout);
            }
        }
    }
}

fn run_out_and_come_back(size: usize) -> Outcome {
    let first = Blocks::take_all(size)?;
    let count = first.count;
    // Nothing of this size is left, and the thread goes on all the same.
    yield_now();
    drop(first);
    check!(count > 0, "there was no block of {size} bytes");
    let second = Blocks::take_all(size)?;
    let again = second.count;
    drop(second);
    check!(again >= count - count / 20, "{count} blocks of {size} bytes the first time, {again} the second");
    Ok(())
}

fn large_blocks_run_out_and_come_back() -> Outcome {
    run_out_and_come_back(1 << 20)?;
    run_out_and_come_back(100_000)
}

fn small_blocks_run_out_and_come_back() -> Outcome {
    run_out_and_come_back(64)?;
    run_out_and_come_back(1000)
}

/// So many threads at a time as there are stacks from the first time on.
fn a_few_threads() -> Outcome {
    for _ in 0..10 {
        let threads: Vec<_> = (0..5u64).map(|number| Builder::new().spawn(move || vec![number; 20])).collect();
        for (number, thread) in threads.into_iter().enumerate() {
            match thread {
                Ok(thread) => check_eq!(thread.join().unwrap(), vec![number as u64; 20]),
                Err(error) => return Err(Failure::Failed(format!("thread {number}: {error}"))),
            }
        }
    }
    Ok(())
}

fn threads_and_heap_work_before() -> Outcome {
    // More stacks than CPUs that may keep some of them for themselves.
    let begun = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let begun = begun.clone();
            spawn(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                park();
            })
        })
        .collect();
    // A thread has its stack from its first turn on.
    while begun.load(Ordering::Relaxed) < crowd.len() {
        thread::sleep(Duration::from_micros(100));
    }
    for thread in crowd {
        thread.thread().unpark();
        thread.join().unwrap();
    }
    a_few_threads()
}

fn threads_and_heap_work_afterwards() -> Outcome {
    a_few_threads()
}
