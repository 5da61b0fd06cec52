//! Where CPUs stand: found from the device tree, from ACPI and CPUID, or from the host.
//!
//! Each run is told what the machine was made of: cores, clusters and nodes, in blocks of consecutive CPUs.
//@ run: flat
//@ machines: virt, q35, raspi4b, microvm
//@ args: cores=4 clusters=1 nodes=1
//@ run: numa
//@ machines: virt, q35
//@ numa: 2
//@ args: cores=4 clusters=2 nodes=2
//@ run: threads
//@ machines: virt
//@ cpus: 8
//@ qemu: -smp sockets=1,clusters=2,cores=2,threads=2
//@ args: cores=4 clusters=2 nodes=1
//@ run: sockets
//@ machines: q35
//@ cpus: 8
//@ qemu: -smp sockets=2,cores=2,threads=2
//@ args: cores=4 clusters=2 nodes=1
//@ run: sockets_numa
//@ machines: virt, q35
//@ cpus: 8
//@ numa: 4
//@ qemu: -smp sockets=2,cores=2,threads=2
//@ args: cores=4 clusters=4 nodes=4
//@ run: far
//@ machines: virt, q35
//@ numa: 2
//@ qemu: -numa dist,src=0,dst=1,val=35
//@ args: cores=4 clusters=2 nodes=2 distance=35
//@ run: host
//@ machines: hosted
//@ cpus: 1, 2, 6
#![no_std]
#![no_main]

use isochron::kernel::topology::{self, Distance, LOCAL, Place, REMOTE};
use isochron::kernel::{memory, report};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![parts_are_found, smaller_parts_lie_in_larger_ones, distances_fit_the_parts, memory_is_in_nodes])
}

/// A number among the program's arguments.
fn told(name: &str) -> Option<usize> {
    isochron::args().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn all() -> Vec<Place> {
    (0..report::facts().cpus_described).map(|cpu| topology::place(CpuId::new(cpu))).collect()
}

fn parts_are_found() -> Outcome {
    let (places, found) = (all(), topology::counts());
    let dense = |of: fn(&Place) -> u16| {
        let mut numbers: Vec<_> = places.iter().map(of).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.iter().enumerate().all(|(at, number)| at == usize::from(*number)).then_some(numbers.len())
    };
    check_eq!(dense(|place| place.core), Some(found.cores));
    check_eq!(dense(|place| place.cluster), Some(found.clusters));
    check_eq!(dense(|place| place.node), Some(found.nodes));
    // The host's own places are not known here.
    let (Some(cores), Some(clusters), Some(nodes)) = (told("cores"), told("clusters"), told("nodes")) else {
        return Ok(());
    };
    check_eq!((found.cores, found.clusters, found.nodes), (cores, clusters, nodes), "{places:?}");
    for (cpu, place) in places.iter().enumerate() {
        let block = |parts: usize| (cpu * parts / places.len()) as u16;
        check_eq!((place.core, place.cluster, place.node), (block(cores), block(clusters), block(nodes)), "CPU {cpu}");
    }
    Ok(())
}

fn smaller_parts_lie_in_larger_ones() -> Outcome {
    for a in all() {
        for b in all() {
            check!(a.core != b.core || a.cluster == b.cluster, "{a:?} {b:?}");
            check!(a.cluster != b.cluster || a.node == b.node, "{a:?} {b:?}");
        }
    }
    Ok(())
}

fn distances_fit_the_parts() -> Outcome {
    let count = report::facts().cpus_described;
    for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (CpuId::new(from), CpuId::new(to)))) {
        let (a, b) = (topology::place(from), topology::place(to));
        let want = match () {
            () if from == to => Distance::Same,
            () if a.core == b.core => Distance::Sibling,
            () if a.cluster == b.cluster => Distance::Cache,
            () if a.node == b.node => Distance::Node,
            () => Distance::Far,
        };
        check_eq!(topology::distance(from, to), want, "{from} to {to}");
    }
    let nodes = topology::counts().nodes as u16;
    for (from, to) in (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))) {
        let found = topology::node_distance(from, to);
        if from == to {
            check_eq!(found, LOCAL);
        } else if told("nodes").is_some() {
            check_eq!(usize::from(found), told("distance").unwrap_or(REMOTE.into()), "{from} to {to}");
        } else {
            check!(found >= LOCAL, "{from} to {to}: {found}");
        }
    }
    Ok(())
}

fn memory_is_in_nodes() -> Outcome {
    let found = topology::node_memory();
    let Some(nodes) = told("nodes").filter(|nodes| *nodes > 1) else {
        check!(found.iter().all(|memory| memory.node == 0), "{found:?}");
        return Ok(());
    };
    let of = |node: usize| -> usize {
        found.iter().filter(|memory| memory.node as usize == node).map(|memory| memory.range.len()).sum()
    };
    let total = memory::stats().total as usize;
    let all: usize = (0..nodes).map(of).sum();
    // A PC's firmware keeps some of what belongs to a node to itself.
    check!(all >= total && all - total < total / 16, "{all} bytes in nodes, {total} found");
    for node in 0..nodes {
        let share = of(node) * nodes;
        check!(share > all / 8 * 7 && share < all / 8 * 9, "node {node} has {} of {all} bytes", of(node));
    }
    Ok(())
}
