//! The measures there are, in the order in which they run.

use super::{
    barriers, channels, clock, cross_cpu, hand_over, idle, lines, litmus, local, noise, spawning, timers, yields,
};
use isochron::CpuId;
use isochron::thread::SpawnError;
use isochron_apps::measure::{Overhead, Plan, Recorder, batches};
use isochron_apps::options::Options;

/// Where all happens that needs one CPU.
pub const HERE: CpuId = CpuId::PRIMARY;
/// The other one, where a measure needs two.
pub const THERE: CpuId = CpuId::new(1);

/// What a measure is given.
pub struct Context<'a> {
    pub options: &'a Options<'a>,
    pub overhead: Overhead,
    /// CPUs that run threads.
    pub cpus: usize,
}

impl Context<'_> {
    /// How many samples a measure takes that takes `usual` by itself.
    pub fn samples(&self, usual: u64) -> u64 {
        self.options.samples.unwrap_or(usual)
    }

    /// The plan for a short thing: see [`Plan`].
    pub fn plan(&self, batch: u64) -> Plan {
        Plan::new(self.samples(4000), batch)
    }

    /// Times `call` as planned and sends what comes out.
    pub fn time(&self, name: &str, plan: Plan, call: impl FnMut()) {
        batches(&self.overhead, plan, call).send(name);
    }

    /// Times what `with` takes longer than `without` and sends what comes out.
    ///
    /// Batches of the two take turns, so that a change of the CPU's pace meets both.
    pub fn difference(&self, name: &str, plan: Plan, mut without: impl FnMut(), mut with: impl FnMut()) {
        let mut recorder = Recorder::new();
        for index in 0..plan.warm_up() + plan.samples {
            let (less, more) = (plan.time(&mut without), plan.time(&mut with));
            if index >= plan.warm_up() {
                recorder.record(more.saturating_sub(less) / plan.batch);
            }
        }
        recorder.send(name);
    }
}

/// One measure, or several that are taken together.
pub struct Measure {
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// CPUs it needs.
    pub cpus: usize,
    pub run: fn(&Context<'_>) -> Result<(), SpawnError>,
}

const fn measure(
    name: &'static str,
    cpus: usize,
    run: fn(&Context<'_>) -> Result<(), SpawnError>,
    about: &'static str,
) -> Measure {
    Measure { name, about, cpus, run }
}

pub static MEASURES: &[Measure] = &[
    measure("clock_read", 1, clock::read, "one ordered reading of the CPU's counter"),
    measure("yield_alone", 1, yields::alone, "a yield with nobody else to run"),
    measure("yield_switch", 1, yields::switch, "a yield to another thread of the same CPU, one way"),
    measure("handover_round", 1, hand_over::round, "unpark and park to another thread of the same CPU and back"),
    measure("channel_round_same_cpu", 1, channels::same_cpu, "a message to another thread and one back, on one CPU"),
    measure("channel_round_cross_cpu", 2, channels::cross_cpu, "a message to a thread on another CPU and one back"),
    measure("spawn_join", 1, spawning::spawn_join, "making a thread, running it and fetching its result"),
    measure("mutex_uncontended", 1, local::mutex, "locking and unlocking a mutex that nobody else wants"),
    measure("rwlock_uncontended", 1, local::rwlock, "the same of a reader-writer lock, to read and to write"),
    measure("once_done", 1, local::once, "a value that is made once and is there already"),
    measure("alloc_free_64", 1, local::alloc_free, "allocating 64 bytes and freeing them"),
    measure("barrier_pair", 1, barriers::pairs, "a full barrier each time, against one system-wide barrier at times"),
    measure("timer_wake_late", 1, timers::alone, "how late a sleeper wakes, 1 ms period, idle CPU"),
    measure("timer_wake_late_beside_hog", 1, timers::beside_hog, "the same beside a thread that never yields"),
    measure("quantum_length", 1, timers::quantum_length, "how long a hog runs beside another, quantum 100 us"),
    measure("ipi_latency", 2, cross_cpu::ipi, "from sending an interrupt to another CPU to its handler"),
    measure("cross_cpu_wake", 2, cross_cpu::wake, "from unpark to the first instruction of a thread on an idle CPU"),
    measure("idle_wake", 2, idle::tiers, "the same by how deep that CPU idles: it spins, watches a word, sleeps"),
    measure("noise_gap", 1, noise::gap, "what interrupts a thread that has the last CPU to itself"),
    measure("line_transfer", 2, lines::transfer, "a cache line from core to core, one way, every pair"),
    measure("stale_read_litmus", 2, litmus::stale_reads, "reads of another CPU's state that come out old, by barrier"),
];
