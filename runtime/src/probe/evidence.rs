//! What only the CPU itself can tell: who waits for it. It is asked by an interrupt.

use super::alarm::{Alarm, Cause, Name, Waiting};
use super::monitor;
use crate::Duration;
use crate::thread::control;
use crate::worker::{self, Worker};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use isochron_kernel::arch;
use isochron_kernel::boot::layout::MAX_CPUS;
use isochron_kernel::clock::ticks_to_ns;
use isochron_kernel::cpu::{self, CpuId};

/// In [`Request::causes`].
pub(super) const IDLE_CPU: u32 = 1;
pub(super) const LONG_QUEUE: u32 = 1 << 1;
pub(super) const LONG_WAIT: u32 = 1 << 2;

/// What a CPU is asked.
pub(super) struct Request {
    causes: AtomicU32,
    /// Which CPU idles, and for how many ticks.
    idle: AtomicU32,
    idle_ticks: AtomicU64,
    /// The thread about whose wait it has raised an alarm last.
    told: AtomicU64,
}

static REQUESTS: [Request; MAX_CPUS] = [const {
    Request {
        causes: AtomicU32::new(0),
        idle: AtomicU32::new(0),
        idle_ticks: AtomicU64::new(0),
        told: AtomicU64::new(u64::MAX),
    }
}; MAX_CPUS];

/// Whether `cpu` has yet to answer.
pub(super) fn is_open(cpu: CpuId) -> bool {
    REQUESTS[cpu.index()].causes.load(Ordering::Relaxed) != 0
}

/// Asks a CPU, by an interrupt.
pub(super) fn ask(cpu: CpuId, causes: u32, (idle, idle_ticks): (CpuId, u64)) {
    let request = &REQUESTS[cpu.index()];
    // Relaxed: published by the store below.
    request.idle.store(idle.index() as u32, Ordering::Relaxed);
    request.idle_ticks.store(idle_ticks, Ordering::Relaxed);
    // Release: partner is the swap in `answer`.
    request.causes.fetch_or(causes, Ordering::Release);
    Worker::this().ask(cpu);
}

/// This CPU may have been asked: its interrupt handler looks.
#[inline(always)]
pub(crate) fn answer_if_asked() {
    if is_open(cpu::this_cpu().id) {
        answer();
    }
}

#[cold]
fn answer() {
    let here = cpu::this_cpu().id;
    let request = &REQUESTS[here.index()];
    // Acquire: partner is the release in `ask`.
    let causes = request.causes.swap(0, Ordering::Acquire);
    let Some((bounds, raise)) = monitor::current() else { return };
    let now = arch::clock::ticks_unordered();
    let longest = longest(now);
    let told = request.told.load(Ordering::Relaxed);
    let (idle, time) = (request.idle.load(Ordering::Relaxed), request.idle_ticks.load(Ordering::Relaxed));
    let idle = Cause::IdleCpu { idle: CpuId::new(idle as usize), time: Duration::from_nanos(ticks_to_ns(time)) };
    let is_long = longest.is_some_and(|it| it.time >= bounds.runnable && it.thread != told);
    for (asked, cause) in [
        (causes & IDLE_CPU != 0 && longest.is_some(), idle),
        (causes & LONG_QUEUE != 0, Cause::LongQueue),
        (causes & LONG_WAIT != 0 && is_long, Cause::LongWait),
    ] {
        if asked {
            raise(&alarm(cause, here, longest, running()));
        }
    }
    if let Some(longest) = longest.filter(|_| is_long) {
        request.told.store(longest.thread, Ordering::Relaxed);
    }
}

/// The alarm with what any CPU can tell.
pub(super) fn alarm(cause: Cause, cpu: CpuId, longest: Option<Waiting>, running: Option<(u64, Name)>) -> Alarm {
    let length = |cpu: usize| worker::waiting_at(CpuId::new(cpu)).unwrap_or(0);
    Alarm {
        cause,
        cpu,
        waiting: length(cpu.index()),
        longest,
        running,
        lengths: core::array::from_fn(|cpu| u16::try_from(length(cpu)).unwrap_or(u16::MAX)),
        cpus: cpu::online_count(),
    }
}

fn running() -> Option<(u64, Name)> {
    let thread = control::current_ptr()?;
    // SAFETY: it is this CPU's running thread, in whose interrupt this is.
    let thread = unsafe { thread.as_ref() };
    Some((thread.id(), Name::of(thread)))
}

/// Of those that wait for this CPU, the one that has waited longest.
fn longest(now: u64) -> Option<Waiting> {
    let mut found: Option<Waiting> = None;
    Worker::this().look_at_waiting(&mut |thread| {
        // SAFETY: it waits here, and nobody takes it away while this is called.
        let thread = unsafe { thread.as_ref() };
        // Who was there before anybody watched: since the watch began.
        let since = thread.waits_since.get().max(monitor::began());
        let time = Duration::from_nanos(ticks_to_ns(now.saturating_sub(since)));
        if found.is_none_or(|found| found.time < time) {
            found = Some(Waiting { thread: thread.id(), name: Name::of(thread), time, bound: thread.is_pinned() });
        }
    });
    found
}
