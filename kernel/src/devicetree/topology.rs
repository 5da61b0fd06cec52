//! What CPUs share, and NUMA distances: `/cpus/cpu-map`, the chains of caches, `/distance-map`.
//!
//! A cluster is told by the last cache of the CPU's chain of `next-level-cache` (Devicetree Specification 0.4, 3.8), or
//! else by the map's innermost socket or cluster; a core by the map (bindings `cpu/cpu-topology`).

use super::{Description, number};
use dtoolkit::fdt::FdtNode;
use dtoolkit::{FdtStringListIterator, Node, Property};
use heapless::Vec;
use isochron_boot::layout::MAX_CPUS;

/// The map is nested at most this deep.
const MAX_DEPTH: usize = 8;
/// Caches in a chain.
const MAX_LEVELS: usize = 4;
/// Caches that are kept.
const MAX_CACHES: usize = 2 * MAX_CPUS;
/// Tells numbers of the map from handles of caches.
const FROM_MAP: u64 = 1 << 32;

/// A cache and the next one behind it, by their handles.
struct Cache {
    handle: u32,
    next: Option<u32>,
}

/// Fills in what the tree says of `nodes`, which are the CPUs of the description in its order.
pub(super) fn read<'a>(
    root: FdtNode<'a>,
    cpus: FdtNode<'a>,
    nodes: &Vec<FdtNode<'a>, MAX_CPUS>,
    description: &mut Description,
) {
    if let Some(map) = cpus.child("cpu-map") {
        let handles = nodes.iter().map(|node| handle(*node, "phandle")).collect();
        let mut walk = Walk { handles, description, clusters: 0, cores: 0 };
        walk.visit(map, None, None, 0);
    }
    let mut caches = None;
    for (index, node) in nodes.iter().enumerate() {
        let Some(first) = handle(*node, "next-level-cache") else { continue };
        let caches = caches.get_or_insert_with(|| gather_caches(root, cpus, nodes));
        description.cpus[index].cluster = Some(last_level(caches, first).into());
    }
}

/// A handle, which is one cell.
fn handle(node: FdtNode<'_>, name: &str) -> Option<u32> {
    u32::try_from(number(node, name)?).ok()
}

struct Walk<'d> {
    /// Of each CPU of the description.
    handles: Vec<Option<u32>, MAX_CPUS>,
    description: &'d mut Description,
    clusters: u64,
    cores: u64,
}

impl Walk<'_> {
    fn visit(&mut self, parent: FdtNode<'_>, cluster: Option<u64>, core: Option<u64>, depth: usize) {
        if depth == MAX_DEPTH {
            return;
        }
        for node in parent.children() {
            let name = node.name();
            let (mut cluster, mut core) = (cluster, core);
            if name.starts_with("socket") || name.starts_with("cluster") {
                cluster = Some(FROM_MAP | self.clusters);
                self.clusters += 1;
            } else if name.starts_with("core") {
                core = Some(FROM_MAP | self.cores);
                self.cores += 1;
            }
            if let Some(cpu) = handle(node, "cpu")
                && let Some(index) = self.handles.iter().position(|known| *known == Some(cpu))
            {
                self.description.cpus[index].core = core;
                self.description.cpus[index].cluster = cluster;
            }
            self.visit(node, cluster, core, depth + 1);
        }
    }
}

/// The caches in the places where trees have them: beside the CPUs, in them, at the root.
fn gather_caches<'a>(
    root: FdtNode<'a>,
    cpus: FdtNode<'a>,
    nodes: &Vec<FdtNode<'a>, MAX_CPUS>,
) -> Vec<Cache, MAX_CACHES> {
    let mut caches = Vec::new();
    let inside = nodes.iter().flat_map(|cpu| cpu.children());
    for node in cpus.children().chain(inside).chain(root.children()) {
        let is_cache = || {
            let kinds = node.property("compatible")?.value_as::<FdtStringListIterator<'a>>().ok();
            Some(kinds?.into_iter().any(|kind| kind == "cache"))
        };
        if let Some(handle) = handle(node, "phandle")
            && is_cache() == Some(true)
        {
            // One too many is taken for a last level.
            let _ = caches.push(Cache { handle, next: self::handle(node, "next-level-cache") });
        }
    }
    caches
}

/// The end of the chain that begins with `first`.
fn last_level(caches: &Vec<Cache, MAX_CACHES>, first: u32) -> u32 {
    let mut last = first;
    for _ in 0..MAX_LEVELS {
        match caches.iter().find(|cache| cache.handle == last).and_then(|cache| cache.next) {
            Some(next) => last = next,
            None => break,
        }
    }
    last
}

/// `/distance-map`: triples of node, node, distance (bindings `numa`). A pair holds both ways unless told otherwise.
pub(super) fn read_distances(node: FdtNode<'_>, description: &mut Description) {
    let is_known = node.property("compatible").is_some_and(|kind| kind.value() == b"numa-distance-map-v1\0");
    let Some(matrix) = node.property("distance-matrix").filter(|_| is_known) else { return };
    let matrix = matrix.value();
    for triple in matrix.chunks_exact(12) {
        let cell = |at: usize| u32::from_be_bytes([triple[at], triple[at + 1], triple[at + 2], triple[at + 3]]);
        description.nodes.add_distance(cell(0), cell(4), cell(8));
    }
}
