//! Groups with a limit on their memory: refused by type, told when it runs short, ended alone when over, and all is given back.
//@ sanitizer: no
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ memory: 256
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ memory: 256
//@ checked: yes
#![no_std]
#![no_main]

use isochron::channel;
use isochron::group::{self, Group, GroupError, MemoryUse, Pressure};
use isochron::kernel::memory::packed::SlotSize;
use isochron::sync::{Mutex, Semaphore};
use isochron::thread::{Death, park, sleep};
use isochron_guest_tests::census::Counters;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        bad_input_is_told,
        try_reserve_is_refused_by_type,
        threads_are_refused_by_type,
        what_is_freed_elsewhere_is_given_back,
        small_blocks_are_charged,
        who_is_in_no_group_is_not_charged,
        a_short_wait_changes_nothing,
        a_group_over_its_limit_ends_alone,
        a_panic_after_a_refusal_ends_one_thread,
        a_spawn_that_cannot_tell_ends_the_group,
        a_child_ends_alone,
        a_parent_ends_with_its_children,
        levels_are_told,
        the_end_is_told,
        who_waits_for_something_is_ended,
        packed_members,
        a_group_is_ended_by_hand,
        threads_come_and_go,
        another_limit,
        a_confined_group_gives_all_back,
        groups_come_and_go,
    ])
}

const KIB: usize = 1024;

/// What cannot be made fails the case.
trait OrFail<T> {
    fn or_fail(self) -> Outcome<T>;
}

impl<T, E: core::fmt::Debug> OrFail<T> for Result<T, E> {
    fn or_fail(self) -> Outcome<T> {
        self.map_err(|error| Failure::Failed(format!("{error:?}")))
    }
}

fn limited(name: &str, bytes: usize) -> Outcome<Group> {
    group::Builder::new(name).memory_limit(bytes).create().or_fail()
}

fn used(group: &Group) -> MemoryUse {
    group.memory().unwrap_or_default()
}

/// A thread of the group, with a small stack.
fn member<T: Send + 'static>(group: &Group, body: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    Builder::new().group(group).stack_size(16 * KIB).spawn(body).or_fail()
}

/// Takes memory until it is refused, and cannot cope with that.
fn take_all() -> usize {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 5000]);
        core::hint::black_box(&mut all);
        if all.len() == 1_000_000 {
            return all.len();
        }
    }
}

/// A thread in no group that works all the while.
struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Bystander {
    fn new() -> Outcome<Self> {
        let stop: Arc<AtomicBool> = Arc::default();
        let its = stop.clone();
        let thread = Builder::new().spawn(move || {
            let mut turns = 0;
            while !its.load(Ordering::Relaxed) {
                let block = vec![turns; 100];
                turns += u64::from(block[99] == turns);
                sleep(Duration::from_micros(50));
            }
            turns
        });
        Ok(Self { stop, thread: thread.or_fail()? })
    }

    /// It has gone on.
    fn check(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        check!(self.thread.join().or_fail()? > 0);
        Ok(())
    }
}

fn bad_input_is_told() -> Outcome {
    let new = || group::Builder::new("bad");
    check_eq!(new().memory_limit(1000).create(), Err(GroupError::MemoryLimit(1000)));
    check_eq!(new().memory_limit(0).create(), Err(GroupError::MemoryLimit(0)));
    let without = new().create().or_fail()?;
    check_eq!(without.memory(), None);
    check_eq!(without.set_memory_limit(KIB * KIB), Err(GroupError::NoMemoryLimit));
    check_eq!(without.end(), Err(GroupError::NoMemoryLimit));
    check_eq!(without.on_pressure(&[50], |_| ()), Err(GroupError::NoMemoryLimit));
    let with = limited("with", 128 * KIB)?;
    check_eq!(with.set_memory_limit(5), Err(GroupError::MemoryLimit(5)));
    check_eq!(with.on_pressure(&[0], |_| ()), Err(GroupError::Levels));
    check_eq!(with.on_pressure(&[101], |_| ()), Err(GroupError::Levels));
    check_eq!(with.on_pressure(&[1, 2, 3, 4, 5, 6, 7, 8, 9], |_| ()), Err(GroupError::Levels));
    check_eq!(with.on_pressure(&[50], |_| ()), Ok(()));
    check_eq!(with.on_pressure(&[50], |_| ()), Err(GroupError::Watched));
    check_eq!(used(&with), MemoryUse { limit: 128 * KIB, ..MemoryUse::default() });
    let below = group::Builder::new("below").parent(&with).create().or_fail()?;
    check_eq!(below.memory().map(|memory| memory.limit), Some(128 * KIB), "that of the group above");
    check_eq!(below.end(), Err(GroupError::NoMemoryLimit));
    Ok(())
}

