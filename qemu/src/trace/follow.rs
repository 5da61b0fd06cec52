//! From records to what they mean: who ran, waited, was ready, and for how long.
//!
//! A [`Follower`] takes the records in the order of time and keeps, for each thread, what it does now. When that ends it says so,
//! as a [`Step`]; all else (figures, pictures, other programs' formats) is made of steps. A recording may begin in the middle
//! and have gaps: what is not known has no step, and nothing is guessed.

use super::steps::{Doing, LockWait, Phase, Reason, Step, Waker, Way};
use isochron_wire::trace::{Event, Left, NAME_BYTES, NOBODY, Note, Origin, Queue, name_part};
use std::collections::HashMap;

/// What a thread does now.
#[derive(Clone, Copy, Debug)]
enum Now {
    Unknown,
    Running { cpu: u32, since: u64, span_since: u64 },
    Ready { since: u64, after: Reason, way: Way },
    Waiting { since: u64, cpu: u32, reason: Reason, lock: Option<LockWait> },
    Gone,
}

#[derive(Debug)]
struct Thread {
    now: Now,
    /// The CPU in whose queue it counts.
    queued_on: Option<u32>,
    /// The wake-up that has not led to a run yet: who, when, where.
    woken: Option<(Waker, u64, u32)>,
    /// Its wake-up came before it had left.
    early: bool,
    preempted: bool,
    lock: Option<LockWait>,
    spans: Vec<(u64, u64)>,
}

