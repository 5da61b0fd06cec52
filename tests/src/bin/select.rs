//! Waiting at several channels.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

use isochron::channel::{self, RecvError, SendError};
use isochron::thread::sleep;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_ready_arm_is_chosen,
        default_if_none_is_ready,
        a_message_ends_the_wait,
        room_ends_the_wait,
        a_receiver_ends_the_wait_of_a_rendezvous,
        two_selects_meet,
        a_slot_keeps_what_has_not_gone,
        an_empty_slot_is_never_chosen,
        closed_channels_are_ready,
        a_close_ends_the_wait,
        timeouts_and_deadlines,
        a_timeout_loses_no_message,
        ready_arms_are_chosen_alike,
        the_same_channel_twice,
        code_may_leave_the_loop,
        nothing_is_lost_between_many,
        selects_at_both_ends,
        a_killed_select_leaves_nothing,
    ])
}

fn a_ready_arm_is_chosen() -> Outcome {
    let ((a, from_a), (b, from_b)) = (channel::bounded::<u32>(1), channel::unbounded::<&str>());
    check!(b.send("b").is_ok());
    let got = select! {
        recv(from_a) -> number => format!("{number:?}"),
        recv(from_b) -> text => format!("{text:?}"),
    };
    check_eq!(got, "Ok(\"b\")");
    // A channel with room is ready to be sent to; references do as well as places.
    let (a, from_a) = (&a, &from_a);
    let sent = select! {
        recv(from_b) -> _ => false,
        send(a, 7) -> result => result.is_ok()
    };
    check!(sent);
    check_eq!(from_a.try_recv(), Ok(7));
    Ok(())
}

fn default_if_none_is_ready() -> Outcome {
    let (tx, rx) = channel::bounded::<u32>(1);
    check!(select! { recv(rx) -> _ => false, default => true });
    check!(tx.send(1).is_ok());
    check!(select! { default => false, recv(rx) -> got => got == Ok(1) });
    check!(select! { default => true }, "a select with nothing but a default");
    Ok(())
}

fn a_message_ends_the_wait() -> Outcome {
    for turn in 0..50_u32 {
        let (tx, rx) = (0..3).map(|_| channel::bounded::<u32>((turn % 2) as usize)).unzip::<_, _, Vec<_>, Vec<_>>();
        let place = (turn % 3) as usize;
        let sender = tx[place].clone();
        let sending = spawn(move || {
            sleep(Duration::from_micros(200));
            sender.send(turn).is_ok()
        });
        let got = select! {
            recv(rx[0]) -> got => (0, got),
            recv(rx[1]) -> got => (1, got),
            recv(rx[2]) -> got => (2, got),
        };
        check_eq!(got, (place, Ok(turn)));
        check!(joined(sending));
        // The nodes at the other channels are gone: nobody waits there.
        check_eq!(tx[(place + 1) % 3].try_send(1).is_ok(), turn % 2 == 1);
    }
    Ok(())
}

fn room_ends_the_wait() -> Outcome {
    let ((a, from_a), (b, from_b)) = (channel::bounded::<u32>(1), channel::bounded::<u32>(1));
    check!(a.send(1).is_ok() && b.send(2).is_ok());
    let receiver = spawn(move || {
        sleep(Duration::from_millis(1));
        let first = from_b.recv();
        (first, from_b.recv(), from_a)
    });
    let sent = select! {
        send(a, 10) -> sent => (sent, 'a'),
        send(b, 20) -> sent => (sent, 'b'),
    };
    check_eq!(sent, (Ok(()), 'b'));
    let (first, second, from_a) = joined(receiver);
    check_eq!((first, second), (Ok(2), Ok(20)));
    check!(from_a.try_iter().eq([1]), "the arm that lost has sent its message");
    Ok(())
}

fn a_receiver_ends_the_wait_of_a_rendezvous() -> Outcome {
    let ((tx, rx), (_never, nothing)) = (channel::rendezvous::<u32>(), channel::bounded::<u32>(1));
    let receiver = spawn(move || rx.recv());
    let sent = select! { recv(nothing) -> _ => false, send(tx, 3) -> sent => sent.is_ok() };
    check!(sent);
    check_eq!(joined(receiver), Ok(3));
    Ok(())
}

