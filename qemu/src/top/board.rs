//! The figures that are shown: of each CPU and each thread, since the last picture and since the beginning.

use super::live::Clock;
use crate::trace::follow::Follower;
use crate::trace::steps::{Doing, Reason, Step};
use isochron_wire::trace::{Event, Note, name_part};
use std::collections::HashMap;

/// What a thread has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    /// Ticks that it ran, up to its last switch.
    ran: u64,
    /// The same at the last picture, with what it was in the middle of.
    shown: u64,
    /// How often it was given a CPU since the last picture.
    runs: u64,
    /// The longest that it was ready and did not run, since the beginning, in ticks.
    worst: u64,
    /// The CPU that it ran on last.
    cpu: u32,
    /// How often it was set aside because its group had no time, and for how long.
    aside: u64,
    aside_ticks: u64,
    /// How the name of the group that did so last begins, as records have it.
    group: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct CpuSum {
    idle: u64,
    shown: u64,
    switches: u64,
    preempted: u64,
    stolen: u64,
    longest: u64,
}

/// Counts of what happens to memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Pages that were touched first, since the last picture.
    pub faults: u64,
    /// How often memory was refused, since the beginning.
    pub refused: u64,
    /// How often a group's memory reached a level that it is told of, since the beginning.
    pub pressure: u64,
}

/// Keeps the figures.
#[derive(Debug, Default)]
pub struct Board {
    follower: Follower,
    threads: HashMap<u64, Sum>,
    cpus: Vec<CpuSum>,
    memory: Memory,
    /// Ticks up to which the last picture went.
    shown: Option<u64>,
    /// Threads that have ended since the beginning.
    ended: u64,
    /// Time goes on with the guest's instructions alone.
    counted: bool,
}

/// One CPU's line.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuRow {
    /// Which.
    pub cpu: u32,
    /// Part of the time that something ran there, 0 to 1.
    pub busy: f64,
    /// What runs there.
    pub runs: String,
    /// Threads that wait for it now, and the most since the last picture.
    pub waiting: (u64, u64),
    /// Switches, threads taken off, threads stolen from others, in a second.
    pub rates: [f64; 3],
}

/// One thread's line.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadRow {
    /// Its number.
    pub id: u64,
    /// What people call it.
    pub name: String,
    /// What it does.
    pub state: &'static str,
    /// The CPU that it ran on last.
    pub cpu: u32,
    /// Part of one CPU that it had since the last picture.
    pub share: f64,
    /// Seconds that it ran since the beginning.
    pub total: f64,
    /// How often it was given a CPU, in a second.
    pub runs: f64,
    /// The longest that it was ready and did not run, in ns.
    pub worst: u64,
    /// How often it was set aside for its group, and for how many seconds.
    pub aside: (u64, f64),
    /// How the name of the group that did so last begins.
    pub group: String,
}

/// All that is shown at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// What runs where.
    pub title: String,
    /// Seconds of the guest's time since its first record.
    pub uptime: f64,
    /// Seconds of the guest's time that it is about.
    pub span: f64,
    /// The CPUs.
    pub cpus: Vec<CpuRow>,
    /// The threads that there are, in no order.
    pub threads: Vec<ThreadRow>,
    /// Threads that have ended.
    pub gone: u64,
    /// What happens to memory.
    pub faults: Memory,
    /// Bytes of memory touched, and of memory that there is.
    pub memory: (Option<u64>, Option<u64>),
    /// Records that were lost.
    pub lost: u64,
    /// How the guest ended.
    pub ended: Option<String>,
    /// The last line that it printed.
    pub said: String,
}

impl Board {
    /// An empty one. `counted`: the guest's time goes on with its instructions alone.
    #[must_use]
    pub fn new(counted: bool) -> Self {
        Self { counted, ..Self::default() }
    }

    /// Takes in the next record.
    pub fn take(&mut self, note: Note) {
        let Self { follower, threads, cpus, memory, .. } = self;
        if cpus.len() <= note.cpu as usize {
            cpus.resize(note.cpu as usize + 1, CpuSum::default());
        }
        match note.event {
            Event::SwitchedIn => {
                cpus[note.cpu as usize].switches += 1;
                let sum = threads.entry(note.thread).or_default();
                (sum.cpu, sum.runs) = (note.cpu, sum.runs + 1);
            }
            Event::Preempted => cpus[note.cpu as usize].preempted += 1,
            Event::Throttled => {
                let sum = threads.entry(note.thread).or_default();
                (sum.aside, sum.group) = (sum.aside + 1, note.argument);
            }
            Event::PageFault => memory.faults += 1,
            Event::Refused => memory.refused += 1,
            Event::Pressure => memory.pressure += 1,
            _ => {}
        }
        follower.take(note, &mut |_, step| match step {
            Step::Ran { phase, .. } => threads.entry(phase.thread).or_default().ran += phase.ticks(),
            Step::Ready { phase, way, .. } => {
                let sum = threads.entry(phase.thread).or_default();
                sum.worst = sum.worst.max(phase.ticks());
                if way.is_theft()
                    && let Some(cpu) = cpus.get_mut(phase.cpu as usize)
                {
                    cpu.stolen += 1;
                }
            }
            Step::Waited { phase, reason: Reason::Throttled, .. } => {
                threads.entry(phase.thread).or_default().aside_ticks += phase.ticks();
            }
            Step::Idled { cpu, from, to } => {
                if let Some(cpu) = cpus.get_mut(cpu as usize) {
                    cpu.idle += to.saturating_sub(from);
                }
            }
            Step::Depth { cpu, depth, .. } => {
                if let Some(cpu) = cpus.get_mut(cpu as usize) {
                    cpu.longest = cpu.longest.max(depth);
                }
            }
            _ => {}
        });
    }

