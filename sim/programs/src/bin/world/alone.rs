//! CPUs that are given to one thread alone: it stays there, and nobody else comes.

use crate::child::work;
use crate::random::Random;
use isochron::prelude::*;
use isochron::thread::{Builder, ReserveError, current_cpu, reserve_cpu};

/// What whoever has a CPU for itself does with it.
fn use_it(cpu: CpuId, random: &mut Random) {
    for _ in 0..random.within(1..6) {
        match random.below(5) {
            0 => sleep(Duration::from_nanos(random.within(0..20_000))),
            1 => yield_now(),
            2 => {
                let elsewhere = spawn(move || {
                    work(3);
                    current_cpu() != cpu
                });
                assert!(elsewhere.join().expect("it has an end"), "a thread comes to a CPU that another has");
            }
            3 => _ = thread::park_timeout(Duration::from_nanos(random.within(0..20_000))),
            _ => work(random.within(0..30)),
        }
        assert_eq!(current_cpu(), cpu, "a thread with a CPU for itself is elsewhere");
    }
}

/// Has a CPU for itself for a while, or makes a thread that has.
pub fn have_one(cpu: CpuId, random: &mut Random) {
    if random.once_in(2) {
        match reserve_cpu(cpu) {
            Ok(own) => {
                use_it(cpu, random);
                drop(own);
            }
            Err(ReserveError::Taken(_) | ReserveError::Primary) => {}
            Err(error) => panic!("a CPU is refused: {error}"),
        }
    } else {
        let seed = random.number();
        let made = Builder::new().spawn_exclusive(cpu, move || use_it(cpu, &mut Random::new(seed)));
        match made {
            Ok(thread) => thread.join().expect("it has an end"),
            Err(ReserveError::Taken(_) | ReserveError::Primary) => {}
            Err(error) => panic!("a CPU is refused: {error}"),
        }
    }
}
