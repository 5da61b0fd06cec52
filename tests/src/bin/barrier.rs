//! The system-wide barrier: it returns whatever the others do, and it is one.
//@ run: usual
//@ machines: virt, q35, microvm, hosted
//@ cpus: 1, 2, 4
//@ run: pi
//@ machines: raspi4b
#![no_std]
#![no_main]

use core::sync::atomic::compiler_fence;
use isochron::sync::system_wide_barrier;
use isochron::thread::sleep;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        it_returns_while_others_sleep,
        it_returns_beside_hogs,
        it_returns_for_many_at_once,
        one_side_needs_no_fence
    ])
}

fn it_returns_while_others_sleep() -> Outcome {
    for _ in 0..20 {
        sleep(Duration::from_micros(100));
        system_wide_barrier();
    }
    Ok(())
}

fn it_returns_beside_hogs() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|_| {
            let stop = stop.clone();
            spawn(move || spin("the hogs are told to stop", || stop.load(Ordering::Relaxed)).is_ok())
        })
        .collect();
    for _ in 0..20 {
        system_wide_barrier();
    }
    stop.store(true, Ordering::Relaxed);
    check!(hogs.into_iter().all(joined));
    Ok(())
}

fn it_returns_for_many_at_once() -> Outcome {
    let threads: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|_| {
            spawn(|| {
                for _ in 0..20 {
                    system_wide_barrier();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(joined);
    Ok(())
}

/// A side of the race below: the round that it has published, and the one that it is ready for.
#[derive(Default)]
#[repr(align(128))]
struct Side {
    state: AtomicU64,
    ready: AtomicU64,
}

/// Both publish, both look; at least one must see. One side has no barrier between the two.
fn one_side_needs_no_fence() -> Outcome {
    const ROUNDS: u64 = 300;
    if thread::cpu_count() < 2 {
        ignore!("one CPU");
    }
    let sides: Arc<[Side; 2]> = Arc::default();
    let meet = |me: &Side, other: &Side, round: u64| {
        // Release and acquire: partners of each other. What a side did in the round before is seen.
        me.ready.store(round, Ordering::Release);
        spin("the other side comes", || other.ready.load(Ordering::Acquire) >= round)
    };
    let fast = {
        let sides = sides.clone();
        Builder::new().pinned(CpuId::new(1)).spawn(move || {
            let [slow, fast] = &*sides;
            let mut saw = Vec::new();
            for round in 1..=ROUNDS {
                meet(fast, slow, round)?;
                fast.state.store(round, Ordering::Relaxed);
                compiler_fence(Ordering::SeqCst);
                saw.push(slow.state.load(Ordering::Relaxed) >= round);
            }
            Ok(saw)
        })
    };
    let slow = Builder::new().pinned(CpuId::PRIMARY).spawn(move || {
        let [slow, fast] = &*sides;
        let mut saw = Vec::new();
        for round in 1..=ROUNDS {
            meet(slow, fast, round)?;
            slow.state.store(round, Ordering::Relaxed);
            system_wide_barrier();
            saw.push(fast.state.load(Ordering::Relaxed) >= round);
        }
        Ok(saw)
    });
    let (Ok(fast), Ok(slow)) = (fast, slow) else { return Err(Failure::Failed("no thread".to_string())) };
    let (fast, slow): (Vec<bool>, Vec<bool>) = (fast.join().unwrap()?, slow.join().unwrap()?);
    let missed = fast.iter().zip(&slow).filter(|(fast, slow)| !**fast && !**slow).count();
    check_eq!(missed, 0, "rounds in which neither saw the other");
    Ok(())
}
