//! Stacks that grow: by whatever code touches them, as far as they may and as there is memory.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ memory: 64
//@ timeout: 120
//@ run: checked
//@ machines: virt, q35
//@ cpus: 2
//@ memory: 64
//@ timeout: 240
//@ checked: yes
#![no_std]
#![no_main]

use isochron::kernel::boot::VirtAddr;
use isochron::kernel::irq;
use isochron::kernel::memory::{self, Stack};
use isochron::thread::{Death, park, stack_range, trim_stacks};
use isochron_guest_tests::deep::use_stack;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;
#[cfg(isochron_bare)]
use isochron_guest_tests::shortage::AllFrames;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        stacks_take_little_until_they_are_used,
        as_deep_as_it_may_go,
        kernel_code_grows_a_stack_wherever_it_is,
        code_with_interrupts_masked_grows_a_stack,
        an_interrupt_grows_a_stack,
        growth_keeps_all_registers,
        all_cpus_may_touch_the_same_page,
        without_memory_the_thread_alone_dies,
    ])
}

const PAGE: usize = 4096;
/// What a stack has from the beginning.
const FIRST: usize = 2 * PAGE;

/// Where that begins, of the stack with this top.
fn edge_below(top: usize) -> usize {
    top.next_multiple_of(PAGE) - FIRST
}

fn made<T>(thread: Result<JoinHandle<T>, SpawnError>) -> Outcome<JoinHandle<T>> {
    thread.map_err(|error| Failure::Failed(error.to_string()))
}

/// On one CPU with whoever calls, so that they share a stock of stacks.
fn beside() -> Builder<'static> {
    Builder::new().pinned(CpuId::PRIMARY)
}

/// Whether the page at `addr` is backed; where the host does that, nobody can tell.
fn is_backed(addr: usize) -> Option<bool> {
    cfg!(isochron_bare).then(|| memory::is_mapped(VirtAddr::new(addr)))
}

fn stacks_take_little_until_they_are_used() -> Outcome {
    // Far more than the machine has, if they were used.
    const THREADS: usize = 500;
    let begun = Arc::new(AtomicUsize::new(0));
    let before = memory::stats();
    let threads = (0..THREADS).map(|number| {
        let begun = begun.clone();
        made(Builder::new().stack_size(1 << 20).spawn(move || {
            begun.fetch_add(1, Ordering::Relaxed);
            park();
            // Some of them go deeper.
            if number % 50 == 0 { use_stack(200 << 10) } else { true }
        }))
    });
    let threads = threads.collect::<Outcome<Vec<_>>>()?;
    poll("all are parked", || begun.load(Ordering::Relaxed) == THREADS)?;
    let after = memory::stats();
    let each = (after.stacks - before.stacks) / THREADS as u64;
    check!(each <= FIRST as u64, "{each} bytes for each stack");
    check!(after.stacks_reserved - before.stacks_reserved >= (THREADS as u64 - 16) << 20);
    threads.iter().for_each(|thread| thread.thread().unpark());
    for thread in threads {
        check_eq!(thread.join(), Ok(true));
    }
    Ok(())
}

fn as_deep_as_it_may_go() -> Outcome {
    for size in [256 << 10, 1 << 20, 8 << 20] {
        let thread = made(Builder::new().stack_size(size).spawn(move || {
            let before = memory::stats().stacks;
            (use_stack(size - 2048), memory::stats().stacks.saturating_sub(before))
        }))?;
        let (right, grown) = thread.join().unwrap();
        check!(right, "a frame on a stack of {size} bytes");
        check!(grown as usize >= size / 4 * 3, "a stack of {size} bytes grew by {grown}");
    }
    check_eq!(beside().spawn(|| use_stack(300 << 10)).map(JoinHandle::join), Ok(Err(Death::StackOverflow)));
    Ok(())
}

/// Where the stack of a thread that has done nothing yet is no longer backed, and that it is so.
fn edge() -> Outcome<usize> {
    let edge = edge_below(stack_range().end);
    check!(is_backed(edge) != Some(false) && is_backed(edge - PAGE) != Some(true), "the stack has grown already");
    Ok(edge)
}

