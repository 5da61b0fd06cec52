//! Model checks of inbox, state word and idle protocol.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::idle_set::{IdleSet, Woke};
use isochron_core::inbox::Inbox;
use isochron_core::link::{Link, Linked};
use isochron_core::run_queue::{RunQueue, Steal};
use isochron_core::thread_state::{CommitPark, ParkDecision, State, ThreadState, Unpark};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

struct Node {
    link: Link<Node>,
    payload: UnsafeCell<u32>,
}

// SAFETY: returns the link inside the node, without a reference to the node.
unsafe impl Linked for Node {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive (caller).
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

/// A node pointer that may cross threads.
#[derive(Clone, Copy, PartialEq)]
struct Ptr(NonNull<Node>);
// SAFETY: the tests hand nodes over by the protocols they check.
unsafe impl Send for Ptr {}
// SAFETY: as above.
unsafe impl Sync for Ptr {}

fn node(payload: u32) -> Ptr {
    Ptr(NonNull::from(Box::leak(Box::new(Node { link: Link::new(), payload: UnsafeCell::new(payload) }))))
}

/// Reads the payload and frees the node.
fn take(ptr: Ptr) -> u32 {
    // SAFETY: made by `node`, and the protocol has given it to this thread.
    let node = unsafe { Box::from_raw(ptr.0.as_ptr()) };
    // SAFETY: as above; the model checker sees a race if the protocol is wrong.
    node.payload.with(|value| unsafe { *value })
}

// The inbox frees and reuses addresses under the pushers' hands: ABA would show.
#[test]
fn inbox_hands_over_everything_in_each_pushers_order() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        let pushers: Vec<_> = [10, 20]
            .map(|base| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || {
                    let mut notifies = 0;
                    for value in [base, base + 1] {
                        let fresh = node(0);
                        // SAFETY: not shared yet.
                        unsafe { fresh.0.as_ref() }.payload.with_mut(|at| unsafe { *at = value });
                        // SAFETY: fresh, and freed only once drained.
                        notifies += u32::from(unsafe { inbox.push(fresh.0) });
                    }
                    notifies
                })
            })
            .into();
        let mut got: Vec<u32> = Vec::new();
        let mut drains = 0;
        for _ in 0..2 {
            let before = got.len();
            got.extend(inbox.drain().map(|node| take(Ptr(node))));
            drains += u32::from(got.len() > before);
        }
        let notifies: u32 = pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum();
        let before = got.len();
        got.extend(inbox.drain().map(|node| take(Ptr(node))));
        drains += u32::from(got.len() > before);
        assert!(inbox.is_empty());
        assert_eq!(notifies, drains, "one notify for each time it became non-empty");
        for base in [10, 20] {
            let of: Vec<_> = got.iter().copied().filter(|value| value / 10 * 10 == base).collect();
            assert_eq!(of, [base, base + 1]);
        }
    });
}

/// What is pushed while the owner takes everything out is taken out now or later.
#[test]
fn a_push_during_a_drain_is_not_lost() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::<Node>::new());
        // SAFETY: fresh, and freed only once drained.
        unsafe { inbox.push(node(1).0) };
        let pusher = {
            let inbox = Arc::clone(&inbox);
            // SAFETY: as above.
            thread::spawn(move || unsafe { inbox.push(node(2).0) })
        };
        let mut got: Vec<u32> = inbox.drain().map(|node| take(Ptr(node))).collect();
        let was_empty = pusher.join().unwrap();
        assert_eq!(was_empty, got == [1], "a notify exactly if the first drain was before the push");
        got.extend(inbox.drain().map(|node| take(Ptr(node))));
        assert_eq!(got, [1, 2]);
    });
}

/// The queue of a one-thread world: how often the thread was queued, with the publication a run queue would give.
struct World {
    state: ThreadState,
    queued: AtomicU32,
    /// Stands for the saved context: written by the parker's CPU, read by whoever runs the thread next.
    context: UnsafeCell<u32>,
    data: UnsafeCell<u32>,
}

