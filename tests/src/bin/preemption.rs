//! Taking a thread off its CPU against its will, and what it must not notice of that.
//@ run: usual
//@ machines: virt, q35, microvm, hosted
//@ cpus: 1, 4
//@ run: pi
//@ machines: raspi4b
#![no_std]
#![no_main]

use isochron::thread::sleep;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        hogs_share_a_cpu,
        a_hog_does_not_stop_a_yielder,
        a_sleeper_wakes_beside_a_hog,
        hogs_on_every_cpu_let_main_run,
        preemptions_are_counted,
        a_guard_holds_preemption_off,
        guards_nest,
        a_switch_that_came_due_is_made_up_for,
        registers_survive,
        rounding_stays_with_its_thread,
        floats_come_out_right,
        floats_come_out_right_in_crowds,
    ])
}

/// Starts a thread on the primary CPU.
fn on_primary<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    Builder::new().pinned(CpuId::PRIMARY).spawn(body).map_err(|error| Failure::Failed(format!("{error}")))
}

/// Two threads on one CPU, neither of which ever gives way: each sees the other get on, many times.
fn hogs_share_a_cpu() -> Outcome {
    let turns: Arc<[AtomicU64; 2]> = Arc::default();
    let hogs: Vec<_> = [0, 1]
        .map(|me| {
            let turns = turns.clone();
            on_primary(move || {
                for _ in 0..10 {
                    let before = turns[1 - me].load(Ordering::Relaxed);
                    spin("the other hog gets on", || {
                        turns[me].fetch_add(1, Ordering::Relaxed);
                        turns[1 - me].load(Ordering::Relaxed) != before
                    })?;
                }
                // The other one may still need this one to get on.
                turns[me].store(u64::MAX / 2, Ordering::Relaxed);
                Ok(())
            })
        })
        .into_iter()
        .collect::<Result<_, _>>()?;
    hogs.into_iter().try_for_each(joined)
}

/// Runs `body` on the primary CPU while a thread there spins without ever giving way; gives its turns, too.
fn beside_a_hog(body: impl FnOnce(&AtomicU64) -> Outcome + Send + 'static) -> Outcome {
    let turns = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let hog = {
        let (turns, stop) = (turns.clone(), stop.clone());
        on_primary(move || {
            while !stop.load(Ordering::Relaxed) {
                turns.fetch_add(1, Ordering::Relaxed);
            }
        })?
    };
    let other = on_primary(move || {
        while turns.load(Ordering::Relaxed) == 0 {
            yield_now();
        }
        body(&turns)
    })?;
    let outcome = other.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    hog.join().unwrap();
    outcome
}

fn a_hog_does_not_stop_a_yielder() -> Outcome {
    beside_a_hog(|turns| {
        for _ in 0..20 {
            let before = turns.load(Ordering::Relaxed);
            yield_now();
            check!(turns.load(Ordering::Relaxed) != before, "the hog did not run when another thread yielded");
        }
        Ok(())
    })
}

fn a_sleeper_wakes_beside_a_hog() -> Outcome {
    beside_a_hog(|turns| {
        let (mut early, mut meanwhile) = (false, 0);
        // A sleep whose time is up before it begins gives the hog no turn: the host may be slow.
        spin("the hog has run during 50 sleeps of another thread", || {
            let before = turns.load(Ordering::Relaxed);
            let deadline = Instant::now() + Duration::from_micros(300);
            sleep(Duration::from_micros(300));
            early |= Instant::now() < deadline;
            meanwhile += u32::from(turns.load(Ordering::Relaxed) != before);
            meanwhile >= 50
        })?;
        check!(!early, "it woke early");
        Ok(())
    })
}

fn hogs_on_every_cpu_let_main_run() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let hogs: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|_| {
            let stop = stop.clone();
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    for _ in 0..10 {
        sleep(Duration::from_millis(1));
    }
    stop.store(true, Ordering::Relaxed);
    hogs.into_iter().for_each(joined);
    Ok(())
}