/// Both ends of a rendezvous select, and so do both of another one the other way: one of the two messages passes.
fn two_selects_meet() -> Outcome {
    for turn in 0..300_u32 {
        let ((a, from_a), (b, from_b)) = (channel::rendezvous::<u32>(), channel::rendezvous::<u32>());
        let (other_a, other_b) = (from_a, b);
        let other = spawn(move || {
            if turn % 3 == 0 {
                thread::yield_now();
            }
            select! {
                recv(other_a) -> got => got.map_err(|_| ()),
                send(other_b, turn) -> sent => sent.map(|()| u32::MAX).map_err(|_| ()),
            }
        });
        let mine = select! {
            send(a, turn) -> sent => sent.map(|()| u32::MAX).map_err(|_| ()),
            recv(from_b) -> got => got.map_err(|_| ()),
        };
        let other = joined(other);
        check!(
            (mine, other) == (Ok(turn), Ok(u32::MAX)) || (mine, other) == (Ok(u32::MAX), Ok(turn)),
            "{mine:?} {other:?}"
        );
    }
    Ok(())
}

fn a_slot_keeps_what_has_not_gone() -> Outcome {
    let ((tx, rx), (wake, woken)) = (channel::bounded::<String>(1), channel::bounded::<()>(1));
    let mut slot = Some(String::from("a"));
    check!(tx.send("first".into()).is_ok());
    // Not tried in vain only, but waited for in vain.
    let waker = spawn(move || {
        sleep(Duration::from_millis(1));
        wake.send(()).is_ok()
    });
    let sent = select! {
        send(tx, in slot) -> _ => true,
        recv(woken) -> _ => false,
    };
    check!(!sent && joined(waker));
    check_eq!(slot.as_deref(), Some("a"));
    check_eq!(rx.recv().as_deref(), Ok("first"));
    select! { send(tx, in slot) -> sent => check!(sent.is_ok()), default => check!(false) }
    check_eq!(slot, None);
    check_eq!(rx.recv().as_deref(), Ok("a"));
    // A closed channel gives it back in the error.
    drop(rx);
    slot = Some("b".into());
    let back = select! { send(tx, in slot) -> sent => sent.err().map(|SendError(message)| message), default => None };
    check_eq!(back.as_deref(), Some("b"));
    Ok(())
}

fn an_empty_slot_is_never_chosen() -> Outcome {
    let (tx, rx) = channel::bounded::<u32>(1);
    let mut slot = None;
    check!(select! { send(tx, in slot) -> _ => false, timeout(Duration::from_micros(300)) => true });
    check!(rx.is_empty());
    Ok(())
}

fn closed_channels_are_ready() -> Outcome {
    let ((tx, rx), (_other, nothing)) = (channel::bounded::<u32>(2), channel::bounded::<u32>(1));
    check!(tx.send(1).is_ok());
    check!(tx.close() && !tx.close() && rx.is_closed());
    check_eq!(select! { recv(rx) -> got => got, recv(nothing) -> got => got }, Ok(1));
    check_eq!(select! { recv(nothing) -> got => got, recv(rx) -> got => got }, Err(RecvError));
    let sent = select! { recv(nothing) -> _ => Ok(()), send(tx, 5) -> sent => sent };
    check_eq!(sent, Err(SendError(5)));
    Ok(())
}

fn a_close_ends_the_wait() -> Outcome {
    for turn in 0..40 {
        let ((tx, rx), (full, stuck)) = (channel::bounded::<u32>(1), channel::bounded::<u32>(1));
        check!(full.send(0).is_ok());
        let closer = {
            let (tx, stuck) = (tx.clone(), stuck.clone());
            spawn(move || {
                sleep(Duration::from_micros(100));
                if turn % 2 == 0 { tx.close() } else { stuck.close() }
            })
        };
        let ended = select! {
            recv(rx) -> got => got == Err(RecvError) && turn % 2 == 0,
            send(full, 9) -> sent => sent == Err(SendError(9)) && turn % 2 == 1,
        };
        check!(ended && joined(closer));
    }
    Ok(())
}

