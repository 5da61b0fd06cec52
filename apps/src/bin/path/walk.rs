//! From records to steps.

use isochron::prelude::*;
use isochron::trace::{Entry, What};
use isochron_apps::measure::{Recorder, picoseconds};

/// The steps of a wake-up, in order.
pub const STEPS: [&str; 9] = ["irq", "wake", "place", "notify", "ipi", "wait", "pick", "switch", "resume"];

/// In a mark: a wake-up begins here, of the thread whose number is above it.
pub const BEGIN: u64 = 0;
/// In a mark: the thread that was woken goes on.
pub const END: u64 = 1;

/// Puts wake-ups together, and counts their steps.
pub struct Walker {
    pub steps: [Recorder; STEPS.len()],
    pub whole: Recorder,
    sums: [u64; STEPS.len()],
    by_timer: bool,
    cpus: Vec<Cpu>,
}

/// What was seen of a CPU last.
#[derive(Clone, Copy, Default)]
struct Cpu {
    /// When its timer's handler began, and for when the timer was set.
    timer: (u64, u64),
    /// When it took an interrupt of another CPU's.
    ipi: u64,
    /// When it had nothing to do but look for the next thread.
    free: u64,
}

/// The wake-up that is under way.
#[derive(Clone, Copy, Default)]
struct Wake {
    thread: u64,
    begin: u64,
    irq: Option<u64>,
    woken: u64,
    placed: Option<u64>,
    waker: usize,
    sent: Option<(u64, usize)>,
    chosen: Option<(u64, u64, Option<u64>)>,
    running: Option<u64>,
}

impl Walker {
    pub fn new(by_timer: bool) -> Self {
        Self {
            steps: core::array::from_fn(|_| Recorder::new()),
            whole: Recorder::new(),
            sums: [0; STEPS.len()],
            by_timer,
            cpus: vec![Cpu::default(); thread::cpu_count()],
        }
    }

    /// The mean of each step over all wake-ups, in ps.
    pub fn means(&self) -> [u64; STEPS.len()] {
        self.sums.map(|sum| sum / self.whole.count().max(1))
    }

    /// Takes what was recorded of some wake-ups, one after the other, from all CPUs.
    pub fn take(&mut self, mut entries: Vec<Entry>) {
        entries.sort_by_key(|entry| (entry.time, order(&entry.what)));
        // For a timer's wake-up, whose is told only at its end: the threads that say so.
        let sleeper = entries.iter().find(|entry| matches!(entry.what, What::Mark { number } if number & 1 == END));
        let sleeper = sleeper.map(|entry| entry.thread);
        let mut wake: Option<Wake> = None;
        for entry in &entries {
            let (time, cpu) = (entry.time.ticks(), entry.cpu.index());
            match entry.what {
                What::Timer { due } => self.cpus[cpu].timer = (time, due.ticks()),
                What::IpiTaken => self.cpus[cpu].ipi = time,
                What::Busy | What::SwitchedOut(_) => self.cpus[cpu].free = time,
                What::Mark { number } if number & 1 == BEGIN => {
                    wake = Some(Wake { thread: number >> 1, begin: time, ..Wake::default() });
                }
                What::Woken { .. } if self.by_timer && sleeper == Some(entry.thread) => {
                    let (irq, due) = self.cpus[cpu].timer;
                    let irq = Some(irq);
                    wake = Some(Wake { thread: entry.thread, begin: due, irq, woken: time, ..Wake::default() });
                }
                _ => {}
            }
            let Some(known) = &mut wake else { continue };
            let ours = entry.thread == known.thread;
            match entry.what {
                What::Woken { .. } if ours => (known.woken, known.waker) = (time, cpu),
                What::Queued { .. } if ours => known.placed = Some(known.placed.unwrap_or(time)),
                What::IpiSent { to } if known.placed.is_some() && known.sent.is_none() && cpu == known.waker => {
                    known.sent = Some((time, to.index()));
                }
                What::SwitchedIn { .. } if ours => {
                    let here = self.cpus[cpu];
                    let sent = known.sent.filter(|&(_, to)| to == cpu);
                    known.sent = sent;
                    known.chosen = Some((time, here.free, sent.map(|_| here.ipi)));
                }
                What::Running if ours => known.running = Some(time),
                What::Mark { number } if ours && number & 1 == END => {
                    self.add(known, time);
                    wake = None;
                }
                _ => {}
            }
        }
    }

    /// Counts a wake-up that is over.
    fn add(&mut self, wake: &Wake, end: u64) {
        let (Some(placed), Some((chosen, free, ipi)), Some(running)) = (wake.placed, wake.chosen, wake.running) else {
            return;
        };
        let ends = [
            wake.irq,
            Some(wake.woken),
            Some(placed),
            wake.sent.map(|(time, _)| time),
            ipi,
            Some(free),
            Some(chosen),
            Some(running),
            Some(end),
        ];
        let mut before = wake.begin;
        for (step, at) in ends.into_iter().enumerate() {
            // A step that has not been: none. One that was over before the last one was: it took no time of its own.
            let Some(at) = at else { continue };
            let took = picoseconds(at.saturating_sub(before));
            self.steps[step].record(took);
            self.sums[step] += took;
            before = before.max(at);
        }
        self.whole.record(picoseconds(before - wake.begin));
    }
}

/// What comes first of what has the same time.
fn order(what: &What) -> u32 {
    match what {
        What::Mark { number } if number & 1 == BEGIN => 0,
        What::Timer { .. } => 1,
        What::Woken { .. } => 2,
        What::Queued { .. } => 3,
        What::IpiSent { .. } => 4,
        What::IpiTaken => 5,
        What::Taken { .. } => 8,
        What::SwitchedIn { .. } => 9,
        What::Running => 10,
        What::Mark { .. } => 11,
        _ => 7,
    }
}