fn try_reserve_is_refused_by_type() -> Outcome {
    let group = limited("reserve", 256 * KIB)?;
    let thread = member(&group, || {
        let mut block: Vec<u8> = Vec::new();
        let too_much = block.try_reserve_exact(300 * KIB).is_err();
        let fits = block.try_reserve_exact(150 * KIB).is_ok();
        let mut other: Vec<u8> = Vec::new();
        let no_room = other.try_reserve_exact(150 * KIB).is_err();
        drop(block);
        (too_much, fits, no_room, other.try_reserve_exact(150 * KIB).is_ok())
    })?;
    check_eq!(thread.join(), Ok((true, true, true, true)));
    poll("its block is freed", || used(&group).used == 0)?;
    let seen = used(&group);
    check_eq!((seen.refused, seen.over, seen.ended), (2, false, 0));
    check!((150 * KIB..256 * KIB).contains(&seen.peak), "{seen:?}");
    Ok(())
}

fn threads_are_refused_by_type() -> Outcome {
    let group = limited("threads", 256 * KIB)?;
    let spawn_one = || Builder::new().group(&group).stack_size(32 * KIB).spawn(park);
    let mut threads = Vec::new();
    let error = loop {
        match spawn_one() {
            Ok(thread) => threads.push(thread),
            Err(error) => break error,
        }
        check!(threads.len() < 100, "no limit");
    };
    check_eq!((error, threads.len()), (SpawnError::OutOfMemory, 7), "seven stacks of 32 KiB, and their blocks");
    check_eq!(used(&group).members, 7);
    threads[0].thread().unpark();
    joined(threads.remove(0));
    poll("there is room again", || used(&group).used <= 6 * 33 * KIB)?;
    threads.push(spawn_one().or_fail()?);
    for thread in threads {
        thread.thread().unpark();
        joined(thread);
    }
    poll("all is given back", || used(&group).used == 0 && used(&group).members == 0)?;
    Ok(())
}

fn what_is_freed_elsewhere_is_given_back() -> Outcome {
    let group = limited("elsewhere", 512 * KIB)?;
    let blocks = joined(member(&group, || {
        let large = vec![7_u8; 100 * KIB];
        let small: Vec<_> = (0..100_u64).map(Box::new).collect();
        (large, small)
    })?);
    poll("the thread is gone", || used(&group).members == 0)?;
    let held = used(&group).used;
    check!(held > 100 * KIB + 16 * KIB, "{held}");
    check!(blocks.0.iter().all(|byte| *byte == 7));
    drop(blocks.0);
    check!(used(&group).used <= held - 100 * KIB);
    // They outlive the group.
    drop(group);
    check!(blocks.1.iter().enumerate().all(|(number, block)| number as u64 == **block));
    Ok(())
}

fn small_blocks_are_charged() -> Outcome {
    let group = limited("small", 512 * KIB)?;
    let seen = {
        let group = group.clone();
        joined(member(&group.clone(), move || {
            let before = used(&group).used;
            let blocks: Vec<_> = (0..1000_u64).map(|number| Box::new([number; 16])).collect();
            let sum: u64 = blocks.iter().map(|block| block[9]).sum();
            let with = used(&group).used;
            drop(blocks);
            (before, with, sum)
        })?)
    };
    check_eq!(seen.2, 499_500);
    // 128 bytes each, in spans of 16 KiB that hold 127 of them.
    check!((128_000..=128_000 + 16 * KIB + 20 * KIB).contains(&(seen.1 - seen.0)), "{seen:?}");
    poll("the thread is gone", || used(&group).members == 0)?;
    // A span of each size stays, for the next.
    check!(used(&group).used <= 4 * 16 * KIB + 1024, "{:?}", used(&group));
    Ok(())
}

fn who_is_in_no_group_is_not_charged() -> Outcome {
    let group = limited("outside", 128 * KIB)?;
    let own = vec![1_u8; 200 * KIB];
    check_eq!(used(&group).used, 0);
    let handed_out = joined(member(&group, || {
        let outside = group::outside(|| {
            // What it is in the middle of is not changed by a wait.
            yield_now();
            sleep(Duration::from_micros(100));
            group::outside(|| ());
            vec![2_u8; 200 * KIB]
        });
        let refused = Vec::<u8>::new().try_reserve_exact(200 * KIB).is_err();
        (outside, refused)
    })?);
    check!(handed_out.1, "inside again");
    check_eq!(own.len(), handed_out.0.len());
    poll("nothing is left", || used(&group).used == 0)?;
    check!(used(&group).peak < 100 * KIB);
    Ok(())
}

