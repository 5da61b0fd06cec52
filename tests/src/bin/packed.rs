//! Packed threads: block and stack in one slot of 1 or 2 KiB.
//@ sanitizer: no
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: usual
#![no_std]
#![no_main]

use isochron::channel;
use isochron::kernel::memory;
use isochron::kernel::trap::FaultKind;
use isochron::prelude::{Mutex, park, sleep};
use isochron::thread::{Death, SlotSize, stack_left, stack_range};
use isochron_guest_tests::dying;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        what_things_take,
        sizes_and_what_does_not_fit,
        ten_thousand_work,
        channels_locks_and_sleep,
        preempted_beside_hogs,
        preempted_registers_are_kept,
        each_death_has_its_name,
        contained_overflows,
        killed_everywhere,
        a_storm_of_deaths,
    ])
}

const SMALL: SlotSize = SlotSize::Kib1;

fn packed<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, SpawnError> {
    Builder::new().spawn_packed(SMALL, body)
}

fn made<T>(result: Result<JoinHandle<T>, SpawnError>) -> Outcome<JoinHandle<T>> {
    result.map_err(|error| Failure::Failed(format!("a thread cannot be made: {error}")))
}

const PAINT: u64 = 0x7e57_7e57_7e57_7e57;

/// Fills what the running thread has left of its stack, but for `spare` bytes next to the caller. The lowest word and how many.
#[inline(never)]
fn paint(spare: usize) -> (*mut u64, usize) {
    let here = 0u8;
    let sp = core::hint::black_box(&raw const here).addr();
    let lowest = core::ptr::with_exposed_provenance_mut::<u64>(stack_range().start);
    let words = (sp - lowest.addr()).saturating_sub(spare) / 8;
    for word in 0..words {
        // SAFETY: the thread's own stack, below everything that is in use.
        unsafe { lowest.add(word).write_volatile(PAINT) };
    }
    (lowest, words)
}

/// How many bytes `body` takes of a packed thread's stack, about, of how many.
fn taken(slot: SlotSize, body: impl FnOnce() + Send + 'static) -> Outcome<(usize, usize)> {
    let measured = move || {
        let room = stack_left();
        let (lowest, words) = paint(64);
        body();
        // SAFETY: as above.
        let untouched = (0..words).take_while(|word| unsafe { lowest.add(*word).read_volatile() } == PAINT).count();
        (room - untouched * 8, room)
    };
    let thread = made(Builder::new().spawn_packed(slot, measured))?;
    thread.join().map_err(|death| Failure::Failed(format!("{death}")))
}

/// To park and to yield must fit into 1 KiB, everything else into 2 KiB, with room for the thread's own frames; the figures stand in the
/// output. They differ from run to run: what it takes to wait depends on what comes next on the CPU.
fn what_things_take() -> Outcome {
    fn tell(what: &str, slot: SlotSize, most: usize, body: impl FnOnce() + Send + 'static) -> Outcome {
        let (taken, room) = taken(slot, body)?;
        println!("{what}: {taken} bytes of {room} in a slot of {}", slot.bytes());
        check!(taken <= most, "{what} takes {taken} bytes of the stack, more than {most}");
        Ok(())
    }
    let (small, large) = (SlotSize::Kib1, SlotSize::Kib2);
    tell("nothing", small, 256, || ())?;
    tell("yield", small, 512, || (0..3).for_each(|_| yield_now()))?;
    tell("park", small, 512, || {
        thread::current().unpark();
        park();
    })?;
    tell("sleep", large, 1024, || sleep(Duration::from_micros(50)))?;
    let (tx, rx) = channel::bounded(1);
    let sender = spawn(move || {
        for number in 0..2 {
            sleep(Duration::from_micros(50));
            tx.send(number).unwrap();
        }
    });
    tell("recv", large, 1024, move || assert!(rx.recv().is_ok() && rx.recv().is_ok()))?;
    joined(sender);
    let (tx, rx) = channel::bounded(1);
    let receiver = spawn(move || {
        sleep(Duration::from_micros(50));
        (0..3).map_while(|_| rx.recv().ok()).sum::<u32>()
    });
    tell("send", large, 1024, move || (0..3).for_each(|number| tx.send(number).unwrap()))?;
    check_eq!(joined(receiver), 3);
    let mutex = Arc::new(Mutex::new(0));
    let (his, held) = (mutex.clone(), mutex.lock());
    let waits = spawn(move || tell("lock", SlotSize::Kib2, 1024, move || *his.lock() += 1));
    sleep(Duration::from_micros(300));
    drop(held);
    joined(waits)?;
    // What takes memory may have to fetch more of it from the shared heap, which goes deep.
    tell("allocate", large, 1024, || drop(core::hint::black_box(vec![0u8; 700])))?;
    tell("a packed thread", large, 1024, || packed(|| ()).unwrap().join().unwrap())?;
    tell("a thread with a stack", large, 1024, || spawn(|| ()).join().unwrap())?;
    tell("print", large, 1300, || println!("a number: {}", core::hint::black_box(17)))?;
    Ok(())
}

