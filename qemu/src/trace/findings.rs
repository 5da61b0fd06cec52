//! What stands out in a recording, in sentences: where to look first.
//!
//! Nothing is found in what is usual: each rule has a bound, and says what it has seen.

use super::picture::{CpuFigures, Picture};
use crate::style::{grouped, quantity};
use isochron_wire::Fixed;

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which rule: a word that stays.
    pub kind: &'static str,
    /// In a sentence or two.
    pub text: String,
    /// The thread it leads to.
    pub thread: Option<String>,
    /// The mutex.
    pub lock: Option<String>,
    /// The CPU.
    pub cpu: Option<u32>,
    /// How much time it is about, in ns; for the order.
    pub ns: u64,
}

/// Waits for a mutex that are shorter are usual, in ns.
const LONG_LOCK: u64 = 1_000_000;
/// Waits for a CPU that are shorter are usual: who shares one with others waits for some quanta.
const LONG_READY: u64 = 4_000_000;
/// A thread that ran for so much of another's wait is why it waited, in per cent.
const BLAME: u64 = 80;
/// Threads that wait for one CPU while others have none.
const FLOOD: u64 = 16;

/// A time as people read it.
#[must_use]
pub fn time(ns: u64) -> String {
    quantity(Fixed::from_int(ns), "ns")
}

/// All, the gravest first.
#[must_use]
pub fn find(picture: &Picture) -> Vec<Finding> {
    let mut found = locks(picture);
    found.extend(hogs(picture));
    found.extend(floods(picture));
    found.sort_by_key(|finding| std::cmp::Reverse(finding.ns));
    found
}

/// Mutexes that somebody waited for too long.
fn locks(picture: &Picture) -> Vec<Finding> {
    let long = picture.locks.values().filter_map(|lock| Some((lock, lock.longest.filter(|l| l.2 >= LONG_LOCK)?)));
    let finding =
        |(lock, (waiter, holder, ns, open)): (&super::picture::LockFigures, (u64, Option<u64>, u64, bool))| {
            let waiter = picture.thread_name(waiter);
            let holder = holder.map(|holder| picture.thread_name(holder));
            let by = holder.as_ref().map_or_else(String::new, |holder| format!(", held by '{holder}'"));
            let still = if open { " and still does at the end" } else { "" };
            let text = format!(
                "'{waiter}' waited {} for {}{by}{still}; all waits for it, {}, took {}",
                time(ns),
                lock.name,
                grouped(lock.waits.count()),
                time(lock.waits.total()),
            );
            Finding { kind: "lock_held_long", text, thread: holder, lock: Some(lock.name.clone()), cpu: None, ns }
        };
    long.map(finding).collect()
}

/// Threads that others could not run for: one for each thread and CPU.
fn hogs(picture: &Picture) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for delay in picture.worst.iter().filter(|delay| delay.ns >= LONG_READY) {
        let Some((thread, ran)) = delay.meanwhile.first().filter(|(_, ran)| ran * 100 >= delay.ns * BLAME) else {
            continue;
        };
        let (hog, cpu) = (picture.thread_name(*thread), delay.phase.cpu);
        if found.iter().any(|known| known.thread.as_ref() == Some(&hog) && known.cpu == Some(cpu)) {
            continue;
        }
        let text = format!(
            "'{}' was ready for {} (after {}) while '{hog}' ran on CPU {cpu} for {} of that; the longest that '{hog}' ran \
             without giving way: {}",
            picture.thread_name(delay.phase.thread),
            time(delay.ns),
            delay.after.name(),
            time(*ran),
            time(picture.threads.get(thread).map_or(0, |thread| thread.longest_run)),
        );
        found.push(Finding { kind: "cpu_hogged", text, thread: Some(hog), lock: None, cpu: Some(cpu), ns: delay.ns });
    }
    found
}

/// CPUs that many threads waited for while others had nothing to do.
fn floods(picture: &Picture) -> Vec<Finding> {
    let length = picture.length();
    let spare = |cpu: &CpuFigures| cpu.idle.max(length.saturating_sub(cpu.ran));
    let finding = |(number, cpu): (usize, &CpuFigures)| {
        let depth = cpu.depth.max();
        let others = picture.cpus.iter().enumerate().filter(|(other, _)| *other != number);
        let (idlest, idle) = others.map(|(other, cpu)| (other, spare(cpu))).max_by_key(|(_, idle)| *idle)?;
        let columns = cpu.depth.columns();
        let flooded = columns.iter().filter(|depth| **depth >= FLOOD).count() as u64;
        let ns = length * flooded / columns.len() as u64;
        if depth < FLOOD || idle < ns / 2 || ns < LONG_READY {
            return None;
        }
        let text = format!(
            "up to {} threads waited for CPU {number}, and at least {FLOOD} for {}, while CPU {idlest} had nothing to run for {}; \
             CPUs stole {} threads in all",
            grouped(depth),
            time(ns),
            time(idle),
            grouped(picture.cpus.iter().map(|cpu| cpu.stolen).sum()),
        );
        Some(Finding { kind: "queue_flooded", text, thread: None, lock: None, cpu: Some(number as u32), ns })
    };
    picture.cpus.iter().enumerate().filter_map(finding).collect()
}
