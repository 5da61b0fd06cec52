//! Two threads that want one mutex.

use crate::rows::LOCKS;
use isochron::prelude::*;

/// Barging: who comes takes it. Fair: first come, first served, which is what `Mutex::new` makes.
pub fn mutex(_: Option<usize>) {
    contended("mutex_2_barging", Mutex::barging(0), LOCKS);
    contended("mutex_2_fair", Mutex::new(0), LOCKS / 20);
}

fn contended(name: &str, mutex: Mutex<u64>, count: u64) {
    let mutex = Arc::new(mutex);
    let begin = Instant::now();
    let threads = [(); 2].map(|()| {
        let mutex = Arc::clone(&mutex);
        spawn(move || (0..count / 2).for_each(|_| *mutex.lock() += 1))
    });
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    let time = begin.elapsed();
    assert_eq!(*mutex.lock(), count);
    crate::each(name, time, count);
}
