//! Forks, and scopes whose threads borrow.

use crate::child::{somewhere, work};
use crate::locks::Locks;
use crate::random::Random;
use isochron::prelude::*;
use isochron::thread::{Builder, SpawnError};

/// A sum by forks.
pub fn fork(random: &mut Random) {
    fn sum(from: u64, to: u64) -> u64 {
        if to - from <= 2 {
            work(to - from);
            return (from..to).sum();
        }
        let middle = from.midpoint(to);
        let (a, b) = fork::join(|| sum(from, middle), || sum(middle, to));
        a + b
    }
    let to = random.within(1..20);
    assert_eq!(sum(0, to), to * (to - 1) / 2, "a fork's sum");
}

/// Some threads that borrow; each writes what is its own, and they meet at a barrier.
pub fn scope(locks: &Locks, random: &mut Random) {
    let mut squares = [0; 3];
    let count = random.within(1..4) as usize;
    let barrier = Barrier::new(count as u32);
    let (leads, jobs) = (Mutex::new(0), WaitGroup::new(count as u32));
    let (meet, mut refused) = (random.once_in(2), 0);
    fork::scope(|scope| {
        for (number, square) in squares[..count].iter_mut().enumerate() {
            let seed = random.number();
            let (barrier, leads, jobs) = (&barrier, &leads, &jobs);
            let body = move || {
                let mut random = Random::new(seed);
                match random.below(4) {
                    0 => yield_now(),
                    1 => sleep(Duration::from_nanos(random.within(0..10_000))),
                    2 => locks.mutex(&mut random),
                    _ => work(random.within(0..20)),
                }
                *square = number * number + 1;
                jobs.done().expect("it is counted");
                if meet {
                    *leads.lock() += u32::from(barrier.wait());
                }
                number
            };
            match scope.spawn_by(somewhere(Builder::new(), random), body) {
                Ok(thread) if !meet && random.once_in(3) => assert_eq!(thread.join(), Ok(number)),
                Ok(_) => {}
                // Somebody has the CPU for itself; the closure is lost.
                Err(SpawnError::Reserved(_)) => {
                    refused += 1;
                    jobs.done().expect("it is counted");
                    if meet {
                        scope.spawn(move || *leads.lock() += u32::from(barrier.wait()));
                    }
                }
                Err(error) => panic!("a thread cannot be made: {error}"),
            }
        }
        jobs.wait();
    });
    let written = |&(number, &square): &(usize, &usize)| square == number * number + 1;
    assert_eq!(
        squares[..count].iter().enumerate().filter(written).count(),
        count - refused,
        "what threads of a scope wrote"
    );
    assert_eq!(*leads.lock(), u32::from(meet), "who leads at a barrier");
}