fn sizes_and_what_does_not_fit() -> Outcome {
    for slot in [SlotSize::Kib1, SlotSize::Kib2] {
        let room = made(Builder::new().spawn_packed(slot, stack_left))?.join().unwrap();
        check!(room > slot.bytes() / 2 && room < slot.bytes(), "{room} bytes of {}", slot.bytes());
    }
    check!(joined(spawn(stack_left)) > 30 * 1024);
    let big = [7u8; 600];
    check_eq!(packed(move || big[3]).err(), Some(SpawnError::Slot(1024)));
    check_eq!(made(Builder::new().spawn_packed(SlotSize::Kib2, move || big[3]))?.join(), Ok(7));
    check_eq!(packed(|| [0u8; 600]).err(), Some(SpawnError::Slot(1024)));
    // A result is dropped once, whoever leaves last.
    let kept = Arc::new(());
    for _ in 0..100 {
        let held = kept.clone();
        let thread = made(packed(move || held))?;
        if Arc::strong_count(&kept).is_multiple_of(2) {
            drop(thread.join());
        }
    }
    poll("all results are dropped", || Arc::strong_count(&kept) == 1)
}

fn ten_thousand_work() -> Outcome {
    const THREADS: usize = 10_000;
    let sum = Arc::new(AtomicUsize::new(0));
    let mut before = 0;
    for round in 0..4 {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let sum = sum.clone();
                let slot = if number % 8 == 0 { SlotSize::Kib2 } else { SlotSize::Kib1 };
                made(Builder::new().spawn_packed(slot, move || {
                    park();
                    sum.fetch_add(number, Ordering::Relaxed);
                    yield_now();
                    number
                }))
            })
            .collect::<Outcome<_>>()?;
        threads.iter().for_each(|thread| thread.thread().unpark());
        for (number, thread) in threads.into_iter().enumerate() {
            check_eq!(thread.join(), Ok(number));
        }
        let mapped = memory::stats().packed;
        // What lies in the CPUs' stocks is not found by others.
        let stocks = thread::cpu_count() as u64 * 31 * 3 * 1024;
        check!(round == 0 || mapped <= before + stocks.next_multiple_of(2 << 20), "memory grows: {before} to {mapped}");
        before = mapped;
    }
    check_eq!(sum.load(Ordering::Relaxed), 4 * THREADS * (THREADS - 1) / 2);
    Ok(())
}

fn channels_locks_and_sleep() -> Outcome {
    let (tx, rx) = channel::bounded::<usize>(4);
    let total = Arc::new(Mutex::new(0));
    let threads: Vec<_> = (0..200)
        .map(|number| {
            let (tx, rx, total) = (tx.clone(), rx.clone(), total.clone());
            made(Builder::new().spawn_packed(SlotSize::Kib2, move || {
                if number % 2 == 0 {
                    sleep(Duration::from_micros(number as u64));
                    tx.send(number).unwrap();
                } else {
                    let got = rx.recv().unwrap();
                    *total.lock() += got;
                }
            }))
        })
        .collect::<Outcome<_>>()?;
    threads.into_iter().for_each(joined);
    check_eq!(*total.lock(), (0..200).step_by(2).sum::<usize>());
    Ok(())
}

