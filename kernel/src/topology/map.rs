//! The firmware's numbers made dense.

use super::Place;
use crate::machine::{CpuDescription, NodeMemory, Nodes};
use heapless::Vec;
use isochron_boot::layout::MAX_CPUS;

/// The most NUMA nodes that are told apart.
pub const MAX_NODES: usize = MAX_CPUS;

/// The distance of a node from itself.
pub const LOCAL: u8 = 10;
/// The distance of two nodes of which nothing is said: memory there takes about twice as long.
pub const REMOTE: u8 = 20;

/// How many there are of each part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Cores, of one or several CPUs.
    pub cores: usize,
    /// Clusters, of one or several cores.
    pub clusters: usize,
    /// NUMA nodes with CPUs or memory; one at least.
    pub nodes: usize,
}

/// Where each CPU stands, and which nodes there are.
///
/// A core lies in one cluster and a cluster in one node, whatever the firmware says: parts that reach over the border
/// of a larger one are cut there.
#[derive(Clone, Debug)]
pub struct Map {
    places: Vec<Place, MAX_CPUS>,
    /// The firmware's number of each node. The nodes of CPUs are first, in the order of the CPUs.
    nodes: Vec<u32, MAX_NODES>,
    counts: Counts,
}

/// A part of the machine by the firmware's numbers, from the outermost in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part {
    node: u32,
    cluster: Option<u64>,
    /// Its own number, if it is a core; else `None`.
    core: Option<Core>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Core {
    /// Told by the firmware.
    Told(u64),
    /// Nobody said: the CPU of that number is one.
    Own(usize),
}

impl Map {
    /// Makes the map of `cpus`, in the order of their numbers (those beyond [`MAX_CPUS`] are left out), and of the nodes
    /// that have memory only.
    pub fn new<'a>(cpus: impl IntoIterator<Item = &'a CpuDescription>, nodes: &Nodes) -> Self {
        let mut map = Self { places: Vec::new(), nodes: Vec::new(), counts: Counts::default() };
        let mut clusters = Vec::<Part, MAX_CPUS>::new();
        let mut cores = Vec::<Part, MAX_CPUS>::new();
        for (index, cpu) in cpus.into_iter().enumerate().take(MAX_CPUS) {
            let own = cpu.core.map_or(Core::Own(index), Core::Told);
            let cluster = Part { node: cpu.node, cluster: cpu.cluster, core: None };
            let core = Part { core: Some(own), ..cluster };
            let place = Place {
                core: number_of(&mut cores, core),
                cluster: number_of(&mut clusters, cluster),
                node: number_of(&mut map.nodes, cpu.node),
            };
            // Bounded by `take`, as the three lists are.
            let _ = map.places.push(place);
        }
        for memory in &nodes.memory {
            number_of(&mut map.nodes, memory.node);
        }
        map.counts = Counts { cores: cores.len(), clusters: clusters.len(), nodes: map.nodes.len().max(1) };
        map
    }

    /// Where each CPU stands, by its number.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// How many there are of each part.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The number that the map has for a node of the firmware's.
    #[must_use]
    pub fn node(&self, firmware: u32) -> Option<u16> {
        self.nodes.iter().position(|node| *node == firmware).map(|at| at as u16)
    }

    /// The ranges of RAM by the map's numbers of the nodes.
    pub fn memory<'a>(&'a self, nodes: &'a Nodes) -> impl Iterator<Item = NodeMemory> + 'a {
        nodes.memory.iter().filter_map(|memory| {
            let node = self.node(memory.node)?.into();
            Some(NodeMemory { node, ..*memory })
        })
    }

    /// Calls `found` with (from, to, distance) for each pair of nodes, by the map's numbers.
    ///
    /// A node is [`LOCAL`] to itself. A distance that is told one way only holds both ways, and two nodes of which nothing
    /// is said are [`REMOTE`].
    pub fn distances(&self, nodes: &Nodes, found: &mut dyn FnMut(u16, u16, u8)) {
        let told = |from: u32, to: u32| {
            nodes.distances.iter().find(|entry| (entry.from, entry.to) == (from, to)).map(|entry| entry.distance)
        };
        for (from, &from_node) in (0..).zip(&self.nodes) {
            for (to, &to_node) in (0..).zip(&self.nodes) {
                let distance = if from == to {
                    LOCAL
                } else {
                    told(from_node, to_node).or_else(|| told(to_node, from_node)).unwrap_or(REMOTE)
                };
                found(from, to, distance);
            }
        }
    }
}