    /// The figures since the last picture, and begins anew.
    pub fn picture(&mut self, clock: Option<Clock>) -> Picture {
        let (Some(clock), Some((first, last))) = (clock, self.follower.time) else { return Picture::default() };
        // Somebody who runs and runs leaves no record: time goes on all the same.
        let passed = if self.counted { 0.0 } else { clock.age * clock.hz as f64 };
        let now = last.max(clock.newest.saturating_add(passed as u64));
        let from = self.shown.replace(now).unwrap_or(first);
        let span = now.saturating_sub(from).max(1) as f64;
        let seconds = |ticks: u64| ticks as f64 / clock.hz as f64;
        let rate = |count: u64| count as f64 / (span / clock.hz as f64);
        let mut picture = Picture {
            uptime: seconds(now.saturating_sub(first)),
            span: span / clock.hz as f64,
            faults: self.memory,
            ..Picture::default()
        };
        self.memory.faults = 0;
        let mut on: HashMap<u32, u64> = HashMap::new();
        for (thread, doing) in self.follower.doing() {
            let sum = self.threads.entry(thread).or_default();
            let (mut ran, mut worst, mut aside) = (sum.ran, sum.worst, sum.aside_ticks);
            let state = match doing {
                Doing::Gone => {
                    self.ended += 1;
                    continue;
                }
                Doing::Runs { cpu, since } => {
                    ran += now.saturating_sub(since);
                    on.insert(cpu, thread);
                    "runs"
                }
                Doing::Ready { since, .. } => {
                    worst = worst.max(now.saturating_sub(since));
                    "ready"
                }
                Doing::Waits { reason, since } => {
                    if reason == Reason::Throttled {
                        aside += now.saturating_sub(since);
                    }
                    if reason == Reason::Throttled { "set aside" } else { reason.name() }
                }
            };
            let share = ran.saturating_sub(sum.shown) as f64 / span;
            picture.threads.push(ThreadRow {
                id: thread,
                name: self.follower.name(thread),
                state,
                cpu: sum.cpu,
                share: share.min(1.0),
                total: seconds(ran),
                runs: rate(sum.runs),
                worst: (seconds(worst) * 1e9) as u64,
                aside: (sum.aside, seconds(aside)),
                group: begin_of_name(sum.group),
            });
            (sum.shown, sum.runs) = (ran, 0);
        }
        picture.gone = self.ended;
        for (index, sum) in self.cpus.iter_mut().enumerate() {
            let (depth, idle_since) = self.follower.cpu(index as u32);
            let idle = sum.idle + idle_since.map_or(0, |since| now.saturating_sub(since));
            let busy = 1.0 - idle.saturating_sub(sum.shown) as f64 / span;
            let runs = on.get(&(index as u32)).map_or(String::new(), |thread| self.follower.name(*thread));
            picture.cpus.push(CpuRow {
                cpu: index as u32,
                busy: busy.clamp(0.0, 1.0),
                runs,
                waiting: (depth, sum.longest.max(depth)),
                rates: [sum.switches, sum.preempted, sum.stolen].map(rate),
            });
            *sum = CpuSum { idle: sum.idle, shown: idle, ..CpuSum::default() };
        }
        self.forget();
        picture
    }

    /// Forgets who has ended, here and in the follower.
    fn forget(&mut self) {
        self.follower.forget_gone();
        if self.threads.len() > 2 * self.follower.threads() {
            let there: std::collections::HashSet<u64> = self.follower.doing().map(|(thread, _)| thread).collect();
            self.threads.retain(|thread, _| there.contains(thread));
        }
    }

    /// Forgets the longest delays.
    pub fn reset_worst(&mut self) {
        self.threads.values_mut().for_each(|sum| sum.worst = 0);
    }
}

