//! Memory near and far: whose memory CPUs are given, and what reading it costs: `bench_nodes [KIB]`. Say `--numa 2` or more.
//!
//! On a CPU of each node a thread takes KIB of memory (4096) from the heap and writes to it. Then on each of these CPUs a thread
//! reads one word of every 64 bytes of each of them, in steps that no prefetcher follows:
//!
//! * `access_local`, `access_remote`: ns for a read of memory of the reader's own node, and of another's;
//! * `accesses_local`, `accesses_remote`: how many reads went where, by the pages that were read, not by whose they should be;
//! * `given_local`, `given_remote`: KiB that all CPUs were given by the frame allocator since the start, out of their own nodes and of
//!   others.
//!
//! QEMU's nodes are equally fast, so there the times tell nothing but that; the counts do. In a process (`--machine hosted`) only
//! the host knows where pages are, and all reads count as local.
#![no_std]
#![no_main]

use core::hint::black_box;
use isochron::kernel::boot::VirtAddr;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::kernel::{cpu, memory, topology};
use isochron::prelude::*;
use isochron::thread::SpawnError;
use isochron_apps::arguments::number;
use isochron_apps::measure::on;

const DEFAULT_KIB: u64 = 4096;
const LINE: usize = 64;
const PAGE: usize = 4096;
/// Lines from one read to the next: odd, so that every line is met, and far.
const STRIDE: usize = 1_021;

/// Reads that went to memory of one sort, and what they took together.
#[derive(Clone, Copy, Default)]
struct Reads {
    count: u64,
    ns: u64,
}

#[isochron::main]
fn main() -> u8 {
    let words: Vec<&str> = isochron::args().collect();
    let kib = words.first().map_or(Ok(DEFAULT_KIB), |word| number("the memory of a node", word, 64, 1 << 20));
    let kib = match kib {
        Ok(kib) if words.len() <= 1 => kib as usize,
        Err(error) => return bad(&error.to_string()),
        _ => return bad("too many arguments: say bench_nodes KIB"),
    };
    match run(kib) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("bench_nodes: {error}");
            exit::FAILED
        }
    }
}

fn bad(error: &str) -> u8 {
    println!("bench_nodes: {error}");
    2
}

/// What a thread on a CPU gives back.
fn done_on<T: Send + 'static>(cpu: CpuId, work: impl FnOnce() -> T + Send + 'static) -> Result<T, SpawnError> {
    match on(cpu, "bench_nodes", work)?.join() {
        Ok(result) => Ok(result),
        Err(death) => panic!("{death}"),
    }
}

/// The first CPU of each node that has one.
fn readers() -> Vec<CpuId> {
    let mut found: Vec<CpuId> = Vec::new();
    for cpu in (0..thread::cpu_count()).map(CpuId::new) {
        let node = topology::place(cpu).node;
        if found.iter().all(|known| topology::place(*known).node != node) {
            found.push(cpu);
        }
    }
    found
}

fn run(kib: usize) -> Result<(), SpawnError> {
    let mut reads = [Reads::default(); 2];
    for owner in readers() {
        let words = kib * 1024 / size_of::<u64>();
        let mut memory = done_on(owner, move || vec![1_u64; words])?;
        for reader in readers() {
            let own = topology::place(reader).node;
            let (back, time) = done_on(reader, || {
                // Once before it is timed, for the translation buffer and the emulator.
                read(&memory);
                let begin = Instant::now();
                read(&memory);
                (memory, begin.elapsed())
            })?;
            memory = back;
            let remote = remote_share(&memory, own);
            let count = (words * size_of::<u64>() / LINE) as u64;
            // A block is of one node, but for what was there before.
            let sort = &mut reads[usize::from(remote * 2 > count)];
            sort.ns += time.as_nanos();
            reads[0].count += count - remote;
            reads[1].count += remote;
        }
    }
    for (at, [each, how_many]) in
        [["access_local", "accesses_local"], ["access_remote", "accesses_remote"]].iter().enumerate()
    {
        let Reads { count, ns } = reads[at];
        println!("{how_many:16} {count:>10}");
        report::value(how_many, "count", Fixed::from_int(count));
        if count > 0 {
            let cost = Fixed::from_ratio(ns, count);
            println!("{each:16} {cost:>10} ns");
            report::value(each, "ns", cost);
        }
    }
    let mut given = memory::Origin::default();
    for cpu in cpu::online() {
        let origin = memory::origin(cpu);
        given.local += origin.local;
        given.remote += origin.remote;
    }
    for (name, bytes) in [("given_local", given.local), ("given_remote", given.remote)] {
        println!("{name:16} {:>10} KiB", bytes / 1024);
        report::value(name, "KiB", Fixed::from_int(bytes / 1024));
    }
    Ok(())
}

/// Reads a word of every line.
fn read(memory: &[u64]) {
    let lines = size_of_val(memory) / LINE;
    let mut at = 0;
    let mut sum = 0_u64;
    for _ in 0..lines {
        sum = sum.wrapping_add(memory[at * (LINE / size_of::<u64>())]);
        at = (at + STRIDE) % lines;
    }
    black_box(sum);
}

/// How many lines are of another node.
fn remote_share(memory: &[u64], own: u16) -> u64 {
    let is_remote = |word: &u64| {
        let node = memory::node_of(VirtAddr::new(core::ptr::from_ref(word).addr()));
        node.is_some_and(|node| node != own)
    };
    let pages = memory.iter().step_by(PAGE / size_of::<u64>());
    pages.filter(|word| is_remote(word)).count() as u64 * (PAGE / LINE) as u64
}
