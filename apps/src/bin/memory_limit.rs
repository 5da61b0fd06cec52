//! Groups with a limit on their memory: told, refused, ended; and what the death of a crowd does to others:
//! `memory_limit [MEMBERS [LIMIT]]`, the limit in KiB.
//!
//! * **A cache** that may have LIMIT keeps what it was given, and is told when it has used 50, 80 and 95 % of it: then it throws
//!   the oldest half away. It is never ended: `cache_told`, `cache_peak` (per mille of the limit), `cache_refused`.
//! * **A greedy group** takes memory until it is refused, in code that cannot tell. It is ended, with twenty threads that do
//!   other things; a thread beside it goes on: `greedy_ended`, `greedy_kept` (bytes that are charged to it still), `beside_turns`.
//! * **A crowd** of MEMBERS packed threads, bound to the primary CPU, waits and is then ended all at once, while a thread on that
//!   CPU and one on each other CPU sleep until a deadline, over and over, 203 us apart: `crowd_late_alone`, with nobody dying;
//!   `crowd_late_same_cpu`, `crowd_late_other_cpu`, while they die; `crowd_exit`, how long all that took, and `crowd_exit_each`.
//!
//! 100,000 members want a machine with 512 MiB.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use isochron::group::{self, Group};
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::thread::{Builder, Death, JoinHandle, SlotSize};
use isochron_apps::arguments::numbers;
use isochron_apps::measure::{Recorder, on, picoseconds};

type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;

/// Not a divisor of anything that the scheduler does at regular times.
const APART: Duration = Duration::from_micros(203);
/// How often a sleeper wakes with nobody dying.
const ALONE: u64 = 1000;

/// Members of the crowd that had their first turn.
static BEGUN: AtomicU64 = AtomicU64::new(0);

#[isochron::main]
fn main() -> u8 {
    let wanted = [("the number of members", 20_000, 1, 1_000_000), ("the limit", 8 << 10, 1 << 10, 1 << 20)];
    let [members, limit] = match numbers(isochron::args(), wanted) {
        Ok(numbers) => numbers,
        Err(error) => {
            println!("memory_limit: {error}");
            return 2;
        }
    };
    let limit = limit as usize * 1024;
    let done = cache(limit).and_then(|()| greedy(limit)).and_then(|()| crowd(members));
    match done {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("memory_limit: {error}");
            exit::FAILED
        }
    }
}

fn count(name: &str, count: u64) {
    println!("{name}: {count}");
    report::value(name, "count", Fixed::from_int(count));
}

/// It heeds what it is told.
fn cache(limit: usize) -> Result<()> {
    let group = group::Builder::new("cache").memory_limit(limit).create()?;
    let (told, shed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counts, asks) = (told.clone(), shed.clone());
    group.on_pressure(&[50, 80, 95], move |pressure| {
        counts.fetch_add(u64::from(!pressure.over), Ordering::Relaxed);
        // The cache is filled by another thread, which does it when it next looks.
        asks.store(pressure.percent >= 80, Ordering::Relaxed);
    })?;
    let filler = Builder::new().group(&group).spawn(move || {
        let mut entries: Vec<Vec<u8>> = Vec::with_capacity(limit / 1000);
        for number in 0..4 * limit / 4000 {
            if shed.swap(false, Ordering::Relaxed) {
                entries.drain(..entries.len() / 2);
            }
            let mut entry = Vec::new();
            if entry.try_reserve_exact(4000).is_err() {
                entries.drain(..entries.len() / 2);
                continue;
            }
            entry.resize(4000, number as u8);
            entries.push(entry);
            if number.is_multiple_of(16) {
                yield_now();
            }
        }
        entries.len()
    })?;
    filler.join()?;
    let memory = group.memory().unwrap_or_default();
    count("cache_told", told.load(Ordering::Relaxed));
    count("cache_refused", memory.refused);
    report::value("cache_peak", "per_mille", Fixed::from_ratio(memory.peak as u64 * 1000, memory.limit as u64));
    if memory.over { Err("the cache was ended, although it heeds what it is told".into()) } else { Ok(()) }
}

