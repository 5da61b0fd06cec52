//! The channel against a model of queues: who gets what, who waits, who is woken.
#![cfg(not(loom))]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ptr::NonNull;

use isochron_core::channel::blocks::{Block, Memory, Slot};
use isochron_core::channel::{Channel, Node, Step, TryRecvError, TrySendError};
use isochron_core::wait_queue::{WaitToken, Wake};
use proptest::prelude::*;

/// The heap, with blocks of two slots for channels without a limit.
#[derive(Debug)]
struct Heap;

type Slots<T> = Box<[Slot<T>]>;

thread_local! {
    static BLOCKS: Cell<usize> = const { Cell::new(0) };
}

fn block<T>(slots: usize) -> NonNull<Block<T, Slots<T>>> {
    BLOCKS.set(BLOCKS.get() + 1);
    NonNull::from(Box::leak(Box::new(Block::new((0..slots).map(|_| Slot::empty()).collect()))))
}

// SAFETY: leaked boxes stay where they are.
unsafe impl<T> Memory<T> for Heap {
    type Slots = Slots<T>;

    fn more() -> Option<NonNull<Block<T, Slots<T>>>> {
        Some(block(2))
    }

    unsafe fn free(block: NonNull<Block<T, Slots<T>>>) {
        BLOCKS.set(BLOCKS.get() - 1);
        // SAFETY: from `block`, and nobody's any more (caller).
        drop(unsafe { Box::from_raw(block.as_ptr()) });
    }
}

/// Who waits, by number. Nobody here waits in a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number(usize);

impl isochron_core::channel::Waiter for Number {
    unsafe fn take_over(self) -> bool {
        unreachable!("nobody stands in a door")
    }

    unsafe fn sit_down(self) {
        unreachable!("nobody stands in a door")
    }
}

/// With the limit `usize::MAX`: none.
fn channel<T>(capacity: usize) -> Channel<T, Number, Heap> {
    // SAFETY: new blocks.
    unsafe {
        match capacity {
            usize::MAX => Channel::unbounded(block(2)),
            _ => Channel::bounded(block(capacity)),
        }
    }
}

/// As the runtime does, where nobody parks.
fn wake(wake: Option<Wake<Number>>) -> Option<usize> {
    let wake = wake?;
    let waiter = wake.waiter();
    wake.publish();
    Some(waiter.0)
}

/// A waiting thread: its token and node, at fixed addresses. (No box: that would be its contents' only owner, wherever it is moved.)
struct Waiter {
    token: NonNull<WaitToken>,
    node: NonNull<Node<String, Number>>,
}

impl Waiter {
    fn new(number: usize, payload: Option<String>) -> Self {
        let token = NonNull::from(Box::leak(Box::new(WaitToken::new())));
        let node = NonNull::from(Box::leak(Box::new(Node::with_token(Number(number), token, 3, payload))));
        Self { token, node }
    }

    fn token(&self) -> &WaitToken {
        // SAFETY: alive until `finish`.
        unsafe { self.token.as_ref() }
    }

