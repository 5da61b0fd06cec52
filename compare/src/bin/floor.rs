//! The floor: what the machine itself takes, without a scheduler.

use core::arch::{asm, global_asm};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use isochron_compare::rows::*;
use isochron_compare::{Out, main as run, ns_each, percentile, shuffled};
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    run(&[
        ("switch", switch),
        ("switch_many", switch_many),
        ("spawn_join", spawn_join),
        ("cross_core_round", cross_core_round),
        ("fork_join", fork_join),
        ("sleep_late", sleep_late),
        ("mutex_2", mutex),
    ]);
}

// Saves what the calling convention asks for, swaps stack pointers: `rdi` points to where the old one goes, `rsi` is the new.
global_asm!(
    ".globl bare_switch",
    "bare_switch:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi], rsp",
    "mov rsp, rsi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
);

unsafe extern "C" {
    fn bare_switch(save: *mut usize, to: usize);
}

/// Who switches to whom: each context's stack pointer, and the order.
struct Ring {
    stacks: Vec<UnsafeCell<usize>>,
    next: Vec<usize>,
    main: UnsafeCell<usize>,
    at: UnsafeCell<usize>,
    left: UnsafeCell<u64>,
}

static mut RING: *const Ring = core::ptr::null();

/// Each context: hands on to the next until the switches are used up, then back to the main one.
extern "C" fn member() -> ! {
    // SAFETY: one host thread runs all contexts, one at a time; the ring lives until the last switch back.
    unsafe {
        let ring = &*RING;
        loop {
            let me = *ring.at.get();
            let left = &mut *ring.left.get();
            if *left == 0 {
                bare_switch(ring.stacks[me].get(), *ring.main.get());
                continue;
            }
            *left -= 1;
            let next = ring.next[me];
            *ring.at.get() = next;
            bare_switch(ring.stacks[me].get(), *ring.stacks[next].get());
        }
    }
}

/// ns for each of `switches` switches around `order`, stacks of `bytes` each.
fn around(order: &[usize], bytes: usize, switches: u64) -> f64 {
    let count = order.len();
    let mut memory = vec![0u8; count * bytes + 64];
    let base = memory.as_mut_ptr().addr().next_multiple_of(64) - memory.as_ptr().addr();
    let mut next = vec![0; count];
    for (position, member) in order.iter().enumerate() {
        next[*member] = order[(position + 1) % count];
    }
    let stacks = (0..count)
        .map(|index| {
            // SAFETY: inside `memory`: the frame that the first switch pops, at the top of each piece.
            unsafe {
                // Different cache sets for neighbours, as real stacks in use have.
                let colour = (index % 7) * 64;
                let top = memory.as_mut_ptr().add(base + (index + 1) * bytes - colour).cast::<usize>();
                *top.sub(2) = member as *const () as usize;
                UnsafeCell::new(top.sub(8).addr())
            }
        })
        .collect();
    let ring =
        Ring { stacks, next, main: UnsafeCell::new(0), at: UnsafeCell::new(order[0]), left: UnsafeCell::new(switches) };
    // SAFETY: as in `member`; every context's stack is in `memory`, which lives through this.
    unsafe {
        RING = &raw const ring;
        ns_each(switches, || bare_switch(ring.main.get(), *ring.stacks[order[0]].get()))
    }
}

fn switch(out: &mut Out) {
    out.value("switch", around(&[0, 1], 16 << 10, SWITCHES * 10));
}

fn switch_many(out: &mut Out) {
    out.value("switch_many", around(&shuffled(MANY), 1 << 10, MANY as u64 * MANY_TURNS));
}

/// A coroutine on a pooled stack, made, run to its end and dropped.
fn spawn_join(out: &mut Out) {
    let mut stack = DefaultStack::new(32 << 10).unwrap();
    let mut sum = 0u64;
    let ns = ns_each(SPAWN_JOIN, || {
        for n in 0..SPAWN_JOIN {
            let mut coroutine = Coroutine::<(), (), u64, _>::with_stack(stack, move |_, ()| n);
            match coroutine.resume(()) {
                CoroutineResult::Return(n) => sum += n,
                CoroutineResult::Yield(()) => unreachable!(),
            }
            stack = coroutine.into_stack();
        }
    });
    assert_eq!(sum, SPAWN_JOIN * (SPAWN_JOIN - 1) / 2);
    out.value("spawn_join", ns);
}

#[repr(align(128))]
struct Line(AtomicU64);

/// Two host threads hand one shared line to and fro.
fn cross_core_round(out: &mut Out) {
    static LINE: Line = Line(AtomicU64::new(0));
    let other = thread::spawn(|| {
        for round in 0..ROUNDS {
            while LINE.0.load(Ordering::Acquire) != round * 2 + 1 {
                spin_loop();
            }
            LINE.0.store(round * 2 + 2, Ordering::Release);
        }
    });
    let ns = ns_each(ROUNDS, || {
        for round in 0..ROUNDS {
            LINE.0.store(round * 2 + 1, Ordering::Release);
            while LINE.0.load(Ordering::Acquire) != round * 2 + 2 {
                spin_loop();
            }
        }
    });
    other.join().unwrap();
    out.value("cross_core_round", ns);
}

/// No fork at all.
fn fork_join(out: &mut Out) {
    fn fib(n: u32) -> u64 {
        if n < 2 { n.into() } else { fib(n - 1) + fib(n - 2) }
    }
    let mut least = f64::MAX;
    for _ in 0..10 {
        let begin = Instant::now();
        assert_eq!(fib(std::hint::black_box(FIB)), FIB_RESULT);
        least = least.min(begin.elapsed().as_secs_f64() * 1e3);
    }
    out.value("fork_join", least);
}

/// Spins until the time stamp counter says so.
fn sleep_late(out: &mut Out) {
    let mut late: Vec<f64> = (0..SLEEPS)
        .map(|_| {
            let deadline = Instant::now() + Duration::from_micros(100);
            loop {
                let now = Instant::now();
                if now >= deadline {
                    return (now - deadline).as_secs_f64() * 1e6;
                }
                spin_loop();
            }
        })
        .collect();
    out.value("sleep_late", percentile(&mut late, 50.0));
}

/// One thread, one uncontended exchange and a store.
fn mutex(out: &mut Out) {
    let word = AtomicU64::new(0);
    let ns = ns_each(LOCKS, || {
        for _ in 0..LOCKS {
            while word.swap(1, Ordering::Acquire) != 0 {
                spin_loop();
            }
            // SAFETY: no instruction: what is guarded.
            unsafe { asm!("", options(nostack, preserves_flags)) };
            word.store(0, Ordering::Release);
        }
    });
    out.value("mutex_2_barging", ns);
}
