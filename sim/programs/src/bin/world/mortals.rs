//! Tasks that die in a poll, and executors that are killed in whatever they are doing: whoever joins is told, and tasks go on to
//! be polled by others.
//!
//! An executor that is killed takes the task along that it polls, whichever that is. So where there are mortal tasks, there are
//! no others; they own nothing, since what is left of them stays for ever.

use crate::child::work;
use crate::random::Random;
use crate::tasks::moment;
use crate::victims::place;
use core::future::Future;
use core::pin::Pin;
use isochron::future::timeout;
use isochron::prelude::*;
use isochron::thread::Death;

/// The life of a mortal task, which may end at any moment.
fn live(seed: u64, depth: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        let mut random = Random::new(seed);
        let place = place();
        for _ in 0..random.within(1..10) {
            match random.below(16) {
                0 => work(random.within(0..40)),
                1..3 => future::yield_now().await,
                3..5 => future::sleep(moment(&mut random)).await,
                5 => block_on(future::sleep(moment(&mut random))),
                6..9 => *place.executor.lock() = Some(thread::current()),
                9 => _ = timeout(moment(&mut random), place.empty.recv_async()).await,
                10 => _ = timeout(moment(&mut random), place.full.send_async(7)).await,
                11 => {
                    let mut guard = place.mutex.lock();
                    *guard += 1;
                    work(random.within(0..10));
                    assert!(!random.once_in(4), "a mortal's own, with a mutex");
                }
                12 if random.once_in(3) => panic!("a mortal's own"),
                13 if random.once_in(3) => thread::current().kill(),
                14 if random.once_in(3) => _ = place.empty.recv_async().await,
                15 if depth == 0 => {
                    let seed = random.number();
                    let child = spawn_async(live(seed, 1));
                    if random.once_in(2) {
                        child.abort();
                    } else if random.once_in(2) {
                        // It is forgotten, and may wait for ever.
                        continue;
                    }
                    // The child may wait for ever.
                    _ = timeout(moment(&mut random), child).await.map(|end| check(seed, end));
                }
                _ => work(3),
            }
        }
        seed
    })
}

fn check(seed: u64, end: Result<u64, Death>) {
    assert!(
        matches!(end, Err(Death::Killed | Death::Panicked)) || end == Ok(seed),
        "a task ended as none should: {end:?}"
    );
}

/// Makes a mortal task, perhaps kills an executor, perhaps its own, and learns how the task ended.
pub fn meet_one(random: &mut Random) {
    let seed = random.number();
    let task = spawn_async(live(seed, 0));
    match random.below(4) {
        0 => {}
        1 => work(random.within(0..100)),
        2 => yield_now(),
        _ => sleep(moment(random)),
    }
    if random.once_in(2) {
        let executor = place().executor.lock().take();
        if let Some(executor) = executor {
            executor.kill();
        }
    }
    if random.once_in(3) {
        sleep(moment(random));
    }
    // It may wait for ever.
    task.abort();
    check(seed, task.join());
}
