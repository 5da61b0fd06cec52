//! Sorted, disjoint ranges of physical memory, with union and difference.

use heapless::Vec;
use isochron_boot::layout::PAGE_SIZE;
use isochron_boot::{PhysAddr, PhysRange};

/// A set of addresses, kept as at most `N` ranges in ascending order that neither overlap nor touch.
#[derive(Clone, Debug)]
pub struct RangeSet<const N: usize> {
    ranges: Vec<PhysRange, N>,
    lost: usize,
}

impl<const N: usize> RangeSet<N> {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new(), lost: 0 }
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PhysRange> + '_ {
        self.ranges.iter().copied()
    }

    /// Bytes in all ranges.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(PhysRange::len).sum()
    }

    /// Bytes that are missing in the set because `N` ranges did not suffice.
    #[must_use]
    pub const fn lost(&self) -> usize {
        self.lost
    }

    /// Adds a range; those it overlaps or touches are merged with it.
    pub fn insert(&mut self, range: PhysRange) {
        if range.is_empty() {
            return;
        }
        let mut merged = range;
        self.ranges.retain(|old| {
            let apart = old.end < merged.start || merged.end < old.start;
            if !apart {
                merged.start = merged.start.min(old.start);
                merged.end = merged.end.max(old.end);
            }
            apart
        });
        self.put(merged);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: PhysRange) {
        if range.is_empty() {
            return;
        }
        let mut nth = 0;
        while nth < self.ranges.len() {
            let old = self.ranges[nth];
            if !old.overlaps(range) {
                nth += 1;
                continue;
            }
            self.ranges.remove(nth);
            for part in [
                PhysRange { start: old.start, end: range.start.min(old.end) },
                PhysRange { start: range.end.max(old.start), end: old.end },
            ] {
                if !part.is_empty() {
                    self.put(part);
                    nth += 1;
                }
            }
        }
    }

    /// Inserts a range that touches no other. A full set keeps its larger ranges.
    fn put(&mut self, range: PhysRange) {
        let place = self.ranges.iter().position(|old| old.start > range.start).unwrap_or(self.ranges.len());
        if self.ranges.insert(place, range).is_ok() {
            return;
        }
        let smallest = self.ranges.iter().enumerate().min_by_key(|(_, old)| old.len());
        if let Some((nth, old)) = smallest.map(|(nth, old)| (nth, *old))
            && old.len() < range.len()
        {
            self.ranges.remove(nth);
            self.lost += old.len();
            self.put(range);
        } else {
            self.lost += range.len();
        }
    }
}

impl<const N: usize> Default for RangeSet<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The whole pages inside a range.
#[must_use]
pub const fn pages_inside(range: PhysRange) -> PhysRange {
    let start = range.start.as_usize().saturating_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
    let end = range.end.align_down(PAGE_SIZE);
    PhysRange { start: PhysAddr::new(start), end }
}

/// The whole pages that a range touches.
#[must_use]
pub const fn pages_around(range: PhysRange) -> PhysRange {
    let end = range.end.as_usize().saturating_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
    PhysRange { start: range.start.align_down(PAGE_SIZE), end: PhysAddr::new(end) }
}

/// What two ranges share.
#[must_use]
pub fn intersection(a: PhysRange, b: PhysRange) -> PhysRange {
    PhysRange { start: a.start.max(b.start), end: a.end.min(b.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: usize, end: usize) -> PhysRange {
        PhysRange { start: PhysAddr::new(start), end: PhysAddr::new(end) }
    }

    #[test]
    fn a_full_set_keeps_the_large_and_counts_the_rest() {
        let mut set = RangeSet::<2>::new();
        set.insert(range(0, 10));
        set.insert(range(20, 50));
        set.insert(range(60, 80));
        assert!(set.iter().eq([range(20, 50), range(60, 80)]));
        assert_eq!(set.lost(), 10);
        set.remove(range(30, 32));
        assert!(set.iter().eq([range(32, 50), range(60, 80)]));
        assert_eq!(set.lost(), 20);
    }

    #[test]
    fn pages() {
        assert_eq!(pages_inside(range(1, 0x3fff)), range(0x1000, 0x3000));
        assert!(pages_inside(range(1, 0x1fff)).is_empty());
        assert_eq!(pages_around(range(0x1fff, 0x2001)), range(0x1000, 0x3000));
    }

    proptest! {
        #[test]
        fn like_a_set_of_addresses(steps in prop::collection::vec((any::<bool>(), 0usize..200, 0usize..40), 0..40)) {
            let mut set = RangeSet::<128>::new();
            let mut model = [false; 256];
            for (add, start, len) in steps {
                let r = range(start, start + len);
                if add { set.insert(r) } else { set.remove(r) }
                model[start..start + len].fill(add);
            }
            prop_assert_eq!(set.lost(), 0);
            for (addr, &inside) in model.iter().enumerate() {
                prop_assert_eq!(set.iter().any(|r| r.contains(PhysAddr::new(addr))), inside);
            }
            let all: std::vec::Vec<_> = set.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(set.bytes(), model.iter().filter(|&&inside| inside).count());
        }
    }
}
