//! The map of this machine, as arrays.

use super::{Counts, Distance, LOCAL, MAX_NODES, Map, Place};
use crate::cpu::CpuId;
use crate::machine::{MAX_RANGES, Machine, NodeMemory};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use heapless::Vec;
use isochron_boot::PhysAddr;
use isochron_boot::layout::MAX_CPUS;
use spin::Once;

/// Each CPU's place in one word, so that it is read in one piece. Everything here is written by the primary before any
/// other CPU runs, and never again: relaxed.
static PLACES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
/// Distances by node and node.
static DISTANCES: [[AtomicU8; MAX_NODES]; MAX_NODES] = [const { [const { AtomicU8::new(0) }; MAX_NODES] }; MAX_NODES];
/// Whether all memory is in one node; so on until [`init`] knows better.
static ONE_NODE: AtomicBool = AtomicBool::new(true);
/// What is asked for seldom.
static REST: Once<(Counts, Vec<NodeMemory, MAX_RANGES>)> = Once::new();

/// Makes the map; the primary's `primary_id` is CPU 0, the others follow in the firmware's order.
pub(crate) fn init(machine: &Machine, primary_id: u64) {
    let primary = machine.cpus.iter().find(|cpu| cpu.hardware_id == primary_id);
    let others = machine.cpus.iter().filter(|cpu| cpu.hardware_id != primary_id);
    let map = Map::new(primary.into_iter().chain(others), &machine.nodes);
    for (place, word) in map.places().iter().zip(&PLACES) {
        word.store(pack(*place), Ordering::Relaxed);
    }
    map.distances(&machine.nodes, &mut |from, to, distance| {
        DISTANCES[usize::from(from)][usize::from(to)].store(distance, Ordering::Relaxed);
    });
    let mut memory: Vec<NodeMemory, MAX_RANGES> = Vec::new();
    for new in map.memory(&machine.nodes) {
        // A few ranges: the library's sort would be more code than all of this.
        let behind = |known: &NodeMemory| (known.node, known.range.start) > (new.node, new.range.start);
        let at = memory.iter().position(behind).unwrap_or(memory.len());
        // Both lists hold as many.
        let _ = memory.insert(at, new);
    }
    ONE_NODE.store(map.counts().nodes == 1, Ordering::Relaxed);
    REST.call_once(|| (map.counts(), memory));
}

const fn pack(place: Place) -> u64 {
    place.core as u64 | (place.cluster as u64) << 16 | (place.node as u64) << 32
}

/// Where `cpu` stands. A number without a CPU stands where CPU 0 does.
#[inline]
#[must_use]
pub fn place(cpu: CpuId) -> Place {
    let word = PLACES[cpu.index()].load(Ordering::Relaxed);
    Place { core: word as u16, cluster: (word >> 16) as u16, node: (word >> 32) as u16 }
}

/// How far `to` is from `from`.
#[inline]
#[must_use]
pub fn distance(from: CpuId, to: CpuId) -> Distance {
    if from == to { Distance::Same } else { place(from).distance(place(to)) }
}

/// How far the memory of node `to` is from the CPUs of node `from`: 10 is a node's own, 20 takes about twice as long.
/// A node that is not there is as near as one's own.
#[must_use]
pub fn node_distance(from: u16, to: u16) -> u8 {
    let cell = DISTANCES.get(usize::from(from)).and_then(|row| row.get(usize::from(to)));
    cell.map_or(0, |cell| cell.load(Ordering::Relaxed)).max(LOCAL)
}

/// How many cores, clusters and nodes there are, whether their CPUs are used or not.
#[must_use]
pub fn counts() -> Counts {
    REST.get().map_or(Counts { nodes: 1, ..Counts::default() }, |(counts, _)| *counts)
}

/// Whether there is but one node, so that memory has not to be told apart.
#[inline]
#[must_use]
pub fn has_one_node() -> bool {
    ONE_NODE.load(Ordering::Relaxed)
}

/// Which RAM is in which node, by node and address. Empty if the firmware does not say; then all is in node 0.
#[must_use]
pub fn node_memory() -> &'static [NodeMemory] {
    REST.get().map_or(&[], |(_, memory)| memory)
}

/// The node of the memory at an address; 0 if the firmware does not say.
#[must_use]
pub fn node_at(addr: PhysAddr) -> u16 {
    node_memory().iter().find(|memory| memory.range.contains(addr)).map_or(0, |memory| memory.node as u16)
}
