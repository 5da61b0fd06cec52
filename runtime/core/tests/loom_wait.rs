//! Model checks of the spin lock, injector, wait tokens and channel.
#![cfg(loom)]

use std::ptr::NonNull;

use isochron_core::channel::blocks::{Block, Memory, Slot};
use isochron_core::channel::{Channel, Node as ChannelNode, RETURNED, Step, TryRecvError, TrySendError};
use isochron_core::injector::Injector;
use isochron_core::link::{Link, Linked};
use isochron_core::lock_rank::LockRank;
use isochron_core::spinlock::SpinLock;
use isochron_core::wait_queue::{WaitToken, Wake};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

const TEST: LockRank = LockRank::new(0, "test");

#[test]
fn spin_lock_excludes_and_publishes() {
    loom::model(|| {
        let lock = Arc::new(SpinLock::new(TEST, 0));
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

/// What is taken out at once, in its order.
fn pop(injector: &Injector<Item>, max: usize) -> Vec<u32> {
    let mut got = Vec::new();
    // SAFETY: made by `item`, popped once.
    injector.pop_batch(max, |node| got.push(unsafe { Box::from_raw(node.as_ptr()) }.value));
    got
}

#[test]
fn injector_gives_each_once_and_in_order() {
    loom::model(|| {
        let injector = Arc::new(Injector::<Item>::new());
        let pusher = {
            let injector = Arc::clone(&injector);
            // SAFETY: fresh items.
            thread::spawn(move || unsafe {
                injector.push_with(|pusher| [1, 2].into_iter().for_each(|value| pusher.push(item(value))));
                injector.push(item(3));
            })
        };
        let mut got = pop(&injector, 1);
        got.extend(pop(&injector, 2));
        pusher.join().unwrap();
        got.extend(pop(&injector, 9));
        assert_eq!(got, [1, 2, 3]);
        assert_eq!(injector.len_hint(), 0);
    });
}

#[test]
fn injector_gives_each_to_one_of_two() {
    loom::model(|| {
        let injector = Arc::new(Injector::<Item>::new());
        // SAFETY: fresh items.
        unsafe { injector.push_with(|pusher| [1, 2, 3].into_iter().for_each(|value| pusher.push(item(value)))) };
        let popper = {
            let injector = Arc::clone(&injector);
            thread::spawn(move || pop(&injector, 2))
        };
        let mut got = pop(&injector, 2);
        let other = popper.join().unwrap();
        got.extend(pop(&injector, 9));
        assert!(got.is_sorted() && other.is_sorted(), "{got:?} {other:?}");
        got.extend(other);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
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

/// Who waits, by number. Nobody here waits in a door.
#[derive(Clone, Copy)]
struct Waiter(usize);

impl isochron_core::channel::Waiter for Waiter {
    unsafe fn take_over(self) -> bool {
        unreachable!("nobody stands in a door")
    }

    unsafe fn sit_down(self) {
        unreachable!("nobody stands in a door")
    }
}

type TestChannel = Channel<Message, Waiter, Heap>;

/// The heap, with blocks of one slot.
struct Heap;

fn block() -> NonNull<Block<Message, [Slot<Message>; 1]>> {
    NonNull::from(Box::leak(Box::new(Block::new([Slot::empty()]))))
}

// SAFETY: leaked boxes stay where they are.
unsafe impl Memory<Message> for Heap {
    type Slots = [Slot<Message>; 1];

    fn more() -> Option<NonNull<Block<Message, Self::Slots>>> {
        Some(block())
    }

    unsafe fn free(block: NonNull<Block<Message, Self::Slots>>) {
        // SAFETY: from `block`, and nobody's any more (caller).
        drop(unsafe { Box::from_raw(block.as_ptr()) });
    }
}

struct World {
    channel: TestChannel,
    threads: [Thread; 3],
}

impl World {
    /// With a channel for one message.
    fn new() -> Arc<Self> {
        // SAFETY: the block is new.
        Self::with(unsafe { Channel::bounded(block()) })
    }

    fn with(channel: TestChannel) -> Arc<Self> {
        Arc::new(Self { channel, threads: std::array::from_fn(|_| Thread::default()) })
    }

    /// Unparks, then publishes, as the runtime does.
    fn wake(&self, wake: Option<Wake<Waiter>>) {
        if let Some(wake) = wake {
            self.threads[wake.waiter().0].0.swap(1, Ordering::AcqRel);
            wake.publish();
        }
    }

    /// Parks until a waker has claimed the token, as the runtime does, and waits for the publication.
    fn park(&self, me: usize, token: &WaitToken) {
        while !token.is_claimed() {
            while self.threads[me].0.swap(0, Ordering::Acquire) == 0 {
                thread::yield_now();
            }
        }
        while token.outcome().is_none() {
            thread::yield_now();
        }
    }

    fn close(&self) -> bool {
        let first = self.channel.close();
        while let Some(wake) = self.channel.wake_after_close() {
            self.wake(Some(wake));
        }
        first
    }

    fn send(&self, me: usize, value: u32) -> Result<(), u32> {
        let token = WaitToken::new();
        let mut node = ChannelNode::new(Waiter(me), &token, 0, Some(Message::new(value)));
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays until the wait is over.
        match unsafe { self.channel.send_or_wait(node) } {
            Step::Done(woken) => self.wake(woken),
            Step::Waiting => self.park(me, &token),
            Step::Closed => {}
        }
        // SAFETY: done, or the wait has its outcome: the node is ours.
        unsafe { (*node.as_ptr()).payload.take() }.map_or(Ok(()), |message| Err(message.value()))
    }

    /// With `impatient`, the time runs out at once.
    fn receive(&self, me: usize, impatient: bool) -> Option<u32> {
        if let Some((message, woken)) = self.channel.take() {
            self.wake(woken);
            return Some(message.value());
        }
        let token = WaitToken::new();
        let mut node = ChannelNode::new(Waiter(me), &token, 0, None);
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays until the wait is over.
        match unsafe { self.channel.recv_or_wait(node) } {
            Step::Done((message, woken)) => {
                self.wake(woken);
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
        self.park(me, &token);
        assert_eq!(token.outcome(), Some(0));
        // SAFETY: the wait has its outcome: the node is ours.
        unsafe { (*node.as_ptr()).payload.take() }.map(|message| message.value())
    }
}

#[test]
fn messages_pass_in_order_whoever_waits() {
    loom::model(|| messages_pass(&World::new(), 3));
}

#[test]
fn messages_pass_in_order_through_a_chain() {
    // SAFETY: the block is new.
    loom::model(|| messages_pass(&World::with(unsafe { Channel::unbounded(block()) }), 3));
}

fn messages_pass(world: &Arc<World>, count: u32) {
    let sender = {
        let world = Arc::clone(world);
        thread::spawn(move || {
            for value in 0..count {
                world.send(0, value).unwrap();
            }
        })
    };
    for value in 0..count {
        assert_eq!(world.receive(1, false), Some(value));
    }
    sender.join().unwrap();
    assert!(world.channel.is_empty());
}

#[test]
fn what_is_in_the_ring_is_seen_whole() {
    loom::model(|| glances(&World::new()));
}

#[test]
fn what_is_in_the_chain_is_seen_whole() {
    // SAFETY: the block is new.
    loom::model(|| glances(&World::with(unsafe { Channel::unbounded(block()) })));
}

/// Nobody waits: what goes through is ordered by the counts alone.
///
/// The yields make the model checker come back here later: a thread that loads a word before it stores there hides from
/// it what others did to that word before.
fn glances(world: &Arc<World>) {
    let sender = {
        let world = Arc::clone(world);
        thread::spawn(move || {
            let mut sent = Vec::new();
            for value in 0..3 {
                if world.channel.try_send(Message::new(value)).is_ok() {
                    sent.push(value);
                }
                thread::yield_now();
            }
            sent
        })
    };
    let mut got = Vec::new();
    for _ in 0..2 {
        thread::yield_now();
        got.extend(world.channel.try_recv().ok().map(|(message, _)| message.value()));
    }
    let sent = sender.join().unwrap();
    while let Ok((message, _)) = world.channel.try_recv() {
        got.push(message.value());
    }
    assert_eq!(got, sent);
}

#[test]
fn two_senders_share_the_ring_without_loss() {
    loom::model(|| {
        let world = World::new();
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.channel.try_send(Message::new(1)).is_ok())
        };
        let mine = world.channel.try_send(Message::new(2)).is_ok();
        assert!(mine != sender.join().unwrap(), "there is room for one");
        let (message, _) = world.channel.try_recv().unwrap();
        assert_eq!(message.value(), if mine { 2 } else { 1 });
    });
}

#[test]
fn two_receivers_share_the_ring_without_doubles() {
    loom::model(|| {
        let world = World::new();
        world.send(0, 7).unwrap();
        let receiver = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.channel.try_recv().ok().map(|(message, _)| message.value()))
        };
        let mine = world.channel.try_recv().ok().map(|(message, _)| message.value());
        let other = receiver.join().unwrap();
        assert_eq!(mine.xor(other), Some(7));
    });
}

/// Of two messages that come to a receiver of both channels, it gets one, and the other stays.
#[test]
fn a_select_takes_one_message_and_leaves_the_other() {
    loom::model(|| {
        // SAFETY: the blocks are new.
        let (first, second) = unsafe { (Channel::bounded(block()), Channel::bounded(block())) };
        let worlds = [World::with(first), World::with(second)];
        let senders = [0, 1].map(|place| {
            let world = Arc::clone(&worlds[place]);
            move || match world.channel.try_send(Message::new(place as u32)) {
                Ok(woken) => world.wake(woken),
                Err(_) => unreachable!("there is room"),
            }
        });
        let [first, second] = senders;
        let other = thread::spawn(first);
        // The receiver of both, as `select!` does it.
        let token = WaitToken::new();
        let mut nodes = [0, 1].map(|tag| ChannelNode::new(Waiter(2), &token, tag, None));
        let nodes = nodes.each_mut().map(|node| NonNull::from(node));
        worlds.iter().for_each(|world| world.channel.lock());
        let mut got = None;
        for (place, world) in worlds.iter().enumerate() {
            // SAFETY: the locks are held.
            if let Ok((message, _)) = unsafe { world.channel.try_recv_locked() } {
                got = Some((place, message.value()));
                break;
            }
        }
        if got.is_none() {
            for (world, node) in worlds.iter().zip(nodes) {
                // SAFETY: the locks are held, and nothing was there; the nodes stay until they are forgotten.
                unsafe { world.channel.link_recv(node) };
            }
        }
        // SAFETY: locked above.
        worlds.iter().for_each(|world| unsafe { world.channel.unlock() });
        second();
        if got.is_none() {
            while token.outcome().is_none() {
                thread::yield_now();
            }
            let place = token.outcome().unwrap() as usize;
            for (world, node) in worlds.iter().zip(nodes) {
                // SAFETY: linked above.
                unsafe { world.channel.forget_receiver(node) };
            }
            // SAFETY: the wait has its outcome, and the nodes are in no queue.
            let [first, second] = nodes.map(|node| unsafe { (*node.as_ptr()).payload.take() });
            assert!(first.is_some() ^ second.is_some());
            got = first.or(second).map(|message| (place, message.value()));
        }
        other.join().unwrap();
        let (place, value) = got.unwrap();
        assert_eq!(value as usize, place);
        // The other's message is in its ring.
        let left = worlds[1 - place].channel.try_recv().ok().map(|(message, _)| message.value() as usize);
        assert_eq!(left, Some(1 - place));
        assert!(worlds[place].channel.is_empty());
    });
}

#[test]
fn a_time_out_and_a_message_exclude_each_other() {
    loom::model(|| {
        let world = World::new();
        let sender = {
            let world = Arc::clone(&world);
            thread::spawn(move || match world.channel.try_send(Message::new(5)) {
                Ok(woken) => world.wake(woken),
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => unreachable!(),
            })
        };
        let got = world.receive(1, true);
        sender.join().unwrap();
        let left = world.channel.try_recv().map(|(message, woken)| (message.value(), woken.is_some()));
        match got {
            Some(value) => assert_eq!((value, left), (5, Err(TryRecvError::Empty))),
            None => assert_eq!(left, Ok((5, false)), "neither received nor left"),
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
        assert!(world.close());
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
        assert!(world.close());
        assert_eq!(sender.join().unwrap(), Err(7), "closed, and its message back");
        assert_eq!(world.receive(1, false), Some(6));
        assert_eq!(world.receive(1, false), None);
    });
}

/// There is a receiver still, which gets it, closed or not.
#[test]
fn a_close_loses_no_message_that_comes_back() {
    loom::model(|| {
        let world = World::new();
        world.send(2, 6).unwrap();
        let closing = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.close())
        };
        let token = WaitToken::new();
        let mut node = ChannelNode::new(Waiter(0), &token, RETURNED, Some(Message::new(7)));
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays until the wait is over, and this is a receiver.
        let back = unsafe { world.channel.put_back(node) };
        assert!(matches!(back, Step::Waiting), "there is no room");
        assert!(closing.join().unwrap());
        assert_eq!(token.outcome(), None, "it waits on");
        assert_eq!([world.receive(1, false), world.receive(1, false)], [Some(6), Some(7)]);
        assert_eq!(token.outcome(), Some(RETURNED));
        assert_eq!(world.receive(1, false), None);
        // What comes back now waits as well, until nobody is left to receive it.
        let token = WaitToken::new();
        let mut node = ChannelNode::new(Waiter(0), &token, RETURNED, Some(Message::new(8)));
        let node = NonNull::from(&mut node);
        // SAFETY: as above.
        assert!(matches!(unsafe { world.channel.put_back(node) }, Step::Waiting), "it is closed");
        world.wake(world.channel.wake_returned());
        assert_eq!(token.outcome(), Some(RETURNED));
        // SAFETY: its wait is over.
        assert_eq!(unsafe { (*node.as_ptr()).payload.take() }.map(|message| message.value()), Some(8));
    });
}
