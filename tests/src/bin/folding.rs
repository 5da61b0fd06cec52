//! Packed threads that wait are folded, and are what they were when somebody comes by.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ memory: 128
//@ run: checked
//@ machines: virt, q35
//@ cpus: 2
//@ memory: 128
//@ timeout: 240
//@ checked: yes
#![no_std]
#![no_main]

use isochron::Instant;
use isochron::channel;
use isochron::kernel::memory;
use isochron::prelude::{Mutex, park, sleep};
#[cfg(isochron_bare)]
use isochron::thread::Death;
use isochron::thread::{SlotSize, fold_parked, folded};
use isochron_guest_tests::dying;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;
#[cfg(isochron_bare)]
use isochron_guest_tests::shortage::AllFrames;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        what_is_on_their_stacks_comes_back,
        memory_comes_back_and_goes_again,
        who_was_touched_is_not_folded,
        slots_that_nobody_has_and_results,
        timers_channels_and_locks_wake_the_folded,
        an_interrupt_unfolds_and_keeps_all_registers,
        the_folded_are_killed,
        others_write_to_folded_stacks,
        a_storm_of_wake_ups,
        without_memory_one_thread_dies,
    ])
}

const PAGE: usize = 4096;
const AT_ONCE: Duration = Duration::ZERO;

fn made<T>(result: Result<JoinHandle<T>, SpawnError>) -> Outcome<JoinHandle<T>> {
    result.map_err(|error| Failure::Failed(format!("a thread cannot be made: {error}")))
}

/// The memory that the host's tables or records are in is not told apart where the host does that.
fn is_possible() -> bool {
    // One that cannot fold says so at the first attempt, and folds nothing.
    cfg!(isochron_bare) || memory_is_watched()
}

fn memory_is_watched() -> bool {
    let Ok(crowd) = Crowd::new(8, SlotSize::Kib1) else { return false };
    let bytes = fold_parked(AT_ONCE);
    crowd.wake().is_ok() && bytes > 0
}

macro_rules! needs_folding {
    () => {
        if !is_possible() {
            ignore!("the host does not tell of accesses to pages");
        }
    };
}

/// Threads that have something on their stacks and wait.
struct Crowd {
    threads: Vec<JoinHandle<u64>>,
}

/// What one of them gives, and has on its stack in parts.
fn sum_of(number: u64) -> u64 {
    (0..8).map(|part| part_of(number, part)).sum()
}

fn part_of(number: u64, part: u64) -> u64 {
    // Some are zero, some small, some addresses, some anything.
    match part % 4 {
        0 => 0,
        1 => number,
        2 => 0xffff_ffff_8000_0000 | number,
        _ => (number + part).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8,
    }
}

#[inline(never)]
fn hold_and_park(number: u64, begun: &AtomicUsize) -> u64 {
    let parts: [u64; 8] = core::array::from_fn(|part| part_of(number, part as u64));
    let parts = core::hint::black_box(parts);
    begun.fetch_add(1, Ordering::Relaxed);
    park();
    core::hint::black_box(&parts).iter().sum()
}

impl Crowd {
    fn new(count: usize, slot: SlotSize) -> Outcome<Self> {
        let begun = Arc::new(AtomicUsize::new(0));
        let threads = (0..count as u64).map(|number| {
            let begun = begun.clone();
            made(Builder::new().spawn_packed(slot, move || hold_and_park(number, &begun)))
        });
        let threads = threads.collect::<Outcome<Vec<_>>>()?;
        poll("all have begun", || begun.load(Ordering::Relaxed) == count)?;
        // The last of them may be on their way.
        sleep(Duration::from_millis(1));
        Ok(Self { threads })
    }

    /// Wakes all of them; what each had must be right.
    fn wake(self) -> Outcome {
        self.threads.iter().for_each(|thread| thread.thread().unpark());
        for (number, thread) in self.threads.into_iter().enumerate() {
            check_eq!(thread.join(), Ok(sum_of(number as u64)), "thread {number}");
        }
        Ok(())
    }
}

fn what_is_on_their_stacks_comes_back() -> Outcome {
    needs_folding!();
    for (slot, each) in [(SlotSize::Kib1, 4), (SlotSize::Kib2, 2)] {
        for count in [each, 40, 1000] {
            let crowd = Crowd::new(count, slot)?;
            let bytes = fold_parked(AT_ONCE);
            // They may share a page with some that others have left, or are at.
            check!(bytes / PAGE + 4 >= count / each, "{bytes} bytes of {count} threads");
            let now = folded();
            check!(now.pages >= bytes / PAGE && (now.bytes > 0) == (now.pages > 0), "{now:?}");
            // Again: there is nothing left to be done.
            check!(fold_parked(AT_ONCE) <= 4 * PAGE);
            crowd.wake()?;
        }
    }
    Ok(())
}

