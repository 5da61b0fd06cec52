//! Policies: programs decide where threads go.
//!
//! A thread that any CPU may run is placed when it is made and each time it is woken. By itself it goes back to the CPU where
//! it ran last, or near it ([`crate::worker`]). A [`Policy`] decides otherwise, by three hooks over the CPUs there are:
//!
//! 1. [`filter`](Policy::filter): may the thread go to this CPU at all?
//! 2. [`score`](Policy::score): how well would it be there? The highest is asked first.
//! 3. [`reserve`](Policy::reserve): does the policy take that place? If not, the next best is asked.
//!
//! [`set_default`] sets one for all threads, [`Builder::policy`](crate::thread::Builder::policy) one for a thread. Two are
//! shipped: [`Nearest`], what happens without one, and [`SameRegionFirst`].
//!
//! # What a policy cannot break
//! | it | then |
//! | --- | --- |
//! | passes no CPU, or refuses every place | the thread goes where it would without a policy |
//! | gives equal scores | an idle CPU goes first, then the nearest to where the thread ran last, then one where fewer wait, then the lowest number |
//! | panics | the thread that made or woke the other one dies of it, as of any panic; the other one goes where it would without a policy |
//! | makes or wakes threads in a hook | those are placed without a policy |
//!
//! [`statistics`] counts these cases.
//!
//! # Limits
//! Hooks run in the thread that spawns or wakes, with interrupts on. A wake-up that comes from an interrupt (the end of a
//! sleep), or while interrupts are masked, asks no policy: the thread goes back to where it was. A thread with a policy of its
//! own is not stolen; under the default for all, idle CPUs still take what waits elsewhere.
//!
//! # Cost
//! None for bound threads. A program without policies pays one look at a flag for each wake-up of another thread.

mod region;
mod registry;
mod shipped;

pub use region::{BadRegion, MAX_REGION, Region, region_of, set_region};
pub use registry::{PolicyError, PolicyId, Statistics, set_default, statistics};
pub(crate) use registry::{any, asked, of, rescue};
pub use shipped::{Nearest, SameRegionFirst};

use isochron_kernel::cpu::CpuId;
use isochron_kernel::topology::Distance;

/// A thread that looks for a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its number: see [`Thread::id`](crate::thread::Thread::id).
    pub thread: u64,
    /// Where it ran last; where it was made, if it has not run yet.
    pub home: CpuId,
    /// The label it was given.
    pub region: Option<Region>,
    /// The CPU that makes or wakes it, a moment ago.
    pub waker: CpuId,
}

/// A CPU that might run it, as it was a moment ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which.
    pub cpu: CpuId,
    /// The CPU's label.
    pub region: Region,
    /// It has nothing to run.
    pub idle: bool,
    /// How many threads wait there.
    pub waiting: usize,
    /// How far it is from the thread's home.
    pub distance: Distance,
}

/// Where threads go. See the module's documentation.
pub trait Policy: Sync {
    /// Whether the thread may go there at all.
    fn filter(&self, candidate: &Candidate, place: &Place) -> bool {
        let _ = (candidate, place);
        true
    }

    /// How well the thread would be there; the highest is asked first.
    fn score(&self, candidate: &Candidate, place: &Place) -> i64 {
        let _ = (candidate, place);
        0
    }

    /// Whether the place is taken. The thread goes there if so; for policies that count.
    fn reserve(&self, candidate: &Candidate, place: &Place) -> bool {
        let _ = (candidate, place);
        true
    }
}
