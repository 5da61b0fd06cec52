//! From one thread to the next through the run queue.

use crate::rows::{MANY, MANY_TURNS, SWITCHES};
use isochron::prelude::*;
use isochron::thread::Builder;

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
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let thread = Builder::new().stack_size(4096).spawn(|| {
                park();
                (0..MANY_TURNS).for_each(|_| yield_now());
            });
            thread.expect("there is memory")
        })
        .collect();
    // All have begun and are parked.
    yield_now();
    for index in crate::parking::shuffled(count) {
        threads[index].thread().unpark();
    }
    let begin = Instant::now();
    for thread in threads {
        thread.join().expect("it yields and ends");
    }
    crate::each("switch_many", begin.elapsed(), count as u64 * MANY_TURNS);
}
