//! A consumer group from which one leaves: `rebalance [PARTITIONS [CONSUMERS [MESSAGES [LOAD]]]]`, the time to load in us.
//!
//! A producer appends a message to each of PARTITIONS queues each 500 us, MESSAGES in each. CONSUMERS threads share the
//! partitions; in the middle one of them leaves, and its partitions go to the others. Who gets a partition has to load its state
//! first, which takes LOAD (a timer, as a disk is to who waits for its interrupt).
//!
//! * `rebalance_eager`: all give up all partitions, and once everybody has, each loads those that it has from now on;
//! * `rebalance_cooperative`: only the partitions of the one that leaves change hands, and only they are loaded.
//!
//! In both, a consumer that loads one serves those that it has already before it loads the next.
//!
//! Both are the time from when a message was due to when it was consumed; `rebalance_lost` is how many never were: 0.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use isochron::channel::Receiver;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron_apps::arguments::numbers;
use isochron_apps::measure::Recorder;

const APART: Duration = Duration::from_micros(500);

#[isochron::main]
fn main() -> u8 {
    let wanted = [
        ("the number of partitions", 24, 1, 1000),
        ("the number of consumers", 6, 2, 1000),
        ("the number of messages", 400, 2, 1_000_000),
        ("the time to load", 1000, 1, 1_000_000),
    ];
    let [partitions, consumers, messages, load] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("rebalance: {error}");
            return 2;
        }
    };
    let mut lost = 0;
    for (name, eager) in [("rebalance_eager", true), ("rebalance_cooperative", false)] {
        let mut delay = run(partitions as usize, consumers, messages, Duration::from_micros(load), eager);
        let (p50, p99) = (delay.percentile(50_000) / 1_000_000, delay.percentile(99_000) / 1_000_000);
        println!("{name:22} {p50:>6} us P50 {p99:>6} us P99");
        lost += partitions * messages - delay.count();
        delay.send(name);
    }
    report::value("rebalance_lost", "count", Fixed::from_int(lost));
    if lost == 0 { exit::PASSED } else { exit::FAILED }
}

/// What all share: the queues, who has which, and the wave of changes.
struct Group {
    queues: Vec<Receiver<Instant>>,
    /// The consumer of each partition.
    owners: Vec<AtomicU64>,
    /// Rebalances so far.
    generation: AtomicU64,
    /// Where all meet who give up all that they have.
    gathering: Barrier,
    eager: bool,
    load: Duration,
}

fn run(partitions: usize, consumers: u64, messages: u64, load: Duration, eager: bool) -> Recorder {
    let (appends, queues): (Vec<_>, Vec<_>) = (0..partitions).map(|_| channel::bounded(messages as usize)).unzip();
    let group = Arc::new(Group {
        queues,
        owners: (0..partitions as u64).map(|partition| AtomicU64::new(partition % consumers)).collect(),
        generation: AtomicU64::new(0),
        gathering: Barrier::new(consumers as u32),
        eager,
        load,
    });
    let threads: Vec<_> = (0..consumers)
        .map(|me| {
            let group = group.clone();
            spawn(move || group.consume(me))
        })
        .collect();
    let handles: Vec<_> = threads.iter().map(JoinHandle::thread).collect();
    let mut due = Instant::now() + APART;
    for message in 0..messages {
        sleep_until(due);
        if message == messages / 2 {
            // Consumer 0 leaves: the others have its partitions, in turn.
            let leaving = group.owners.iter().filter(|owner| owner.load(Ordering::Relaxed) == 0);
            leaving.zip((1..consumers).cycle()).for_each(|(owner, next)| owner.store(next, Ordering::Relaxed));
            // Release: partner is the acquire in `consume`.
            group.generation.fetch_add(1, Ordering::Release);
            handles.iter().for_each(thread::Thread::unpark);
        }
        for (append, owner) in appends.iter().zip(&group.owners) {
            let _ = append.send(due);
            handles[owner.load(Ordering::Relaxed) as usize].unpark();
        }
        due += APART;
    }
    drop(appends);
    handles.iter().for_each(thread::Thread::unpark);
    let mut delay = Recorder::new();
    threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().for_each(|ps| delay.record(ps));
    delay
}

impl Group {
    /// Consumer `me`, until all its queues are closed and empty. How long each of its messages took.
    fn consume(&self, me: u64) -> Vec<u64> {
        let owned = || {
            let of_mine = |&partition: &usize| self.owners[partition].load(Ordering::Relaxed) == me;
            (0..self.owners.len()).filter(of_mine).collect::<Vec<_>>()
        };
        let (mut mine, mut to_load, mut seen, mut delays) = (owned(), Vec::new(), 0, Vec::new());
        loop {
            // Acquire: partner is the release in `run`: who sees the number sees the owners.
            let generation = self.generation.load(Ordering::Acquire);
            if generation != seen {
                seen = generation;
                if self.eager {
                    self.gathering.wait();
                    mine.clear();
                }
                let now = owned();
                mine.retain(|partition| now.contains(partition));
                to_load = now.into_iter().filter(|partition| !mine.contains(partition)).collect();
            }
            // One after the other; in between, what is there already is served.
            if let Some(partition) = to_load.pop() {
                sleep(self.load);
                mine.push(partition);
            }
            let mut open = false;
            for &partition in &mine {
                let queue = &self.queues[partition];
                for due in queue.try_iter() {
                    delays.push(Instant::now().duration_since(due).as_nanos() * 1000);
                }
                open |= !(queue.is_closed() && queue.is_empty());
            }
            if !to_load.is_empty() {
                continue;
            }
            if !open && (seen > 0 || !mine.is_empty()) {
                return delays;
            }
            park();
        }
    }
}
