//! Model checks of the semaphore, the gate, the condition variable's queue and once.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::gate::{Arrival, Gate};
use isochron_core::notify::Notify;
use isochron_core::raw_mutex::{Attempt, Contender, RawMutex};
use isochron_core::raw_once::{Begin, RawOnce};
use isochron_core::semaphore::Semaphore;
use isochron_core::wait_queue::{WaitNode, WaitToken};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// Parking, for a model: yielding until the token has its outcome.
fn park(token: &WaitToken) {
    while token.outcome().is_none() {
        thread::yield_now();
    }
}

/// A value behind what is under test, watched by the model checker.
struct Guarded<L> {
    lock: L,
    value: UnsafeCell<u32>,
}

// SAFETY: the lock under test is what makes this true; the model checker watches the cell.
unsafe impl<L> Sync for Guarded<L> {}
// SAFETY: as above.
unsafe impl<L> Send for Guarded<L> {}

impl<L> Guarded<L> {
    fn new(lock: L) -> Arc<Self> {
        Arc::new(Self { lock, value: UnsafeCell::new(0) })
    }

    fn read(&self) -> u32 {
        // SAFETY: the lock under test is held.
        self.value.with(|value| unsafe { *value })
    }

    fn add_one(&self) {
        // SAFETY: the lock under test is held, alone.
        self.value.with_mut(|value| unsafe { *value += 1 });
    }
}

fn acquire(semaphore: &Semaphore<usize>, units: u32) {
    let token = WaitToken::new();
    let mut node = WaitNode::new(0, &token, 0, units);
    // SAFETY: the node and its token live until the token has its outcome.
    if !unsafe { semaphore.acquire_or_wait(NonNull::from(&mut node)) } {
        park(&token);
    }
}

fn release(semaphore: &Semaphore<usize>, units: u32) {
    let mut woken = semaphore.release(units).unwrap();
    while woken.is_some() {
        woken = semaphore.next();
    }
}

/// Who has all units is alone, and what it wrote is seen.
#[test]
fn units_exclude_and_publish() {
    loom::model(|| {
        let shared = Guarded::new(Semaphore::new(2));
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                acquire(&shared.lock, 2);
                shared.add_one();
                release(&shared.lock, 2);
            })
        };
        acquire(&shared.lock, 1);
        let seen = shared.read();
        release(&shared.lock, 1);
        acquire(&shared.lock, 2);
        assert!(shared.read() >= seen);
        shared.add_one();
        release(&shared.lock, 2);
        writer.join().unwrap();
        assert_eq!(shared.lock.free(), 2);
        assert_eq!(shared.read(), 2);
    });
}

/// A waiter for two units holds up one for one unit; when it gives up, the other must not wait on.
#[test]
fn who_gives_up_holds_nobody_up() {
    loom::model(|| {
        let shared = Guarded::new(Semaphore::new(1));
        let impatient = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let token = WaitToken::new();
                let mut node = WaitNode::new(0, &token, 0, 2);
                let node = NonNull::from(&mut node);
                // SAFETY: the node and its token live until it is forgotten or has its outcome.
                assert!(!unsafe { shared.lock.acquire_or_wait(node) }, "there is but one unit");
                assert!(token.fire(1), "nobody could give it two");
                // SAFETY: linked above.
                let _ = unsafe { shared.lock.forget(node) };
            })
        };
        acquire(&shared.lock, 1);
        release(&shared.lock, 1);
        impatient.join().unwrap();
        assert!(shared.lock.try_acquire(1));
    });
}

/// Nobody passes a barrier before the last has come, and then all do, with what the others wrote.
#[test]
fn a_barrier_opens_for_all_at_once() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shared = Arc::new((Gate::new(2), [AtomicU32::new(0), AtomicU32::new(0)]));
        let pass = |shared: &(Gate<usize>, [AtomicU32; 2]), me: usize| {
            let mut lasts = 0;
            for arrived in &shared.1 {
                arrived.fetch_add(1, Ordering::Relaxed);
                let token = WaitToken::new();
                let mut node = WaitNode::new(me, &token, 0, 0);
                // SAFETY: the node and its token live until the token has its outcome.
                match unsafe { shared.0.arrive(NonNull::from(&mut node), 2) } {
                    Arrival::Last => {
                        lasts += 1;
                        while shared.0.next().is_some() {}
                    }
                    Arrival::Waiting => park(&token),
                }
                assert_eq!(arrived.load(Ordering::Relaxed), 2, "passed alone, or without what the other wrote");
            }
            lasts
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || pass(&shared, 1))
        };
        let lasts = pass(&shared, 0);
        assert_eq!(lasts + other.join().unwrap(), 2, "one of each round is the last");
    });
}

