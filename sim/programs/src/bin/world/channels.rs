//! Channels: no message is lost, none comes twice, and those of one sender come in order; also where threads select, and where
//! tasks receive.

use crate::random::Random;
use crate::streams;
use isochron::future::Task;
use isochron::prelude::*;
use isochron::select;
use isochron::thread::{Builder, SlotSize};

/// One message: who sent it, and its number among that sender's.
pub type Message = (u32, u32);

/// A channel's sending end, and what it takes to send through it.
pub struct Sender {
    sender: channel::Sender<Message>,
    /// Who sends: unique among all senders.
    name: u32,
    next: u32,
    /// Those of its numbers of which nobody knows whether they were sent.
    unsure: Vec<u32>,
}

/// What came of a sender.
pub struct Sent {
    name: u32,
    count: u32,
    unsure: Vec<u32>,
}

/// The threads and tasks that receive until all senders are gone.
pub struct Receivers {
    threads: Vec<JoinHandle<Vec<Message>>>,
    tasks: Vec<Task<Vec<Message>>>,
}

/// One of some kind.
pub fn channel<T: Send>(random: &mut Random) -> (channel::Sender<T>, channel::Receiver<T>) {
    match random.below(4) {
        0 => channel::unbounded(),
        1 => channel::rendezvous(),
        _ => channel::bounded(random.within(1..5) as usize),
    }
}

/// So many channels of random kinds, and threads that receive from one or from several of them, or `tasks` too.
pub fn open(channels: usize, tasks: bool, random: &mut Random) -> (Vec<channel::Sender<Message>>, Receivers) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..channels).map(|_| channel(random)).unzip();
    let mut all = Receivers { threads: Vec::new(), tasks: Vec::new() };
    for (at, own) in receivers.iter().enumerate() {
        for _ in 0..random.within(1..3) {
            let mut from = vec![own.clone()];
            if random.once_in(2) {
                from.push(receivers[(at + 1) % channels].clone());
            }
            if tasks && random.once_in(3) {
                all.tasks.push(spawn_async(streams::receive(from)));
                continue;
            }
            let seed = random.number();
            let builder = crate::child::somewhere(Builder::new(), random);
            let body = move || receive(from, seed);
            let made = match random.below(3) {
                0 => builder.spawn_packed(SlotSize::Kib1, body),
                _ => builder.spawn(body),
            };
            all.threads.push(made.expect("a thread can be made"));
        }
    }
    (senders, all)
}

/// A short time, which may be none.
fn moment(random: &mut Random) -> Duration {
    Duration::from_nanos(random.within(0..20_000))
}

fn receive(mut from: Vec<channel::Receiver<Message>>, seed: u64) -> Vec<Message> {
    let mut random = Random::new(seed);
    let mut received = Vec::new();
    while let Some(first) = from.first() {
        // Which of them is closed and empty.
        let mut closed = None;
        if let Some(second) = from.get(1) {
            let mut take = |at, result: Result<Message, channel::RecvError>| match result {
                Ok(message) => received.push(message),
                Err(_) => closed = Some(at),
            };
            match random.below(4) {
                0 => select! {
                    recv(first) -> got => take(0, got),
                    recv(second) -> got => take(1, got),
                    default => yield_now(),
                },
                1 => select! {
                    timeout(moment(&mut random)) => {}
                    recv(second) -> got => take(1, got),
                    recv(first) -> got => take(0, got),
                },
                _ => select! {
                    recv(first) -> got => take(0, got),
                    recv(second) -> got => take(1, got),
                },
            }
        } else {
            match random.below(6) {
                0 => match first.try_recv() {
                    Ok(message) => received.push(message),
                    Err(channel::TryRecvError::Empty) => yield_now(),
                    Err(channel::TryRecvError::Closed) => closed = Some(0),
                },
                1 => match first.recv_timeout(moment(&mut random)) {
                    Ok(message) => received.push(message),
                    Err(channel::RecvTimeoutError::Timeout) => {}
                    Err(channel::RecvTimeoutError::Closed) => closed = Some(0),
                },
                _ => match first.recv() {
                    Ok(message) => received.push(message),
                    Err(_) => closed = Some(0),
                },
            }
        }
        if let Some(at) = closed {
            from.remove(at);
        }
    }
    received
}

impl Sender {
    /// For a sender of its own name.
    pub const fn new(sender: channel::Sender<Message>, name: u32) -> Self {
        Self { sender, name, next: 0, unsure: Vec::new() }
    }

    /// What it sends next.
    pub const fn message(&self) -> Message {
        (self.name, self.next)
    }

    /// Through what.
    pub const fn end(&self) -> &channel::Sender<Message> {
        &self.sender
    }

    /// Whether the message was sent.
    pub fn note(&mut self, sent: bool) {
        self.next += u32::from(sent);
    }

    /// Perhaps it was.
    pub fn note_unsure(&mut self) {
        self.unsure.push(self.next);
        self.next += 1;
    }

    /// Sends one message, or finds no room for it.
    pub fn send(&mut self, random: &mut Random) {
        let message = self.message();
        let sent = match random.below(4) {
            0 => self.sender.try_send(message).is_ok(),
            1 => self.sender.send_timeout(message, moment(random)).is_ok(),
            _ => {
                self.sender.send(message).expect("somebody receives");
                true
            }
        };
        self.note(sent);
    }

    /// Sends one message, this one's or the other's, whichever finds room first; or none, after a while.
    pub fn send_either(&mut self, other: &mut Self, random: &mut Random) {
        let (mut ours, mut theirs) = (Some(self.message()), Some(other.message()));
        match random.below(3) {
            0 => select! {
                send(self.sender, in ours) -> sent => sent.expect("somebody receives"),
                send(other.sender, in theirs) -> sent => sent.expect("somebody receives"),
                default => {}
            },
            1 => select! {
                send(self.sender, in ours) -> sent => sent.expect("somebody receives"),
                send(other.sender, in theirs) -> sent => sent.expect("somebody receives"),
                timeout(moment(random)) => {}
            },
            _ => select! {
                send(self.sender, in ours) -> sent => sent.expect("somebody receives"),
                send(other.sender, in theirs) -> sent => sent.expect("somebody receives"),
            },
        }
        assert!(ours.is_some() || theirs.is_some(), "a select sends both its messages");
        self.note(ours.is_none());
        other.note(theirs.is_none());
    }

    /// What it has sent so far: it sends no more.
    pub fn sent(&mut self) -> Sent {
        Sent { name: self.name, count: self.next, unsure: core::mem::take(&mut self.unsure) }
    }
}

impl Receivers {
    /// All senders are gone: everything has come, once.
    pub fn check(self, sent: &[Sent]) {
        let mut all = Vec::new();
        let of_threads = self.threads.into_iter().map(|thread| thread.join());
        for received in of_threads.chain(self.tasks.into_iter().map(Task::join)) {
            let received = received.expect("a receiver has an end");
            for (at, (name, number)) in received.iter().enumerate() {
                let before = received[..at].iter().rev().find(|(other, _)| other == name);
                assert!(before.is_none_or(|(_, before)| before < number), "messages of {name} in the wrong order");
            }
            all.extend(received);
        }
        all.sort_unstable();
        let mut expected = Vec::new();
        for Sent { name, count, unsure } in sent {
            let is_due = |number: &u32| !unsure.contains(number) || all.binary_search(&(*name, *number)).is_ok();
            expected.extend((0..*count).filter(is_due).map(|number| (*name, number)));
        }
        expected.sort_unstable();
        assert_eq!(all, expected, "messages are lost, or came twice");
    }
}