fn preempted_beside_hogs() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let (turns, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // More hogs than CPUs, none of which ever gives way.
    let hogs: Vec<_> = (0..thread::cpu_count() * 8)
        .map(|number| {
            let (stop, begun) = (stop.clone(), begun.clone());
            let body = move || {
                begun.fetch_add(1, Ordering::Relaxed);
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            };
            made(if number % 4 == 3 { Builder::new().spawn(body) } else { packed(body) })
        })
        .collect::<Outcome<_>>()?;
    let others: Vec<_> = (0..20)
        .map(|_| {
            let turns = turns.clone();
            made(Builder::new().spawn_packed(SlotSize::Kib2, move || {
                for _ in 0..3 {
                    sleep(Duration::from_micros(500));
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            }))
        })
        .collect::<Outcome<_>>()?;
    let preemptions = || -> u64 {
        (0..thread::cpu_count()).filter_map(|cpu| statistics(CpuId::new(cpu))).map(|cpu| cpu.preemptions).sum()
    };
    let before = preemptions();
    others.into_iter().for_each(joined);
    check_eq!(turns.load(Ordering::Relaxed), 60);
    // Each comes to its turn only because those before it are preempted.
    poll("all hogs had a turn", || begun.load(Ordering::Relaxed) == hogs.len())?;
    check!(preemptions() > before, "nobody was preempted");
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    Ok(())
}

/// Registers of floating point and general ones, through hundreds of preemptions.
fn preempted_registers_are_kept() -> Outcome {
    isochron::worker::set_quantum(Duration::from_micros(20)).map_err(|error| Failure::Failed(error.to_string()))?;
    let threads: Vec<_> = (0..thread::cpu_count() * 4)
        .map(|number| {
            made(packed(move || {
                let (mut sum, mut product, mut count) = (number as f64, 1.0f64, number as u64);
                for round in 0..200_000u32 {
                    sum += core::hint::black_box(0.5);
                    product = core::hint::black_box(product * 1.25) / 1.25;
                    count = count.rotate_left(round & 7) ^ u64::from(round);
                }
                (sum, product, count)
            }))
        })
        .collect::<Outcome<_>>()?;
    for (number, thread) in threads.into_iter().enumerate() {
        let (sum, product, count) = joined(thread);
        check_eq!(sum, number as f64 + 100_000.0);
        check_eq!(product, 1.0);
        let expected =
            (0..200_000u32).fold(number as u64, |count, round| count.rotate_left(round & 7) ^ u64::from(round));
        check_eq!(count, expected);
    }
    isochron::worker::set_quantum(isochron::worker::DEFAULT_QUANTUM).map_err(|error| Failure::Failed(error.to_string()))
}

fn end_of(body: impl FnOnce() + Send + 'static) -> Outcome<Death> {
    match made(Builder::new().name("unlucky").pinned(CpuId::new(0)).spawn_packed(SMALL, body))?.join() {
        Err(death) => Ok(death),
        Ok(()) => Err(Failure::Failed("the thread did not die".into())),
    }
}

fn read_null() {
    // SAFETY: none, on purpose: the access must be caught.
    unsafe { core::ptr::with_exposed_provenance::<u64>(core::hint::black_box(0x18)).read_volatile() };
}

fn each_death_has_its_name() -> Outcome {
    for _ in 0..3 {
        check_eq!(end_of(|| panic!("as it should: {}", core::hint::black_box(3)))?, Death::Panicked);
        check_eq!(end_of(read_null)?, Death::Fault(FaultKind::Page { write: false, fetch: false }));
        check_eq!(end_of(registers::illegal_instruction)?, Death::Fault(FaultKind::IllegalInstruction));
    }
    Ok(())
}

/// Goes down until `left` bytes of the stack or less are left, and comes back.
#[inline(never)]
fn down_to(left: usize, depth: usize) -> usize {
    let mut frame = [depth; 2];
    core::hint::black_box(&mut frame);
    if stack_left() > left { down_to(left, depth + 1) + frame[1] } else { leaf(depth) }
}

#[inline(never)]
fn leaf(number: usize) -> usize {
    let mut frame = [number; 3];
    core::hint::black_box(&mut frame);
    frame[2]
}

/// As a frame that reaches so many bytes below the stack's end would, if it were written to as a whole.
#[inline(never)]
fn overflow_by(bytes: usize) {
    let limit = core::ptr::with_exposed_provenance_mut::<u64>(stack_range().start);
    for word in 1..=bytes / 8 {
        // SAFETY: none, on purpose: this is what must be found.
        unsafe { limit.sub(word).write_volatile(0) };
    }
}

/// Found when the thread parks, yields, ends, or is preempted; named; and nobody else is harmed.
fn contained_overflows() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let neighbours: Vec<_> = (0..200u64)
        .map(|number| {
            let stop = stop.clone();
            made(packed(move || {
                let own = [number; 8];
                while !stop.load(Ordering::Relaxed) {
                    sleep(Duration::from_micros(300));
                }
                core::hint::black_box(&own).iter().sum::<u64>()
            }))
        })
        .collect::<Outcome<_>>()?;
    // Who is alone on its CPU is never taken off it, so nobody looks.
    let his = stop.clone();
    let company = made(Builder::new().pinned(CpuId::new(0)).spawn_packed(SMALL, move || {
        while !his.load(Ordering::Relaxed) {
            yield_now();
        }
    }))?;
    // Found when it ends, parks, yields, sleeps, is preempted.
    let then: [fn(); 5] = [
        || (),
        park,
        || {
            loop {
                yield_now();
            }
        },
        || sleep(Duration::from_secs(3600)),
        || {
            loop {
                core::hint::spin_loop();
            }
        },
    ];
    for bytes in [16, 64, 96] {
        for goes_on in then {
            let end = end_of(move || {
                overflow_by(bytes);
                goes_on();
            })?;
            check_eq!(end, Death::StackOverflow);
        }
    }
    // By recursion: the deepest frames are below the stack's end, and then it comes back.
    check_eq!(end_of(|| assert!(down_to(0, 0) > 0))?, Death::StackOverflow);
    // As deep as there is room for: nothing happens.
    check_eq!(made(packed(|| down_to(128, 0) > 0))?.join(), Ok(true));
    stop.store(true, Ordering::Relaxed);
    joined(company);
    for (number, neighbour) in neighbours.into_iter().enumerate() {
        check_eq!(neighbour.join(), Ok(8 * number as u64));
    }
    Ok(())
}