fn timeouts_and_deadlines() -> Outcome {
    let (tx, rx) = channel::bounded::<u32>(1);
    let time = Duration::from_millis(2);
    let begin = Instant::now();
    check!(select! { recv(rx) -> _ => false, timeout(time) => true });
    check!(begin.elapsed() >= time, "it gave up too early");
    check!(select! { deadline(begin) => true, recv(rx) -> _ => false }, "a deadline that has passed");
    check!(tx.send(4).is_ok());
    check!(select! { deadline(begin) => false, recv(rx) -> got => got == Ok(4) });
    check!(select! { timeout(Duration::from_micros(50)) => true }, "a select with nothing but a time-out");
    // The wait left nothing behind.
    check!(tx.send(5).is_ok());
    check_eq!(rx.try_recv(), Ok(5));
    Ok(())
}

/// Time-outs at the very time that messages come.
fn a_timeout_loses_no_message() -> Outcome {
    let ((a, from_a), (b, from_b)) = (channel::bounded::<u64>(1), channel::rendezvous::<u64>());
    let receiver = spawn(move || {
        let mut random = Random::new(5);
        let (mut count, mut sum, mut open) = (0, 0, [true; 2]);
        while open != [false; 2] {
            let (place, got) = select! {
                recv(from_a) -> got => (0, got),
                recv(from_b) -> got => (1, got),
                timeout(Duration::from_nanos(random.number() % 40_000)) => continue,
            };
            match got {
                Ok(number) => (count, sum) = (count + 1, sum + number),
                Err(RecvError) => open[place] = false,
            }
        }
        (count, sum)
    });
    let mut random = Random::new(6);
    for number in 0..1000_u64 {
        let mut slot = Some(number);
        while slot.is_some() {
            let time = Duration::from_nanos(random.number() % 40_000);
            if number % 2 == 0 {
                select! { send(a, in slot) -> sent => check!(sent.is_ok()), timeout(time) => {} }
            } else {
                select! { timeout(time) => {} send(b, in slot) -> sent => check!(sent.is_ok()) }
            }
        }
    }
    drop((a, b));
    check_eq!(joined(receiver), (1000, 999 * 500));
    Ok(())
}

fn ready_arms_are_chosen_alike() -> Outcome {
    let channels: Vec<_> = (0..4).map(|_| channel::unbounded::<()>()).collect();
    // The second has nothing: the third must not profit from it.
    for (place, (tx, _)) in channels.iter().enumerate() {
        check!(place == 1 || (0..900).all(|_| tx.send(()).is_ok()));
    }
    let mut chosen = [0; 4];
    for _ in 0..900 {
        let place = select! {
            recv(channels[0].1) -> _ => 0,
            recv(channels[1].1) -> _ => 1,
            recv(channels[2].1) -> _ => 2,
            recv(channels[3].1) -> _ => 3,
        };
        chosen[place] += 1;
    }
    // 300 each; 5 standard deviations are 71.
    check!(chosen[1] == 0 && [0, 2, 3].iter().all(|&place| (220..380).contains(&chosen[place])), "{chosen:?}");
    Ok(())
}

fn the_same_channel_twice() -> Outcome {
    let (tx, rx) = channel::rendezvous::<u32>();
    // It must not hand the message to itself.
    let met = select! {
        recv(rx) -> _ => true,
        send(tx, 1) -> _ => true,
        recv(rx) -> _ => true,
        timeout(Duration::from_micros(200)) => false,
    };
    check!(!met, "a select met itself");
    let sender = spawn(move || tx.send(8).is_ok());
    check_eq!(select! { recv(rx) -> got => got, recv(rx) -> got => got }, Ok(8));
    check!(joined(sender));
    Ok(())
}

fn code_may_leave_the_loop() -> Outcome {
    fn first_big(rx: &channel::Receiver<u32>, stop: &channel::Receiver<()>) -> Result<u32, RecvError> {
        let mut seen = 0;
        loop {
            select! {
                recv(stop) -> _ => break,
                recv(rx) -> got => {
                    let got = got?;
                    seen += 1;
                    if got < 10 {
                        continue;
                    }
                    return Ok(got * 100 + seen);
                }
            }
        }
        Ok(seen)
    }
    let ((tx, rx), (halt, stop)) = (channel::bounded(4), channel::bounded(1));
    check!([1, 2, 11].into_iter().all(|number| tx.send(number).is_ok()));
    check_eq!(first_big(&rx, &stop), Ok(1103));
    check!(halt.send(()).is_ok());
    check_eq!(first_big(&rx, &stop), Ok(0));
    drop(tx);
    check_eq!(first_big(&rx, &stop), Err(RecvError));
    Ok(())
}