/// A thread that is woken at once keeps its CPU, and pays as before.
fn a_short_wait_changes_nothing() -> Outcome {
    let group = limited("short", 256 * KIB)?;
    let inner = group.clone();
    let thread = member(&group, move || {
        let mut uncharged = 0;
        let me = thread::current();
        let (stop, rings) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, rung) = (stop.clone(), rings.clone());
        let waker = Builder::new().ungrouped().spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                rung.fetch_add(1, Ordering::Relaxed);
                me.unpark();
                yield_now();
            }
        });
        for _ in 0..5000 {
            park();
            let block = core::hint::black_box(vec![0_u8; 50 * KIB]);
            uncharged += u32::from(used(&inner).used < 50 * KIB);
            drop(block);
        }
        stop.store(true, Ordering::Relaxed);
        waker.map(joined).map(|()| uncharged)
    })?;
    check_eq!(joined(thread), Ok(0));
    Ok(())
}

/// All of them end so.
fn all_end<T: core::fmt::Debug + PartialEq>(threads: Vec<JoinHandle<T>>, how: Death) -> Outcome {
    for thread in threads {
        match thread.join_timeout(Duration::from_secs(20)) {
            Ok(end) => check_eq!(end, Err(how)),
            Err(_) => return Err(Failure::Failed("a member lives on".to_string())),
        }
    }
    Ok(())
}

fn a_group_over_its_limit_ends_alone() -> Outcome {
    let bystander = Bystander::new()?;
    let other = limited("other", 512 * KIB)?;
    let neighbour = member(&other, || {
        park();
        vec![3_u8; 1000].len()
    })?;
    let group = limited("over", KIB * KIB)?;
    let mut members: Vec<JoinHandle<usize>> = Vec::new();
    for number in 0..20_usize {
        members.push(member(&group, move || {
            let kept = vec![number; 100];
            loop {
                match number % 3 {
                    0 => park(),
                    1 => sleep(Duration::from_millis(1)),
                    _ => {
                        if number == 2 {
                            // Never gives way.
                            core::hint::black_box(&kept);
                        } else {
                            yield_now();
                        }
                    }
                }
            }
        })?);
    }
    poll("all are there", || used(&group).members == 20)?;
    members.push(member(&group, take_all)?);
    all_end(members, Death::OverLimit)?;
    poll("all have left", || used(&group).members == 0)?;
    let seen = used(&group);
    // One that comes late is refused, too, and dies of that.
    check!(seen.over && seen.ended >= 15 && seen.refused >= 1, "{seen:?}");
    let late = Builder::new().group(&group).spawn(|| ());
    check_eq!(late.map(|_| ()), Err(SpawnError::GroupOver));
    neighbour.thread().unpark();
    check_eq!(neighbour.join(), Ok(1000));
    check!(!used(&other).over);
    bystander.check()
}

fn a_panic_after_a_refusal_ends_one_thread() -> Outcome {
    let group = limited("panics", 256 * KIB)?;
    let waits = member(&group, park)?;
    let panics = member(&group, || {
        if Vec::<u8>::new().try_reserve_exact(KIB * KIB).is_err() {
            panic!("it copes in its own way");
        }
    })?;
    check_eq!(panics.join(), Err(Death::Panicked));
    check!(!used(&group).over);
    waits.thread().unpark();
    check_eq!(waits.join(), Ok(()));
    Ok(())
}

fn a_spawn_that_cannot_tell_ends_the_group() -> Outcome {
    let group = limited("spawner", 256 * KIB)?;
    let waits = member(&group, park)?;
    let spawner = member(&group, || {
        let threads: Vec<_> = (0..100).map(|_| spawn(park)).collect();
        core::hint::black_box(threads.len());
    })?;
    check_eq!(spawner.join(), Err(Death::OverLimit));
    check_eq!(waits.join(), Err(Death::OverLimit));
    poll("all have left", || used(&group).members == 0)
}

fn a_child_ends_alone() -> Outcome {
    let parent = limited("parent", KIB * KIB)?;
    let child = group::Builder::new("child").parent(&parent).memory_limit(256 * KIB).create().or_fail()?;
    let above = member(&parent, park)?;
    check_eq!(member(&child, take_all)?.join(), Err(Death::OverLimit));
    check!(used(&child).over && !used(&parent).over);
    check!(used(&parent).used >= used(&child).used && used(&parent).refused == 0);
    above.thread().unpark();
    check_eq!(above.join(), Ok(()));
    Ok(())
}

