//! Making threads and fetching their results.

use crate::rows::{SPAWN_JOIN, SPAWN_MANY};
use isochron::prelude::*;
use isochron::thread::Builder;

pub fn one_by_one(_: Option<usize>) {
    let begin = Instant::now();
    let sum: u64 = (0..SPAWN_JOIN).map(|n| spawn(move || n).join().expect("it ends")).sum();
    let time = begin.elapsed();
    assert_eq!(sum, SPAWN_JOIN * (SPAWN_JOIN - 1) / 2);
    crate::each("spawn_join", time, SPAWN_JOIN);
}

pub fn many(count: Option<usize>) {
    let count = count.map_or(SPAWN_MANY, |count| count as u64);
    let begin = Instant::now();
    let threads: Vec<_> =
        (0..count).map(|n| Builder::new().stack_size(4096).spawn(move || n).expect("there is memory")).collect();
    let sum: u64 = threads.into_iter().map(|thread| thread.join().expect("it ends")).sum();
    let time = begin.elapsed();
    assert_eq!(sum, count * (count - 1) / 2);
    crate::each("spawn_many", time, count);
}
