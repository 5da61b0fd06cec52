//! CPUID: how many low bits of an APIC id number the threads of a core, and the CPUs that share the last cache.
//!
//! Leaves 0x1f, 0xb and 4 by Intel SDM vol. 2, "CPUID"; 0x8000_0008 and 0x8000_001d by AMD APM vol. 3, appendix E. Read
//! on one CPU and taken to hold for all; on a machine with unlike cores the caches of some may be shared by fewer.

/// CPUID by leaf and sub-leaf: EAX, EBX, ECX, EDX.
pub type Cpuid<'a> = &'a dyn Fn(u32, u32) -> [u32; 4];

/// The widths of the low parts of an APIC id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Widths {
    /// Bits that number threads within a core.
    pub thread: u32,
    /// Bits that number CPUs with a shared last cache.
    pub cluster: u32,
}

/// Level types of leaves 0xb and 0x1f.
const THREADS: u32 = 1;
/// AMD's extensions for topology, in 0x8000_0001 ECX.
const TOPOLOGY_EXTENSIONS: u32 = 1 << 22;
/// Hyper-threading, or simply several CPUs in a package, in leaf 1 EDX.
const MULTI_THREADED: u32 = 1 << 28;
/// Levels, or caches, that are looked at.
const MAX_SUB_LEAVES: u32 = 16;

impl Widths {
    /// Reads them.
    #[must_use]
    pub fn read(cpuid: Cpuid<'_>) -> Self {
        let last = cpuid(0, 0)[0];
        let last_extended = cpuid(0x8000_0000, 0)[0];
        let (thread, package) = [0x1f, 0xb]
            .into_iter()
            .filter(|leaf| last >= *leaf)
            .find_map(|leaf| levels(cpuid, leaf))
            .unwrap_or_else(|| before_levels(cpuid, last, last_extended));
        let has_extensions = last_extended >= 0x8000_001d && cpuid(0x8000_0001, 0)[2] & TOPOLOGY_EXTENSIONS != 0;
        let cache = if has_extensions { last_cache(cpuid, 0x8000_001d) } else { None };
        let cache = cache.or_else(|| if last >= 4 { last_cache(cpuid, 4) } else { None });
        // A cache that is told of as shared by more than the package has is shared by the package.
        Self { thread, cluster: cache.unwrap_or(package).clamp(thread, package.max(thread)) }
    }

    /// The number of a CPU's core.
    #[must_use]
    pub fn core(self, apic_id: u64) -> u64 {
        apic_id >> self.thread
    }

    /// The number of a CPU's cluster.
    #[must_use]
    pub fn cluster(self, apic_id: u64) -> u64 {
        apic_id >> self.cluster
    }
}

/// Widths of thread and package from a leaf of levels. `None` if it is empty.
fn levels(cpuid: Cpuid<'_>, leaf: u32) -> Option<(u32, u32)> {
    let (mut thread, mut package) = (0, None);
    for sub_leaf in 0..MAX_SUB_LEAVES {
        let [eax, ebx, ecx, _] = cpuid(leaf, sub_leaf);
        let kind = ecx >> 8 & 0xff;
        if kind == 0 || ebx & 0xffff == 0 {
            break;
        }
        if kind == THREADS {
            thread = eax & 0x1f;
        }
        package = Some(eax & 0x1f);
    }
    package.map(|package| (thread, package))
}

/// The same from the leaves that older CPUs have.
fn before_levels(cpuid: Cpuid<'_>, last: u32, last_extended: u32) -> (u32, u32) {
    let [_, ebx, _, edx] = cpuid(1, 0);
    if edx & MULTI_THREADED == 0 {
        return (0, 0);
    }
    let package = bits(ebx >> 16 & 0xff);
    let amd = if last_extended >= 0x8000_0008 { cpuid(0x8000_0008, 0)[2] & 0xff } else { 0 };
    let cores = match amd {
        0 if last >= 4 => bits((cpuid(4, 0)[0] >> 26) + 1),
        0 => package,
        count => bits(count + 1),
    };
    (package.saturating_sub(cores), package)
}

/// Width of the CPUs that share the last cache that more than code is in.
fn last_cache(cpuid: Cpuid<'_>, leaf: u32) -> Option<u32> {
    let mut found = None;
    for sub_leaf in 0..MAX_SUB_LEAVES {
        let eax = cpuid(leaf, sub_leaf)[0];
        let (kind, level) = (eax & 0x1f, eax >> 5 & 7);
        match kind {
            0 => break,
            2 => {}
            _ if found.is_none_or(|(highest, _)| level > highest) => {
                found = Some((level, bits((eax >> 14 & 0xfff) + 1)));
            }
            _ => {}
        }
    }
    // A first level alone says nothing of what cores share.
    found.filter(|(level, _)| *level > 1).map(|(_, width)| width)
}