// SAFETY: the cells are handed over by the protocol under test.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: ThreadState::new(),
            queued: AtomicU32::new(0),
            context: UnsafeCell::new(0),
            data: UnsafeCell::new(0),
        })
    }

    fn enqueue(&self) {
        // The waker's CPU could run it at once: it reads what was saved.
        // SAFETY: the protocol says the thread is ours now.
        self.context.with(|saved| unsafe { assert_eq!(*saved, 1) });
        let before = self.queued.fetch_add(1, Ordering::AcqRel);
        assert_eq!(before, 0, "queued twice");
    }

    fn unpark(&self) {
        // As the end of a thread does: mostly the other is parked.
        if self.state.unpark_parked() || self.state.unpark() == Unpark::Enqueue {
            self.enqueue();
        }
    }

    /// A whole `park()`, with the switch away and back. True if the park ended; false if no wake-up came.
    fn park(&self, may_wait: bool) -> bool {
        match self.state.begin_park() {
            ParkDecision::PermitTaken => return true,
            ParkDecision::Park => {}
        }
        // SAFETY: the thread is off its stack and in nobody else's hands until `commit_park`.
        self.context.with_mut(|saved| unsafe { *saved = 1 });
        match self.state.commit_park() {
            CommitPark::WokenMeanwhile => self.enqueue(),
            CommitPark::Parked => {}
        }
        while self.queued.load(Ordering::Acquire) == 0 {
            if !may_wait {
                return false;
            }
            thread::yield_now();
        }
        self.queued.store(0, Ordering::Relaxed);
        assert!(self.state.set_running(), "runs on two CPUs");
        // SAFETY: the thread is ours again.
        self.context.with_mut(|saved| unsafe { *saved = 0 });
        true
    }

    /// A thread that writes and then unparks.
    fn waker(world: &Arc<Self>) -> thread::JoinHandle<()> {
        let world = Arc::clone(world);
        thread::spawn(move || {
            // SAFETY: read only after the park that this wake-up ends.
            world.data.with_mut(|data| unsafe { *data = 7 });
            world.unpark();
        })
    }
}

/// What the unparker wrote before is seen after the park, whichever way the wake-up came.
#[test]
fn park_sees_what_the_unparker_wrote() {
    loom::model(|| {
        let world = World::new();
        assert!(world.state.set_running());
        let waker = World::waker(&world);
        assert!(world.park(true));
        // SAFETY: as above.
        world.data.with(|data| unsafe { assert_eq!(*data, 7) });
        waker.join().unwrap();
    });
}

/// A CPU that waits a moment before it parks its thread: if the wake-up comes by then, the thread goes on, and sees what was
/// written before it.
#[test]
fn a_park_that_is_cancelled_sees_what_the_unparker_wrote() {
    loom::model(|| {
        let world = World::new();
        assert!(world.state.set_running());
        let waker = World::waker(&world);
        let cancelled = match world.state.begin_park() {
            ParkDecision::PermitTaken => true,
            ParkDecision::Park => world.state.cancel_park(),
        };
        if cancelled {
            assert_eq!(world.state.state(), State::Running);
            // SAFETY: as above.
            world.data.with(|data| unsafe { assert_eq!(*data, 7) });
        }
        waker.join().unwrap();
        assert_eq!(world.state.has_permit(), !cancelled, "the wake-up counts once");
    });
}