fn a_parent_ends_with_its_children() -> Outcome {
    let parent = limited("above", 512 * KIB)?;
    let child = group::Builder::new("under").parent(&parent).memory_limit(2048 * KIB).create().or_fail()?;
    let sharing = group::Builder::new("sharing").parent(&parent).create().or_fail()?;
    let others = vec![member(&parent, park)?, member(&sharing, park)?, member(&child, park)?];
    let ends = vec![member(&child, take_all)?];
    all_end(ends, Death::OverLimit)?;
    all_end(others, Death::OverLimit)?;
    let seen = used(&child);
    check!(used(&parent).over && seen.over, "{seen:?}");
    check_eq!((seen.refused, used(&parent).refused >= 1), (0, true));
    Ok(())
}

fn levels_are_told() -> Outcome {
    let group = limited("levels", 1000 * KIB)?;
    let (told, hears) = channel::unbounded::<Pressure>();
    group
        .on_pressure(&[95, 50, 80], move |pressure| {
            let _ = told.send(pressure);
        })
        .or_fail()?;
    let (steps, next) = channel::bounded::<usize>(0);
    let thread = member(&group, move || {
        let mut block: Vec<u8> = Vec::new();
        for wanted in next.iter() {
            block = Vec::new();
            if block.try_reserve_exact(wanted * KIB).is_err() {
                return false;
            }
        }
        drop(block);
        true
    })?;
    let patience = Duration::from_secs(10);
    let step = |wanted: usize, level: Option<u8>| {
        check!(steps.send_timeout(wanted, patience).is_ok());
        match level {
            Some(level) => {
                let pressure = hears.recv_timeout(patience).or_fail()?;
                check_eq!((pressure.percent, pressure.over, pressure.limit), (level, false, 1000 * KIB));
            }
            None => check_eq!(hears.recv_timeout(Duration::from_millis(3)).ok(), None),
        }
        Ok(())
    };
    for (wanted, level) in
        [(100, None), (600, Some(50)), (100, None), (700, Some(50)), (850, Some(80)), (50, None), (970, Some(95))]
    {
        step(wanted, level)?;
    }
    drop(steps);
    check_eq!(thread.join(), Ok(true));
    Ok(())
}

fn the_end_is_told() -> Outcome {
    let group = limited("end", 512 * KIB)?;
    let (told, hears) = channel::unbounded::<Pressure>();
    group
        .on_pressure(&[90], move |pressure| {
            let _ = told.send(pressure);
        })
        .or_fail()?;
    check_eq!(member(&group, take_all)?.join(), Err(Death::OverLimit));
    let mut last = None;
    while let Ok(pressure) = hears.recv_timeout(Duration::from_secs(10)) {
        last = Some(pressure);
    }
    // The watcher has gone, and its end of the channel with it.
    check_eq!(last.map(|last| (last.percent, last.over)), Some((100, true)));
    Ok(())
}

fn who_waits_for_something_is_ended() -> Outcome {
    let group = limited("waits", 512 * KIB)?;
    let held = Arc::new(Mutex::new(0));
    let units = Arc::new(Semaphore::new(0));
    let (tx, rx) = channel::bounded::<u8>(1);
    let guard = held.lock();
    let mut members = Vec::new();
    let (its, all) = (held.clone(), units.clone());
    members.push(member(&group, move || *its.lock() += 1)?);
    members.push(member(&group, move || {
        let _ = all.acquire(1);
    })?);
    let receiver = rx.clone();
    members.push(member(&group, move || {
        let _ = receiver.recv();
    })?);
    let inner = group.clone();
    members.push(member(&group, move || {
        if let Ok(thread) = member(&inner, park) {
            let _ = thread.join();
        }
        // It may be ended before, or here.
        park();
    })?);
    members.push(member(&group, || sleep(Duration::from_secs(1000)))?);
    poll("all wait", || used(&group).members == 6)?;
    sleep(Duration::from_millis(1));
    members.push(member(&group, || {
        take_all();
    })?);
    all_end(members, Death::OverLimit)?;
    drop(guard);
    check_eq!(*held.lock(), 0);
    check!(tx.send(1).is_ok() && rx.recv() == Ok(1));
    poll("all have left", || used(&group).members == 0)
}

