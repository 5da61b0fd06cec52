//! Messages to and fro, and through.

use crate::rows::{CAPACITY, MESSAGES, ROUNDS, sum_through};
use isochron::prelude::*;
use isochron::thread::Builder;

/// A thread for each side; `cpus` says where, if it matters.
fn round(name: &str, cpus: Option<[usize; 2]>) {
    let (there, from_here) = channel::bounded::<u64>(1);
    let (back, from_there) = channel::bounded::<u64>(1);
    let place = |builder: Builder<'static>, side: usize| match cpus {
        Some(cpus) => builder.pinned(CpuId::new(cpus[side])),
        None => builder,
    };
    let echo = place(Builder::new(), 1)
        .spawn(move || from_here.iter().for_each(|n| back.send(n + 1).expect("it is awaited")))
        .expect("there is memory");
    let time = place(Builder::new(), 0)
        .spawn(move || {
            let begin = Instant::now();
            for n in 0..ROUNDS {
                there.send(n).expect("it is awaited");
                assert_eq!(from_there.recv(), Ok(n + 1));
            }
            begin.elapsed()
        })
        .expect("there is memory");
    let time = time.join().expect("it ends");
    echo.join().expect("it ends");
    crate::each(name, time, ROUNDS);
}

pub fn round_same_cpu(_: Option<usize>) {
    round("channel_round", None);
}

pub fn round_cross_core(_: Option<usize>) {
    round("cross_core_round", Some([0, 1]));
}

fn through(name: &str, senders: u64, receivers: u64) {
    let (tx, rx) = channel::bounded::<u64>(CAPACITY);
    let begin = Instant::now();
    for _ in 0..senders {
        let tx = tx.clone();
        spawn(move || (0..MESSAGES / senders).for_each(|n| tx.send(n).expect("somebody receives"))).detach();
    }
    drop(tx);
    let receivers: Vec<_> = (0..receivers)
        .map(|_| {
            let rx = rx.clone();
            spawn(move || rx.iter().sum::<u64>())
        })
        .collect();
    let sum: u64 = receivers.into_iter().map(|receiver| receiver.join().expect("it ends")).sum();
    let time = begin.elapsed();
    assert_eq!(sum, sum_through(senders));
    crate::rate(name, time, MESSAGES);
}

pub fn one_to_one(_: Option<usize>) {
    through("channel_1_1", 1, 1);
}

pub fn four_to_one(_: Option<usize>) {
    through("channel_4_1", 4, 1);
}

pub fn four_to_four(_: Option<usize>) {
    through("channel_4_4", 4, 4);
}