/// A thread that has parked may be run by its waker's CPU at once, which finds all of it and is not disturbed.
#[test]
fn a_parked_thread_belongs_to_its_waker_at_once() {
    loom::model(|| {
        let world = World::new();
        assert!(world.state.set_running());
        let waker = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                if world.state.unpark() == Unpark::Nothing {
                    return false;
                }
                assert!(world.state.set_running(), "parked, but not ready to run");
                // SAFETY: parked, and this side has ended the park.
                world.context.with(|saved| unsafe { assert_eq!(*saved, 1) });
                true
            })
        };
        let mut runs_here = true;
        if world.state.begin_park() == ParkDecision::Park {
            // SAFETY: the thread is off its stack and in nobody else's hands until `commit_park`.
            world.context.with_mut(|saved| unsafe { *saved = 1 });
            runs_here = world.state.commit_park() == CommitPark::WokenMeanwhile;
            if runs_here {
                assert!(world.state.set_running());
            }
        }
        let runs_there = waker.join().unwrap();
        assert_ne!(runs_here, runs_there, "it runs on one CPU");
        assert_eq!(world.state.state(), State::Running);
    });
}

/// Two wakers, two parks: each waker's flag is seen by the time the loop ends, and nothing hangs or is queued twice.
#[test]
fn two_unparkers_never_lose_the_last_wake_up() {
    loom::model(|| {
        let world = World::new();
        let flags = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        assert!(world.state.set_running());
        let wakers: Vec<_> = (0..2)
            .map(|index| {
                let (world, flags) = (Arc::clone(&world), Arc::clone(&flags));
                thread::spawn(move || {
                    flags[index].store(1, Ordering::Relaxed);
                    world.unpark();
                })
            })
            .collect();
        // The usual loop of a waiter: look, park, look again. Relaxed on purpose: park itself must carry the flags.
        while flags.iter().any(|flag| flag.load(Ordering::Relaxed) == 0) {
            assert!(world.park(true));
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// A second unpark that finds the permit set must still make its writes seen.
#[test]
fn a_second_unpark_is_seen_through_the_same_permit() {
    loom::model(|| {
        let world = World::new();
        let flag = Arc::new(AtomicU32::new(0));
        assert!(world.state.set_running());
        assert_eq!(world.state.unpark(), Unpark::Nothing);
        let waker = {
            let (world, flag) = (Arc::clone(&world), Arc::clone(&flag));
            thread::spawn(move || {
                flag.store(1, Ordering::Relaxed);
                assert_eq!(world.state.unpark(), Unpark::Nothing);
            })
        };
        assert_eq!(world.state.begin_park(), ParkDecision::PermitTaken);
        let seen = flag.load(Ordering::Relaxed) == 1;
        waker.join().unwrap();
        let permit_left = world.state.begin_park() == ParkDecision::PermitTaken;
        assert!(seen || permit_left, "the second unpark was taken with the first, but its writes are not seen");
    });
}

/// A machine of two CPUs: 0 pushes and goes on running, 1 goes to sleep.
struct Machine {
    queue: RunQueue<u32, 4>,
    inbox: Inbox<Node>,
    idle: IdleSet<2>,
    /// Interrupts sent to CPU 1.
    interrupts: AtomicU32,
}

impl Machine {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: RunQueue::new(),
            inbox: Inbox::new(),
            idle: IdleSet::new(),
            interrupts: AtomicU32::new(0),
        })
    }

    /// One look at everything, as a thief: true if there is work or may be.
    fn look(&self) -> bool {
        let own = RunQueue::new();
        // SAFETY: a queue of this thread's own, one handle.
        let mut own = unsafe { own.owner() };
        let stolen = !matches!(self.queue.steal_into(&mut own), Steal::Empty);
        let mail = self.inbox.drain().fold(0, |sum, node| sum + take(Ptr(node))) > 0;
        stolen || mail
    }
}

/// CPU 1 looks, announces, looks, sleeps. If it sleeps for good, nothing may be left for it.
fn sleeper(machine: &Machine, searching: bool) -> bool {
    if searching {
        let _ = machine.idle.end_search();
    }
    machine.idle.prepare_sleep(1);
    if machine.look() {
        if machine.idle.cancel_sleep(1) == Woke::ClaimedToSearch {
            let _ = machine.idle.end_search();
        }
        return true;
    }
    false
}

#[test]
fn a_push_to_the_run_queue_is_never_missed_by_a_cpu_going_to_sleep() {
    for searching in [false, true] {
        loom::model(move || {
            let machine = Machine::new();
            if searching {
                machine.idle.start_search();
            }
            let other = {
                let machine = Arc::clone(&machine);
                thread::spawn(move || sleeper(&machine, searching))
            };
            // SAFETY: this thread is the owner, one handle.
            unsafe { machine.queue.owner() }.push_shared(1).unwrap();
            let claimed = machine.idle.pick_idle(!0, &[!0]);
            if let Some(claimed) = claimed {
                assert_eq!((claimed.cpu, claimed.needs_interrupt), (1, true));
            }
            let found = other.join().unwrap();
            assert!(found || claimed.is_some(), "work in the queue, and nobody is awake to take it");
        });
    }
}

#[test]
fn a_push_to_the_inbox_is_never_missed_by_a_cpu_going_to_sleep() {
    loom::model(|| {
        let machine = Machine::new();
        let other = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || sleeper(&machine, false))
        };
        // SAFETY: fresh, and freed only once drained.
        unsafe { machine.inbox.push(node(1).0) };
        let claimed = machine.idle.claim(1);
        let found = other.join().unwrap();
        assert!(found || claimed.is_some(), "mail in the inbox, and its owner sleeps");
        assert!(machine.inbox.drain().all(|node| take(Ptr(node)) == 1));
    });
}