/// It does not.
fn greedy(limit: usize) -> Result<()> {
    // SAFETY: its threads hand nothing out.
    let group = unsafe { group::Builder::new("greedy").memory_limit(limit).confined() }.create()?;
    let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (its, counts) = (stop.clone(), turns.clone());
    let beside = spawn(move || {
        while !its.load(Ordering::Relaxed) {
            let block = vec![0_u8; 1000];
            counts.fetch_add((block.len() / 1000) as u64, Ordering::Relaxed);
            sleep(Duration::from_micros(100));
        }
    });
    let mut threads = Vec::new();
    for number in 0..20 {
        threads.push(Builder::new().group(&group).stack_size(16 << 10).spawn(move || match number % 2 {
            0 => park(),
            _ => loop {
                yield_now();
            },
        })?);
    }
    threads.push(Builder::new().group(&group).spawn(|| {
        let mut all = Vec::new();
        while all.len() < usize::MAX {
            all.push(vec![1_u8; 3000]);
        }
    })?);
    for thread in threads {
        if thread.join() != Err(Death::OverLimit) {
            return Err("a thread of the greedy group was not ended".into());
        }
    }
    empty(&group);
    let memory = group.memory().unwrap_or_default();
    stop.store(true, Ordering::Relaxed);
    beside.join()?;
    count("greedy_ended", memory.ended);
    count("greedy_kept", memory.used as u64);
    count("beside_turns", turns.load(Ordering::Relaxed));
    Ok(())
}

/// Waits until nobody is in the group, and its memory is given back.
fn empty(group: &Group) {
    while group.memory().is_some_and(|memory| memory.members > 0 || memory.used > 0) {
        sleep(Duration::from_micros(200));
    }
}

fn crowd(members: u64) -> Result<()> {
    let cpus = thread::cpu_count();
    let nobody = Arc::new(AtomicBool::new(false));
    let mut alone = sleeper(CpuId::PRIMARY, nobody, ALONE)?.join()?;
    println!("crowd_late_alone: at most {} ns", alone.percentile(100_000) / 1000);

    let group = group::Builder::new("crowd").memory_limit(1 << 40).create()?;
    for number in 0..members {
        // Their handles are not needed.
        Builder::new()
            .group(&group)
            .pinned(CpuId::PRIMARY)
            .spawn_packed(SlotSize::Kib2, || {
                BEGUN.fetch_add(1, Ordering::Relaxed);
                park();
            })
            .map_err(|error| format!("member {number} of {members}: {error}"))?
            .detach();
        if number.is_multiple_of(256) {
            yield_now();
        }
    }
    while BEGUN.load(Ordering::Relaxed) < members {
        sleep(Duration::from_micros(200));
    }
    let over = Arc::new(AtomicBool::new(false));
    let sleepers = (0..cpus)
        .map(|cpu| Ok((cpu, sleeper(CpuId::new(cpu), over.clone(), u64::MAX)?)))
        .collect::<Result<Vec<(usize, JoinHandle<Recorder>)>>>()?;
    sleep(Duration::from_millis(2));
    let begin = Instant::now();
    group.end()?;
    empty(&group);
    let time = begin.elapsed();
    over.store(true, Ordering::Relaxed);
    // Before anything is printed, which masks interrupts for a while.
    let mut late = Vec::new();
    for (cpu, sleeper) in sleepers {
        late.push((cpu, sleeper.join()?));
    }
    let ended = group.memory().unwrap_or_default().ended;
    if ended != members {
        return Err(format!("{ended} of {members} members were ended").into());
    }
    count("crowd_members", members);
    println!("crowd_exit: {} us", time.as_micros());
    report::value("crowd_exit", "ns", Fixed::from_int(time.as_nanos()));
    report::value("crowd_exit_each", "ns", Fixed::from_ratio(time.as_nanos(), members));
    alone.send("crowd_late_alone");
    for (cpu, mut late) in late {
        let name = if cpu == 0 { "crowd_late_same_cpu" } else { "crowd_late_other_cpu" };
        println!("{name}: at most {} ns on CPU {cpu}", late.percentile(100_000) / 1000);
        // Of several others, the first.
        if cpu < 2 {
            late.send(name);
        }
    }
    Ok(())
}

/// A thread that sleeps until a deadline, over and over, until it is `over` or was woken so often: how late it was.
fn sleeper(cpu: CpuId, over: Arc<AtomicBool>, rounds: u64) -> Result<JoinHandle<Recorder>> {
    let sleeper = on(cpu, "sleeper", move || {
        let mut late = Recorder::new();
        let mut deadline = Instant::now() + APART;
        for _ in 0..rounds {
            sleep_until(deadline);
            late.record(picoseconds(Instant::now().ticks().saturating_sub(deadline.ticks())));
            deadline += APART;
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        late
    })?;
    Ok(sleeper)
}