fn preemptions_are_counted() -> Outcome {
    let before = preemptions();
    beside_a_hog(move |_| {
        spin("sleepers have taken the CPU from a hog 10 times", || {
            sleep(Duration::from_micros(100));
            preemptions() >= before + 10
        })
    })
}

/// Runs `body` on the primary CPU while another thread there waits for its turn; gives that thread's turns.
fn beside_a_waiting_thread(body: impl FnOnce(&AtomicU64) -> Outcome + Send + 'static) -> Outcome {
    let turns = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let waiting = {
        let (turns, stop) = (turns.clone(), stop.clone());
        on_primary(move || {
            while !stop.load(Ordering::Relaxed) {
                turns.fetch_add(1, Ordering::Relaxed);
                yield_now();
            }
        })?
    };
    let other = on_primary(move || {
        while turns.load(Ordering::Relaxed) == 0 {
            yield_now();
        }
        body(&turns)
    })?;
    let outcome = other.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    waiting.join().unwrap();
    outcome
}

fn preemptions() -> u64 {
    statistics(CpuId::PRIMARY).map(|found| found.preemptions).unwrap_or_default()
}

/// Uses the CPU until several quanta have ended: a quantum ends with an interrupt, whenever the host lets it come.
fn work_for_quanta() -> Outcome {
    let interrupts = || statistics(CpuId::PRIMARY).map(|found| found.interrupts).unwrap_or_default();
    let enough = interrupts() + 6;
    spin("interrupts end the quanta of a thread while another waits", || interrupts() >= enough)
}

fn a_guard_holds_preemption_off() -> Outcome {
    beside_a_waiting_thread(|turns| {
        let guard = PreemptGuard::new();
        let (before, count) = (turns.load(Ordering::Relaxed), preemptions());
        work_for_quanta()?;
        check_eq!(turns.load(Ordering::Relaxed), before, "another thread ran under a guard");
        check_eq!(preemptions(), count, "the thread was preempted under a guard");
        drop(guard);
        // Without the guard the same work is interrupted.
        work_for_quanta()?;
        check!(preemptions() > count + 1, "the thread was not preempted without a guard");
        check!(turns.load(Ordering::Relaxed) != before, "no other thread ran without a guard");
        Ok(())
    })
}

fn guards_nest() -> Outcome {
    beside_a_waiting_thread(|turns| {
        let outer = PreemptGuard::new();
        let before = turns.load(Ordering::Relaxed);
        drop(PreemptGuard::new());
        work_for_quanta()?;
        drop(PreemptGuard::new());
        let after = turns.load(Ordering::Relaxed);
        drop(outer);
        check_eq!(before, after, "the end of an inner guard ended the outer one");
        Ok(())
    })
}

fn a_switch_that_came_due_is_made_up_for() -> Outcome {
    // Not told by the other thread's turns: its turn may be the rest of one that was cut short.
    beside_a_waiting_thread(|_| {
        let guard = PreemptGuard::new();
        work_for_quanta()?;
        let before = preemptions();
        drop(guard);
        check!(preemptions() > before, "the end of the guard is no switch");
        Ok(())
    })
}

/// Threads with every register full, on one CPU, while they and others are preempted many times.
fn registers_survive() -> Outcome {
    let stop = Arc::new(AtomicU64::new(0));
    let holders: Vec<_> = (0..6)
        .map(|seed| {
            let stop = stop.clone();
            on_primary(move || registers::hold(seed, &stop))
        })
        .collect::<Result<_, _>>()?;
    let before = preemptions();
    poll("the holders have been preempted 60 times", || preemptions() >= before + 60)?;
    stop.store(1, Ordering::Relaxed);
    for (seed, holder) in holders.into_iter().enumerate() {
        let damaged = holder.join().unwrap();
        check!(damaged.is_empty(), "thread {seed}: {damaged:?}");
    }
    Ok(())
}