/// Runs `body` on new threads, with the edge of its stack and each of the arguments.
fn at_the_edge(
    arguments: impl Iterator<Item = usize> + Send + 'static,
    body: impl Fn(usize, usize) -> Outcome + Copy + Send + 'static,
) -> Outcome {
    // From a thread on the same CPU, whose stock of stacks it is that is taken from.
    let rounds = made(beside().spawn(move || {
        for argument in arguments {
            trim_stacks();
            // Of a size that is used for nothing else here: what others leave behind late is of no concern.
            let one = made(beside().stack_size(128 << 10).spawn(move || body(edge()?, argument)))?;
            one.join().unwrap_or_else(|death| Err(Failure::Failed(format!("with {argument}: {death}"))))?;
        }
        Ok(())
    }))?;
    joined(rounds)
}

fn kernel_code_grows_a_stack_wherever_it_is() -> Outcome {
    at_the_edge((16..PAGE).step_by(48), |edge, offset| {
        // SAFETY: so far down nothing of this thread's is on its stack.
        unsafe { registers::call_at(edge + offset, ask_the_kernel, offset) };
        Ok(())
    })
}

/// What takes locks and frames.
extern "C" fn ask_the_kernel(number: usize) {
    let stack = Stack::new((1 << 20) + (number + 1) * PAGE).map(|stack| stack.size());
    let block = vec![number as u8; 100_000 + number];
    let (sender, receiver) = isochron::channel::bounded(1);
    let other = spawn(move || sender.send(number));
    yield_now();
    let received = receiver.recv();
    assert!(stack.is_ok() && received == Ok(number) && block.iter().all(|byte| *byte == number as u8));
    assert!(other.join().is_ok_and(|sent| sent.is_ok()));
}

fn code_with_interrupts_masked_grows_a_stack() -> Outcome {
    at_the_edge(1..29, |edge, pages| {
        let from = edge - pages * PAGE;
        irq::without(|| {
            // From the lowest: those above it come with it.
            for page in (from..edge).step_by(PAGE) {
                // SAFETY: so far down nothing of this thread's is on its stack.
                unsafe { core::ptr::with_exposed_provenance_mut::<u64>(page).write_volatile(page as u64) };
            }
        });
        check!(is_backed(from) != Some(false) && is_backed(from - PAGE) != Some(true));
        Ok(())
    })
}

fn an_interrupt_grows_a_stack() -> Outcome {
    // Inside the last page that is backed, at its edge, and inside the two pages below.
    static SAVED: AtomicUsize = AtomicUsize::new(0);
    let places = [720, 736, 64, 16, 0, PAGE * 2 - 64, PAGE * 2 - 720, PAGE * 2 - 2048];
    at_the_edge(places.into_iter().cycle().take(32), |edge, place| {
        let sp = if place > PAGE { edge + place - 3 * PAGE } else { edge + place };
        let stop = Arc::new(AtomicU64::new(0));
        let its = stop.clone();
        let waker = made(beside().spawn(move || {
            thread::sleep(Duration::from_micros(200));
            its.store(1, Ordering::Relaxed);
        }))?;
        // It runs first, so that it sleeps.
        yield_now();
        // SAFETY: so far down nothing of this thread's is on its stack.
        unsafe { registers::spin_at(sp, &stop) };
        SAVED.fetch_add(usize::from(is_backed(sp - 256) != Some(false)), Ordering::Relaxed);
        waker.join().unwrap();
        Ok(())
    })?;
    // It may have come too early, before the stack pointer was there.
    let saved = SAVED.load(Ordering::Relaxed);
    check!(saved >= 16, "only {saved} times of 32 was something saved below the stack pointer");
    Ok(())
}

fn growth_keeps_all_registers() -> Outcome {
    at_the_edge(0..50, |edge, seed| {
        let stop = AtomicU64::new(1);
        // SAFETY: so far down nothing of this thread's is on its stack.
        let damaged = unsafe { registers::hold_and_touch(seed as u64, &stop, edge - 64) };
        check!(damaged.is_empty(), "{damaged:?}");
        check!(is_backed(edge - 64) != Some(false));
        Ok(())
    })
}