fn kill_in(what: &str, body: impl FnOnce() + Send + 'static) -> Outcome {
    let thread = made(Builder::new().name("unlucky").spawn_packed(SMALL, body))?;
    dying::kill_in(what, thread)
}

fn killed_everywhere() -> Outcome {
    for _ in 0..3 {
        kill_in("park", park)?;
        kill_in("sleep", || sleep(Duration::from_secs(3600)))?;
        kill_in("a loop", || {
            loop {
                core::hint::spin_loop();
            }
        })?;
        kill_in("a loop that yields", || {
            loop {
                yield_now();
            }
        })?;
        let (tx, rx) = channel::bounded::<u32>(1);
        kill_in("recv", move || {
            let _ = rx.recv();
        })?;
        drop(tx);
    }
    Ok(())
}

/// Deaths of all kinds among threads that work: memory comes back, results are right.
fn a_storm_of_deaths() -> Outcome {
    let round = || -> Outcome {
        let threads: Vec<_> = (0..60usize)
            .map(|number| {
                made(packed(move || {
                    match number % 6 {
                        0 => panic!("as it should"),
                        1 => read_null(),
                        2 => overflow_by(32),
                        _ => yield_now(),
                    }
                    number
                }))
            })
            .collect::<Outcome<_>>()?;
        for (number, thread) in threads.into_iter().enumerate() {
            let expected = match number % 6 {
                0 => Err(Death::Panicked),
                1 => Err(Death::Fault(FaultKind::Page { write: false, fetch: false })),
                2 => Err(Death::StackOverflow),
                _ => Ok(number),
            };
            check_eq!(thread.join(), expected);
        }
        Ok(())
    };
    round()?;
    let before = memory::stats();
    for _ in 0..10 {
        round()?;
    }
    let after = memory::stats();
    check_eq!(after.packed, before.packed, "bytes of packed slots");
    check!(after.stacks <= before.stacks + thread::cpu_count() as u64 * 16 * 4096, "stacks: {before:?}, {after:?}");
    Ok(())
}