fn memory_comes_back_and_goes_again() -> Outcome {
    needs_folding!();
    const COUNT: usize = 4000;
    for round in 0..3 {
        let crowd = Crowd::new(COUNT, SlotSize::Kib1)?;
        let before = (memory::stats().free, folded());
        let bytes = fold_parked(AT_ONCE);
        let after = (memory::stats().free, folded());
        check_eq!((after.1.pages - before.1.pages) * PAGE, bytes);
        let saved = (after.0 - before.0) as usize;
        let kept = after.1.bytes - before.1.bytes;
        // The first time, blocks are mapped by pages: a table for each.
        let tables = if round == 0 { (COUNT * 1024 / (2 << 20) + 3) * PAGE } else { 0 };
        let reserves = 4 * PAGE * thread::cpu_count();
        let differs = (saved + kept).abs_diff(bytes);
        check!(differs <= tables + reserves, "{bytes} bytes folded, {saved} saved, {kept} kept");
        // What matters of a thread is no more than a half.
        check!(kept * 2 <= bytes, "{kept} bytes are kept of {bytes}");
        crowd.wake()?;
        poll("all is unfolded", || folded().pages <= before.1.pages + 2)?;
        let again = memory::stats().free;
        check!(again + (tables + reserves) as u64 >= before.0, "{} bytes are missing", before.0 - again);
    }
    Ok(())
}

fn who_was_touched_is_not_folded() -> Outcome {
    needs_folding!();
    let busy = Arc::new(AtomicBool::new(true));
    let turns = Arc::new(AtomicU64::new(0));
    let active = (0..40).map(|_| {
        let (busy, turns) = (busy.clone(), turns.clone());
        made(Builder::new().spawn_packed(SlotSize::Kib2, move || {
            while busy.load(Ordering::Relaxed) {
                // Long beside what folding takes: most of them have not been awake when it begins at once.
                sleep(Duration::from_millis(40));
                turns.fetch_add(1, Ordering::Relaxed);
            }
        }))
    });
    let active = active.collect::<Outcome<Vec<_>>>()?;
    poll("all are at it", || turns.load(Ordering::Relaxed) > 80)?;
    // A host may take all CPUs away for so long; but not each time.
    let mut seen = Vec::new();
    let mut as_expected = false;
    while !as_expected && seen.len() < 5 {
        let idle = Crowd::new(400, SlotSize::Kib1)?;
        let (begun, age) = (Instant::now(), Duration::from_millis(200));
        let pages = fold_parked(age) / PAGE;
        check!(begun.elapsed() >= age, "what was left alone for {age} is known after {}", begun.elapsed());
        seen.push(pages);
        idle.wake()?;
        // The 20 pages of those who sleep again and again have been touched, whoever else is in them.
        as_expected = pages + 8 >= 100 && pages <= 110;
    }
    busy.store(false, Ordering::Relaxed);
    active.into_iter().for_each(joined);
    check!(as_expected, "{seen:?} pages");
    Ok(())
}

/// A result that waits to be fetched, and threads that are made while their slots' page is folded.
fn slots_that_nobody_has_and_results() -> Outcome {
    needs_folding!();
    for round in 0..10 {
        let done = (0..50u64)
            .map(|number| made(Builder::new().spawn_packed(SlotSize::Kib1, move || [number, number + 1, number + 2])));
        let done = done.collect::<Outcome<Vec<_>>>()?;
        let crowd = Crowd::new(150 + round, SlotSize::Kib1)?;
        poll("all have ended", || done.iter().all(JoinHandle::is_finished))?;
        fold_parked(AT_ONCE);
        let more = Crowd::new(50, SlotSize::Kib1)?;
        fold_parked(AT_ONCE);
        for (number, thread) in done.into_iter().enumerate() {
            let number = number as u64;
            check_eq!(thread.join(), Ok([number, number + 1, number + 2]));
        }
        more.wake()?;
        crowd.wake()?;
    }
    Ok(())
}

