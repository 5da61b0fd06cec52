//! Tells where each CPU stands: which share a core, a cache, a node; and which memory is in which node.
#![no_std]
#![no_main]

use isochron::kernel::report;
use isochron::kernel::topology;
use isochron::kernel::wire::Fixed;
use isochron::prelude::*;

#[isochron::main]
fn main() {
    let parts = topology::counts();
    println!("CPU   core  cluster  node");
    for cpu in (0..thread::cpu_count()).map(CpuId::new) {
        let place = topology::place(cpu);
        println!("{:>3}  {:>5}  {:>7}  {:>4}", cpu.index(), place.core, place.cluster, place.node);
    }
    for memory in topology::node_memory() {
        let (start, end) = (memory.range.start.as_u64(), memory.range.end.as_u64());
        println!("node {}: {} MiB at {start:#x}", memory.node, (end - start) >> 20);
    }
    let nodes = 0..parts.nodes as u16;
    for from in nodes.clone().filter(|_| parts.nodes > 1) {
        let row: Vec<_> = nodes.clone().map(|to| topology::node_distance(from, to).to_string()).collect();
        println!("node {from}: distances {}", row.join(" "));
    }
    for (name, count) in [("cores", parts.cores), ("clusters", parts.clusters), ("numa_nodes", parts.nodes)] {
        report::value(name, "count", Fixed::from_int(count as u64));
    }
}
