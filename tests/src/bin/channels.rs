//! Messages and locks between threads.
//@ run: usual
//@ machines: virt, q35, microvm, hosted
//@ cpus: 1, 4
//@ run: pi
//@ machines: raspi4b
#![no_std]
#![no_main]

use isochron::channel::{self, RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use isochron::sync::Mutex;
use isochron::thread::sleep;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        messages_stay_in_order,
        order_holds_at_every_capacity,
        a_full_channel_makes_the_sender_wait,
        an_empty_channel_makes_the_receiver_wait,
        a_rendezvous_waits_for_its_receiver,
        many_senders_many_receivers,
        senders_gone_ends_the_receiver,
        receivers_gone_gives_the_message_back,
        waiting_ends_are_woken_by_the_close,
        timeouts,
        a_timeout_loses_no_message,
        iterators_end,
        unreceived_messages_are_dropped,
        large_messages,
        a_ring_of_channels,
        unbounded_never_waits,
        a_close_ends_both_sides,
        deadlines,
        sixty_four_senders,
        mutex_excludes,
        mutex_try_lock,
        mutex_waiters_take_turns,
        mutex_holder_may_sleep,
    ])
}

fn messages_stay_in_order() -> Outcome {
    let (tx, rx) = channel::bounded(8);
    let sender = spawn(move || (0..20_000).all(|number| tx.send(number).is_ok()));
    for expected in 0..20_000 {
        check_eq!(rx.recv(), Ok(expected));
    }
    check!(sender.join().unwrap());
    check_eq!(rx.recv(), Err(RecvError));
    Ok(())
}

fn order_holds_at_every_capacity() -> Outcome {
    for capacity in [0, 1, 2, 3, 7, 64, 1000, usize::MAX] {
        let (tx, rx) = if capacity == usize::MAX { channel::unbounded() } else { channel::bounded(capacity) };
        let receiver = spawn(move || rx.iter().collect::<Vec<u32>>());
        for number in 0..2000 {
            check!(tx.send(number).is_ok());
        }
        drop(tx);
        check!(receiver.join().unwrap().into_iter().eq(0..2000), "capacity {capacity}");
    }
    Ok(())
}