/// Who withdraws in time is not counted; who comes too late has passed.
#[test]
fn a_withdrawal_and_the_last_arrival_exclude_each_other() {
    loom::model(|| {
        let gate = Arc::new(Gate::<usize>::new(2));
        let other = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                let token = WaitToken::new();
                let mut node = WaitNode::new(1, &token, 0, 0);
                let node = NonNull::from(&mut node);
                // SAFETY: the node and its token live until it is withdrawn or has its outcome.
                match unsafe { gate.arrive(node, 2) } {
                    Arrival::Last => {
                        while gate.next().is_some() {}
                        true
                    }
                    Arrival::Waiting if token.fire(1) => {
                        // SAFETY: linked above.
                        !unsafe { gate.withdraw(node) }
                    }
                    Arrival::Waiting => {
                        park(&token);
                        true
                    }
                }
            })
        };
        let token = WaitToken::new();
        let mut node = WaitNode::new(0, &token, 0, 0);
        let node = NonNull::from(&mut node);
        // SAFETY: as above.
        let passed = match unsafe { gate.arrive(node, 2) } {
            Arrival::Last => {
                while gate.next().is_some() {}
                true
            }
            Arrival::Waiting => {
                let passed = other.join().unwrap();
                if passed {
                    park(&token);
                } else {
                    assert!(token.fire(1));
                    // SAFETY: as above.
                    assert!(unsafe { gate.withdraw(node) });
                }
                assert_eq!(gate.count(), 2);
                return;
            }
        };
        assert!(passed && other.join().unwrap(), "the gate opened for one of two");
        assert_eq!(gate.count(), 2);
    });
}

/// A condition that is changed under the mutex and then notified is never missed.
#[test]
fn a_notification_is_not_lost() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shared = Guarded::new((RawMutex::<usize>::new(), Notify::<usize>::new()));
        let lock = |shared: &Guarded<(RawMutex<usize>, Notify<usize>)>, me: usize| {
            if !shared.lock.0.try_lock(me) {
                let token = WaitToken::new();
                let mut node = WaitNode::new(0, &token, 0, Contender { owner: me, rank: 0 });
                // SAFETY: the node and its token live until the token has its outcome.
                if unsafe { shared.lock.0.lock_or_wait(NonNull::from(&mut node)) } == Attempt::Waiting {
                    park(&token);
                }
            }
        };
        let unlock = |shared: &Guarded<(RawMutex<usize>, Notify<usize>)>, me: usize| {
            if !shared.lock.0.try_unlock(me) {
                let _ = shared.lock.0.unlock_slow();
            }
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                lock(&shared, 4);
                shared.add_one();
                unlock(&shared, 4);
                let mark = shared.lock.1.mark();
                while shared.lock.1.one_before(mark).is_some() {}
            })
        };
        lock(&shared, 2);
        while shared.read() == 0 {
            let token = WaitToken::new();
            let mut node = WaitNode::new(0, &token, 0, 0);
            // SAFETY: the node and its token live until the token has its outcome.
            unsafe { shared.lock.1.wait(NonNull::from(&mut node)) };
            unlock(&shared, 2);
            park(&token);
            lock(&shared, 2);
        }
        unlock(&shared, 2);
        other.join().unwrap();
    });
}

