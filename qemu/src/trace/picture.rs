//! All figures of a recording, in one pass: what summaries and pictures are made of.
//!
//! What it keeps grows with the number of threads, names and locks, not with that of records.

use super::figures::{Series, Times};
use super::follow::Follower;
use super::steps::{LockWait, Phase, Reason, Step, Waker};
use isochron_wire::trace::Event;
use isochron_wire::trace::area::MAX_CPUS;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// What can be set.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Settings {
    /// Columns of the heat map, the last for all that is longer.
    pub bins: usize,
    /// How wide one is, in ns; `None`: each is twice as wide as the one before.
    pub bin_ns: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bins: 20, bin_ns: None }
    }
}

impl Settings {
    /// Where a column of the heat map begins, in ns.
    #[must_use]
    pub fn edge(&self, bin: usize) -> u64 {
        match self.bin_ns {
            Some(width) => width.saturating_mul(bin as u64),
            None if bin == 0 => 0,
            None => 128 << (bin - 1).min(56),
        }
    }

    fn bin(&self, ns: u64) -> usize {
        (0..self.bins).rfind(|bin| self.edge(*bin) <= ns).unwrap_or(0)
    }
}

/// Columns of series over time.
pub const COLUMNS: usize = 400;
/// Threads' names and CPUs of which the longest delay is kept.
const WORST: usize = 4096;
/// Runs of a CPU that are remembered, to say who ran while others waited.
const RECENT: usize = 512;

/// One CPU's.
#[derive(Clone, Debug)]
pub struct CpuFigures {
    /// Time that threads ran on it, in ns.
    pub ran: u64,
    /// Time that it had nothing to run.
    pub idle: u64,
    /// Switches to a thread.
    pub switches: u64,
    /// Threads taken off it against their will.
    pub preempted: u64,
    /// Threads that it has stolen.
    pub stolen: u64,
    /// How long threads waited for it.
    pub delays: Times,
    /// How late its timer's handler began.
    pub timers: Times,
    /// How long interrupts to it took.
    pub ipis: Times,
    /// Threads that waited for it.
    pub depth: Series,
    /// The heat map's row: delays by how long they were.
    pub heat: Vec<u64>,
    recent: VecDeque<Phase>,
}

/// One thread's.
#[derive(Clone, Debug, Default)]
pub struct ThreadFigures {
    /// What it is called.
    pub name: String,
    /// Its family, by number.
    family: usize,
    /// Time it ran, in ns, and how often.
    pub ran: u64,
    /// How often it began to.
    pub runs: u64,
    /// How often it was taken off its CPU.
    pub preempted: u64,
    /// The longest it ran without giving way, in ns.
    pub longest_run: u64,
    /// Time it waited for a CPU, in ns.
    pub ready: u64,
    /// The longest of these.
    pub worst: u64,
    /// Time it waited for something, in ns.
    pub waited: u64,
    /// Threads that it woke.
    pub woke: u64,
    /// It has come to its end.
    pub gone: bool,
}

/// Threads of one name.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// How many threads.
    pub threads: u64,
    /// Time they ran, in ns.
    pub ran: u64,
    /// How long they waited for a CPU.
    pub delays: Times,
}

/// What threads waited for.
#[derive(Clone, Debug, Default)]
pub struct ReasonFigures {
    /// How long.
    pub waits: Times,
    /// How long they then waited for a CPU.
    pub delays: Times,
}

/// One mutex's.
#[derive(Clone, Debug, Default)]
pub struct LockFigures {
    /// What it is called.
    pub name: String,
    /// How long threads waited for it.
    pub waits: Times,
    /// The longest: who, for whom, and for how many ns; still at the end.
    pub longest: Option<(u64, Option<u64>, u64, bool)>,
}

/// A long wait for a CPU.
#[derive(Clone, PartialEq, Debug)]
pub struct Delay {
    /// Who, where, when.
    pub phase: Phase,
    /// How long, in ns.
    pub ns: u64,
    /// What it had waited for before.
    pub after: Reason,
    /// How it came there.
    pub way: &'static str,
    /// Who ran on that CPU meanwhile, and for how many ns; the longest first.
    pub meanwhile: Vec<(u64, u64)>,
}

