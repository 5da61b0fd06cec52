//! Two threads that want one mutex.

use crate::rows::LOCKS;
use isochron::prelude::*;

/// Its mutex is fair: first come, first served.
pub fn contended(_: Option<usize>) {
    let count = LOCKS / 20;
    let mutex = Arc::new(Mutex::new(0));
    let begin = Instant::now();
    let threads = [(); 2].map(|()| {
        let mutex = Arc::clone(&mutex);
        spawn(move || (0..count / 2).for_each(|_| *mutex.lock() += 1))
    });
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    let time = begin.elapsed();
    assert_eq!(*mutex.lock(), count);
    crate::each("mutex_2_fair", time, count);
}