/// A CPU that was claimed finds what it was claimed for at its first look.
#[test]
fn a_claimed_cpu_sees_the_push() {
    loom::model(|| {
        let machine = Machine::new();
        machine.idle.prepare_watch(1);
        let pusher = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || {
                // SAFETY: fresh, and freed only once drained.
                unsafe { machine.inbox.push(node(1).0) };
                let claimed = machine.idle.claim(1);
                if claimed.is_some_and(|claimed| claimed.needs_interrupt) {
                    machine.interrupts.fetch_add(1, Ordering::Relaxed);
                }
                claimed.is_some()
            })
        };
        let deep = machine.idle.deepen(1);
        let woke = machine.idle.cancel_sleep(1);
        match woke {
            Woke::Claimed => assert!(!machine.inbox.is_empty()),
            Woke::ClaimedToSearch => unreachable!(),
            Woke::ByItself => {}
        }
        let claimed = pusher.join().unwrap();
        assert_eq!(claimed, woke == Woke::Claimed, "a claim is not lost on the way to sleep");
        if !deep {
            assert_eq!(machine.interrupts.load(Ordering::Relaxed), 0, "the claim itself woke it");
        }
        assert!(machine.inbox.drain().all(|node| take(Ptr(node)) == 1));
    });
}

/// One sleeper, two pushers: it is claimed once, by one of them, and the count of searchers is right afterwards.
#[test]
fn one_sleeper_is_claimed_once_and_counted_once() {
    for ends_search_at_once in [true, false] {
        loom::model(move || {
            let idle = Arc::new(IdleSet::<2>::new());
            idle.prepare_sleep(1);
            let pushers: Vec<_> = (0..2)
                .map(|_| {
                    let idle = Arc::clone(&idle);
                    thread::spawn(move || idle.pick_idle(!0, &[!0]).is_some())
                })
                .collect();
            let claimed = idle.cancel_sleep(1) == Woke::ClaimedToSearch;
            if claimed && ends_search_at_once {
                let _ = idle.end_search();
            }
            let claims = pushers.into_iter().map(|pusher| pusher.join().unwrap()).filter(|&won| won).count();
            assert_eq!(claims, usize::from(claimed));
            // Seen while it is one: below zero passes for zero.
            if claimed && !ends_search_at_once {
                assert_eq!(idle.searching(), 1);
                let _ = idle.end_search();
            }
            assert_eq!((idle.searching(), idle.idle_mask()), (0, 0));
        });
    }
}