fn nothing_is_lost_between_many() -> Outcome {
    const EACH: u64 = 300;
    let channels: Vec<_> = [0, 1, 8].map(channel::bounded::<u64>).into();
    let senders: Vec<_> = (0..6_u64)
        .map(|sender| {
            let tx = channels[(sender % 3) as usize].0.clone();
            spawn(move || (0..EACH).all(|number| tx.send(sender * EACH + number).is_ok()))
        })
        .collect();
    let (tx, rx): (Vec<_>, Vec<_>) = channels.into_iter().unzip();
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            spawn(move || {
                let (mut got, mut open) = (Vec::new(), [true; 3]);
                while open != [false; 3] {
                    let (place, message) = select! {
                        recv(rx[0]) -> message => (0, message),
                        recv(rx[1]) -> message => (1, message),
                        recv(rx[2]) -> message => (2, message),
                    };
                    match message {
                        Ok(number) => got.push(number),
                        Err(RecvError) => open[place] = false,
                    }
                }
                got
            })
        })
        .collect();
    drop(rx);
    check!(senders.into_iter().all(joined));
    // All at once: a closed channel is always ready, and the receivers would turn round beside those that are open.
    drop(tx);
    let mut all: Vec<u64> = receivers.into_iter().flat_map(joined).collect();
    all.sort_unstable();
    check!(all.into_iter().eq(0..6 * EACH), "a message was lost, or came twice");
    Ok(())
}

/// Threads that both send and receive by `select!`, all at the same two channels.
fn selects_at_both_ends() -> Outcome {
    const EACH: u64 = 100;
    let ((a, from_a), (b, from_b)) = (channel::rendezvous::<u64>(), channel::bounded::<u64>(2));
    let received = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4_u64)
        .map(|who| {
            let (a, b, from_a, from_b, received) =
                (a.clone(), b.clone(), from_a.clone(), from_b.clone(), received.clone());
            spawn(move || {
                let (mut next, mut sum, mut slot) = (0, 0, None);
                while received.load(Ordering::Relaxed) < 4 * EACH as usize {
                    if slot.is_none() && next < EACH {
                        slot = Some(who * EACH + next);
                        next += 1;
                    }
                    let mut other = None;
                    if who % 2 == 0 {
                        core::mem::swap(&mut slot, &mut other);
                    }
                    let got = select! {
                        send(a, in slot) -> _ => None,
                        send(b, in other) -> _ => None,
                        recv(from_a) -> got => got.ok(),
                        recv(from_b) -> got => got.ok(),
                        timeout(Duration::from_micros(200)) => None,
                    };
                    slot = slot.or(other);
                    if let Some(number) = got {
                        sum += number;
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                }
                sum
            })
        })
        .collect();
    let sum: u64 = threads.into_iter().map(joined).sum();
    check_eq!(sum, (0..4 * EACH).sum());
    Ok(())
}

fn a_killed_select_leaves_nothing() -> Outcome {
    for turn in 0..20 {
        let ((a, from_a), (b, from_b)) = (channel::rendezvous::<u32>(), channel::bounded::<u32>(1));
        check!(b.send(1).is_ok());
        let (rx, tx, timed) = (from_a.clone(), b.clone(), turn % 2 == 0);
        let waiting = spawn(move || {
            if timed {
                select! {
                    recv(rx) -> _ => {}
                    send(tx, 2) -> _ => {}
                    timeout(Duration::from_secs(100)) => {}
                }
            } else {
                select! { recv(rx) -> _ => {} send(tx, 2) -> _ => {} }
            }
        });
        if turn % 4 < 2 {
            sleep(Duration::from_micros(200));
        }
        waiting.thread().kill();
        check_eq!(waiting.join(), Err(thread::Death::Killed));
        check!(a.try_send(3).is_err(), "the dead still receive");
        check!(from_b.try_iter().eq([1]), "the dead still send");
    }
    Ok(())
}
