//! A tree of threads, ten to a node, whose leaves' numbers are summed up through channels.

use crate::rows::{LEAVES, SKYNET_SUM};
use isochron::channel::Sender;
use isochron::kernel::report;
use isochron::kernel::wire::Fixed;
use isochron::prelude::*;
use isochron::thread::Builder;

fn node(result: &Sender<u64>, number: u64, size: u64) {
    if size == 1 {
        result.send(number).expect("it is awaited");
        return;
    }
    let (child, children) = channel::bounded(10);
    for n in 0..10 {
        let child = child.clone();
        let part = move || node(&child, number + n * (size / 10), size / 10);
        Builder::new().stack_size(4096).spawn(part).expect("there is memory").detach();
    }
    drop(child);
    result.send(children.iter().sum()).expect("it is awaited");
}

pub fn skynet(_: Option<usize>) {
    let (tx, rx) = channel::bounded(1);
    let begin = Instant::now();
    spawn(move || node(&tx, 0, LEAVES)).detach();
    assert_eq!(rx.recv(), Ok(SKYNET_SUM));
    report::value("skynet", "ms", Fixed::from_ratio(begin.elapsed().as_nanos(), 1_000_000));
}