fn packed_members() -> Outcome {
    let group = limited("packed", 512 * KIB)?;
    let mut members = Vec::new();
    for _ in 0..100 {
        members.push(Builder::new().group(&group).spawn_packed(SlotSize::Kib2, park).or_fail()?);
    }
    let seen = used(&group);
    check!((100 * 2 * KIB..100 * 3 * KIB).contains(&seen.used) && seen.members == 100, "{seen:?}");
    check_eq!(member(&group, take_all)?.join(), Err(Death::OverLimit));
    all_end(members, Death::OverLimit)?;
    poll("all have left", || used(&group).members == 0)
}

fn a_group_is_ended_by_hand() -> Outcome {
    let group = limited("by hand", 512 * KIB)?;
    let members = (0..10).map(|_| member(&group, park)).collect::<Outcome<Vec<_>>>()?;
    group.end().or_fail()?;
    all_end(members, Death::Killed)?;
    check_eq!(Builder::new().group(&group).spawn(|| ()).map(|_| ()), Err(SpawnError::GroupOver));
    check!(used(&group).over && used(&group).ended == 10);
    // Who comes in now goes as well.
    let late = spawn(park);
    group.add(&late.thread()).or_fail()?;
    check_eq!(late.thread().name(), None);
    late.thread().unpark();
    check!(matches!(late.join(), Err(Death::Killed) | Ok(())));
    Ok(())
}

fn threads_come_and_go() -> Outcome {
    let group = limited("come", 512 * KIB)?;
    let inner = group.clone();
    let thread = spawn(move || {
        let mut seen = Vec::with_capacity(50);
        for _ in 0..50 {
            inner.enter();
            let block = core::hint::black_box(vec![0_u8; 20 * KIB]);
            seen.push((used(&inner).members, used(&inner).used));
            group::leave();
            let free = core::hint::black_box(vec![0_u8; 600 * KIB]);
            drop((block, free));
        }
        seen
    });
    let seen = joined(thread);
    check!(seen.iter().all(|seen| seen.0 == 1 && seen.1 > 20 * KIB && seen.1 < 80 * KIB), "{seen:?}");
    let parked = spawn(park);
    group.add(&parked.thread()).or_fail()?;
    parked.thread().unpark();
    joined(parked);
    poll("nobody is in it", || used(&group).members == 0)
}

fn another_limit() -> Outcome {
    let group = limited("limits", 128 * KIB)?;
    let too_much = || Vec::<u8>::new().try_reserve_exact(200 * KIB).is_err();
    check_eq!(member(&group, too_much)?.join(), Ok(true));
    group.set_memory_limit(512 * KIB).or_fail()?;
    check_eq!(member(&group, too_much)?.join(), Ok(false));
    group.set_memory_limit(64 * KIB).or_fail()?;
    check_eq!(member(&group, too_much)?.join(), Ok(true));
    check_eq!(used(&group).limit, 64 * KIB);
    Ok(())
}

fn a_confined_group_gives_all_back() -> Outcome {
    let counters = Counters::new();
    let mut levels = Vec::with_capacity(32);
    for _ in 0..4 {
        // SAFETY: its threads hand nothing out.
        let group =
            unsafe { group::Builder::new("confined").memory_limit(4 * KIB * KIB).confined() }.create().or_fail()?;
        let mut members: Vec<JoinHandle<usize>> = Vec::new();
        for number in 0..20_usize {
            members.push(member(&group, move || {
                let kept: Vec<_> = (0..20).map(|nth| vec![nth; 10 + number * nth]).collect();
                park();
                kept.len()
            })?);
        }
        members.push(member(&group, take_all)?);
        all_end(members, Death::OverLimit)?;
        poll("all is given back", || used(&group).used == 0)?;
        check!(used(&group).peak > 3 * KIB * KIB);
        drop(group);
        levels.push(counters.take().heap);
    }
    // The blocks of some threads that died are kept for a while; what the groups took is forty times as much.
    check!(levels[3] < levels[0] + 128 * KIB, "{levels:?}");
    Ok(())
}

fn groups_come_and_go() -> Outcome {
    let counters = Counters::new();
    let round = |number: usize| {
        // The last thread of the one before may be on its way out.
        let group = limited(["one", "two"][number % 2], 512 * KIB)?;
        group.on_pressure(&[10], |_| ()).or_fail()?;
        let threads = (0..8).map(|_| member(&group, || vec![0_u8; 30 * KIB].len())).collect::<Outcome<Vec<_>>>()?;
        for thread in threads {
            check_eq!(joined(thread), 30 * KIB);
        }
        Ok(())
    };
    let mut levels = Vec::with_capacity(32);
    for number in 0..20 {
        round(number)?;
        sleep(Duration::from_millis(1));
        levels.push(counters.take().heap);
    }
    check!(levels[19] <= levels[4], "{levels:?}");
    Ok(())
}
