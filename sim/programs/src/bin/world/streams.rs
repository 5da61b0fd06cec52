//! Channels of tasks: what they send and receive beside the threads, and that nothing is lost where somebody gives up.

use crate::channels::{Message, Sender, channel};
use crate::program::Shared;
use crate::random::Random;
use crate::tasks::moment;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use isochron::channel::{self, RecvError};
use isochron::core_algorithms::sync::{AtomicU32, Ordering};
use isochron::future::{Elapsed, timeout};
use isochron::prelude::*;

/// A sender in a task. Wherever that is dropped, it is noted what it has sent.
pub struct Stream {
    sender: Sender,
    shared: Arc<Shared>,
    /// Whether a message is on its way: it may have been sent when all this is dropped.
    is_sending: bool,
}

impl Stream {
    /// Of one of the program's channels.
    pub fn new(shared: &Arc<Shared>, random: &mut Random) -> Self {
        Self { sender: shared.sender(random), shared: Arc::clone(shared), is_sending: false }
    }

    /// Sends one message, or finds no room for it, or does not wait for it to be sent.
    pub async fn send(&mut self, random: &mut Random) {
        let message = self.sender.message();
        match random.below(4) {
            0 => {
                let sent = self.sender.end().try_send(message).is_ok();
                self.sender.note(sent);
            }
            1 => {
                self.is_sending = true;
                match timeout(moment(random), self.sender.end().send_async(message)).await {
                    Ok(sent) => {
                        sent.expect("somebody receives");
                        self.sender.note(true);
                    }
                    Err(Elapsed) => self.sender.note_unsure(),
                }
                self.is_sending = false;
            }
            _ => {
                self.is_sending = true;
                self.sender.end().send_async(message).await.expect("somebody receives");
                self.sender.note(true);
                self.is_sending = false;
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_sending {
            self.sender.note_unsure();
        }
        self.shared.note_sent(&mut self.sender);
    }
}

/// Receives from all of them until they are closed, and never gives up.
pub async fn receive(from: Vec<channel::Receiver<Message>>) -> Vec<Message> {
    let mut received = Vec::new();
    let mut waits: Vec<_> = from.iter().map(channel::Receiver::recv_async).collect();
    poll_fn(|context| {
        waits.retain_mut(|wait| {
            loop {
                match Pin::new(&mut *wait).poll(context) {
                    Poll::Ready(Ok(message)) => received.push(message),
                    Poll::Ready(Err(RecvError)) => return false,
                    Poll::Pending => return true,
                }
            }
        });
        if waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    received
}

/// Tasks that give up again and again receive each message once. In what order is not said: one that was handed to a task that
/// has given up comes later.
pub async fn give_up(random: &mut Random) {
    let (sender, receiver) = channel::<u32>(random);
    let count = random.within(1..6) as u32;
    let received = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..random.within(1..3))
        .map(|_| {
            let (receiver, received, seed) = (receiver.clone(), Arc::clone(&received), random.number());
            spawn_async(async move {
                let (mut random, mut sum) = (Random::new(seed), 0);
                while received.load(Ordering::Relaxed) < count {
                    match timeout(moment(&mut random), receiver.recv_async()).await {
                        Ok(Ok(message)) => {
                            sum += message;
                            received.fetch_add(1, Ordering::Relaxed);
                        }
                        // Whoever made this task was aborted.
                        Ok(Err(RecvError)) => break,
                        Err(Elapsed) => {}
                    }
                }
                sum
            })
        })
        .collect();
    drop(receiver);
    for number in 0..count {
        sender.send_async(1 << (4 * number)).await.expect("somebody receives");
    }
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("a receiver has an end");
    }
    assert_eq!(sum, (0..count).map(|number| 1 << (4 * number)).sum::<u32>(), "messages are lost, or came twice");
}
