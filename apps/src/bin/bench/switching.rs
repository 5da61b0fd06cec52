//! From one thread to the next through the run queue.

use crate::rows::{MANY, MANY_TURNS, SWITCHES};
use isochron::prelude::*;

fn yields(count: u64) -> impl FnOnce() + Send {
    move || (0..count).for_each(|_| yield_now())
}

/// Two threads that yield to each other, on one CPU.
pub fn two(_: Option<usize>) {
    let begin = Instant::now();
    let threads = [(); 2].map(|()| spawn(yields(SWITCHES / 2)));
    for thread in threads {
        thread.join().expect("it yields and ends");
    }
    crate::each("switch", begin.elapsed(), SWITCHES);
}

/// Many threads, woken in random order, that then take turns.
pub fn many(count: Option<usize>) {
    let count = count.unwrap_or(MANY);
    let threads = crate::parking::parked(count, || (0..MANY_TURNS).for_each(|_| yield_now()));
    for index in crate::parking::shuffled(count) {
        threads[index].thread().unpark();
    }
    let begin = Instant::now();
    for thread in threads {
        thread.join().expect("it yields and ends");
    }
    crate::each("switch_many", begin.elapsed(), count as u64 * MANY_TURNS);
}
