//! Where CPUs stand, as trees say it.

use super::*;

fn psci(fdt: &mut FdtWriter) {
    node(fdt, "psci", &|fdt| {
        fdt.property_string("compatible", "arm,psci-0.2").unwrap();
        fdt.property_string("method", "hvc").unwrap();
    });
}

/// `count` CPUs, each with its number + 1 as its handle; `more` adds to each and behind them.
fn machine(count: u32, each: &dyn Fn(&mut FdtWriter, u32), more: Edit<'_>) -> std::vec::Vec<u8> {
    tree(&[], &|fdt| {
        memory(fdt, "memory", &[0, 0x1000]);
        psci(fdt);
        cpus(fdt, &|fdt| {
            for id in 0..count {
                cpu(fdt, id, &|fdt| {
                    fdt.property_phandle(id + 1).unwrap();
                    each(fdt, id);
                });
            }
            more(fdt);
        });
    })
}

fn leaf(fdt: &mut FdtWriter, name: &str, cpu: u32) {
    node(fdt, name, &|fdt| fdt.property_u32("cpu", cpu + 1).unwrap());
}

fn cache(fdt: &mut FdtWriter, name: &str, handle: u32, next: Option<u32>) {
    node(fdt, name, &|fdt| {
        fdt.property_string("compatible", "cache").unwrap();
        fdt.property_phandle(handle).unwrap();
        if let Some(next) = next {
            fdt.property_u32("next-level-cache", next).unwrap();
        }
    });
}

/// For each CPU the first one that shares its core, and the first that shares its cluster; `None`: not known.
fn parts(blob: &[u8]) -> std::vec::Vec<(Option<usize>, Option<usize>)> {
    let cpus = parse(blob).unwrap().cpus;
    let first = |of: fn(&CpuDescription) -> Option<u64>, cpu: &CpuDescription| {
        of(cpu).and_then(|part| cpus.iter().position(|other| of(other) == Some(part)))
    };
    cpus.iter().map(|cpu| (first(|cpu| cpu.core, cpu), first(|cpu| cpu.cluster, cpu))).collect()
}

#[test]
fn a_map_of_clusters_cores_and_threads() {
    let blob = machine(5, &|_, _| {}, &|fdt| {
        node(fdt, "cpu-map", &|fdt| {
            node(fdt, "socket0", &|fdt| {
                node(fdt, "cluster0", &|fdt| {
                    node(fdt, "core0", &|fdt| {
                        leaf(fdt, "thread0", 0);
                        leaf(fdt, "thread1", 3);
                    });
                    leaf(fdt, "core1", 1);
                });
                node(fdt, "cluster1", &|fdt| leaf(fdt, "core0", 2));
            });
        });
    });
    // The last CPU is not in the map.
    let want = [(Some(0), Some(0)), (Some(1), Some(0)), (Some(2), Some(2)), (Some(0), Some(0)), (None, None)];
    assert_eq!(parts(&blob), want);
}

#[test]
fn a_shared_last_cache_is_the_cluster() {
    // CPUs 0 and 1 have second levels of their own and a third in common; 2 and 3 share a second level, which is their last.
    let each = |fdt: &mut FdtWriter, id: u32| {
        fdt.property_u32("next-level-cache", [10, 11, 12, 12][id as usize]).unwrap();
        if id == 0 {
            cache(fdt, "l2-cache", 10, Some(20));
        }
    };
    let blob = machine(4, &each, &|fdt| {
        cache(fdt, "l2-cache1", 11, Some(20));
        cache(fdt, "l2-cache2", 12, None);
        cache(fdt, "l3-cache", 20, None);
        // The map says otherwise; caches are what counts.
        node(fdt, "cpu-map", &|fdt| {
            node(fdt, "cluster0", &|fdt| (0..4).for_each(|cpu| leaf(fdt, &format!("core{cpu}"), cpu)));
        });
    });
    assert_eq!(parts(&blob).iter().map(|part| part.1).collect::<std::vec::Vec<_>>(), [0, 0, 2, 2].map(Some));
}

#[test]
fn caches_may_lie_at_the_root_or_nowhere() {
    let each = |fdt: &mut FdtWriter, id: u32| fdt.property_u32("next-level-cache", 10 + id / 2).unwrap();
    let nowhere = machine(4, &each, &|_| {});
    assert_eq!(parts(&nowhere), [0, 0, 2, 2].map(|cluster| (None, Some(cluster))));
    let root = tree(&[], &|fdt| {
        memory(fdt, "memory", &[0, 0x1000]);
        psci(fdt);
        cpus(fdt, &|fdt| (0..4).for_each(|id| cpu(fdt, id, &|fdt| each(fdt, id))));
        cache(fdt, "l2-cache0", 10, Some(20));
        cache(fdt, "l2-cache1", 11, Some(20));
    });
    assert_eq!(parts(&root), [(None, Some(0)); 4]);
}

