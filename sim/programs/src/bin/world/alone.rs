//! CPUs that are given to one thread alone: it stays there, and nobody else comes.

use crate::child::work;
use crate::random::Random;
use isochron::prelude::*;
use isochron::thread::{Builder, Death, ReserveError, current_cpu, reserve_cpu};

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

/// Makes a thread that has a CPU for itself, or is about to, and kills it.
pub fn lose_one(cpu: CpuId, random: &mut Random) {
    let seed = random.number();
    let life = move || use_it(cpu, &mut Random::new(seed));
    let made = match random.below(3) {
        0 => Builder::new().spawn_exclusive(cpu, life),
        1 => Ok(spawn(move || {
            if let Ok(own) = reserve_cpu(cpu) {
                life();
                drop(own);
            }
        })),
        // It dies while it makes one, perhaps.
        _ => Ok(spawn(move || _ = Builder::new().spawn_exclusive(cpu, || ()))),
    };
    let Ok(victim) = made else { return };
    match random.below(3) {
        0 => {}
        1 => work(random.within(0..40)),
        _ => sleep(Duration::from_nanos(random.within(0..4_000))),
    }
    victim.thread().kill();
    let end = victim.join();
    assert!(matches!(end, Ok(()) | Err(Death::Killed)), "a victim ended as nobody should: {end:?}");
}

/// All who had a CPU for themselves have ended, by whatever way: none is kept.
pub fn check() {
    let deadline = Instant::now() + Duration::from_millis(20);
    for cpu in (1..thread::cpu_count()).map(CpuId::new) {
        while reserve_cpu(cpu).is_err() {
            assert!(Instant::now() < deadline, "CPU {cpu} is given to a thread that is dead");
            sleep(Duration::from_micros(50));
        }
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