/// One does it, and whoever sees it done sees all of it.
#[test]
fn once_is_done_once_and_seen_whole() {
    loom::model(|| {
        let shared = Guarded::new(RawOnce::<usize>::new());
        let get = |shared: &Guarded<RawOnce<usize>>, me: usize| {
            if !shared.lock.is_done() {
                let token = WaitToken::new();
                let mut node = WaitNode::new(0, &token, 0, me);
                // SAFETY: the node and its token live until the token has its outcome.
                match unsafe { shared.lock.begin(NonNull::from(&mut node)) } {
                    Begin::Run => {
                        shared.add_one();
                        shared.lock.finish();
                        while shared.lock.next().is_some() {}
                    }
                    Begin::Waiting => park(&token),
                    Begin::Done => {}
                    Begin::Twice => panic!("taken for another"),
                }
            }
            shared.read()
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || get(&shared, 6))
        };
        assert_eq!(get(&shared, 4), 1);
        assert_eq!(other.join().unwrap(), 1);
    });
}

/// The glance at the word, without the queue's lock, is enough to see what was done.
#[test]
fn a_glance_at_once_sees_what_was_done() {
    loom::model(|| {
        let shared = Guarded::new(RawOnce::<usize>::new());
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let token = WaitToken::new();
                let mut node = WaitNode::new(0, &token, 0, 4);
                // SAFETY: never linked: nobody else begins.
                assert_eq!(unsafe { shared.lock.begin(NonNull::from(&mut node)) }, Begin::Run);
                shared.add_one();
                shared.lock.finish();
            })
        };
        // The other first, for once: the checker would not try that by itself (it reorders with the last access only, and
        // `begin` reads the word before it writes it).
        thread::yield_now();
        if shared.lock.is_done() {
            assert_eq!(shared.read(), 1);
        }
        other.join().unwrap();
    });
}

/// Two want it done; whoever is first leaves in the middle, and `leave` says how. The other does it then, whether it waits
/// already or comes later, and sees what the first had done.
fn leaves_in_the_middle(leave: fn(&RawOnce<usize>, usize) -> Option<usize>, marked: bool) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let shared = Guarded::new(RawOnce::<usize>::new());
        // True: it was the first.
        let get = move |shared: &Guarded<RawOnce<usize>>, me: usize| {
            let token = WaitToken::new();
            let mut node = WaitNode::new(0, &token, 0, me);
            // SAFETY: the node and its token live until the token has its outcome.
            let waited = match unsafe { shared.lock.begin(NonNull::from(&mut node)) } {
                Begin::Run => false,
                Begin::Waiting => {
                    park(&token);
                    true
                }
                Begin::Done | Begin::Twice => panic!("it was not done, and is not this one's"),
            };
            assert_eq!(shared.lock.runner(), Some(me), "whoever is woken has its turn");
            let before = shared.read();
            assert_eq!(shared.lock.is_orphaned(), marked && before == 1);
            assert!(!waited || before == 1, "somebody waits, and for nobody");
            shared.add_one();
            if before == 0 {
                let _ = leave(&shared.lock, me);
            } else {
                shared.lock.finish();
            }
        };
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || get(&shared, 6))
        };
        get(&shared, 4);
        other.join().unwrap();
        assert!(shared.lock.is_done());
        assert_eq!(shared.read(), 2);
    });
}

/// Who fails hands its turn to the one who waits, in one step.
#[test]
fn a_turn_that_is_given_up_is_handed_on() {
    leaves_in_the_middle(|once, _| once.give_up(), false);
}

/// Who dies does, too, and it is marked.
#[test]
fn an_orphaned_once_is_handed_on() {
    leaves_in_the_middle(RawOnce::orphan, true);
}

/// The one who waits finds the runner dead, and that one hands its turn on itself: it is handed on once.
#[test]
fn an_orphaned_once_is_handed_on_once() {
    loom::model(|| {
        let once = Arc::new(RawOnce::<usize>::new());
        assert!(once.try_begin(4));
        let other = {
            let once = Arc::clone(&once);
            thread::spawn(move || {
                let token = WaitToken::new();
                let mut node = WaitNode::new(0, &token, 0, 6);
                // SAFETY: the node and its token live until the token has its outcome.
                if unsafe { once.begin(NonNull::from(&mut node)) } == Begin::Waiting {
                    let _ = once.orphan(4);
                    park(&token);
                }
            })
        };
        let _ = once.orphan(4);
        other.join().unwrap();
        assert_eq!(once.runner(), Some(6));
    });
}
