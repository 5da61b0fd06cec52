//! Many threads that wait.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::rows::{PARKED, WAKE_MANY, shuffle};
use isochron::prelude::*;
use isochron::thread::{Builder, JoinHandle, SlotSize};

/// `0..count`, shuffled, the same each time.
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    shuffle(&mut order);
    order
}

/// How many threads of `parked` have begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// So many threads, all parked. Each does `rest` when it is woken.
pub fn parked(count: usize, rest: impl Fn() + Copy + Send + 'static) -> Vec<JoinHandle<()>> {
    let before = BEGUN.load(Ordering::Relaxed);
    let made = |_| {
        let thread = Builder::new().spawn_packed(SlotSize::Kib1, move || {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            park();
            rest();
        });
        thread.expect("there is memory")
    };
    let threads: Vec<_> = (0..count).map(made).collect();
    while BEGUN.load(Ordering::Relaxed) - before < count {
        yield_now();
    }
    // The last of them may be on their way, on another CPU.
    sleep(Duration::from_millis(1));
    assert!(threads.iter().all(|thread| !thread.is_finished()));
    threads
}

/// Ends with all of them parked: the memory that the process takes is read by who started it.
pub fn memory(count: Option<usize>) {
    core::mem::forget(parked(count.unwrap_or(PARKED), || ()));
}

pub fn wake_many(count: Option<usize>) {
    let count = count.unwrap_or(WAKE_MANY);
    let threads = parked(count, || ());
    let begin = Instant::now();
    threads.iter().for_each(JoinHandle::unpark);
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    crate::each("wake_many", begin.elapsed(), count as u64);
}