    /// The payload, once the wait is over.
    fn finish(self) -> Option<String> {
        // SAFETY: both from `Box::leak`; the wait is over.
        unsafe {
            drop(Box::from_raw(self.token.as_ptr()));
            Box::from_raw(self.node.as_ptr()).payload
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Send(bool),
    Receive(bool),
    TimeOutSender,
    TimeOutReceiver,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<bool>().prop_map(Op::Send),
        4 => any::<bool>().prop_map(Op::Receive),
        1 => Just(Op::TimeOutSender),
        1 => Just(Op::TimeOutReceiver),
    ]
}

/// The longest way of a random test: Miri is a thousand times slower.
const STEPS: usize = if cfg!(miri) { 12 } else { 200 };

proptest! {
    #[test]
    fn behaves_as_a_queue_with_lines_at_both_ends(
        capacity in prop_oneof![6 => 0..4_usize, 2 => Just(usize::MAX)],
        ops in prop::collection::vec(op(), 0..STEPS),
    ) {
        let channel = channel(capacity);
        let mut inside: VecDeque<String> = VecDeque::new();
        let (mut senders, mut receivers) = (VecDeque::<(usize, Waiter, String)>::new(), VecDeque::<(usize, Waiter)>::new());
        for (number, op) in ops.into_iter().enumerate() {
            match op {
                Op::Send(wait) => {
                    let message = format!("message {number}");
                    let waiter = Waiter::new(number, Some(message.clone()));
                    let woken = if wait {
                        // SAFETY: the node stays until its wait is over.
                        match unsafe { channel.send_or_wait(waiter.node) } {
                            Step::Done(woken) => Ok(wake(woken)),
                            Step::Waiting => Err(()),
                            Step::Closed => unreachable!(),
                        }
                    } else {
                        match channel.try_send(message.clone()) {
                            Ok(woken) => Ok(wake(woken)),
                            Err(TrySendError::Full(back)) => {
                                prop_assert_eq!(&back, &message);
                                Err(())
                            }
                            Err(TrySendError::Closed(_)) => unreachable!(),
                        }
                    };
                    if let Some((expected, receiver)) = receivers.pop_front() {
                        prop_assert_eq!(woken, Ok(Some(expected)));
                        prop_assert_eq!(receiver.token().outcome(), Some(3));
                        prop_assert_eq!(receiver.finish(), Some(message));
                    } else if inside.len() < capacity {
                        prop_assert_eq!(woken, Ok(None));
                        inside.push_back(message);
                    } else {
                        prop_assert_eq!(woken, Err(()));
                        if wait {
                            senders.push_back((number, waiter, message));
                            continue;
                        }
                    }
                    waiter.finish();
                }
                Op::Receive(wait) => {
                    let waiter = Waiter::new(number, None);
                    let got = if wait {
                        // SAFETY: the node stays until its wait is over.
                        match unsafe { channel.recv_or_wait(waiter.node) } {
                            Step::Done((message, woken)) => Some((message, wake(woken))),
                            Step::Waiting => None,
                            Step::Closed => unreachable!(),
                        }
                    } else {
                        match channel.try_recv() {
                            Ok((message, woken)) => Some((message, wake(woken))),
                            Err(TryRecvError::Empty) => None,
                            Err(TryRecvError::Closed) => unreachable!(),
                        }
                    };
                    let mut expected = inside.pop_front();
                    let mut woken = None;
                    if let Some((number, sender, message)) = senders.pop_front() {
                        inside.push_back(message);
                        expected = expected.or_else(|| inside.pop_front());
                        prop_assert_eq!(sender.token().outcome(), Some(3));
                        prop_assert_eq!(sender.finish(), None);
                        woken = Some(number);
                    }
                    prop_assert_eq!(&got, &expected.map(|message| (message, woken)));
                    if got.is_none() && wait {
                        receivers.push_back((number, waiter));
                        continue;
                    }
                    waiter.finish();
                }
                Op::TimeOutSender => {
                    if let Some((_, sender, message)) = senders.remove(senders.len() / 2) {
                        prop_assert!(sender.token().fire(9));
                        // SAFETY: linked in this channel.
                        unsafe { channel.forget_sender(sender.node) };
                        prop_assert_eq!(sender.finish(), Some(message));
                    }
                }
                Op::TimeOutReceiver => {
                    if let Some((_, receiver)) = receivers.remove(receivers.len() / 2) {
                        prop_assert!(receiver.token().fire(9));
                        // SAFETY: linked in this channel.
                        unsafe { channel.forget_receiver(receiver.node) };
                        prop_assert_eq!(receiver.finish(), None);
                    }
                }
            }
            prop_assert_eq!(channel.len(), inside.len());
        }
        prop_assert!(channel.close());
        let woken: Vec<usize> = std::iter::from_fn(|| wake(channel.wake_after_close())).collect();
        prop_assert!(!channel.close());
        prop_assert!(channel.is_closed());
        let waiting: Vec<_> = receivers.iter().map(|entry| entry.0).chain(senders.iter().map(|entry| entry.0)).collect();
        prop_assert_eq!(woken, waiting);
        for (_, receiver) in receivers {
            prop_assert_eq!(receiver.finish(), None);
        }
        for (_, sender, message) in senders {
            prop_assert_eq!(sender.finish(), Some(message), "an unsent message comes back");
        }
        prop_assert_eq!(channel.try_send("late".into()), Err(TrySendError::Closed("late".into())));
        // Every other time, leave the messages to the channel's drop.
        while inside.len() % 2 == 1 || inside.len() > 2 {
            prop_assert_eq!(channel.try_recv(), Ok((inside.pop_front().unwrap(), None)));
        }
        if inside.is_empty() {
            prop_assert_eq!(channel.try_recv(), Err(TryRecvError::Closed));
        }
        drop(channel);
        prop_assert_eq!(BLOCKS.get(), 0, "blocks are left");
    }
}

#[test]
fn messages_left_inside_are_dropped_with_the_channel() {
    for capacity in [3, usize::MAX] {
        let message = std::sync::Arc::new(());
        let channel = channel(capacity);
        for _ in 0..3 {
            channel.try_send(message.clone()).unwrap();
        }
        channel.try_recv().unwrap();
        channel.try_send(message.clone()).unwrap();
        assert_eq!(std::sync::Arc::strong_count(&message), 4);
        drop(channel);
        assert_eq!(std::sync::Arc::strong_count(&message), 1);
        assert_eq!(BLOCKS.get(), 0);
    }
}

#[test]
fn a_channel_without_a_limit_keeps_one_block_for_later_and_gives_the_others_back() {
    let channel = channel(usize::MAX);
    for number in 0..100 {
        assert_eq!(channel.try_send(number), Ok(None));
    }
    assert_eq!((channel.len(), channel.capacity(), BLOCKS.get()), (100, None, 50));
    for number in 0..100 {
        assert_eq!(channel.try_recv(), Ok((number, None)));
    }
    assert_eq!(BLOCKS.get(), 2, "the one in use and one more");
    for number in 0..100 {
        assert_eq!(channel.try_send(number), Ok(None));
        assert_eq!(channel.try_recv(), Ok((number, None)));
        assert!(BLOCKS.get() <= 2);
    }
}
