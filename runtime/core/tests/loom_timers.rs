//! Model checks of who owns a timer: cancelling against expiry.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::timer_wheel::{Cancel, Timer, Timers};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// A wheel, one timer, and what its action writes and its owner frees: the model checker watches that.
struct World {
    timers: Timers<()>,
    timer: Box<UnsafeCell<Timer<()>>>,
    runs: UnsafeCell<u32>,
    woken: AtomicBool,
}

// SAFETY: the protocol under test is what makes this true; the model checker watches `runs`.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            timers: Timers::new(),
            timer: Box::new(UnsafeCell::new(Timer::new(()))),
            runs: UnsafeCell::new(0),
            woken: AtomicBool::new(false),
        })
    }

    fn timer(&self) -> NonNull<Timer<()>> {
        self.timer.with(|timer| NonNull::new(timer.cast_mut()).unwrap())
    }

    fn set(&self, deadline: u64) {
        // SAFETY: the test owns it and has not set it; the world outlives it.
        unsafe { self.timers.set(self.timer(), deadline) };
    }

    fn cancel(&self) -> bool {
        // SAFETY: the test owns it, and this is the only wheel.
        let cancelled = unsafe { self.timers.cancel(self.timer()) } != Cancel::Expired;
        // SAFETY: alive.
        assert!(unsafe { Timer::is_idle(self.timer()) });
        cancelled
    }

    /// What the action does.
    fn act(&self) {
        // SAFETY: under test.
        self.runs.with_mut(|runs| unsafe { *runs += 1 });
    }

    /// How often it did; the owner may free it now, which is as good as writing it.
    fn free(&self) -> u32 {
        // SAFETY: under test.
        self.runs.with_mut(|runs| unsafe { std::mem::take(&mut *runs) })
    }
}

#[test]
fn a_timer_is_cancelled_or_its_action_is_over() {
    loom::model(|| {
        let world = World::new();
        world.set(1);
        let cpu = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                if let (Some(due), _) = world.timers.take_due(1) {
                    world.act();
                    due.done();
                }
            })
        };
        let cancelled = world.cancel();
        assert_eq!(world.free(), u32::from(!cancelled));
        cpu.join().unwrap();
        assert!(world.timers.is_empty());
        // It can be set again.
        world.set(2);
        assert!(world.cancel());
    });
}

#[test]
fn a_sleeper_that_is_woken_knows_that_its_time_has_come() {
    loom::model(|| {
        let world = World::new();
        world.set(1);
        let cpu = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let (due, next) = world.timers.take_due(1);
                assert_eq!(next, None);
                let due = due.expect("nobody cancels it");
                // As in unparking a thread: from here on it runs elsewhere, and this is not done with it yet.
                world.woken.store(true, Ordering::Release);
                world.act();
                due.done();
            })
        };
        while !world.woken.load(Ordering::Acquire) {
            thread::yield_now();
        }
        // SAFETY: alive.
        assert!(unsafe { Timer::has_fired(world.timer()) });
        assert_eq!(world.free(), 1);
        cpu.join().unwrap();
    });
}

#[test]
fn a_timer_that_sets_itself_again_can_be_stopped() {
    loom::model(|| {
        let world = World::new();
        world.set(1);
        let cpu = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                for now in 1..=2 {
                    if let (Some(due), _) = world.timers.take_due(now) {
                        world.act();
                        due.again(now + 1);
                    }
                }
            })
        };
        world.cancel();
        world.free();
        cpu.join().unwrap();
        assert!(world.timers.take_due(9).0.is_none(), "it was cancelled");
        assert_eq!(world.free(), 0);
    });
}

#[test]
fn set_on_one_cpu_is_due_on_another() {
    loom::model(|| {
        let world = World::new();
        let cpu = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                if let (Some(due), _) = world.timers.take_due(1) {
                    world.act();
                    due.done();
                }
            })
        };
        world.set(1);
        cpu.join().unwrap();
        let ran = world.timers.is_empty();
        assert_eq!(world.cancel(), !ran);
        assert_eq!(world.free(), u32::from(ran));
    });
}
