//! Model checks of the spin lock, injector, wait tokens and channel.
#![cfg(loom)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use isochron_core::channel::{Channel, Node as ChannelNode, Step, TryRecvError, TrySendError};
use isochron_core::injector::Injector;
use isochron_core::link::{Link, Linked};
use isochron_core::spinlock::SpinLock;
use isochron_core::wait_queue::WaitToken;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

#[test]
fn spin_lock_excludes_and_publishes() {
    loom::model(|| {
        let lock = Arc::new(SpinLock::new(0));
        let other = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || lock.with(|value| *value += 1))
        };
        lock.with(|value| *value += 1);
        other.join().unwrap();
        assert_eq!(lock.with(|value| *value), 2);
    });
}

struct Item {
    link: Link<Item>,
    value: u32,
}

// SAFETY: returns the link inside the item, without a reference to the item.
unsafe impl Linked for Item {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the item is alive (caller).
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

fn item(value: u32) -> NonNull<Item> {
    NonNull::from(Box::leak(Box::new(Item { link: Link::new(), value })))
}

#[test]
fn injector_gives_each_once_and_in_order() {
    loom::model(|| {
        let injector = Arc::new(Injector::<Item>::new());
        let pop = |injector: &Injector<Item>, max| {
            let mut got = Vec::new();
            // SAFETY: made by `item`, popped once.
            injector.pop_batch(max, |node| got.push(unsafe { Box::from_raw(node.as_ptr()) }.value));
            got
        };
        let pusher = {
            let injector = Arc::clone(&injector);
            // SAFETY: fresh items.
            thread::spawn(move || unsafe {
                injector.push_batch([item(1), item(2)]);
                injector.push(item(3));
            })
        };
        let popper = {
            let injector = Arc::clone(&injector);
            thread::spawn(move || pop(&injector, 2))
        };
        let mut got = pop(&injector, 1);
        pusher.join().unwrap();
        let other = popper.join().unwrap();
        assert!(got.is_sorted() && other.is_sorted());
        got.extend(other);
        got.extend(pop(&injector, 9));
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
        assert_eq!(injector.len_hint(), 0);
    });
}

/// A green thread of the model: its permit.
#[derive(Default)]
struct Thread(AtomicU32);

/// A message whose content the model checker watches: it must have been written before it is read.
#[derive(Debug)]
struct Message(Box<UnsafeCell<u32>>);

// SAFETY: moved from sender to receiver, whole.
unsafe impl Send for Message {}

impl Message {
    fn new(value: u32) -> Self {
        let message = Self(Box::new(UnsafeCell::new(0)));
        // SAFETY: not shared.
        message.0.with_mut(|at| unsafe { *at = value });
        message
    }

    fn value(&self) -> u32 {
        // SAFETY: the channel has handed it over.
        self.0.with(|at| unsafe { *at })
    }
}

type Waiter = usize;
type TestChannel = Channel<Message, Waiter, [MaybeUninit<Message>; 1]>;

struct World {
    channel: TestChannel,
    threads: [Thread; 3],
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            channel: Channel::new([MaybeUninit::uninit()]),
            threads: std::array::from_fn(|_| Thread::default()),
        })
    }

    fn unpark(&self, waiter: Option<Waiter>) {
        if let Some(waiter) = waiter {
            self.threads[waiter].0.swap(1, Ordering::AcqRel);
        }
    }

    /// Parks until the wake-up, as the runtime would.
    fn park(&self, me: Waiter) {
        while self.threads[me].0.swap(0, Ordering::Acquire) == 0 {
            thread::yield_now();
        }
    }

    fn send(&self, me: Waiter, value: u32) -> Result<(), u32> {
        let token = WaitToken::new();
        let mut node = ChannelNode::new(me, &token, 0, Some(Message::new(value)));
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays until the wait is over.
        match unsafe { self.channel.send_or_wait(node) } {
            Step::Done(woken) => self.unpark(woken),
            Step::Waiting => {
                while token.outcome().is_none() {
                    self.park(me);
                }
            }
            Step::Closed => {}
        }
        // SAFETY: done, or the wait has its outcome: the node is ours.
        unsafe { (*node.as_ptr()).payload.take() }.map_or(Ok(()), |message| Err(message.value()))
    }

    /// With `impatient`, the time runs out at once.
    fn receive(&self, me: Waiter, impatient: bool) -> Option<u32> {
        let token = WaitToken::new();
        let mut node = ChannelNode::new(me, &token, 0, None);
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays until the wait is over.
        match unsafe { self.channel.recv_or_wait(node) } {
            Step::Done((message, woken)) => {
                self.unpark(woken);
                return Some(message.value());
            }
            Step::Closed => return None,
            Step::Waiting => {}
        }
        if impatient && token.fire(1) {
            // SAFETY: linked in this channel.
            unsafe { self.channel.forget_receiver(node) };
            assert_eq!(token.outcome(), Some(1));
            return None;
        }
        while token.outcome().is_none() {
            self.park(me);
        }
        assert_eq!(token.outcome(), Some(0));
        // SAFETY: the wait has its outcome: the node is ours.
        unsafe { (*node.as_ptr()).payload.take() }.map(|message| message.value())
    }
}

#[test]
fn messages_pass_in_order_whoever_waits() {
    loom::model(|| {
        let world = World::new();
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                for value in 0..3 {
                    world.send(0, value).unwrap();
                }
            })
        };
        for value in 0..3 {
            assert_eq!(world.receive(1, false), Some(value));
        }
        sender.join().unwrap();
        assert!(world.channel.is_empty());
    });
}

#[test]
fn a_time_out_and_a_message_exclude_each_other() {
    loom::model(|| {
        let world = World::new();
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || match world.channel.try_send(Message::new(5)) {
                Ok(woken) => world.unpark(woken),
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => unreachable!(),
            })
        };
        let got = world.receive(1, true);
        sender.join().unwrap();
        let left = world.channel.try_recv().map(|(message, woken)| (message.value(), woken));
        match got {
            Some(value) => assert_eq!((value, left), (5, Err(TryRecvError::Empty))),
            None => assert_eq!(left, Ok((5, None)), "neither received nor left"),
        }
    });
}

// Two threads at a time: with two that spin, the model checker lets them yield to each other for ever.
#[test]
fn close_ends_a_receivers_wait() {
    loom::model(|| {
        let world = World::new();
        let receiver = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.receive(1, false))
        };
        assert!(world.channel.close(|waiter| world.unpark(Some(waiter))));
        assert_eq!(receiver.join().unwrap(), None);
    });
}

#[test]
fn close_ends_a_senders_wait_and_loses_no_message() {
    loom::model(|| {
        let world = World::new();
        world.send(2, 6).unwrap();
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.send(0, 7))
        };
        assert!(world.channel.close(|waiter| world.unpark(Some(waiter))));
        assert_eq!(sender.join().unwrap(), Err(7), "closed, and its message back");
        assert_eq!(world.receive(1, false), Some(6));
        assert_eq!(world.receive(1, false), None);
    });
}