fn timers_channels_and_locks_wake_the_folded() -> Outcome {
    needs_folding!();
    let (tx, rx) = channel::bounded::<u64>(4);
    let mutex = Arc::new(Mutex::new(0_u64));
    let held = mutex.lock();
    let (mut sleepers, mut receivers, mut waiters) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..60_u64 {
        sleepers.push(made(Builder::new().spawn_packed(SlotSize::Kib2, move || {
            let kept = core::hint::black_box([number; 4]);
            sleep(Duration::from_millis(150));
            kept.iter().sum()
        }))?);
        let rx = rx.clone();
        receivers.push(made(Builder::new().spawn_packed(SlotSize::Kib2, move || rx.recv().unwrap_or(1 << 40)))?);
        let mutex = mutex.clone();
        waiters.push(made(Builder::new().spawn_packed(SlotSize::Kib2, move || {
            *mutex.lock() += number;
            number
        }))?);
    }
    sleep(Duration::from_millis(10));
    let bytes = fold_parked(AT_ONCE);
    check!(bytes > 0, "nothing was folded");
    for number in 0..60 {
        tx.send(number).map_err(|_| Failure::Failed("nobody receives".into()))?;
    }
    drop(held);
    let sum = |threads: Vec<JoinHandle<u64>>| threads.into_iter().map(joined).sum::<u64>();
    check_eq!([sum(sleepers), sum(receivers), sum(waiters)], [4 * 1770, 1770, 1770]);
    check_eq!(*mutex.lock(), 1770);
    Ok(())
}

fn an_interrupt_unfolds_and_keeps_all_registers() -> Outcome {
    needs_folding!();
    for seed in 0..4 {
        let here = || Builder::new().pinned(CpuId::PRIMARY);
        let sleepers = (0..40).map(|number| {
            made(here().spawn_packed(SlotSize::Kib2, move || {
                sleep(Duration::from_micros(30_000 + 500 * number));
                number
            }))
        });
        let sleepers = sleepers.collect::<Outcome<Vec<_>>>()?;
        let begun = Instant::now();
        let held = made(here().spawn(move || {
            // They sleep by now.
            fold_parked(AT_ONCE);
            let pages = folded().pages;
            let stop = AtomicU64::new(0);
            let stops = &raw const stop;
            let address = stops.expose_provenance();
            let waker = Builder::new().pinned(CpuId::PRIMARY).spawn(move || {
                sleep(Duration::from_millis(70));
                // SAFETY: the one that waits for it is joined by it.
                unsafe { &*core::ptr::with_exposed_provenance::<AtomicU64>(address) }.store(1, Ordering::Relaxed);
            });
            let damaged = registers::hold(seed, &stop);
            let _ = waker.map(JoinHandle::join);
            (damaged, pages)
        }))?;
        let (damaged, pages) = joined(held);
        check!(damaged.is_empty(), "{damaged:?}");
        check!(pages >= 10 || begun.elapsed() > Duration::from_millis(25), "{pages} pages were folded");
        for (number, sleeper) in sleepers.into_iter().enumerate() {
            check_eq!(joined(sleeper), number as u64);
        }
    }
    Ok(())
}

fn the_folded_are_killed() -> Outcome {
    needs_folding!();
    for _ in 0..5 {
        let crowd = Crowd::new(200, SlotSize::Kib1)?;
        let unlucky = Crowd::new(200, SlotSize::Kib1)?;
        check!(fold_parked(AT_ONCE) >= 90 * PAGE);
        for (number, thread) in unlucky.threads.into_iter().enumerate() {
            if number % 2 == 0 {
                dying::kill_in("folded", thread)?;
            } else {
                thread.thread().unpark();
                check_eq!(thread.join(), Ok(sum_of(number as u64)));
            }
        }
        crowd.wake()?;
    }
    Ok(())
}

/// Folds again and again until it is told to stop, and counts the bytes.
fn folder(stop: &Arc<AtomicBool>, older_than: Duration, bytes: &Arc<AtomicUsize>) -> Outcome<JoinHandle<()>> {
    let (stop, bytes) = (stop.clone(), bytes.clone());
    made(Builder::new().spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            bytes.fetch_add(fold_parked(older_than), Ordering::Relaxed);
            yield_now();
        }
    }))
}

