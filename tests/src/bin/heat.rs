//! How long preemption takes is counted, in the right bin of the right CPU, with the call path of what delayed it.
//@ trace: yes
//@ machines: virt, q35, hosted
//@ cpus: 1, 4
#![no_std]
#![no_main]

use core::hint::black_box;
use isochron::kernel::irq;
use isochron::probe::{self, BINS, HeatMap, HeatSettings, ProbeError};
use isochron::worker;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        masked_interrupts_are_found,
        held_off_preemption_is_found,
        the_depth_is_kept_to,
        below_the_threshold_no_path_is_kept,
        one_map_at_a_time,
        bad_settings_are_refused
    ])
}

const SETTINGS: HeatSettings =
    HeatSettings { threshold: Duration::from_millis(2), bin: Duration::from_millis(1), depth: 12 };

/// How long the culprits take.
const LONG: Duration = Duration::from_millis(5);

fn last() -> CpuId {
    CpuId::new(thread::cpu_count() - 1)
}

fn pause(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {}
}

#[inline(never)]
fn masks_interrupts() {
    irq::without(|| pause(black_box(LONG)));
    black_box(());
}

#[inline(never)]
fn holds_preemption_off() {
    let here = PreemptGuard::new();
    pause(black_box(LONG));
    drop(here);
    black_box(());
}

/// The one that the culprit competes with has begun.
static BEGUN: AtomicBool = AtomicBool::new(false);
/// The culprit is done.
static DONE: AtomicBool = AtomicBool::new(false);

/// Two threads compete for the last CPU; one of them is the culprit. They do so from its beginning to its end, wherever the host stops
/// the CPUs.
fn map(settings: HeatSettings, culprit: fn()) -> Outcome<HeatMap> {
    let failed = |error: &dyn core::fmt::Display| Failure::Failed(format!("{error}"));
    worker::set_quantum(Duration::from_micros(500)).map_err(|error| failed(&error))?;
    let heat = probe::map_delays(settings).map_err(|error| failed(&error))?;
    let on = |body: fn(fn())| {
        Builder::new().pinned(last()).spawn(move || body(culprit)).map_err(|error| Failure::Failed(format!("{error}")))
    };
    for flag in [&BEGUN, &DONE] {
        flag.store(false, Ordering::Relaxed);
    }
    let one = on(|culprit| {
        while !BEGUN.load(Ordering::Relaxed) {
            yield_now();
        }
        for _ in 0..4 {
            culprit();
            pause(Duration::from_micros(200));
        }
        DONE.store(true, Ordering::Relaxed);
    })?;
    let other = on(|_| {
        BEGUN.store(true, Ordering::Relaxed);
        while !DONE.load(Ordering::Relaxed) {
            core::hint::spin_loop();
        }
    })?;
    joined(one);
    joined(other);
    let _ = worker::set_quantum(worker::DEFAULT_QUANTUM);
    Ok(heat.finish())
}

/// The machine code of a function this small.
const MOST_BYTES: usize = 512;

fn is_blamed(settings: HeatSettings, culprit: fn()) -> Outcome {
    let found = map(settings, culprit)?;
    check_eq!((found.counts.len(), found.settings), (thread::cpu_count(), settings));
    let inside = |pc: &usize| (1..MOST_BYTES).contains(&pc.wrapping_sub(culprit as usize));
    let path = found.paths.iter().find(|path| path.cpu == last() && path.frames.iter().any(inside));
    let Some(path) = path else { return Err(Failure::Failed(format!("{:x}: {:x?}", culprit as usize, found))) };
    check!(path.longest >= settings.threshold && path.count > 0, "{path:?}");
    check!(found.longest >= path.longest && found.longest >= found.settings.threshold, "{:?}", found.longest);
    check!(path.bin >= 2 && found.counts[last().index()][path.bin] >= path.count, "{path:?}");
    let above: u64 = found.counts[last().index()][2..].iter().sum();
    let kept: u64 = found.paths.iter().filter(|path| path.cpu == last()).map(|path| path.count).sum();
    check!(kept + found.lost >= above, "{kept} paths of {above} delays");
    check!(found.of(last(), path.bin).contains(&path));
    Ok(())
}

fn masked_interrupts_are_found() -> Outcome {
    is_blamed(SETTINGS, masks_interrupts)
}

fn held_off_preemption_is_found() -> Outcome {
    is_blamed(SETTINGS, holds_preemption_off)
}

fn the_depth_is_kept_to() -> Outcome {
    let found = map(HeatSettings { depth: 2, ..SETTINGS }, masks_interrupts)?;
    check!(!found.paths.is_empty() && found.paths.iter().all(|path| path.frames.len() <= 2), "{:?}", found.paths);
    Ok(())
}

fn below_the_threshold_no_path_is_kept() -> Outcome {
    let found = map(HeatSettings { threshold: Duration::from_secs(100), ..SETTINGS }, masks_interrupts)?;
    check!(found.paths.is_empty() && found.lost == 0, "{:?}", found.paths);
    let counts = found.counts[last().index()];
    check!(counts[2..BINS].iter().sum::<u64>() > 0, "{counts:?}");
    Ok(())
}

fn one_map_at_a_time() -> Outcome {
    let begin = || probe::map_delays(SETTINGS).map_err(|error| Failure::Failed(format!("{error}")));
    let first = begin()?;
    check!(matches!(probe::map_delays(SETTINGS), Err(ProbeError::Busy)));
    drop(first);
    drop(begin()?);
    Ok(())
}

fn bad_settings_are_refused() -> Outcome {
    for bad in
        [HeatSettings { bin: Duration::ZERO, ..SETTINGS }, HeatSettings { depth: probe::DEEPEST + 1, ..SETTINGS }]
    {
        check!(matches!(probe::map_delays(bad), Err(ProbeError::Heat(given)) if given == bad));
    }
    Ok(())
}