/// A way by which waits end: who waited, for what, for which mutex, and who ended that.
pub type Path = (String, Reason, Option<u64>, String);

/// See the module's documentation.
#[derive(Debug)]
pub struct Picture {
    /// As it was asked for.
    pub settings: Settings,
    hz: u64,
    range: (u64, u64),
    /// By CPU.
    pub cpus: Vec<CpuFigures>,
    /// By number.
    pub threads: HashMap<u64, ThreadFigures>,
    /// Threads by name.
    pub families: Vec<Family>,
    family_numbers: HashMap<String, usize>,
    /// By reason.
    pub reasons: BTreeMap<Reason, ReasonFigures>,
    /// All waits for a CPU.
    pub delays: Times,
    /// The same by how the thread came there.
    pub ways: BTreeMap<&'static str, Times>,
    /// From a wake-up to the run on the same CPU, and on another.
    pub wakes: [Times; 2],
    /// By address.
    pub locks: HashMap<u64, LockFigures>,
    /// Waits by their ends: how many, how long in ns.
    pub paths: HashMap<Path, (u64, u64)>,
    /// The longest waits for a CPU, one for each name and CPU.
    pub worst: Vec<Delay>,
    /// Where among these.
    longest: HashMap<(usize, u32), usize>,
    /// Named parts of the program, by label: how long they took.
    pub spans: BTreeMap<u64, Times>,
    /// Counters, by the lower half of their label: how often set, the least, the greatest, the last value.
    pub counters: BTreeMap<u32, (u64, u64, u64, u64)>,
    /// Other events, counted.
    pub others: BTreeMap<&'static str, u64>,
    run_time: HashMap<(usize, Vec<u64>), u64>,
}

impl Picture {
    /// Of a recording whose clock goes so fast, and that has this range of times.
    #[must_use]
    pub fn new(settings: Settings, hz: u64, range: (u64, u64)) -> Self {
        Self {
            settings,
            hz,
            range,
            cpus: Vec::new(),
            threads: HashMap::new(),
            families: Vec::new(),
            family_numbers: HashMap::new(),
            reasons: BTreeMap::new(),
            delays: Times::default(),
            ways: BTreeMap::new(),
            wakes: [Times::default(), Times::default()],
            locks: HashMap::new(),
            paths: HashMap::new(),
            worst: Vec::new(),
            longest: HashMap::new(),
            spans: BTreeMap::new(),
            counters: BTreeMap::new(),
            others: BTreeMap::new(),
            run_time: HashMap::new(),
        }
    }

