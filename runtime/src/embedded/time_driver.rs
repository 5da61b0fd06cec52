//! `embassy-time-driver`: the time, and wakers that are called when it has come.
//!
//! Wakers wait in a tree, by their time and by whom they wake, so that one which is asked for again at each poll is there once.
//! One timer of this runtime is set for the first of them. As `embassy-time` has it, a waker is not taken back: that of a timer
//! which was dropped is called for nothing.
//!
//! The tick is what the program chose by a feature of `embassy-time` (`tick-hz-…`), a microsecond if it chose none; 0 is when
//! the clock began.

use crate::Instant;
use crate::sync::OnceLock;
use crate::time::{Then, Timer};
use alloc::collections::BTreeMap;
use core::task::Waker;
use embassy_time_driver::{Driver, TICK_HZ};
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::clock::frequency_hz;
use isochron_kernel::irq;

struct Clock;

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock);

/// When, in the clock's ticks; and whom, as two addresses.
type Key = (u64, usize, usize);

static WAITING: SpinLock<BTreeMap<Key, Waker>> = SpinLock::new(lock_rank::EMBASSY_WAITING, BTreeMap::new());

/// Set for the first of those that wait. Its lock is taken before that of the list, and never in the timer's call, which whoever
/// sets the timer may wait for.
static ALARM: OnceLock<SpinLock<Timer>> = OnceLock::new();

impl Driver for Clock {
    fn now(&self) -> u64 {
        scale(Instant::now().ticks(), frequency_hz(), TICK_HZ, false)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        let ticks = scale(at, TICK_HZ, frequency_hz(), true);
        if ticks == u64::MAX {
            return;
        }
        if ALARM.get().is_none() {
            // Not in the making of the lock: without memory for it this thread ends, and nobody else.
            let _ours = ALARM.set(SpinLock::new(lock_rank::EMBASSY_ALARM, Timer::new(wake_due)));
        }
        let Some(alarm) = ALARM.get() else { return };
        let key = (ticks, waker.data().addr(), core::ptr::from_ref(waker.vtable()).addr());
        let waker = waker.clone();
        let (before, is_first) = irq::without(|| {
            WAITING.with(|waiting| {
                let before = waiting.insert(key, waker);
                (before, waiting.first_key_value().is_some_and(|(first, _)| *first == key))
            })
        });
        // The one that was there, if there was one, is dropped without the lock.
        drop(before);
        if is_first {
            irq::without(|| {
                alarm.with(|timer| {
                    // Somebody may have set it since for an earlier one, or that one's time has come.
                    if let Some(next) = next() {
                        timer.set(next);
                    }
                });
            });
        }
    }
}

/// When the first of those that wait is to be woken. Interrupts masked.
fn next() -> Option<Instant> {
    WAITING.with(|waiting| waiting.first_key_value().map(|(&(at, ..), _)| Instant::from_ticks(at)))
}

/// The timer's call.
fn wake_due(now: Instant) -> Then {
    loop {
        let due = WAITING.with(|waiting| {
            let first = waiting.first_entry()?;
            (first.key().0 <= now.ticks()).then(|| first.remove())
        });
        match due {
            Some(waker) => waker.wake(),
            None => return next().map_or(Then::Stop, Then::At),
        }
    }
}

/// Ticks of one clock in those of another; down, or up, and no further than they reach.
fn scale(ticks: u64, from: u64, to: u64, up: bool) -> u64 {
    let product = u128::from(ticks) * u128::from(to);
    let from = u128::from(from);
    u64::try_from(if up { product.div_ceil(from) } else { product / from }).unwrap_or(u64::MAX)
}
