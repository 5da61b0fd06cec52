//! What fork and join ask of the scheduler: see [`crate::fork`].

use super::{Counters, IDLE, Worker};
use crate::Duration;
use isochron_kernel::arch;
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::irq;

/// A CPU gives away work for a tenth of its time at the most.
const SHARE_OF_TIME: u64 = 10;

impl Worker {
    /// Whether a CPU sleeps: a glance at one word.
    #[inline(always)]
    pub fn somebody_is_idle() -> bool {
        IDLE.idle_mask() != 0
    }

    /// Whether this CPU may give away a half again.
    pub fn may_fork(now: u64) -> bool {
        irq::without(|| now >= Self::this().next_fork.get())
    }

    /// This CPU has begun at `before` to look for a half to give away, and has given one or not: not again for `interval`,
    /// nor before the look is paid for.
    pub fn has_forked(before: u64, interval: Duration, given: bool) {
        let now = arch::clock::ticks_unordered();
        let pause = ns_to_ticks(interval.as_nanos()).max(now.wrapping_sub(before).saturating_mul(SHARE_OF_TIME));
        irq::without(|| {
            let worker = Self::this();
            worker.next_fork.set(now + pause);
            if given {
                Counters::bump(&worker.counters.forks);
            }
        });
    }
}
