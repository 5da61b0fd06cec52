//! Model checks of the countdown.
#![cfg(loom)]

use isochron_core::countdown::Countdown;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

#[test]
fn who_waits_sees_what_all_did() {
    loom::model(|| {
        let shared = Arc::new((Countdown::new(), [UnsafeCell::new(0), UnsafeCell::new(0)]));
        shared.0.enter();
        shared.0.enter();
        let leavers = [0, 1].map(|index| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                // SAFETY: each has a cell of its own, which the waiter reads only when all have left.
                shared.1[index].with_mut(|value| unsafe { *value = 1 });
                // SAFETY: alive, and this thread entered.
                unsafe { Countdown::leave(&raw const shared.0) }
            })
        });
        while !shared.0.is_over() {
            thread::yield_now();
        }
        for cell in &shared.1 {
            // SAFETY: all have left.
            assert_eq!(cell.with(|value| unsafe { *value }), 1);
        }
        let last = leavers.map(|leaver| leaver.join().unwrap());
        assert_eq!(last.iter().filter(|&&last| last).count(), 1, "one of them is told that it was the last");
    });
}
