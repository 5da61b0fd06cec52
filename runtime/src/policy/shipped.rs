//! The policies that come with the runtime.

use super::{Candidate, Place, Policy, region_of};
use isochron_kernel::topology::Distance;

/// What happens without a policy, as one: home if that is idle, else the nearest idle CPU of its node, else the CPU that
/// wakes it, if that is in the node, else home.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl Policy for Nearest {
    fn score(&self, candidate: &Candidate, place: &Place) -> i64 {
        let near = place.distance <= Distance::Node;
        if place.idle && near {
            10 - place.distance as i64
        } else if near && place.cpu == candidate.waker {
            5
        } else if place.distance == Distance::Same {
            4
        } else {
            -(place.distance as i64)
        }
    }
}

/// A thread goes to the CPUs that have its label (or that of its home, if it has none): to an idle one if there is, else to an
/// idle one elsewhere, else to the one of its region where fewest wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct SameRegionFirst;

impl Policy for SameRegionFirst {
    fn score(&self, candidate: &Candidate, place: &Place) -> i64 {
        let region = candidate.region.unwrap_or_else(|| region_of(candidate.home));
        match (place.region == region, place.idle) {
            (true, true) => 3,
            (false, true) => 2,
            (true, false) => 1,
            (false, false) => 0,
        }
    }
}