/// A pusher whose claim fails must not make another pusher believe that somebody searches.
#[test]
fn a_claim_that_fails_does_not_pass_for_a_searcher() {
    loom::model(|| {
        let machine = Machine::new();
        // CPU 0 is about to get up by itself; CPU 1 goes to sleep; two others push.
        machine.idle.prepare_sleep(0);
        let first = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || machine.idle.pick_idle(!0, &[!0]).is_some())
        };
        let second = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || {
                // SAFETY: this thread is the owner, one handle.
                unsafe { machine.queue.owner() }.push_shared(1).unwrap();
                machine.idle.pick_idle(!0, &[!0]).is_some()
            })
        };
        let woke = machine.idle.cancel_sleep(0);
        machine.idle.prepare_sleep(1);
        let found = machine.queue.stealable_hint() > 0;
        let claims = usize::from(first.join().unwrap()) + usize::from(second.join().unwrap());
        assert!(claims >= usize::from(woke == Woke::ClaimedToSearch));
        assert!(found || claims > 0, "work in the queue, CPU 1 asleep, nobody searches");
    });
}

/// A searcher that found work and was the last must make up for the push that relied on it.
#[test]
fn a_searcher_makes_up_for_the_push_that_relied_on_it() {
    loom::model(|| {
        let machine = Machine::new();
        // CPU 1 sleeps; CPU 0 searches, and finds something elsewhere.
        machine.idle.prepare_sleep(1);
        machine.idle.start_search();
        let pusher = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || {
                // SAFETY: this thread is the owner, one handle.
                unsafe { machine.queue.owner() }.push_shared(1).unwrap();
                machine.idle.pick_idle(!0, &[!0]).is_some()
            })
        };
        let found_it = machine.queue.stealable_hint() > 0;
        let made_up = machine.idle.end_search() && machine.idle.pick_idle(!0, &[!0]).is_some();
        let notified = pusher.join().unwrap();
        assert!(found_it || made_up || notified, "work in the queue, CPU 1 asleep, nobody told it");
    });
}

/// The same, with a searcher that wakes another only if it sees work left.
#[test]
fn a_searcher_that_looks_again_misses_nothing() {
    loom::model(|| {
        let machine = Machine::new();
        machine.idle.prepare_sleep(1);
        machine.idle.start_search();
        let pusher = {
            let machine = Arc::clone(&machine);
            thread::spawn(move || {
                // SAFETY: this thread is the owner, one handle.
                unsafe { machine.queue.owner() }.push_shared(1).unwrap();
                machine.idle.pick_idle(!0, &[!0]).is_some()
            })
        };
        let mut made_up = false;
        if machine.idle.end_search() {
            machine.idle.look_again();
            made_up = machine.queue.stealable_hint() > 0 && machine.idle.pick_idle(!0, &[!0]).is_some();
        }
        let notified = pusher.join().unwrap();
        assert!(made_up || notified, "work in the queue, CPU 1 asleep, nobody told it");
    });
}

/// A permit given twice, once while it is being taken: whoever takes it sees what its giver wrote, and no giver's is lost.
#[test]
fn a_permit_shows_what_its_last_giver_wrote() {
    loom::model(|| {
        let shared = Arc::new((ThreadState::new(), [AtomicU32::new(0), AtomicU32::new(0)]));
        let givers: Vec<_> = (0..2)
            .map(|number| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1[number].store(1, Ordering::Relaxed);
                    assert_eq!(shared.0.give_permit(), Unpark::Nothing, "it is not parked");
                })
            })
            .collect();
        let taken = shared.0.take_permit();
        let seen = shared.1.iter().filter(|flag| flag.load(Ordering::Relaxed) == 1).count();
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        // If no permit is left, the one taken was the last that was given: both givers had written before.
        let left = shared.0.take_permit();
        assert!(taken || left, "a permit was lost");
        assert!(left || seen == 2, "the permit is gone, and {seen} of 2 writes were seen with it");
    });
}
