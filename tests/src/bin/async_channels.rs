//! Channels between tasks, and between tasks and threads: in order, with nothing lost, whoever gives up.
//@ cpus: 1, 2, 4
//@ run: usual
//@ machines: virt, q35, hosted
//@ run: checked
//@ checked: yes
//@ machines: hosted
//@ cpus: 4
#![no_std]
#![no_main]

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use isochron::channel::{self, RecvError, SendError, TryRecvError, TrySendError};
use isochron::future::{self, Elapsed, block_on, spawn_async, timeout};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        messages_come_in_order,
        tasks_and_threads_share_a_channel,
        a_rendezvous_of_tasks,
        closed_channels,
        a_receiver_that_gives_up_loses_nothing,
        a_sender_that_gives_up_keeps_its_message,
        what_was_handed_over_goes_back,
        another_waker_takes_the_place_of_the_first,
    ])
}

const MESSAGES: u64 = 2000;

fn messages_come_in_order() -> Outcome {
    for capacity in [0, 1, 7, 1000] {
        let (tx, rx) = channel::bounded(capacity);
        let sender = spawn_async(async move {
            for n in 0..MESSAGES {
                tx.send_async(n).await.unwrap();
            }
        });
        let receiver = spawn_async(async move {
            for n in 0..MESSAGES {
                if rx.recv_async().await != Ok(n) {
                    return n;
                }
            }
            MESSAGES
        });
        check_eq!(sender.join(), Ok(()));
        check_eq!(receiver.join(), Ok(MESSAGES));
    }
    Ok(())
}

fn tasks_and_threads_share_a_channel() -> Outcome {
    let (tx, rx) = channel::bounded(3);
    let mut threads = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (tasks_tx, threads_tx) = (tx.clone(), tx.clone());
        threads.push(spawn(move || (1..=MESSAGES).for_each(|n| threads_tx.send(n).unwrap())));
        tasks.push(spawn_async(async move {
            for n in 1..=MESSAGES {
                tasks_tx.send_async(n).await.unwrap();
            }
        }));
    }
    drop(tx);
    let his = rx.clone();
    let by_thread = spawn(move || his.iter().sum::<u64>());
    let by_task = spawn_async(async move {
        let mut sum = 0;
        while let Ok(n) = rx.recv_async().await {
            sum += n;
        }
        sum
    });
    let sum = by_task.join().unwrap() + joined(by_thread);
    check_eq!(sum, 4 * MESSAGES * (MESSAGES + 1) / 2);
    threads.into_iter().for_each(joined);
    for task in tasks {
        check_eq!(task.join(), Ok(()));
    }
    Ok(())
}

fn a_rendezvous_of_tasks() -> Outcome {
    let (there, from_here) = channel::rendezvous();
    let (back, from_there) = channel::rendezvous();
    let echo = spawn_async(async move {
        while let Ok(n) = from_here.recv_async().await {
            back.send_async(n + 1).await.unwrap();
        }
    });
    let sum = block_on(async move {
        let mut sum = 0;
        for n in 0..MESSAGES {
            there.send_async(n).await.unwrap();
            sum += from_there.recv_async().await.unwrap();
        }
        sum
    });
    check_eq!(sum, MESSAGES * (MESSAGES + 1) / 2);
    check_eq!(echo.join(), Ok(()));
    Ok(())
}

fn closed_channels() -> Outcome {
    let (tx, rx) = channel::bounded::<u64>(1);
    let waiting = spawn_async({
        let rx = rx.clone();
        async move { rx.recv_async().await }
    });
    thread::sleep(Duration::from_millis(1));
    check!(tx.close());
    check_eq!(waiting.join(), Ok(Err(RecvError)));
    check_eq!(block_on(tx.send_async(1)), Err(SendError(1)));
    let (tx, rx) = channel::bounded::<u64>(1);
    check_eq!(block_on(tx.send_async(1)), Ok(()));
    let waiting = spawn_async({
        let tx = tx.clone();
        async move { tx.send_async(2).await }
    });
    thread::sleep(Duration::from_millis(1));
    rx.close();
    check_eq!(waiting.join(), Ok(Err(SendError(2))));
    check_eq!(block_on(rx.recv_async()), Ok(1));
    check_eq!(block_on(rx.recv_async()), Err(RecvError));
    Ok(())
}

