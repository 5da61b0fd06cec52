//! Times that are exact, because an instruction takes a nanosecond: limits here are ratios, not hopes.
//@ cpus: 1
//@ deterministic: yes
//@ run: arm
//@ machines: virt
//@ run: pc
//@ machines: q35
//@ qemu: -cpu max,-x2apic
#![no_std]
#![no_main]

use isochron::thread::{sleep, sleep_until};
use isochron::worker::{BadQuantum, quantum, set_quantum};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        a_hog_does_not_delay_a_sleeper,
        many_hogs_do_not_delay_a_sleeper,
        hogs_get_equal_shares,
        a_quantum_is_kept,
        a_quantum_can_be_set,
        a_quantum_has_limits,
        a_lone_thread_is_not_interrupted,
        equal_work_takes_equal_time,
        a_long_sleep_costs_one_interrupt,
    ])
}

/// How late a thread is that sleeps `times` times beside so many hogs: the worst case.
fn latest(hogs: usize, times: usize) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..hogs)
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    let mut latest = Duration::ZERO;
    for turn in 0..times {
        // Not in step with the quantum.
        let deadline = Instant::now() + Duration::from_micros(313 + 7 * turn as u64);
        sleep_until(deadline);
        latest = latest.max(deadline.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    latest
}

fn a_hog_does_not_delay_a_sleeper() -> Outcome {
    latest(0, 5);
    let alone = latest(0, 40);
    let beside = latest(1, 40);
    println!("latest sleeper: alone {alone}, beside a hog {beside}");
    // A timer interrupt and a switch, in either case; a quantum is hundreds of times as long.
    check!(beside.as_nanos() < 4 * alone.as_nanos(), "{beside} late beside a hog, {alone} alone");
    check!(beside.as_nanos() < quantum().as_nanos() / 100, "{beside} late beside a hog");
    Ok(())
}

fn many_hogs_do_not_delay_a_sleeper() -> Outcome {
    let one = latest(1, 40);
    let many = latest(20, 40);
    println!("latest sleeper: beside a hog {one}, beside 20 hogs {many}");
    check!(many.as_nanos() < 2 * one.as_nanos(), "{many} late beside 20 hogs, {one} beside one");
    Ok(())
}

fn hogs_get_equal_shares() -> Outcome {
    const HOGS: usize = 4;
    let turns: Arc<[AtomicU64; HOGS]> = Arc::default();
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..HOGS)
        .map(|me| {
            let (turns, stop) = (turns.clone(), stop.clone());
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    turns[me].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    sleep(Duration::from_nanos(quantum().as_nanos() * 24));
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    let turns: Vec<u64> = turns.iter().map(|turn| turn.load(Ordering::Relaxed)).collect();
    let (least, most) = (turns.iter().min().copied().unwrap_or(0), turns.iter().max().copied().unwrap_or(0));
    check!(least * 3 >= most * 2, "{turns:?}");
    Ok(())
}

/// Two hogs change places once in a quantum: as soon as preemption is what switches between them, it is exact.
fn a_quantum_is_kept() -> Outcome {
    preemptions_in_40_quanta()
}

fn a_quantum_can_be_set() -> Outcome {
    let usual = quantum();
    for micros in [5, 10, 50, 333, 3000] {
        check_eq!(set_quantum(Duration::from_micros(micros)), Ok(()));
        check_eq!(quantum(), Duration::from_micros(micros));
        let outcome = preemptions_in_40_quanta();
        check_eq!(set_quantum(usual), Ok(()));
        outcome?;
    }
    Ok(())
}

fn a_quantum_has_limits() -> Outcome {
    let usual = quantum();
    for bad in [Duration::ZERO, Duration::from_nanos(4999), Duration::from_secs(11)] {
        check_eq!(set_quantum(bad), Err(BadQuantum(bad)));
    }
    check_eq!(quantum(), usual);
    Ok(())
}

fn preemptions_in_40_quanta() -> Outcome {
    let count = || statistics(CpuId::PRIMARY).map(|found| found.preemptions).unwrap_or_default();
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    sleep(Duration::from_nanos(quantum().as_nanos() * 5));
    let before = count();
    sleep(Duration::from_nanos(quantum().as_nanos() * 40));
    let preemptions = count() - before;
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    // The sleeper's own wake-up is one more, and each switch costs about half a microsecond.
    check!((34..=42).contains(&preemptions), "{preemptions} preemptions in 40 quanta of {}", quantum());
    Ok(())
}

fn spin_for(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        core::hint::spin_loop();
    }
}

fn a_lone_thread_is_not_interrupted() -> Outcome {
    let count = || statistics(CpuId::PRIMARY).map(|found| found.interrupts).unwrap_or_default();
    // A quantum that was under way may end.
    spin_for(Duration::from_nanos(quantum().as_nanos() * 3));
    let before = count();
    spin_for(Duration::from_nanos(quantum().as_nanos() * 40));
    check_eq!(count(), before, "interrupts before and after 40 quanta of a thread that is alone");
    Ok(())
}

fn equal_work_takes_equal_time() -> Outcome {
    let work = || {
        let start = Instant::now();
        let mut sum = 0u64;
        for number in 0..100_000 {
            sum = core::hint::black_box(sum + number);
        }
        start.elapsed().as_nanos()
    };
    // A quantum that was under way may end.
    spin_for(Duration::from_nanos(quantum().as_nanos() * 3));
    let mut times = [work(), work(), work(), work(), work()];
    times.sort_unstable();
    let tick = 1_000_000_000 / isochron::kernel::clock::frequency_hz() + 1;
    // Where the hardware's timer cannot be set far ahead, an interrupt that sets it again may fall into one of them.
    check!(times[3] - times[0] <= 2 * tick, "{times:?}");
    Ok(())
}

fn a_long_sleep_costs_one_interrupt() -> Outcome {
    let found = || statistics(CpuId::PRIMARY).unwrap_or_default();
    sleep(Duration::from_nanos(quantum().as_nanos() * 3));
    let before = found();
    sleep(Duration::from_millis(100));
    let after = found();
    check_eq!(after.interrupts - before.interrupts, 1, "interrupts in a sleep of 100 ms");
    check_eq!(after.preemptions, before.preemptions);
    Ok(())
}