fn others_write_to_folded_stacks() -> Outcome {
    needs_folding!();
    const WORDS: usize = 8;
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let owners = (0..40).map(|_| {
        let addresses = addresses.clone();
        made(Builder::new().spawn_packed(SlotSize::Kib2, move || {
            let words: [AtomicUsize; WORDS] = core::array::from_fn(|_| AtomicUsize::new(0));
            addresses.lock().push((&raw const words).expose_provenance());
            park();
            words.iter().map(|word| word.load(Ordering::Relaxed)).sum::<usize>()
        }))
    });
    let owners = owners.collect::<Outcome<Vec<_>>>()?;
    poll("all wait", || addresses.lock().len() == owners.len())?;
    let stop = Arc::new(AtomicBool::new(false));
    let bytes = Arc::new(AtomicUsize::new(0));
    let folder = folder(&stop, AT_ONCE, &bytes)?;
    let cpus = thread::cpu_count();
    let writers = (0..cpus).map(|cpu| {
        let (addresses, bytes) = (addresses.clone(), bytes.clone());
        made(Builder::new().pinned(CpuId::new(cpu)).spawn(move || {
            let addresses = addresses.lock().clone();
            let (begun, mut rounds) = (Instant::now(), 0);
            // Until all of it was folded three times, on average.
            while (bytes.load(Ordering::Relaxed) < 60 * PAGE || rounds < 20)
                && begun.elapsed() < Duration::from_secs(30)
            {
                for address in &addresses {
                    // SAFETY: its owner waits until all writers are done.
                    let words = unsafe { &*core::ptr::with_exposed_provenance::<[AtomicUsize; WORDS]>(*address) };
                    words[(rounds + cpu) % WORDS].fetch_add(1, Ordering::Relaxed);
                }
                rounds += 1;
                sleep(Duration::from_millis(1));
            }
            rounds
        }))
    });
    let rounds: usize = writers.collect::<Outcome<Vec<_>>>()?.into_iter().map(joined).sum();
    stop.store(true, Ordering::Relaxed);
    joined(folder);
    let bytes = bytes.load(Ordering::Relaxed);
    check!(bytes >= 60 * PAGE, "{bytes} bytes were folded in {rounds} rounds");
    for owner in owners {
        owner.thread().unpark();
        check_eq!(owner.join(), Ok(rounds));
    }
    Ok(())
}

fn a_storm_of_wake_ups() -> Outcome {
    needs_folding!();
    const THREADS: usize = 300;
    const ROUNDS: usize = 20;
    let turns = Arc::new((0..THREADS).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
    let threads = (0..THREADS).map(|number| {
        let turns = turns.clone();
        made(Builder::new().spawn_packed(SlotSize::Kib1, move || {
            let kept = core::hint::black_box([number; 4]);
            for _ in 0..ROUNDS {
                turns[number].fetch_add(1, Ordering::Relaxed);
                park();
            }
            kept.iter().sum::<usize>()
        }))
    });
    let threads = threads.collect::<Outcome<Vec<_>>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let folder = folder(&stop, Duration::from_micros(50), &Arc::default())?;
    let mut random = Random::new(7);
    for round in 0..ROUNDS {
        poll("all are at it", || turns.iter().all(|turn| turn.load(Ordering::Relaxed) > round))?;
        let first = random.below(THREADS);
        for number in 0..THREADS {
            threads[(first + number * 7) % THREADS].thread().unpark();
            if number % 50 == 0 {
                sleep(Duration::from_micros(200));
            }
        }
    }
    for (number, thread) in threads.into_iter().enumerate() {
        check_eq!(thread.join(), Ok(4 * number));
    }
    stop.store(true, Ordering::Relaxed);
    joined(folder);
    Ok(())
}

#[cfg(isochron_hosted)]
fn without_memory_one_thread_dies() -> Outcome {
    ignore!("the host has the memory")
}

/// What is set aside serves, whoever touches; then who touches ends, and nobody else.
#[cfg(isochron_bare)]
fn without_memory_one_thread_dies() -> Outcome {
    const COUNT: usize = 2000;
    let crowd = Crowd::new(COUNT, SlotSize::Kib1)?;
    let (go, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let known = Arc::new(crowd.threads.iter().map(|thread| thread.thread().clone()).collect::<Vec<_>>());
    let touchers = (0..20).map(|_| {
        let (go, next, known) = (go.clone(), next.clone(), known.clone());
        made(Builder::new().name("toucher").pinned(CpuId::PRIMARY).spawn(move || {
            while !go.load(Ordering::Relaxed) {
                sleep(Duration::from_micros(200));
            }
            // Each is in another page.
            (0..10).map(|_| known[next.fetch_add(4, Ordering::Relaxed) % known.len()].id()).max()
        }))
    });
    let touchers = touchers.collect::<Outcome<Vec<_>>>()?;
    sleep(Duration::from_millis(1));
    let bytes = fold_parked(AT_ONCE);
    check!(bytes / PAGE + 4 >= COUNT / 4);
    let all = joined(made(Builder::new().pinned(CpuId::PRIMARY).spawn(AllFrames::take))?);
    go.store(true, Ordering::Relaxed);
    let ends: Vec<_> = touchers.into_iter().map(JoinHandle::join).collect();
    drop(all);
    let dead = ends.iter().filter(|end| **end == Err(Death::OutOfMemory)).count();
    // Each page that comes back leaves a half of its record's memory, about: so the last of them die.
    check!(dead > 0 && dead < 20 && ends.iter().all(|end| end.is_ok() || *end == Err(Death::OutOfMemory)), "{ends:?}");
    crowd.wake()
}