    /// Ticks in ns.
    #[must_use]
    pub fn ns(&self, ticks: u64) -> u64 {
        u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(self.hz)).unwrap_or(u64::MAX)
    }

    /// A moment, in ns since the recording began.
    #[must_use]
    pub fn since_start(&self, ticks: u64) -> u64 {
        self.ns(ticks.saturating_sub(self.range.0))
    }

    /// How long the recording is, in ns.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.since_start(self.range.1)
    }

    fn place(&self, ticks: u64) -> f64 {
        ticks.saturating_sub(self.range.0) as f64 / (self.range.1 - self.range.0).max(1) as f64
    }

    /// Takes in the next step.
    pub fn take(&mut self, follower: &Follower, step: &Step) {
        match *step {
            Step::Ran { phase, until, exits } => self.ran(follower, phase, until, exits),
            Step::RanIn { thread, from, to } => {
                let (ns, family) = (self.ns(to.saturating_sub(from)), self.thread(follower, thread).family);
                *self.run_time.entry((family, follower.spans(thread).collect())).or_default() += ns;
            }
            Step::Waited { phase, reason, waker, lock } => self.waited(follower, phase, reason, waker, lock),
            Step::Ready { phase, after, way } => {
                if way.is_theft() && !phase.open {
                    self.cpu(phase.cpu).stolen += 1;
                }
                self.ready(follower, phase, after, way.name());
            }
            Step::Woke { waker, woken, ran, .. } => {
                let ns = self.ns(ran.0.saturating_sub(woken.0));
                self.wakes[usize::from(woken.1 != ran.1)].record(ns);
                if let Waker::Thread(thread) = waker {
                    self.thread(follower, thread).woke += 1;
                }
            }
            Step::Depth { cpu, at, depth } => {
                let place = self.place(at);
                self.cpu(cpu).depth.set(place, depth);
            }
            Step::Idled { cpu, from, to } => self.cpu(cpu).idle += self.ns(to.saturating_sub(from)),
            Step::Timer { cpu, due, at } => {
                let late = self.ns(at.saturating_sub(due));
                self.cpu(cpu).timers.record(late);
            }
            Step::Ipi { to, sent, taken, .. } => {
                let ns = self.ns(taken.saturating_sub(sent));
                self.cpu(to).ipis.record(ns);
            }
            Step::Span { phase, label, .. } => {
                let ns = self.ns(phase.ticks());
                self.spans.entry(label).or_default().record(ns);
            }
            Step::Count { label, value, .. } => {
                let counter = self.counters.entry(label).or_insert((0, value, value, value));
                *counter = (counter.0 + 1, counter.1.min(value), counter.2.max(value), value);
            }
            Step::Noted { note } => {
                let name = match note.event {
                    Event::Mark => "marks",
                    Event::PageFault => "page faults",
                    Event::Refused => "refusals of memory",
                    Event::Pressure => "levels of memory",
                    _ => "unexpected interrupts",
                };
                *self.others.entry(name).or_default() += 1;
            }
        }
    }

    /// No step follows.
    pub fn finish(&mut self, follower: &Follower) {
        self.cpus.iter_mut().for_each(|cpu| cpu.depth.reach(1.0));
        for (thread, figures) in &mut self.threads {
            figures.name = follower.name(*thread);
        }
        self.worst.sort_by_key(|delay| std::cmp::Reverse(delay.ns));
    }

    /// What a mutex is called.
    #[must_use]
    pub fn lock_name(&self, lock: u64) -> String {
        self.locks.get(&lock).map(|lock| lock.name.clone()).unwrap_or_default()
    }

    /// What a thread is called.
    #[must_use]
    pub fn thread_name(&self, thread: u64) -> String {
        self.threads.get(&thread).map_or_else(|| format!("thread-{thread}"), |thread| thread.name.clone())
    }

    /// Run time by thread name and named parts, in ns: each a stack, outermost first.
    pub fn run_stacks<'n>(&'n self, names: &'n BTreeMap<u64, String>) -> impl Iterator<Item = (Vec<String>, u64)> + 'n {
        self.run_time.iter().map(move |((family, spans), ns)| {
            let label = |label: &u64| names.get(label).cloned().unwrap_or_else(|| format!("part at {label:#x}"));
            let family = self.families[*family].name.clone();
            (std::iter::once(family).chain(spans.iter().map(label)).collect(), *ns)
        })
    }

    fn cpu(&mut self, cpu: u32) -> &mut CpuFigures {
        let cpu = cpu.min(MAX_CPUS - 1) as usize;
        while self.cpus.len() <= cpu {
            self.cpus.push(CpuFigures {
                ran: 0,
                idle: 0,
                switches: 0,
                preempted: 0,
                stolen: 0,
                delays: Times::default(),
                timers: Times::default(),
                ipis: Times::default(),
                depth: Series::new(COLUMNS),
                heat: vec![0; self.settings.bins],
                recent: VecDeque::new(),
            });
        }
        &mut self.cpus[cpu]
    }

    fn thread(&mut self, follower: &Follower, thread: u64) -> &mut ThreadFigures {
        if !self.threads.contains_key(&thread) {
            let name = follower.family(thread);
            let family = *self.family_numbers.entry(name.clone()).or_insert_with(|| {
                self.families.push(Family { name, ..Family::default() });
                self.families.len() - 1
            });
            self.families[family].threads += 1;
            self.threads.insert(thread, ThreadFigures { family, ..ThreadFigures::default() });
        }
        self.threads.entry(thread).or_default()
    }

    fn ran(&mut self, follower: &Follower, phase: Phase, until: Option<Reason>, exits: bool) {
        let (ns, was_preempted) = (self.ns(phase.ticks()), u64::from(until == Some(Reason::Preempted)));
        let cpu = self.cpu(phase.cpu);
        cpu.ran += ns;
        cpu.switches += 1;
        cpu.preempted += was_preempted;
        if cpu.recent.len() == RECENT {
            cpu.recent.pop_front();
        }
        cpu.recent.push_back(phase);
        let thread = self.thread(follower, phase.thread);
        thread.ran += ns;
        thread.runs += 1;
        thread.preempted += was_preempted;
        thread.longest_run = thread.longest_run.max(ns);
        thread.gone |= exits;
        let family = thread.family;
        self.families[family].ran += ns;
    }

    fn waited(
        &mut self,
        follower: &Follower,
        phase: Phase,
        reason: Reason,
        waker: Option<Waker>,
        lock: Option<LockWait>,
    ) {
        let ns = self.ns(phase.ticks());
        self.thread(follower, phase.thread).waited += ns;
        if !phase.open {
            self.reasons.entry(reason).or_default().waits.record(ns);
        }
        if let Some(LockWait { lock, holder }) = lock {
            let figures = self.locks.entry(lock).or_default();
            figures.waits.record(ns);
            if figures.longest.is_none_or(|longest| longest.2 < ns) {
                figures.longest = Some((phase.thread, holder, ns, phase.open));
            }
        }
        let ended_by = match waker {
            Some(Waker::Thread(thread)) => follower.family(thread),
            Some(Waker::Timer) => "the timer".into(),
            Some(Waker::Machine) => "an interrupt".into(),
            None => "nobody yet".into(),
        };
        let path = (follower.family(phase.thread), reason, lock.map(|lock| lock.lock), ended_by);
        let (count, total) = self.paths.entry(path).or_default();
        (*count, *total) = (*count + 1, *total + ns);
    }

    fn ready(&mut self, follower: &Follower, phase: Phase, after: Reason, way: &'static str) {
        let ns = self.ns(phase.ticks());
        let thread = self.thread(follower, phase.thread);
        thread.ready += ns;
        thread.worst = thread.worst.max(ns);
        let family = thread.family;
        if !phase.open {
            self.families[family].delays.record(ns);
            self.delays.record(ns);
            self.reasons.entry(after).or_default().delays.record(ns);
            self.ways.entry(way).or_default().record(ns);
            let bin = self.settings.bin(ns);
            let cpu = self.cpu(phase.cpu);
            cpu.delays.record(ns);
            cpu.heat[bin] += 1;
        }
        let known = self.longest.get(&(family, phase.cpu)).map(|at| self.worst[*at].ns);
        if known.map_or(self.worst.len() < WORST, |known| ns > known) {
            let delay = Delay { phase, ns, after, way, meanwhile: self.meanwhile(phase) };
            let at = *self.longest.entry((family, phase.cpu)).or_insert(self.worst.len());
            if at < self.worst.len() {
                self.worst[at] = delay;
            } else {
                self.worst.push(delay);
            }
        }
    }

    /// Who ran on a CPU while a thread waited for it.
    fn meanwhile(&self, phase: Phase) -> Vec<(u64, u64)> {
        let Some(cpu) = self.cpus.get(phase.cpu as usize) else { return Vec::new() };
        let mut ran = HashMap::<u64, u64>::new();
        for run in cpu.recent.iter().rev().take_while(|run| run.to > phase.from) {
            let ticks = run.to.min(phase.to).saturating_sub(run.from.max(phase.from));
            *ran.entry(run.thread).or_default() += self.ns(ticks);
        }
        let mut ran: Vec<_> = ran.into_iter().filter(|(thread, _)| *thread != phase.thread).collect();
        ran.sort_by_key(|(thread, ns)| (std::cmp::Reverse(*ns), *thread));
        ran.truncate(4);
        ran
    }

    /// Gives mutexes their names.
    pub fn name_locks(&mut self, names: &BTreeMap<u64, String>) {
        for (address, lock) in &mut self.locks {
            lock.name = names.get(address).cloned().unwrap_or_else(|| format!("a mutex at {address:#x}"));
        }
    }
}