/// Bits that number so many.
fn bits(count: u32) -> u32 {
    count.max(1).next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// CPUID from a list of (leaf, sub-leaf, registers); zeroes elsewhere.
    fn fake(list: &[(u32, u32, [u32; 4])]) -> impl Fn(u32, u32) -> [u32; 4] + '_ {
        |leaf, sub_leaf| list.iter().find(|(l, s, _)| (*l, *s) == (leaf, sub_leaf)).map_or([0; 4], |found| found.2)
    }

    fn cache(kind: u32, level: u32, shared_by: u32) -> [u32; 4] {
        [kind | level << 5 | (shared_by - 1) << 14, 0, 0, 0]
    }

    #[test]
    fn levels_and_the_last_cache() {
        // 2 threads a core, 8 cores a package, the third level shared by 8 CPUs.
        let list = [
            (0, 0, [0x1f, 0, 0, 0]),
            (0x1f, 0, [1, 2, 1 << 8, 0]),
            (0x1f, 1, [4, 16, 2 << 8 | 1, 0]),
            (4, 0, cache(1, 1, 2)),
            (4, 1, cache(2, 1, 2)),
            (4, 2, cache(3, 2, 2)),
            (4, 3, cache(3, 3, 8)),
        ];
        let found = Widths::read(&fake(&list));
        assert_eq!(found, Widths { thread: 1, cluster: 3 });
        assert_eq!((found.core(0b1101), found.cluster(0b1101)), (0b110, 0b1));
        // Leaf 0x1f is there and empty: 0xb counts.
        let mut older = list;
        older[1].0 = 0xb;
        older[2].0 = 0xb;
        assert_eq!(Widths::read(&fake(&older)), found);
    }

    #[test]
    fn amd_tells_of_caches_elsewhere() {
        let mut list = vec![
            (0, 0, [0xd, 0, 0, 0]),
            (0xb, 0, [1, 2, 1 << 8, 0]),
            (0xb, 1, [6, 64, 2 << 8 | 1, 0]),
            (0x8000_0000, 0, [0x8000_001f, 0, 0, 0]),
            (0x8000_0001, 0, [0, 0, TOPOLOGY_EXTENSIONS, 0]),
            (0x8000_001d, 0, cache(1, 1, 2)),
            (0x8000_001d, 1, cache(3, 3, 16)),
        ];
        assert_eq!(Widths::read(&fake(&list)), Widths { thread: 1, cluster: 4 });
        // Without the extensions that leaf means nothing, and the package is all that is known.
        list[4].2[2] = 0;
        assert_eq!(Widths::read(&fake(&list)), Widths { thread: 1, cluster: 6 });
    }

    #[test]
    fn cpus_without_leaves_of_levels() {
        let intel =
            [(0, 0, [4, 0, 0, 0]), (1, 0, [0, 8 << 16, 0, MULTI_THREADED]), (4, 0, [3 << 26 | 1 | 1 << 5, 0, 0, 0])];
        assert_eq!(Widths::read(&fake(&intel)), Widths { thread: 1, cluster: 3 });
        let amd = [
            (0, 0, [1, 0, 0, 0]),
            (1, 0, [0, 4 << 16, 0, MULTI_THREADED]),
            (0x8000_0000, 0, [0x8000_0008, 0, 0, 0]),
            (0x8000_0008, 0, [0, 0, 3, 0]),
        ];
        assert_eq!(Widths::read(&fake(&amd)), Widths { thread: 0, cluster: 2 });
        assert_eq!(Widths::read(&fake(&[])), Widths { thread: 0, cluster: 0 });
    }

    proptest! {
        #[test]
        fn noise_is_never_a_panic(words in prop::collection::vec(any::<u32>(), 1..64), id in any::<u32>()) {
            let noise = |leaf: u32, sub_leaf: u32| {
                [0, 1, 2, 3].map(|at| words[(leaf.wrapping_mul(31) ^ sub_leaf.wrapping_mul(7) ^ at) as usize % words.len()])
            };
            let found = Widths::read(&noise);
            prop_assert!(found.thread <= found.cluster && found.cluster < 64);
            // Threads of a core are in one cluster.
            let sibling = found.core(id.into()) << found.thread;
            prop_assert_eq!(found.cluster(sibling), found.cluster(id.into()));
        }
    }
}
