//! Many threads that wait.

use crate::rows::{PARKED, WAKE_MANY, shuffle};
use isochron::prelude::*;
use isochron::thread::{Builder, JoinHandle};

/// `0..count`, shuffled, the same each time.
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    shuffle(&mut order);
    order
}

fn parked(count: usize) -> Vec<JoinHandle<()>> {
    let threads: Vec<_> =
        (0..count).map(|_| Builder::new().stack_size(4096).spawn(park).expect("there is memory")).collect();
    yield_now();
    assert!(threads.iter().all(|thread| !thread.is_finished()));
    threads
}

/// Ends with all of them parked: the memory that the process takes is read by who started it.
pub fn memory(count: Option<usize>) {
    core::mem::forget(parked(count.unwrap_or(PARKED)));
}

pub fn wake_many(count: Option<usize>) {
    let count = count.unwrap_or(WAKE_MANY);
    let threads = parked(count);
    let begin = Instant::now();
    threads.iter().for_each(|thread| thread.thread().unpark());
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    crate::each("wake_many", begin.elapsed(), count as u64);
}
