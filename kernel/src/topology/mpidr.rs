//! `MPIDR_EL1`: what the number of a CPU tells about its place (Arm ARM D19.2.100).

/// Numbers of core and cluster, from the affinity fields.
///
/// With the MT bit (`multithreaded`) the lowest field counts threads, and the next one cores; without, the lowest counts
/// cores. What is above the cores counts clusters.
#[must_use]
pub const fn core_and_cluster(affinity: u64, multithreaded: bool) -> (u64, u64) {
    // The fourth field lies apart from the others, at bit 32.
    let fields = affinity & 0xff_ffff | affinity >> 32 << 24;
    if multithreaded { (fields >> 8, fields >> 16) } else { (fields, fields >> 8) }
}

#[cfg(test)]
mod tests {
    use super::core_and_cluster;

    #[test]
    fn fields_are_threads_cores_and_clusters() {
        // A Cortex-A72: two clusters of cores.
        assert_eq!(core_and_cluster(0x102, false), (0x102, 1));
        assert_ne!(core_and_cluster(0x002, false).1, core_and_cluster(0x102, false).1);
        // Two threads of core 3 in cluster 1.
        assert_eq!(core_and_cluster(0x1_0300, true), core_and_cluster(0x1_0301, true));
        assert_eq!(core_and_cluster(0x1_0300, true), (0x103, 1));
        // The highest field counts.
        assert_ne!(core_and_cluster(1 << 32, true), core_and_cluster(0, true));
        assert_ne!(core_and_cluster(1 << 32, false), core_and_cluster(0, false));
    }
}
