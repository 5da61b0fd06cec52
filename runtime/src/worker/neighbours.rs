//! The other CPUs, by how far they are from one.

use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::cpu::CpuId;
use isochron_kernel::topology::{self, Distance};

/// Distances between two CPUs that are not the same.
pub(super) const DISTANCES: usize = 4;

/// The place of a distance in arrays of [`DISTANCES`]. There is none for [`Distance::Same`].
pub(super) const fn index(distance: Distance) -> usize {
    distance as usize - 1
}

/// Made once for each CPU, when its worker is made.
pub(super) struct Neighbours {
    /// All others, nearest first. At one distance those with higher numbers come first, and then, round, the lower ones: so
    /// each CPU begins with another victim.
    cpus: [(CpuId, Distance); MAX_CPUS],
    /// Where each distance ends in that list.
    ends: [u8; DISTANCES],
    /// The same, a bit for each CPU.
    masks: [u64; DISTANCES],
}

impl Neighbours {
    /// Those of `cpu`, among the machine's first `count`.
    pub fn of(cpu: CpuId, count: usize) -> Self {
        let node = topology::place(cpu).node;
        // Nodes have distances of their own; among CPUs of one node there is nothing more to tell.
        let far = |other| (topology::distance(cpu, other), topology::node_distance(node, topology::place(other).node));
        let mut found = Self { cpus: [(cpu, Distance::Same); MAX_CPUS], ends: [0; DISTANCES], masks: [0; DISTANCES] };
        for length in 0..count.saturating_sub(1) {
            let other = CpuId::new((cpu.index() + 1 + length) % count);
            let distance = far(other);
            // Sorted as they come: a few, and the library's sort would be more code than all of this.
            let mut at = length;
            while at > 0 && far(found.cpus[at - 1].0) > distance {
                found.cpus[at] = found.cpus[at - 1];
                at -= 1;
            }
            found.cpus[at] = (other, distance.0);
            found.masks[index(distance.0)] |= 1 << other.index();
            found.ends[index(distance.0)..].iter_mut().for_each(|end| *end += 1);
        }
        found
    }

    /// All of them, nearest first.
    #[inline]
    pub fn all(&self) -> &[(CpuId, Distance)] {
        &self.cpus[..usize::from(self.ends[DISTANCES - 1])]
    }

    /// Those at one distance, by its place.
    #[inline]
    pub fn at(&self, distance: usize) -> &[(CpuId, Distance)] {
        let begin = if distance == 0 { 0 } else { usize::from(self.ends[distance - 1]) };
        &self.cpus[begin..usize::from(self.ends[distance])]
    }

    /// Those at each distance as bits, nearest first.
    #[inline]
    pub fn masks(&self) -> &[u64; DISTANCES] {
        &self.masks
    }
}