/// The place of `part` in the list, which it joins at the end. The last place if the list is full.
fn number_of<T: PartialEq, const N: usize>(list: &mut Vec<T, N>, part: T) -> u16 {
    match list.iter().position(|known| *known == part) {
        Some(at) => at as u16,
        None => {
            let _ = list.push(part);
            (list.len() - 1) as u16
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Distance;
    use super::*;
    use crate::machine::StartMethod;
    use isochron_boot::{PhysAddr, PhysRange};
    use proptest::prelude::*;

    fn cpu(node: u32, cluster: impl Into<Option<u64>>, core: impl Into<Option<u64>>) -> CpuDescription {
        let (core, cluster) = (core.into(), cluster.into());
        CpuDescription { node, cluster, core, ..CpuDescription::unplaced(0, StartMethod::Boot) }
    }

    fn memory(node: u32) -> NodeMemory {
        NodeMemory { node, range: PhysRange::with_len(PhysAddr::new(node as usize * 0x1000), 0x1000) }
    }

    #[test]
    fn numbers_are_dense_and_in_order() {
        let cpus = [cpu(7, 40, 3), cpu(7, 40, 3), cpu(7, 40, 9), cpu(7, 41, 9), cpu(2, 40, 3)];
        let map = Map::new(&cpus, &Nodes::default());
        let want = [(0, 0, 0), (0, 0, 0), (1, 0, 0), (2, 1, 0), (3, 2, 1)];
        assert_eq!(map.places(), want.map(|(core, cluster, node)| Place { core, cluster, node }));
        assert_eq!(map.counts(), Counts { cores: 4, clusters: 3, nodes: 2 });
        let distance = |a: usize, b: usize| map.places()[a].distance(map.places()[b]);
        assert_eq!(
            [(0, 1), (0, 2), (0, 3), (0, 4)].map(|(a, b)| distance(a, b)),
            [Distance::Sibling, Distance::Cache, Distance::Node, Distance::Far]
        );
    }

    #[test]
    fn of_whom_nothing_is_known_is_a_core_of_the_nodes_one_cluster() {
        let map = Map::new(&[cpu(0, None, None), cpu(0, None, None), cpu(1, None, None)], &Nodes::default());
        assert_eq!(map.counts(), Counts { cores: 3, clusters: 2, nodes: 2 });
        assert_eq!(map.places()[0].distance(map.places()[1]), Distance::Cache);
        assert_eq!(Map::new(&[], &Nodes::default()).counts().nodes, 1);
        // A number that the firmware gives and one that nobody gave are not mixed up.
        let map = Map::new(&[cpu(0, None, 1), cpu(0, None, None)], &Nodes::default());
        assert_eq!(map.counts().cores, 2);
    }

    #[test]
    fn distances_and_memory_go_by_the_new_numbers() {
        let mut nodes = Nodes::default();
        nodes.memory.extend([memory(3), memory(5), memory(9)]);
        nodes.add_distance(5, 3, 31);
        nodes.add_distance(9, 5, 40);
        nodes.add_distance(5, 9, 41);
        nodes.add_distance(3, 9, 255);
        let map = Map::new(&[cpu(5, 0, 0), cpu(3, 0, 0)], &nodes);
        assert_eq!(map.counts().nodes, 3, "a node without CPUs counts");
        let mut matrix = [[0; 3]; 3];
        map.distances(&nodes, &mut |from, to, distance| matrix[usize::from(from)][usize::from(to)] = distance);
        assert_eq!(matrix, [[LOCAL, 31, 41], [31, LOCAL, REMOTE], [40, REMOTE, LOCAL]]);
        assert_eq!(map.memory(&nodes).map(|memory| memory.node).collect::<std::vec::Vec<_>>(), [1, 0, 2]);
    }

    #[test]
    fn more_than_fits_is_no_panic() {
        let cpus: std::vec::Vec<_> = (0..70).map(|n| cpu(n, u64::from(n), u64::from(n))).collect();
        let mut nodes = Nodes::default();
        (0..70).for_each(|n| nodes.add_memory(100 + n, memory(n).range));
        assert_eq!(nodes.dropped, 6);
        let map = Map::new(&cpus, &nodes);
        assert_eq!(map.counts(), Counts { cores: MAX_CPUS, clusters: MAX_CPUS, nodes: MAX_NODES });
        assert_eq!(map.memory(&nodes).count(), 0, "memory of a node that has no number is nobody's");
    }

    proptest! {
        #[test]
        fn smaller_parts_lie_in_larger_ones(
            parts in prop::collection::vec((0..3_u32, prop::option::of(0..3_u64), prop::option::of(0..4_u64)), 0..80),
        ) {
            let cpus: std::vec::Vec<_> = parts.iter().map(|&(node, cluster, core)| cpu(node, cluster, core)).collect();
            let map = Map::new(&cpus, &Nodes::default());
            prop_assert_eq!(map.places().len(), cpus.len().min(MAX_CPUS));
            for a in map.places() {
                for b in map.places() {
                    prop_assert!(a.core != b.core || a.cluster == b.cluster);
                    prop_assert!(a.cluster != b.cluster || a.node == b.node);
                    prop_assert_eq!(a.distance(*b), b.distance(*a));
                }
            }
            for (place, cpu) in map.places().iter().zip(&cpus) {
                prop_assert_eq!(map.node(cpu.node), Some(place.node));
            }
        }
    }
}