impl Thread {
    const fn new() -> Self {
        Self {
            now: Now::Unknown,
            queued_on: None,
            woken: None,
            early: false,
            preempted: false,
            lock: None,
            spans: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    depth: u64,
    idle_since: Option<u64>,
    /// The timer's handler is at work.
    in_timer: bool,
    /// Who has sent it an interrupt that it has not taken: from where, when.
    ipi: Option<(u32, u64)>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Follower {
    threads: HashMap<u64, Thread>,
    names: HashMap<u64, String>,
    parents: HashMap<u64, u64>,
    blocks: HashMap<u64, u64>,
    cpus: Vec<Cpu>,
    /// The time of the first record and of the last.
    pub time: Option<(u64, u64)>,
}

type Out<'o> = &'o mut dyn FnMut(&Follower, Step);

impl Follower {
    /// The name that a thread was given.
    #[must_use]
    pub fn given_name(&self, thread: u64) -> Option<&str> {
        self.names.get(&thread).map(String::as_str)
    }

    /// What people call a thread.
    #[must_use]
    pub fn name(&self, thread: u64) -> String {
        match self.given_name(thread) {
            Some(name) => name.to_owned(),
            None if thread == NOBODY => "worker".into(),
            None => format!("thread-{thread}"),
        }
    }

    /// As [`Self::name`]; but threads without one are those of whoever made them.
    #[must_use]
    pub fn family(&self, thread: u64) -> String {
        let (mut at, mut steps) = (thread, 0);
        while steps < 8 {
            if let Some(name) = self.given_name(at) {
                return if steps == 0 { name.to_owned() } else { format!("made by {name}") };
            }
            let Some(parent) = self.parents.get(&at) else { break };
            (at, steps) = (*parent, steps + 1);
        }
        self.name(thread)
    }

    /// Who made a thread, if that was recorded.
    #[must_use]
    pub fn parent(&self, thread: u64) -> Option<u64> {
        self.parents.get(&thread).copied()
    }

    /// The labels of the named parts of the program that a thread is in, outermost first.
    pub fn spans(&self, thread: u64) -> impl Iterator<Item = u64> {
        self.threads.get(&thread).into_iter().flat_map(|thread| thread.spans.iter().map(|(label, _)| *label))
    }

    /// What each thread does now, as far as that is known; in no order.
    pub fn doing(&self) -> impl Iterator<Item = (u64, Doing)> {
        self.threads.iter().filter_map(|(thread, it)| {
            let doing = match it.now {
                Now::Unknown => return None,
                Now::Running { cpu, since, .. } => Doing::Runs { cpu, since },
                Now::Ready { since, .. } => Doing::Ready { cpu: it.queued_on, since },
                Now::Waiting { since, reason, .. } => Doing::Waits { reason, since },
                Now::Gone => Doing::Gone,
            };
            Some((*thread, doing))
        })
    }

    /// How many threads wait for a CPU, and since when it has had nothing to run, if it has not.
    #[must_use]
    pub fn cpu(&self, cpu: u32) -> (u64, Option<u64>) {
        self.cpus.get(cpu as usize).map_or((0, None), |cpu| (cpu.depth, cpu.idle_since))
    }

    /// Forgets the threads that have come to their end, so that it does not grow with all that there ever were.
    pub fn forget_gone(&mut self) {
        let gone: Vec<u64> =
            self.doing().filter(|(_, doing)| *doing == Doing::Gone).map(|(thread, _)| thread).collect();
        for thread in gone {
            self.threads.remove(&thread);
            self.names.remove(&thread);
            self.parents.remove(&thread);
        }
    }

    /// How many threads were seen.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Takes in the next record.
    pub fn take(&mut self, note: Note, out: Out<'_>) {
        let (first, last) = self.time.unwrap_or((note.time, note.time));
        self.time = Some((first, last.max(note.time)));
        if self.cpus.len() <= note.cpu as usize {
            self.cpus.resize(note.cpu as usize + 1, Cpu::default());
        }
        if !matches!(note.event, Event::Woken | Event::Queued | Event::IpiSent | Event::Named) {
            self.cpus[note.cpu as usize].in_timer = note.event == Event::Timer;
        }
        match note.event {
            Event::Named => self.named(&note),
            Event::Spawned => {
                self.parents.insert(note.thread, note.argument);
                self.set(note.thread, Now::Ready { since: note.time, after: Reason::New, way: Way::Unknown });
            }
            Event::Woken => self.woken(&note, out),
            Event::Queued => self.queued(&note, out),
            Event::Taken => self.taken(&note, out),
            Event::SwitchedIn => self.switched_in(&note, out),
            Event::SwitchedOut => self.switched_out(&note, out),
            Event::Stayed => self.stayed(&note, out),
            Event::Preempted => self.thread(note.thread).preempted = true,
            Event::Throttled => self.throttled(&note, out),
            Event::LockWait => self.thread(note.thread).lock = Some(LockWait { lock: note.argument, holder: None }),
            Event::LockHeld => {
                let holder = self.blocks.get(&note.argument).copied();
                if let Some(lock) = &mut self.thread(note.thread).lock {
                    lock.holder = holder;
                }
            }
            Event::LockEnd => self.thread(note.thread).lock = None,
            Event::Idle => self.cpus[note.cpu as usize].idle_since = Some(note.time),
            Event::Busy => {
                if let Some(from) = self.cpus[note.cpu as usize].idle_since.take() {
                    out(self, Step::Idled { cpu: note.cpu, from, to: note.time });
                }
            }
            Event::Timer => out(self, Step::Timer { cpu: note.cpu, due: note.argument, at: note.time }),
            Event::IpiSent => {
                if let Some(cpu) = self.cpus.get_mut(note.argument as usize) {
                    cpu.ipi.get_or_insert((note.cpu, note.time));
                }
            }
            Event::IpiTaken => {
                if let Some((from, sent)) = self.cpus[note.cpu as usize].ipi.take() {
                    out(self, Step::Ipi { from, to: note.cpu, sent, taken: note.time });
                }
            }
            Event::SpanBegin | Event::SpanEnd => self.span(&note, out),
            Event::Count => out(self, Step::Count { label: note.extra, at: note.time, value: note.argument }),
            Event::Began | Event::Running => {}
            Event::Mark | Event::Interrupt | Event::PageFault | Event::Refused | Event::Pressure => {
                out(self, Step::Noted { note });
            }
        }
    }

    /// No record follows: what is still under way is told as far as it has come.
    pub fn finish(&mut self, out: Out<'_>) {
        let Some((_, end)) = self.time else { return };
        let mut all: Vec<u64> = self.threads.keys().copied().collect();
        // Who runs comes first: it is why others still wait.
        all.sort_unstable_by_key(|thread| (!matches!(self.threads[thread].now, Now::Running { .. }), *thread));
        for thread in all {
            let state = &self.threads[&thread];
            let cpu = state.queued_on.unwrap_or(0);
            match state.now {
                Now::Running { cpu, since, span_since } => {
                    out(self, Step::RanIn { thread, from: span_since, to: end });
                    let phase = Phase { thread, cpu, from: since, to: end, open: true };
                    out(self, Step::Ran { phase, until: None, exits: false });
                }
                Now::Ready { since, after, way } => {
                    let phase = Phase { thread, cpu, from: since, to: end, open: true };
                    out(self, Step::Ready { phase, after, way });
                }
                Now::Waiting { since, cpu, reason, lock } => {
                    let phase = Phase { thread, cpu, from: since, to: end, open: true };
                    out(self, Step::Waited { phase, reason, waker: None, lock });
                }
                Now::Unknown | Now::Gone => {}
            }
        }
        for (cpu, idle) in self.cpus.clone().into_iter().enumerate() {
            if let Some(from) = idle.idle_since {
                out(self, Step::Idled { cpu: cpu as u32, from, to: end });
            }
        }
    }

    fn thread(&mut self, thread: u64) -> &mut Thread {
        self.threads.entry(thread).or_insert_with(Thread::new)
    }

    fn set(&mut self, thread: u64, now: Now) {
        self.thread(thread).now = now;
    }

    fn named(&mut self, note: &Note) {
        let (part, length) = name_part(note.argument);
        let name = self.names.entry(note.thread).or_default();
        // A part that was lost leaves a gap.
        let missing = (usize::from(note.reason) * NAME_BYTES).saturating_sub(name.len());
        name.extend(std::iter::repeat_n('?', missing.min(256)));
        name.push_str(&String::from_utf8_lossy(&part[..length]));
    }

    fn woken(&mut self, note: &Note, out: Out<'_>) {
        let by_timer = self.cpus[note.cpu as usize].in_timer;
        let waker = match note.argument {
            _ if by_timer => Waker::Timer,
            NOBODY => Waker::Machine,
            thread => Waker::Thread(thread),
        };
        let thread = self.thread(note.thread);
        thread.woken = Some((waker, note.time, note.cpu));
        match thread.now {
            Now::Waiting { since, cpu, reason, lock } => {
                thread.now = Now::Ready { since: note.time, after: reason, way: Way::Unknown };
                let phase = Phase { thread: note.thread, cpu, from: since, to: note.time, open: false };
                out(self, Step::Waited { phase, reason, waker: Some(waker), lock });
            }
            Now::Running { .. } => thread.early = true,
            _ => thread.now = Now::Ready { since: note.time, after: Reason::Park, way: Way::Unknown },
        }
    }

    fn queued(&mut self, note: &Note, out: Out<'_>) {
        let queue = Queue::of(note.reason).unwrap_or(Queue::Own);
        let (on, thread) = (note.argument as u32, self.thread(note.thread));
        match &mut thread.now {
            Now::Ready { way, .. } => *way = Way::Queue(queue),
            Now::Waiting { since, cpu, reason: Reason::Throttled, .. } => {
                let (from, cpu) = (*since, *cpu);
                thread.now = Now::Ready { since: note.time, after: Reason::Throttled, way: Way::Queue(queue) };
                let phase = Phase { thread: note.thread, cpu, from, to: note.time, open: false };
                let (reason, waker) = (Reason::Throttled, Some(Waker::Machine));
                out(self, Step::Waited { phase, reason, waker, lock: None });
            }
            Now::Unknown => {
                thread.now = Now::Ready { since: note.time, after: Reason::Park, way: Way::Queue(queue) };
            }
            _ => {}
        }
        self.count(note.thread, Some(on), note.time, out);
    }

    fn taken(&mut self, note: &Note, out: Out<'_>) {
        let origin = Origin::of(note.reason).unwrap_or(Origin::Inbox);
        if let Now::Ready { way, .. } = &mut self.thread(note.thread).now {
            *way = Way::From(origin, note.argument as u32);
        }
        self.count(note.thread, Some(note.cpu), note.time, out);
    }

    /// Counts a thread in the queue of a CPU, or in none any more.
    fn count(&mut self, thread: u64, on: Option<u32>, at: u64, out: Out<'_>) {
        let before = std::mem::replace(&mut self.thread(thread).queued_on, on);
        if before == on {
            return;
        }
        for (cpu, more) in [(before, false), (on, true)] {
            let Some(cpu) = cpu.filter(|cpu| *cpu < isochron_wire::trace::area::MAX_CPUS) else { continue };
            if self.cpus.len() <= cpu as usize {
                self.cpus.resize(cpu as usize + 1, Cpu::default());
            }
            let depth = &mut self.cpus[cpu as usize].depth;
            *depth = if more { *depth + 1 } else { depth.saturating_sub(1) };
            let depth = *depth;
            out(self, Step::Depth { cpu, at, depth });
        }
    }

    fn switched_in(&mut self, note: &Note, out: Out<'_>) {
        let (at, cpu, number) = (note.time, note.cpu, note.thread);
        self.blocks.insert(note.argument, number);
        self.count(number, None, at, out);
        let thread = self.thread(number);
        let before = std::mem::replace(&mut thread.now, Now::Running { cpu, since: at, span_since: at });
        (thread.early, thread.preempted) = (false, false);
        let woken = thread.woken.take();
        if let Now::Ready { since, after, way } = before {
            let phase = Phase { thread: number, cpu, from: since, to: at, open: false };
            out(self, Step::Ready { phase, after, way });
        }
        if let Some((waker, woken_at, by)) = woken {
            out(self, Step::Woke { thread: number, waker, woken: (woken_at, by), ran: (at, cpu) });
        }
    }

    fn switched_out(&mut self, note: &Note, out: Out<'_>) {
        let (at, number) = (note.time, note.thread);
        let left = Left::of(note.reason).unwrap_or(Left::Park);
        let thread = self.thread(number);
        let reason = match left {
            Left::Yield if thread.preempted => Reason::Preempted,
            Left::Yield => Reason::Yield,
            _ if thread.lock.is_some() => Reason::Lock,
            Left::Park | Left::Exit => Reason::Park,
            Left::Sleep => Reason::Sleep,
            Left::Channel => Reason::Channel,
            Left::Wait => Reason::Wait,
            Left::Join => Reason::Join,
        };
        let exits = left == Left::Exit;
        let before = thread.now;
        thread.now = match left {
            Left::Exit => Now::Gone,
            Left::Yield => Now::Ready { since: at, after: reason, way: Way::Unknown },
            _ if thread.early => Now::Ready { since: at, after: reason, way: Way::Unknown },
            _ => Now::Waiting { since: at, cpu: note.cpu, reason, lock: thread.lock },
        };
        (thread.early, thread.preempted) = (false, false);
        if let Now::Running { cpu, since, span_since } = before {
            out(self, Step::RanIn { thread: number, from: span_since, to: at });
            let phase = Phase { thread: number, cpu, from: since, to: at, open: false };
            out(self, Step::Ran { phase, until: Some(reason), exits });
        }
        if exits {
            self.thread(number).spans = Vec::new();
        }
    }

    fn stayed(&mut self, note: &Note, out: Out<'_>) {
        let (at, cpu, number) = (note.time, note.cpu, note.thread);
        let thread = self.thread(number);
        let before = thread.now;
        if !matches!(before, Now::Running { .. }) {
            thread.now = Now::Running { cpu, since: at, span_since: at };
        }
        (thread.early, thread.woken) = (false, None);
        if let Now::Ready { since, after, way } = before {
            let phase = Phase { thread: number, cpu, from: since, to: at, open: false };
            out(self, Step::Ready { phase, after, way });
        }
        self.count(number, None, at, out);
    }

    fn throttled(&mut self, note: &Note, out: Out<'_>) {
        self.count(note.thread, None, note.time, out);
        self.thread(note.thread).now =
            Now::Waiting { since: note.time, cpu: note.cpu, reason: Reason::Throttled, lock: None };
    }

    fn span(&mut self, note: &Note, out: Out<'_>) {
        let at = note.time;
        if let Now::Running { span_since, .. } = &mut self.thread(note.thread).now {
            let from = std::mem::replace(span_since, at);
            out(self, Step::RanIn { thread: note.thread, from, to: at });
        }
        let spans = &mut self.thread(note.thread).spans;
        if note.event == Event::SpanBegin {
            spans.push((note.argument, at));
            return;
        }
        // Ends that were lost end with the one around them.
        let Some(place) = spans.iter().rposition(|(label, _)| *label == note.argument) else { return };
        let ended: Vec<_> = spans.drain(place..).collect();
        for (inner, (label, from)) in ended.into_iter().enumerate().rev() {
            let phase = Phase { thread: note.thread, cpu: note.cpu, from, to: at, open: false };
            out(self, Step::Span { phase, label, depth: (place + inner) as u32 });
        }
    }
}
