//! Threads that wait in several ways, to be looked at: `cargo run -- debug stuck`.
//!
//! All stand where they are when `look_here` is called: one sleeps, one waits for a mutex whose owner is parked, one waits for a
//! message, one keeps the last CPU busy, and three wait for the first: one was taken off it, and two have never run. Then all are let go.
//! With the argument `stay` they stay as they are, to be watched: `cargo run -- top stuck -- stay`.
#![no_std]
#![no_main]

use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicBool, Ordering};
use isochron::prelude::*;
use isochron::thread::Builder;

/// Stop here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn look_here() {
    black_box(());
}

#[inline(never)]
fn holds_the_lock(lock: &Mutex<u32>) {
    let mut count = lock.lock();
    park();
    *count += 1;
}

#[inline(never)]
fn waits_for_the_lock(lock: &Mutex<u32>) {
    *lock.lock() += 1;
}

#[inline(never)]
fn waits_for_a_message(messages: &channel::Receiver<u32>) -> u32 {
    messages.recv().unwrap_or(0)
}

#[inline(never)]
fn sleeps() {
    let _ = thread::park_timeout(Duration::from_secs(3600));
}

#[inline(never)]
fn keeps_busy(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        spin_loop();
    }
}

#[isochron::main]
fn main() {
    let (first, last) = (CpuId::PRIMARY, CpuId::new(thread::cpu_count() - 1));
    thread::pin_to(first).expect("the first CPU can be bound to");
    let named = |name: &'static str| Builder::new().name(name).pinned(first);
    let lock = Arc::new(Mutex::new(0));
    let holder = named("holder").spawn({
        let lock = lock.clone();
        move || holds_the_lock(&lock)
    });
    let (send, messages) = channel::bounded(1);
    let receiver = named("receiver").spawn(move || waits_for_a_message(&messages)).expect("memory");
    let sleeper = named("sleeper").spawn(sleeps).expect("memory");
    let holder = holder.expect("memory");
    // All of them come to their places.
    sleep(Duration::from_millis(20));
    let waiter = named("waiter").spawn({
        let lock = lock.clone();
        move || waits_for_the_lock(&lock)
    });
    let waiter = waiter.expect("memory");
    sleep(Duration::from_millis(20));
    let over = Arc::new(AtomicBool::new(false));
    let computes = named("computes").spawn({
        let over = over.clone();
        move || keeps_busy(&over)
    });
    let computes = computes.expect("memory");
    let busy = (first != last).then(|| {
        let over = over.clone();
        Builder::new().name("busy").pinned(last).spawn(move || keeps_busy(&over)).expect("memory")
    });
    sleep(Duration::from_millis(20));

    if isochron::args().any(|word| word == "stay") {
        // To be watched.
        sleep(Duration::from_secs(3600));
    }
    let queued = {
        // Nobody takes this CPU from now on, so who is made for it waits.
        let _stays = thread::PreemptGuard::new();
        let queued = ["queued-1", "queued-2"].map(|name| named(name).spawn(|| ()).expect("memory"));
        look_here();
        queued
    };

    over.store(true, Ordering::Relaxed);
    send.send(7).expect("the receiver is there");
    holder.unpark();
    sleeper.unpark();
    let all = [holder, waiter, sleeper, computes].into_iter().chain(queued).chain(busy);
    all.for_each(|thread| thread.join().expect("it ends by itself"));
    assert_eq!((receiver.join().expect("it ends by itself"), *lock.lock()), (7, 2));
    println!("all let go");
}