fn a_full_channel_makes_the_sender_wait() -> Outcome {
    let (tx, rx) = channel::bounded(3);
    let sent = Arc::new(AtomicUsize::new(0));
    let sender = {
        let sent = sent.clone();
        spawn(move || {
            for number in 0..5 {
                let _ = tx.send(number);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    poll("the channel is full", || rx.len() == 3)?;
    sleep(Duration::from_millis(2));
    check_eq!(sent.load(Ordering::Relaxed), 3, "so many were sent into a channel for 3");
    check_eq!(rx.recv(), Ok(0));
    poll("the fourth message went", || sent.load(Ordering::Relaxed) == 4)?;
    check!(rx.iter().eq(1..5));
    sender.join().unwrap();
    Ok(())
}

fn an_empty_channel_makes_the_receiver_wait() -> Outcome {
    let (tx, rx) = channel::bounded(3);
    let receiver = spawn(move || rx.recv());
    sleep(Duration::from_millis(2));
    check!(!receiver.is_finished(), "a message came out of an empty channel");
    check!(tx.send(9).is_ok());
    check_eq!(receiver.join().unwrap(), Ok(9));
    Ok(())
}

fn a_rendezvous_waits_for_its_receiver() -> Outcome {
    let (tx, rx) = channel::bounded(0);
    check_eq!(tx.try_send(1).err(), Some(TrySendError::Full(1)));
    let sender = spawn(move || tx.send(2).is_ok());
    sleep(Duration::from_millis(2));
    check!(!sender.is_finished(), "a rendezvous did not wait");
    check_eq!(rx.recv(), Ok(2));
    check!(sender.join().unwrap());
    Ok(())
}

fn many_senders_many_receivers() -> Outcome {
    for (senders, receivers, capacity) in [(8, 8, 4), (16, 3, 1), (3, 16, 0), (20, 20, 32)] {
        let (tx, rx) = channel::bounded(capacity);
        let senders_: Vec<_> = (0..senders as u64)
            .map(|sender| {
                let tx = tx.clone();
                spawn(move || (0..500).all(|number| tx.send(sender * 1000 + number).is_ok()))
            })
            .collect();
        drop(tx);
        let receivers: Vec<_> = (0..receivers)
            .map(|_| {
                let rx = rx.clone();
                spawn(move || rx.iter().collect::<Vec<u64>>())
            })
            .collect();
        drop(rx);
        for sender in senders_ {
            check!(sender.join().unwrap());
        }
        let mut all = Vec::new();
        for receiver in receivers {
            let got = receiver.join().unwrap();
            // What one receiver got of one sender came in that sender's order.
            for sender in 0..senders as u64 {
                let of_this = got.iter().filter(|number| **number / 1000 == sender);
                check!(of_this.is_sorted(), "messages of sender {sender} came out of order");
            }
            all.extend(got);
        }
        all.sort_unstable();
        check_eq!(all.len(), senders * 500);
        all.dedup();
        check_eq!(all.len(), senders * 500, "a message came twice");
    }
    Ok(())
}

fn senders_gone_ends_the_receiver() -> Outcome {
    let (tx, rx) = channel::bounded(4);
    let other = tx.clone();
    check!(tx.send(1).is_ok());
    drop(tx);
    check_eq!(rx.try_recv(), Ok(1));
    check_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    check!(other.send(2).is_ok());
    drop(other);
    check_eq!(rx.recv(), Ok(2), "a message was lost by the close");
    check_eq!(rx.recv(), Err(RecvError));
    check_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    Ok(())
}

fn receivers_gone_gives_the_message_back() -> Outcome {
    let (tx, rx) = channel::bounded(4);
    let other = rx.clone();
    drop(rx);
    check!(tx.send(String::from("a")).is_ok());
    drop(other);
    check_eq!(tx.send(String::from("b")).err().map(|error| error.0).as_deref(), Some("b"));
    check_eq!(tx.try_send(String::from("c")).err(), Some(TrySendError::Closed("c".into())));
    Ok(())
}

fn waiting_ends_are_woken_by_the_close() -> Outcome {
    for _ in 0..50 {
        let (tx, rx) = channel::bounded::<u32>(1);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let rx = rx.clone();
                spawn(move || rx.recv())
            })
            .collect();
        drop((tx, rx));
        for receiver in receivers {
            check_eq!(receiver.join().unwrap(), Err(RecvError));
        }
        let (tx, rx) = channel::bounded(1);
        check!(tx.send(0).is_ok());
        let senders: Vec<_> = (1..5)
            .map(|number| {
                let tx = tx.clone();
                spawn(move || tx.send(number).err().map(|error| error.0 == number))
            })
            .collect();
        drop((tx, rx));
        for sender in senders {
            check_eq!(sender.join().unwrap(), Some(true), "a waiting sender did not get its message back");
        }
    }
    Ok(())
}

fn timeouts() -> Outcome {
    let (tx, rx) = channel::bounded(1);
    let time = Duration::from_millis(2);
    let start = Instant::now();
    check_eq!(rx.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    check!(Instant::now() >= start + time, "receiving gave up too early");
    check_eq!(tx.send_timeout(1, time), Ok(()));
    let start = Instant::now();
    check_eq!(tx.send_timeout(2, time), Err(SendTimeoutError::Timeout(2)));
    check!(Instant::now() >= start + time, "sending gave up too early");
    check_eq!(rx.recv_timeout(Duration::from_secs(20)), Ok(1));
    check_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    drop(tx);
    check_eq!(rx.recv_timeout(time), Err(RecvTimeoutError::Closed));
    Ok(())
}

/// Receivers that give up again and again, at the very time that messages come.
fn a_timeout_loses_no_message() -> Outcome {
    let (tx, rx) = channel::bounded(2);
    let receivers: Vec<_> = (0..4u64)
        .map(|seed| {
            let rx = rx.clone();
            spawn(move || {
                let mut random = Random::new(seed);
                let (mut count, mut sum) = (0u64, 0u64);
                loop {
                    match rx.recv_timeout(Duration::from_nanos(random.number() % 60_000)) {
                        Ok(number) => (count, sum) = (count + 1, sum + number),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Closed) => return (count, sum),
                    }
                }
            })
        })
        .collect();
    drop(rx);
    let mut random = Random::new(99);
    for number in 0..2000u64 {
        let mut message = number;
        while let Err(error) = tx.send_timeout(message, Duration::from_nanos(random.number() % 60_000)) {
            let SendTimeoutError::Timeout(back) = error else {
                return Err(Failure::Failed("the channel closed by itself".into()));
            };
            check_eq!(back, message, "another message came back");
            message = back;
        }
        if number % 8 == 0 {
            sleep(Duration::from_nanos(random.number() % 60_000));
        }
    }
    drop(tx);
    let (count, sum) = receivers.into_iter().map(joined).fold((0, 0), |(c, s), (count, sum)| (c + count, s + sum));
    check_eq!((count, sum), (2000, 1999 * 1000));
    Ok(())
}

fn iterators_end() -> Outcome {
    let (tx, rx) = channel::bounded(4);
    spawn(move || (0..10u64).try_for_each(|number| tx.send(number))).detach();
    check_eq!(rx.iter().take(4).sum::<u64>(), 6);
    let mut sum = 0;
    for number in &rx {
        sum += number;
    }
    check_eq!(sum, 39);
    Ok(())
}

fn unreceived_messages_are_dropped() -> Outcome {
    let kept = Arc::new(());
    let (tx, rx) = channel::bounded(8);
    for _ in 0..8 {
        check!(tx.send(kept.clone()).is_ok());
    }
    check!(rx.recv().is_ok());
    check_eq!(Arc::strong_count(&kept), 8);
    drop(rx);
    drop(tx);
    check_eq!(Arc::strong_count(&kept), 1, "messages outlived their channel");
    Ok(())
}

fn large_messages() -> Outcome {
    let (tx, rx) = channel::bounded(2);
    let sender = spawn(move || (0..100u64).all(|number| tx.send([number; 200]).is_ok()));
    for expected in 0..100 {
        let Ok(message) = rx.recv() else { return Err(Failure::Failed("closed too early".into())) };
        check!(message.iter().all(|&number| number == expected), "message {expected} is damaged");
    }
    check!(sender.join().unwrap());
    Ok(())
}

/// A message goes round a ring of threads.
fn a_ring_of_channels() -> Outcome {
    let (first, mut rx) = channel::bounded::<u64>(1);
    let mut members = Vec::new();
    for _ in 0..50 {
        let (tx, next) = channel::bounded(1);
        let own = core::mem::replace(&mut rx, next);
        members.push(spawn(move || own.iter().try_for_each(|number| tx.send(number + 1))));
    }
    for round in 0..100 {
        check!(first.send(round).is_ok());
        check_eq!(rx.recv(), Ok(round + 50));
    }
    drop(first);
    for member in members {
        check!(member.join().unwrap().is_ok());
    }
    Ok(())
}

fn mutex_excludes() -> Outcome {
    // Two words that are equal whenever the mutex is free.
    let shared = Arc::new(Mutex::new((0u64, 0u64)));
    let inside = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..thread::cpu_count() * 4)
        .map(|_| {
            let (shared, inside) = (shared.clone(), inside.clone());
            spawn(move || {
                for turn in 0..2000u32 {
                    let mut both = shared.lock();
                    check_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two threads have the mutex");
                    check_eq!(both.0, both.1);
                    both.0 += 1;
                    if turn % 64 == 0 {
                        yield_now();
                    }
                    both.1 += 1;
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    let count = threads.len() as u64;
    threads.into_iter().try_for_each(joined)?;
    check_eq!(*shared.lock(), (count * 2000, count * 2000));
    Ok(())
}

fn mutex_try_lock() -> Outcome {
    let shared = Arc::new(Mutex::new(1));
    let guard = shared.lock();
    check!(shared.try_lock().is_none(), "a taken mutex was taken");
    let other = shared.clone();
    check!(spawn(move || other.try_lock().is_none()).join().unwrap());
    drop(guard);
    match shared.try_lock() {
        Some(mut guard) => *guard += 1,
        None => return Err(Failure::Failed("a free mutex was refused".into())),
    }
    let Ok(mutex) = Arc::try_unwrap(shared) else { return Err(Failure::Failed("somebody keeps the mutex".into())) };
    check_eq!(mutex.into_inner(), 2);
    Ok(())
}

/// First come, first served: a holder that wants the mutex again at once has to wait behind those who wait already.
fn mutex_waiters_take_turns() -> Outcome {
    const WAITERS: usize = 6;
    let on_primary = Builder::new().pinned(CpuId::PRIMARY);
    let body = {
        let builder = on_primary.clone();
        move || {
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut mine = order.lock();
            let mut waiters = Vec::new();
            for number in 0..WAITERS {
                let at_it = Arc::new(AtomicBool::new(false));
                let (order, told) = (order.clone(), at_it.clone());
                let waiter = builder.clone().spawn(move || {
                    told.store(true, Ordering::Relaxed);
                    order.lock().push(number);
                });
                waiters.push(waiter.map_err(|error| Failure::Failed(format!("{error}")))?);
                poll("a thread wants the mutex", || at_it.load(Ordering::Relaxed))?;
                // Far longer than from there to the queue of the mutex, should it have been preempted in between.
                sleep(Duration::from_millis(3));
            }
            mine.push(100);
            drop(mine);
            order.lock().push(200);
            waiters.into_iter().for_each(joined);
            check_eq!(*order.lock(), [100, 0, 1, 2, 3, 4, 5, 200]);
            Ok(())
        }
    };
    match on_primary.spawn(body) {
        Ok(thread) => thread.join().unwrap(),
        Err(error) => Err(Failure::Failed(format!("{error}"))),
    }
}

fn mutex_holder_may_sleep() -> Outcome {
    let shared = Arc::new(Mutex::new(0u32));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let shared = shared.clone();
            spawn(move || {
                for _ in 0..10 {
                    let mut value = shared.lock();
                    let before = *value;
                    sleep(Duration::from_micros(50));
                    *value = before + 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(joined);
    check_eq!(*shared.lock(), 80);
    Ok(())
}

fn unbounded_never_waits() -> Outcome {
    let (tx, rx) = channel::unbounded();
    check_eq!((tx.capacity(), channel::bounded::<u8>(3).0.capacity()), (None, Some(3)));
    // Twice: the second time, blocks are used again.
    for _ in 0..2 {
        check!((0..5000).all(|number| tx.send(number).is_ok()));
        check_eq!(rx.len(), 5000);
        check!(rx.try_iter().eq(0..5000));
    }
    check!(rx.is_empty() && rx.try_recv() == Err(TryRecvError::Empty));
    check!(tx.send(1).is_ok());
    drop(tx);
    check!(rx.into_iter().eq([1]));
    Ok(())
}

fn a_close_ends_both_sides() -> Outcome {
    for _ in 0..30 {
        let ((tx, rx), (nothing, empty)) = (channel::bounded(1), channel::unbounded::<u32>());
        check!(tx.send(0).is_ok());
        let (sender, receiver) = (tx.clone(), empty.clone());
        let sender = spawn(move || sender.send(1).map_err(|error| error.into_inner()));
        let receiver = spawn(move || receiver.recv());
        thread::yield_now();
        check!(rx.close() && nothing.close());
        check!(!tx.close() && tx.is_closed() && empty.is_closed());
        let sent = joined(sender);
        check!(sent == Err(1), "{sent:?}");
        check_eq!(joined(receiver), Err(RecvError));
        check_eq!(nothing.try_send(4), Err(TrySendError::Closed(4)));
        check_eq!(rx.recv(), Ok(0), "what was inside when it was closed");
        check_eq!(rx.recv(), Err(RecvError));
    }
    Ok(())
}

fn deadlines() -> Outcome {
    let (tx, rx) = channel::bounded(1);
    let past = Instant::now();
    check_eq!(rx.recv_deadline(past), Err(RecvTimeoutError::Timeout));
    // What need not wait is done all the same.
    check_eq!(tx.send_deadline(1, past), Ok(()));
    check_eq!(tx.send_deadline(2, past), Err(SendTimeoutError::Timeout(2)));
    check_eq!(rx.recv_deadline(past), Ok(1));
    let soon = Instant::now() + Duration::from_millis(1);
    check_eq!(rx.recv_deadline(soon), Err(RecvTimeoutError::Timeout));
    check!(Instant::now() >= soon, "receiving gave up too early");
    check!(tx.close());
    check_eq!(tx.send_deadline(3, past), Err(SendTimeoutError::Closed(3)));
    check_eq!(rx.recv_deadline(past), Err(RecvTimeoutError::Closed));
    Ok(())
}

fn sixty_four_senders() -> Outcome {
    for capacity in [0, 16, usize::MAX] {
        let (tx, rx) = if capacity == usize::MAX { channel::unbounded() } else { channel::bounded(capacity) };
        let senders: Vec<_> = (0..64_u64)
            .map(|sender| {
                let tx = tx.clone();
                spawn(move || (0..50).all(|number| tx.send(sender * 50 + number).is_ok()))
            })
            .collect();
        drop(tx);
        let mut all: Vec<u64> = rx.iter().collect();
        check!(senders.into_iter().all(joined));
        all.sort_unstable();
        check!(all.into_iter().eq(0..64 * 50), "capacity {capacity}: a message was lost, or came twice");
    }
    Ok(())
}