fn begin_of_name(word: u64) -> String {
    let (bytes, length) = name_part(word);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use isochron_wire::trace::{Left, NOBODY, Origin, name_word};

    const HZ: u64 = 1_000_000;

    fn note(time: u64, cpu: u32, event: Event, reason: u8, thread: u64, argument: u64) -> Note {
        Note { time, cpu, event, reason, extra: 0, thread, argument }
    }

    fn clock(newest: u64, age: f64) -> Option<Clock> {
        Some(Clock { hz: HZ, newest, age })
    }

    /// Thread 1, `worker`, runs for 600 of 1000 ticks on CPU 0, which is then idle; thread 2 waits 200 ticks for it, and is stolen.
    pub(crate) fn board() -> Board {
        let mut board = Board::new(true);
        for note in [
            note(0, 0, Event::Spawned, 0, 1, 0),
            note(0, 0, Event::Named, 0, 1, name_word(b"worker", 0)),
            note(0, 0, Event::SwitchedIn, 0, 1, 0x40),
            note(100, 0, Event::Spawned, 0, 2, 1),
            note(300, 1, Event::Taken, Origin::Cache as u8, 2, 0),
            note(300, 1, Event::SwitchedIn, 0, 2, 0x80),
            note(600, 0, Event::SwitchedOut, Left::Sleep as u8, 1, 0),
            note(600, 0, Event::Idle, 0, NOBODY, 0),
            note(700, 1, Event::SwitchedOut, Left::Exit as u8, 2, 0),
            note(700, 1, Event::Idle, 0, NOBODY, 0),
            note(1000, 0, Event::PageFault, 0, 1, 0),
        ] {
            board.take(note);
        }
        board
    }

    #[test]
    fn times_delays_and_thefts() {
        let picture = board().picture(clock(1000, 5.0));
        assert_eq!((picture.threads.len(), picture.gone, picture.cpus.len()), (1, 1, 2));
        let worker = &picture.threads[0];
        assert_eq!((worker.name.as_str(), worker.state, worker.cpu), ("worker", "sleep", 0));
        assert!((worker.share - 0.6).abs() < 1e-9 && (worker.total - 0.0006).abs() < 1e-9, "{worker:?}");
        assert!((picture.cpus[0].busy - 0.6).abs() < 1e-9 && (picture.cpus[1].busy - 0.7).abs() < 1e-9, "{picture:?}");
        assert!((picture.cpus[1].rates[2] - 1000.0).abs() < 1e-6, "one theft in a millisecond: {picture:?}");
        assert_eq!(picture.faults.faults, 1);
    }

    #[test]
    fn who_runs_without_a_word_is_counted_as_time_passes() {
        let mut board = Board::new(false);
        board.take(note(0, 0, Event::Spawned, 0, 1, 0));
        board.take(note(0, 0, Event::SwitchedIn, 0, 1, 0x40));
        let first = board.picture(clock(0, 1.0));
        assert!((first.threads[0].total - 1.0).abs() < 1e-6 && (first.cpus[0].busy - 1.0).abs() < 1e-6, "{first:?}");
        let next = board.picture(clock(0, 3.0));
        assert!((next.threads[0].share - 1.0).abs() < 1e-6 && (next.span - 2.0).abs() < 1e-6, "{next:?}");
        board.take(note(10 * HZ, 0, Event::SwitchedOut, Left::Yield as u8, 1, 0));
        let waits = board.picture(clock(10 * HZ, 2.0));
        assert_eq!((waits.threads[0].state, waits.threads[0].worst), ("ready", 2_000_000_000));
    }

    #[test]
    fn who_has_ended_takes_no_memory() {
        let mut board = Board::new(true);
        for thread in 0..10_000 {
            board.take(note(thread, 0, Event::Spawned, 0, thread, 0));
            board.take(note(thread, 0, Event::SwitchedIn, 0, thread, 0x40));
            board.take(note(thread, 0, Event::SwitchedOut, Left::Exit as u8, thread, 0));
        }
        let picture = board.picture(clock(10_000, 0.0));
        assert_eq!((picture.gone, board.threads.len(), board.follower.threads()), (10_000, 0, 0));
    }

    #[test]
    fn set_aside_is_told() {
        let mut board = Board::new(true);
        board.take(note(0, 0, Event::Spawned, 0, 1, 0));
        board.take(note(0, 0, Event::SwitchedIn, 0, 1, 0x40));
        board.take(note(100, 0, Event::SwitchedOut, Left::Yield as u8, 1, 0));
        board.take(note(100, 0, Event::Throttled, 0, 1, name_word(b"batch-jobs", 0)));
        board.take(note(1100, 0, Event::IpiTaken, 0, 1, 0));
        let picture = board.picture(clock(1100, 0.0));
        assert_eq!((picture.threads[0].state, picture.threads[0].aside.0), ("set aside", 1));
        assert_eq!(picture.threads[0].group, "batch-jo");
        assert!((picture.threads[0].aside.1 - 0.001).abs() < 1e-9, "{picture:?}");
    }
}
