//! Channels: no message is lost, none comes twice, and those of one sender come in order.

use crate::random::Random;
use isochron::prelude::*;
use isochron::thread::Builder;

/// One message: who sent it, and its number among that sender's.
pub type Message = (u32, u32);

/// A channel's sending end, and what it takes to send through it.
pub struct Sender {
    sender: channel::Sender<Message>,
    /// Who sends: unique among the channel's senders.
    pub name: u32,
    next: u32,
}

/// The threads that receive from a channel until its senders are gone.
pub struct Receivers {
    threads: Vec<JoinHandle<Vec<Message>>>,
}

/// A channel of a random size, with one or two threads that receive from it.
pub fn open(random: &mut Random) -> (channel::Sender<Message>, Receivers) {
    let (sender, receiver) = channel::bounded(random.within(1..5) as usize);
    let threads = (0..random.within(1..3)).map(|_| {
        let (receiver, seed) = (receiver.clone(), random.number());
        let builder = crate::child::somewhere(Builder::new(), random);
        builder.spawn(move || receive(&receiver, seed)).expect("a thread can be made")
    });
    (sender, Receivers { threads: threads.collect() })
}

fn receive(receiver: &channel::Receiver<Message>, seed: u64) -> Vec<Message> {
    let mut random = Random::new(seed);
    let mut received = Vec::new();
    loop {
        match random.below(6) {
            0 => match receiver.try_recv() {
                Ok(message) => received.push(message),
                Err(channel::TryRecvError::Empty) => yield_now(),
                Err(channel::TryRecvError::Closed) => return received,
            },
            1 => match receiver.recv_timeout(Duration::from_nanos(random.within(0..20_000))) {
                Ok(message) => received.push(message),
                Err(channel::RecvTimeoutError::Timeout) => {}
                Err(channel::RecvTimeoutError::Closed) => return received,
            },
            _ => match receiver.recv() {
                Ok(message) => received.push(message),
                Err(_) => return received,
            },
        }
    }
}

impl Sender {
    /// For a sender of its own name.
    pub const fn new(sender: channel::Sender<Message>, name: u32) -> Self {
        Self { sender, name, next: 0 }
    }

    /// Sends one message, or finds no room for it.
    pub fn send(&mut self, random: &mut Random) {
        let message = (self.name, self.next);
        let sent = match random.below(4) {
            0 => self.sender.try_send(message).is_ok(),
            1 => self.sender.send_timeout(message, Duration::from_nanos(random.within(0..20_000))).is_ok(),
            _ => {
                self.sender.send(message).expect("somebody receives");
                true
            }
        };
        self.next += u32::from(sent);
    }

    /// How many it has sent.
    pub const fn sent(&self) -> u32 {
        self.next
    }
}

impl Receivers {
    /// All senders are gone: everything has come, once. `sent`: each sender's name and number of messages.
    pub fn check(self, mut sent: Vec<(u32, u32)>) {
        let mut all = Vec::new();
        for thread in self.threads {
            let received = thread.join().expect("a receiver has an end");
            for (at, (name, number)) in received.iter().enumerate() {
                let before = received[..at].iter().rev().find(|(other, _)| other == name);
                assert!(before.is_none_or(|(_, before)| before < number), "messages of {name} in the wrong order");
            }
            all.extend(received);
        }
        all.sort_unstable();
        sent.sort_unstable();
        let expected: Vec<Message> =
            sent.iter().flat_map(|(name, count)| (0..*count).map(move |number| (*name, number))).collect();
        assert_eq!(all, expected, "messages are lost, or came twice");
    }
}