/// A thread that changed its rounding mode is preempted; the others must not get it.
fn rounding_stays_with_its_thread() -> Outcome {
    let usual = registers::float_control();
    let stop = Arc::new(AtomicU64::new(0));
    let holders: Vec<_> = (10..14)
        .map(|seed| {
            let stop = stop.clone();
            on_primary(move || registers::hold(seed, &stop))
        })
        .collect::<Result<_, _>>()?;
    let reader = on_primary(move || {
        let mut strange = None;
        for _ in 0..30 {
            // Comes back from the switch by itself, and out of a holder's preemption.
            sleep(Duration::from_micros(200));
            yield_now();
            let now = registers::float_control();
            if now != usual {
                strange = Some(now);
            }
        }
        let fresh = on_primary(registers::float_control)?.join().unwrap();
        Ok((strange, fresh))
    })?;
    let read = reader.join().unwrap();
    stop.store(1, Ordering::Relaxed);
    holders.into_iter().for_each(|holder| drop(holder.join().unwrap()));
    let (strange, fresh) = read?;
    check_eq!(strange, None, "a thread got another one's rounding mode");
    check_eq!(fresh, usual, "a new thread got another one's rounding mode");
    Ok(())
}

fn floats_come_out_right() -> Outcome {
    let opaque = core::hint::black_box::<f64>;
    check_eq!(opaque(7.5) % opaque(2.0), 1.5);
    check_eq!(opaque(0.1) + opaque(0.2), 0.300_000_000_000_000_04);
    check_eq!(opaque(1.0) / opaque(3.0), f64::from_bits(0x3fd5_5555_5555_5555));
    check_eq!(opaque(1e300) * opaque(1e10), f64::INFINITY);
    check!((opaque(0.0) / opaque(0.0)).is_nan());
    check_eq!(opaque(-2.75) as i32, -2);
    check_eq!(opaque(1e20) as u64, u64::MAX);
    check_eq!(opaque(9_007_199_254_740_993.0) as u64, 9_007_199_254_740_992);
    check_eq!(core::hint::black_box(16_777_217u32) as f32, 16_777_216.0);
    check_eq!(core::hint::black_box(7.5f32) % core::hint::black_box(2.0f32), 1.5);
    check_eq!(f64::from(core::hint::black_box(0.1f32)), 0.100_000_001_490_116_12);
    check_eq!(format!("{:.3} {:e} {}", opaque(2.0 / 3.0), opaque(12345.678), opaque(1e-3)), "0.667 1.2345678e4 0.001");
    check_eq!("3.25e-3".parse::<f64>().ok(), Some(0.00325));
    Ok(())
}

/// Leibniz' series and a recurrence: long chains of floating-point numbers that are alive all the time.
#[inline(never)]
fn long_sums(seed: u64) -> [u64; 4] {
    let (mut pi, mut sign, mut x, mut product) = (0f64, 1f64, 0.1 + seed as f64 / 100.0, 1f32);
    for step in 0..60_000u32 {
        pi += sign / f64::from(2 * step + 1);
        sign = -sign;
        x = 3.9 * x * (1.0 - x);
        product = product * 1.000_01 % 7.25;
    }
    [pi.to_bits(), x.to_bits(), product.to_bits().into(), sign.to_bits()]
}

fn floats_come_out_right_in_crowds() -> Outcome {
    let alone: Vec<_> = (0..4).map(long_sums).collect();
    let crowd: Vec<_> = (0..thread::cpu_count() as u64 * 6)
        .map(|number| {
            spawn(move || {
                let seed = number % 4;
                (seed, (0..4).map(|_| long_sums(seed)).collect::<Vec<_>>())
            })
        })
        .collect();
    for thread in crowd {
        let (seed, sums) = thread.join().unwrap();
        check!(sums.iter().all(|sum| *sum == alone[seed as usize]), "{sums:x?}, alone {:x?}", alone[seed as usize]);
    }
    Ok(())
}