fn all_cpus_may_touch_the_same_page() -> Outcome {
    // Of a size that is used for nothing else here, so a new one.
    let stack = Stack::new(3 << 20).map_err(|_| Failure::Failed("no stack".into()))?;
    let edge = edge_below(stack.top().as_usize());
    let bottom = edge - 16 * PAGE;
    let cpus = thread::cpu_count();
    let before = memory::stats().stacks;
    let turn = Arc::new(AtomicUsize::new(0));
    let threads = (0..cpus).map(|cpu| {
        let turn = turn.clone();
        made(Builder::new().pinned(CpuId::new(cpu)).spawn(move || {
            for (number, page) in (bottom..edge).rev().step_by(PAGE).enumerate() {
                turn.fetch_add(1, Ordering::Relaxed);
                while turn.load(Ordering::Relaxed) < (number + 1) * cpus {
                    yield_now();
                }
                let word = (page & !(PAGE - 1)) + 8 * cpu;
                // SAFETY: a word of its own of a stack that nobody runs on.
                unsafe { core::ptr::with_exposed_provenance_mut::<usize>(word).write_volatile(word) };
            }
        }))
    });
    threads.collect::<Outcome<Vec<_>>>()?.into_iter().for_each(joined);
    for page in (bottom..edge).step_by(PAGE) {
        for word in (0..cpus).map(|cpu| page + 8 * cpu) {
            // SAFETY: as above.
            check_eq!(unsafe { core::ptr::with_exposed_provenance::<usize>(word).read_volatile() }, word);
        }
    }
    let grown = memory::stats().stacks - before;
    check!(
        (edge - bottom..edge - bottom + 64 * PAGE).contains(&(grown as usize)),
        "{grown} bytes for {}",
        edge - bottom
    );
    Ok(())
}

#[cfg(isochron_hosted)]
fn without_memory_the_thread_alone_dies() -> Outcome {
    ignore!("the host backs stacks")
}

/// What needs more stack than there is left above the edge, to tell about it.
#[cfg(isochron_bare)]
extern "C" fn panics(_: usize) {
    panic!("where the stack cannot grow for it");
}

/// In each of four ways: in its own code, by an interrupt, in a panic, and (not at all) in code that must not fail.
#[cfg(isochron_bare)]
fn without_memory_the_thread_alone_dies() -> Outcome {
    let (go, begun) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let start = |body: fn(usize) -> bool| {
        let (go, begun) = (go.clone(), begun.clone());
        // New ones, of which only the tops are backed.
        made(beside().name("hungry").stack_size(512 << 10).spawn(move || {
            begun.fetch_add(1, Ordering::Relaxed);
            park();
            while go.load(Ordering::Relaxed) == 0 {
                park();
            }
            body(edge_below(stack_range().end))
        }))
    };
    static STOP: AtomicU64 = AtomicU64::new(0);
    let grows = start(|_| use_stack(400 << 10))?;
    let interrupted = start(|edge| {
        // SAFETY: so far down nothing of this thread's is on its stack.
        unsafe { registers::spin_at(edge + 16, &STOP) };
        true
    })?;
    // More of them than a CPU has pages in reserve; each a little farther from the edge.
    let panicking = (0..12).map(|_| {
        start(|edge| {
            static NUMBER: AtomicUsize = AtomicUsize::new(1);
            let distance = NUMBER.fetch_add(1, Ordering::Relaxed) * 256;
            // SAFETY: as above.
            unsafe { registers::call_at(edge + distance, panics, 0) };
            true
        })
    });
    let panicking = panicking.collect::<Outcome<Vec<_>>>()?;
    let masked = start(|edge| {
        // SAFETY: as above.
        irq::without(|| unsafe { core::ptr::with_exposed_provenance_mut::<u64>(edge - 8).write_volatile(7) });
        true
    })?;
    // Its timer is what interrupts the one that spins.
    let small = start(|_| {
        while STOP.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_micros(300));
        }
        true
    })?;
    poll("all have begun", || begun.load(Ordering::Relaxed) == 16)?;
    // There, so that its CPU has none in stock either.
    let all = joined(made(beside().spawn(AllFrames::take))?);
    go.store(1, Ordering::Relaxed);
    let hungry = [grows, masked, interrupted];
    hungry.iter().chain([&small]).for_each(|thread| thread.thread().unpark());
    panicking.iter().for_each(|thread| thread.thread().unpark());
    let ends = hungry.map(JoinHandle::join);
    let panicked = panicking.into_iter().map(JoinHandle::join).collect::<Vec<_>>();
    STOP.store(1, Ordering::Relaxed);
    check_eq!(small.join(), Ok(true));
    drop(all);
    let dead = Err(Death::OutOfMemory);
    check_eq!(ends, [dead, Ok(true), dead]);
    // Those that are too near for the way to the report die of that.
    let ends = [Death::OutOfMemory, Death::Panicked].map(|why| panicked.iter().filter(|end| **end == Err(why)).count());
    check!(ends[0] + ends[1] == 12 && ends[1] >= 4, "{panicked:?}");
    check_eq!(spawn(|| use_stack(40 << 10)).join(), Ok(true));
    Ok(())
}
