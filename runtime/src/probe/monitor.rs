//! The look at all CPUs: from a timer's interrupt, by what any CPU can see of another.
//!
//! A CPU idles for as long as it has been seen with nothing to run and has not switched to a thread since; it counts its
//! switches while somebody watches. That threads wait for a CPU is seen at each look. Who they are only that CPU can tell: it
//! is asked (`evidence.rs`).

use super::ProbeError;
use super::alarm::{Alarm, Bounds, Cause};
use super::evidence::{self, IDLE_CPU, LONG_QUEUE, LONG_WAIT};
use crate::time::{Then, Timer};
use crate::trace;
use crate::worker;
use crate::{Duration, Instant};
use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::irq::IrqLock;
use isochron_kernel::lock_rank;

/// Looks in the shortest bound.
const LOOKS: u64 = 4;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(100);

/// Looks that a CPU has for its answer.
const PATIENCE: u32 = 3;

/// What is borne, and who is told when it is more.
type Watching = Option<(Bounds, fn(&Alarm))>;

/// Who watches.
static CURRENT: IrqLock<Watching> = IrqLock::new(lock_rank::TRACING, None);

/// Since when, in ticks. Relaxed: a plain number.
static BEGAN: AtomicU64 = AtomicU64::new(0);

pub(super) fn current() -> Watching {
    *CURRENT.lock()
}

pub(super) fn began() -> u64 {
    BEGAN.load(Ordering::Relaxed)
}

pub(super) fn start(bounds: Bounds, raise: fn(&Alarm)) -> Result<Timer, ProbeError> {
    {
        let mut current = CURRENT.lock();
        if current.is_some() {
            return Err(ProbeError::Busy);
        }
        *current = Some((bounds, raise));
    }
    let period = Duration::from_nanos(bounds.idle.as_nanos().min(bounds.runnable.as_nanos()) / LOOKS);
    let period = Duration::from_nanos(period.as_nanos().clamp(SHORTEST.as_nanos(), LONGEST.as_nanos()));
    BEGAN.store(Instant::now().ticks(), Ordering::Relaxed);
    trace::set_stamps(true);
    let mut monitor = Box::new(Monitor::new(bounds, raise));
    let mut timer = Timer::new(move |now| {
        monitor.look(now.ticks());
        Then::At(now + period)
    });
    timer.set(Instant::now() + period);
    Ok(timer)
}

pub(super) fn end() {
    trace::set_stamps(false);
    *CURRENT.lock() = None;
}

/// What was seen of one CPU.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Since when it has nothing to run.
    idle: Option<u64>,
    switches: u64,
    /// Since when somebody waits for it.
    waiting: Option<u64>,
    /// The causes for which an alarm was raised and that have not gone since.
    raised: u32,
    /// When it was last asked for a thread that waits too long.
    asked: u64,
    /// Looks since it was asked and has not answered.
    silent: u32,
}

struct Monitor {
    bounds: Bounds,
    raise: fn(&Alarm),
    seen: [Seen; MAX_CPUS],
}

impl Monitor {
    fn new(bounds: Bounds, raise: fn(&Alarm)) -> Self {
        Self { bounds, raise, seen: [Seen::default(); MAX_CPUS] }
    }

    fn look(&mut self, now: u64) {
        let idle = worker::idle_mask();
        let cpus = cpu::online_count();
        for (cpu, seen) in self.seen[..cpus].iter_mut().enumerate() {
            let cpu = CpuId::new(cpu);
            let switches = worker::switches_of(cpu);
            let still = seen.idle.filter(|_| switches == seen.switches);
            seen.idle = still.or((idle & 1 << cpu.index() != 0).then_some(now));
            seen.switches = switches;
            let waiting = worker::waiting_at(cpu).unwrap_or(0);
            seen.waiting = (waiting > 0).then(|| seen.waiting.unwrap_or(now));
        }
        let since = |at: Option<u64>| at.map_or(0, |at| now.saturating_sub(at));
        let longest = |of: fn(&Seen) -> Option<u64>| {
            let all = self.seen[..cpus].iter().enumerate().map(|(cpu, seen)| (CpuId::new(cpu), since(of(seen))));
            all.max_by_key(|&(_, time)| time).unwrap_or((CpuId::PRIMARY, 0))
        };
        let (idle, (full, waited)) = (longest(|seen| seen.idle), longest(|seen| seen.waiting));
        let most = ns_to_ticks(self.bounds.idle.as_nanos());
        let starve = idle.1 > most && waited > most;
        let patience = ns_to_ticks(self.bounds.runnable.as_nanos());
        for cpu in (0..cpus).map(CpuId::new) {
            let seen = &mut self.seen[cpu.index()];
            let waiting = worker::waiting_at(cpu).unwrap_or(0);
            let mut causes = 0;
            for (cause, is) in [(IDLE_CPU, starve && cpu == full), (LONG_QUEUE, waiting > self.bounds.queue)] {
                if is && seen.raised & cause == 0 {
                    causes |= cause;
                }
                seen.raised = if is { seen.raised | cause } else { seen.raised & !cause };
            }
            if since(seen.waiting) > patience && now.saturating_sub(seen.asked) > patience / 2 {
                seen.asked = now;
                causes |= LONG_WAIT;
            }
            seen.silent = if evidence::is_open(cpu) { seen.silent + 1 } else { 0 };
            if seen.silent == PATIENCE {
                (self.raise)(&evidence::alarm(Cause::Silent, cpu, None, None));
            }
            if causes != 0 {
                evidence::ask(cpu, causes, idle);
            }
        }
    }
}