/// Messages come while receivers run out of time: each is received once.
fn a_receiver_that_gives_up_loses_nothing() -> Outcome {
    let (tx, rx) = channel::bounded(2);
    let receivers: Vec<_> = (0..4_u64)
        .map(|number| {
            let rx = rx.clone();
            spawn_async(async move {
                let mut sum = 0;
                loop {
                    match timeout(Duration::from_micros(20 + 7 * number), rx.recv_async()).await {
                        Ok(Ok(n)) => sum += n,
                        Ok(Err(RecvError)) => return sum,
                        Err(Elapsed) => {}
                    }
                }
            })
        })
        .collect();
    let sender = spawn_async(async move {
        for n in 1..=MESSAGES {
            tx.send_async(n).await.unwrap();
            if n % 8 == 0 {
                future::sleep(Duration::from_micros(10 + n % 50)).await;
            }
        }
    });
    check_eq!(sender.join(), Ok(()));
    let mut sum = 0;
    for receiver in receivers {
        sum += receiver.join().unwrap_or(0);
    }
    check_eq!(sum, MESSAGES * (MESSAGES + 1) / 2);
    Ok(())
}

fn a_sender_that_gives_up_keeps_its_message() -> Outcome {
    let (tx, rx) = channel::bounded(1);
    let kept = Arc::new(());
    check_eq!(tx.try_send(kept.clone()), Ok(()));
    let late = block_on(timeout(Duration::from_millis(1), tx.send_async(kept.clone())));
    check!(matches!(late, Err(Elapsed)));
    check_eq!(Arc::strong_count(&kept), 2);
    check!(rx.try_recv().is_ok());
    check!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    Ok(())
}

fn what_was_handed_over_goes_back() -> Outcome {
    let mut context = Context::from_waker(Waker::noop());
    // There is room in the channel.
    let (tx, rx) = channel::bounded(1);
    {
        let mut waiting = pin!(rx.recv_async());
        check!(waiting.as_mut().poll(&mut context).is_pending());
        check_eq!(tx.try_send(1), Ok(()));
    }
    check_eq!(rx.try_recv(), Ok(1));
    // There is none.
    let mut waiting = Box::pin(rx.recv_async());
    check!(waiting.as_mut().poll(&mut context).is_pending());
    check_eq!(tx.try_send(2), Ok(()));
    check_eq!(tx.try_send(3), Ok(()));
    drop(waiting);
    check_eq!((rx.recv(), rx.recv()), (Ok(3), Ok(2)));
    check_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    // There is never any.
    let (tx, rx) = channel::rendezvous();
    let mut waiting = Box::pin(rx.recv_async());
    check!(waiting.as_mut().poll(&mut context).is_pending());
    check_eq!(tx.try_send(4), Ok(()));
    drop(waiting);
    check_eq!(rx.recv(), Ok(4));
    // It is closed meanwhile, and has room or none.
    for behind in [None, Some(6)] {
        let (tx, rx) = channel::bounded(1);
        let mut waiting = Box::pin(rx.recv_async());
        check!(waiting.as_mut().poll(&mut context).is_pending());
        check_eq!(tx.try_send(5), Ok(()));
        behind.into_iter().try_for_each(|n| tx.try_send(n)).unwrap();
        drop(tx);
        drop(waiting);
        let left: Vec<_> = rx.try_iter().collect();
        check_eq!(left, behind.into_iter().chain([5]).collect::<Vec<_>>());
        check_eq!(rx.recv(), Err(RecvError));
    }
    // It goes back first, and waits for room, when the channel is closed.
    let (tx, rx) = channel::bounded(1);
    let mut waiting = Box::pin(rx.recv_async());
    check!(waiting.as_mut().poll(&mut context).is_pending());
    check_eq!((tx.try_send(7), tx.try_send(8)), (Ok(()), Ok(())));
    drop(waiting);
    check!(rx.close());
    check_eq!((rx.recv(), rx.recv(), rx.recv()), (Ok(8), Ok(7), Err(RecvError)));
    check_eq!(tx.try_send(9), Err(TrySendError::Closed(9)));
    // Nobody will come: it is dropped with the channel.
    let kept = Arc::new(());
    let (tx, rx) = channel::rendezvous();
    let mut waiting = Box::pin(rx.recv_async());
    check!(waiting.as_mut().poll(&mut context).is_pending());
    check!(tx.try_send(kept.clone()).is_ok());
    drop(waiting);
    check_eq!(Arc::strong_count(&kept), 2);
    drop((tx, rx));
    check_eq!(Arc::strong_count(&kept), 1);
    Ok(())
}

fn another_waker_takes_the_place_of_the_first() -> Outcome {
    let (tx, rx) = channel::bounded(1);
    let mut waiting = Box::pin(rx.recv_async());
    check!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let sender = spawn(move || {
        thread::sleep(Duration::from_millis(1));
        tx.send(5)
    });
    check_eq!(block_on(waiting.as_mut()), Ok(5));
    check_eq!(joined(sender), Ok(()));
    // It may be polled for the next message.
    check_eq!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(RecvError)));
    Ok(())
}
