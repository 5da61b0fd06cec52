//! The channel against a model of queues: who gets what, who waits, who is woken.
#![cfg(not(loom))]

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use isochron_core::channel::{Channel, Node, Step, TryRecvError, TrySendError};
use isochron_core::wait_queue::WaitToken;
use proptest::prelude::*;

type Storage = Box<[MaybeUninit<String>]>;

fn channel(capacity: usize) -> Channel<String, usize, Storage> {
    Channel::new((0..capacity).map(|_| MaybeUninit::uninit()).collect())
}

/// A waiting thread: its token and node, at fixed addresses.
struct Waiter {
    token: Box<WaitToken>,
    node: NonNull<Node<String, usize>>,
}

impl Waiter {
    fn new(number: usize, payload: Option<String>) -> Self {
        let token = Box::new(WaitToken::new());
        let node = NonNull::from(Box::leak(Box::new(Node::new(number, &token, 3, payload))));
        Self { token, node }
    }

    /// The payload, once the wait is over.
    fn finish(self) -> Option<String> {
        // SAFETY: from `Box::leak`; the wait is over.
        unsafe { Box::from_raw(self.node.as_ptr()) }.payload
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

proptest! {
    #[test]
    fn behaves_as_a_bounded_queue_with_lines_at_both_ends(
        capacity in 0..4_usize,
        ops in prop::collection::vec(op(), 0..200),
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
                            Step::Done(woken) => Ok(woken),
                            Step::Waiting => Err(()),
                            Step::Closed => unreachable!(),
                        }
                    } else {
                        match channel.try_send(message.clone()) {
                            Ok(woken) => Ok(woken),
                            Err(TrySendError::Full(back)) => {
                                prop_assert_eq!(&back, &message);
                                Err(())
                            }
                            Err(TrySendError::Closed(_)) => unreachable!(),
                        }
                    };
                    if let Some((expected, receiver)) = receivers.pop_front() {
                        prop_assert_eq!(woken, Ok(Some(expected)));
                        prop_assert_eq!(receiver.token.outcome(), Some(3));
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
                            Step::Done(got) => Some(got),
                            Step::Waiting => None,
                            Step::Closed => unreachable!(),
                        }
                    } else {
                        match channel.try_recv() {
                            Ok(got) => Some(got),
                            Err(TryRecvError::Empty) => None,
                            Err(TryRecvError::Closed) => unreachable!(),
                        }
                    };
                    let mut expected = inside.pop_front();
                    let mut woken = None;
                    if let Some((number, sender, message)) = senders.pop_front() {
                        inside.push_back(message);
                        expected = expected.or_else(|| inside.pop_front());
                        prop_assert_eq!(sender.token.outcome(), Some(3));
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
                        prop_assert!(sender.token.fire(9));
                        // SAFETY: linked in this channel.
                        unsafe { channel.forget_sender(sender.node) };
                        prop_assert_eq!(sender.finish(), Some(message));
                    }
                }
                Op::TimeOutReceiver => {
                    if let Some((_, receiver)) = receivers.remove(receivers.len() / 2) {
                        prop_assert!(receiver.token.fire(9));
                        // SAFETY: linked in this channel.
                        unsafe { channel.forget_receiver(receiver.node) };
                        prop_assert_eq!(receiver.finish(), None);
                    }
                }
            }
            prop_assert_eq!(channel.len(), inside.len());
        }
        let mut woken = Vec::new();
        prop_assert!(channel.close(|waiter| woken.push(waiter)));
        prop_assert!(!channel.close(|_| unreachable!()));
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
    }
}

#[test]
fn messages_left_inside_are_dropped_with_the_channel() {
    let message = std::sync::Arc::new(());
    let channel = Channel::<_, usize, _>::new([const { MaybeUninit::uninit() }; 3]);
    for _ in 0..3 {
        channel.try_send(message.clone()).unwrap();
    }
    channel.try_recv().unwrap();
    channel.try_send(message.clone()).unwrap();
    drop(channel);
    assert_eq!(std::sync::Arc::strong_count(&message), 1);
}
