//! Thousands of threads that die among thousands that work, and overflows of every sort, a thousand in one boot: the others
//! are unharmed, and all memory is back.
//@ sanitizer: no
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ memory: 256
//@ timeout: 180
#![no_std]
#![no_main]

use isochron::kernel::death_reports::{BURST, death_reports};
use isochron::kernel::trap::FaultKind;
use isochron::prelude::park;
use isochron::thread::Death;
use isochron_guest_tests::census::Counters;
use isochron_guest_tests::dying::recurse;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;

#[isochron::main]
fn main() -> u8 {
    run(cases![ten_thousand_deaths, a_thousand_overflows, the_rest_is_counted])
}

/// Dying threads, and as many that work.
const THREADS: usize = 10_000;
/// So many of each at a time.
const WAVE: usize = 500;
/// The blocks of so many dead threads are kept at the most, of so many bytes each.
const LAST_DEAD: usize = 256;
const BLOCK: usize = 384;
/// Overflows.
const ROUNDS: usize = 1000;

fn small() -> Builder<'static> {
    Builder::new().stack_size(16 * 1024)
}

fn made<T>(thread: Result<JoinHandle<T>, SpawnError>) -> Outcome<JoinHandle<T>> {
    thread.map_err(|error| Failure::Failed(error.to_string()))
}

/// One frame of so many bytes, of which only the lowest is written: far below the stack and its guard.
#[inline(never)]
fn one_frame<const BYTES: usize>() {
    let mut frame = core::mem::MaybeUninit::<[u8; BYTES]>::uninit();
    // SAFETY: within the frame.
    unsafe { core::hint::black_box(frame.as_mut_ptr()).cast::<u8>().write_volatile(1) };
    core::hint::black_box(&mut frame);
}

fn die(number: usize) {
    match number % 4 {
        0 => panic!("number {number} of many"),
        // SAFETY: none, on purpose: the access must be caught.
        1 => unsafe { _ = core::ptr::with_exposed_provenance::<u64>(core::hint::black_box(0x18)).read_volatile() },
        2 => registers::illegal_instruction(),
        _ => _ = recurse(0),
    }
}

fn death_of(number: usize) -> Death {
    match number % 4 {
        0 => Death::Panicked,
        1 => Death::Fault(FaultKind::Page { write: false, fetch: false }),
        2 => Death::Fault(FaultKind::IllegalInstruction),
        _ => Death::StackOverflow,
    }
}

/// What a thread that works computes, on its stack and on the heap, giving others their turns in between.
fn work(number: usize, turns: impl Fn()) -> u64 {
    let mut random = Random::new(number as u64 + 1);
    let mut on_the_stack = [0u64; 64];
    let mut on_the_heap = vec![0u64; 1 + number % 64];
    for turn in 0..4 {
        for place in on_the_stack.iter_mut().chain(&mut on_the_heap) {
            *place = place.wrapping_mul(31).wrapping_add(random.below(1 << 30) as u64);
        }
        if turn % 2 == 0 {
            turns();
        }
    }
    on_the_stack.iter().chain(&on_the_heap).fold(0, |sum, place| sum.rotate_left(1) ^ place)
}

fn wave(first: usize) -> Outcome {
    let mut dying = Vec::with_capacity(WAVE);
    let mut working = Vec::with_capacity(WAVE);
    for number in first..first + WAVE {
        dying.push(made(small().name("victim").spawn(move || die(number)))?);
        working.push(made(small().spawn(move || work(number, yield_now)))?);
    }
    for (number, thread) in (first..).zip(dying) {
        check_eq!(thread.join(), Err(death_of(number)), "thread {number}");
    }
    for (number, thread) in (first..).zip(working) {
        check_eq!(thread.join(), Ok(work(number, || ())), "thread {number}");
    }
    Ok(())
}

fn ten_thousand_deaths() -> Outcome {
    let counters = Counters::new();
    let before = counters.take();
    for first in (0..THREADS).step_by(WAVE) {
        wave(first)?;
    }
    let after = counters.take();
    check_eq!(after.stacks, before.stacks, "bytes of stacks in use, afterwards and before");
    // The blocks of the last that died are kept, for those who find their mutexes taken; no more than so many, however many
    // die.
    let kept = LAST_DEAD * (BLOCK + 16);
    check!(
        after.heap <= before.heap + kept,
        "bytes of the heap in use: {} before, {} afterwards",
        before.heap,
        after.heap
    );
    wave(THREADS)?;
    check_eq!(counters.take(), after, "what is in use, after one more wave and before");
    Ok(())
}

/// Threads beside those that overflow, with something on their stacks.
fn bystander(stop: &AtomicBool) -> bool {
    let mut pattern = [0u64; 1024];
    for (number, place) in pattern.iter_mut().enumerate() {
        *place = number as u64 ^ 0x5a5a_5a5a_5a5a_5a5a;
    }
    core::hint::black_box(&mut pattern);
    while !stop.load(Ordering::Relaxed) {
        park();
    }
    core::hint::black_box(&pattern)
        .iter()
        .enumerate()
        .all(|(number, place)| *place == number as u64 ^ 0x5a5a_5a5a_5a5a_5a5a)
}

fn a_thousand_overflows() -> Outcome {
    let counters = Counters::new();
    let before = counters.take();
    let (stop, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut bystanders = Vec::new();
    for _ in 0..32 {
        let (stop, ready) = (stop.clone(), ready.clone());
        bystanders.push(made(small().spawn(move || {
            ready.fetch_add(1, Ordering::Relaxed);
            bystander(&stop)
        }))?);
    }
    poll("all stand by", || ready.load(Ordering::Relaxed) == 32)?;
    const SORTS: [(&str, fn()); 4] = [
        ("by recursion", || _ = recurse(0)),
        ("by a local of a MiB", one_frame::<{ 1 << 20 }>),
        ("by a jump past the guard", one_frame::<{ 40 * 1024 }>),
        ("by a jump far past the guard", one_frame::<{ 64 << 20 }>),
    ];
    for round in 0..ROUNDS {
        let (name, overflow) = SORTS[round % SORTS.len()];
        // A stack of each size in turn, so that each has neighbours of its own sort.
        let thread = made(Builder::new().name(name).stack_size(4096 << (round / SORTS.len() % 4)).spawn(overflow))?;
        check_eq!(thread.thread().name(), Some(name));
        check_eq!(thread.join(), Err(Death::StackOverflow), "{name}, round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    for thread in bystanders {
        thread.thread().unpark();
        check_eq!(thread.join(), Ok(true), "the stack of a thread that stood by");
    }
    check_eq!(counters.take().stacks, before.stacks, "bytes of stacks in use, afterwards and before");
    Ok(())
}

fn the_rest_is_counted() -> Outcome {
    let reports = death_reports();
    check_eq!(reports.told + reports.left_out, (THREADS + WAVE + ROUNDS) as u64);
    check!(reports.told >= BURST && reports.left_out > 0, "{reports:?}");
    Ok(())
}