#[test]
fn chains_in_a_circle_end() {
    let each = |fdt: &mut FdtWriter, _: u32| fdt.property_u32("next-level-cache", 10).unwrap();
    let blob = machine(2, &each, &|fdt| {
        cache(fdt, "l2-cache0", 10, Some(11));
        cache(fdt, "l2-cache1", 11, Some(10));
    });
    let found = parts(&blob);
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_map_that_makes_no_sense_is_survived() {
    fn nest(fdt: &mut FdtWriter, depth: usize) {
        node(fdt, "cluster0", &|fdt| match depth {
            0 => leaf(fdt, "core0", 0),
            _ => nest(fdt, depth - 1),
        });
    }
    let deep = machine(1, &|_, _| {}, &|fdt| node(fdt, "cpu-map", &|fdt| nest(fdt, 30)));
    assert_eq!(parts(&deep), [(None, None)]);
    let strange = machine(2, &|_, _| {}, &|fdt| {
        node(fdt, "cpu-map", &|fdt| {
            // No such CPU, then CPU 0 twice, the last time in no cluster.
            leaf(fdt, "core0", 7);
            node(fdt, "cluster0", &|fdt| leaf(fdt, "core1", 0));
            leaf(fdt, "core2", 0);
            node(fdt, "core3", &|fdt| fdt.property_u64("cpu", 1 << 40).unwrap());
        });
    });
    assert_eq!(parts(&strange), [(Some(0), None), (None, None)]);
}

#[test]
fn nodes_have_memory_and_distances() {
    let numa_memory = |fdt: &mut FdtWriter, numa_node: u32, reg: &[u64]| {
        node(fdt, &format!("memory@{:x}", reg[0]), &|fdt| {
            fdt.property_string("device_type", "memory").unwrap();
            fdt.property_array_u64("reg", reg).unwrap();
            fdt.property_u32("numa-node-id", numa_node).unwrap();
        });
    };
    let map = |kind: &'static str, cells: &'static [u32]| {
        tree(&[], &|fdt| {
            numa_memory(fdt, 1, &[0x5000_0000, 0x1000, 0x7000_0000, 0x1000]);
            numa_memory(fdt, 0, &[0x4000_0000, 0x1000]);
            cpus(fdt, &|fdt| cpu(fdt, 0, &|fdt| fdt.property_u32("numa-node-id", 1).unwrap()));
            node(fdt, "distance-map", &|fdt| {
                fdt.property_string("compatible", kind).unwrap();
                fdt.property_array_u32("distance-matrix", cells).unwrap();
            });
        })
    };
    let nodes = parse(&map("numa-distance-map-v1", &[0, 0, 10, 0, 1, 25, 1, 0, 300, 1])).unwrap().nodes;
    let ranges: std::vec::Vec<_> = nodes.memory.iter().map(|memory| (memory.node, memory.range)).collect();
    assert_eq!(
        ranges,
        [(1, range(0x5000_0000, 0x1000)), (1, range(0x7000_0000, 0x1000)), (0, range(0x4000_0000, 0x1000))]
    );
    // A distance that is none and an entry that is cut off are left out.
    let distances: std::vec::Vec<_> =
        nodes.distances.iter().map(|entry| (entry.from, entry.to, entry.distance)).collect();
    assert_eq!(distances, [(0, 0, 10), (0, 1, 25)]);
    assert!(parse(&map("numa-distance-map-v9", &[0, 1, 20])).unwrap().nodes.distances.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_never_a_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let each = |fdt: &mut FdtWriter, id: u32| fdt.property_u32("next-level-cache", 10 + id / 2).unwrap();
        let mut blob = machine(4, &each, &|fdt| {
            cache(fdt, "l2-cache0", 10, Some(20));
            node(fdt, "cpu-map", &|fdt| {
                node(fdt, "cluster0", &|fdt| (0..4).for_each(|cpu| leaf(fdt, &format!("core{cpu}"), cpu)));
            });
        });
        for (index, byte) in edits {
            let index = index.index(blob.len());
            blob[index] = byte;
        }
        let _ = parse(&blob);
    }
}
