//! How long preemption takes, by CPU, and the call paths of the worst cases: `heatmap [ms=N] [bin_us=N] [threshold_us=N] [depth=N] [clean]`.
//!
//! On each CPU two threads that never block compete, with a quantum of 200 us, beside one that wakes up every 300 us. Each of
//! these is a preemption, and how long it takes from the moment for which the timer was set is counted: `preemption_delay` has a row
//! for each CPU and a column for each bin of `bin_us` (25), the last of which has all that is longer. A delay of `threshold_us`
//! (50) or more has its call path kept, `depth` calls deep (8).
//!
//! Every third of the threads does what delays preemption, now and then: it masks interrupts, or holds preemption off. The paths lead
//! there; `clean` leaves that out. After `ms` (1000) milliseconds the map is shown, with the three most frequent paths of each of the
//! three worst bins.
//@ trace: yes
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering};
use isochron::kernel::irq;
use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, Record, exit};
use isochron::prelude::*;
use isochron::probe::{self, BINS, CallPath, HeatMap, HeatSettings};
use isochron::thread::PreemptGuard;
use isochron::worker;
use isochron_apps::arguments::number;
use isochron_apps::measure::{on, pause};

const NAME: &str = "preemption_delay";
const QUANTUM: Duration = Duration::from_micros(200);
/// Bins that are looked at, from the longest delays on, and paths of each.
const WORST: usize = 3;

struct Options {
    time: Duration,
    settings: HeatSettings,
    clean: bool,
}

#[isochron::main]
fn main() -> u8 {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            println!("heatmap: {error}");
            return 2;
        }
    };
    match run(&options) {
        Ok(map) => {
            show(&map);
            exit::PASSED
        }
        Err(error) => {
            println!("heatmap: {error}");
            exit::FAILED
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { time: Duration::from_secs(1), settings: HeatSettings::default(), clean: false };
    for word in isochron::args() {
        let us = |what, value, most| {
            number(what, value, 1, most).map(Duration::from_micros).map_err(|error| error.to_string())
        };
        match word.split_once('=') {
            Some(("ms", value)) => options.time = Duration::from_nanos(us("ms=", value, 600_000)?.as_nanos() * 1000),
            Some(("bin_us", value)) => options.settings.bin = us("bin_us=", value, 1_000_000)?,
            Some(("threshold_us", value)) => options.settings.threshold = us("threshold_us=", value, 1_000_000)?,
            Some(("depth", value)) => {
                let depth = number("depth=", value, 1, probe::DEEPEST as u64).map_err(|error| error.to_string())?;
                options.settings.depth = depth as usize;
            }
            None if word == "clean" => options.clean = true,
            _ => return Err(format!("`{word}` means nothing here: ms=, bin_us=, threshold_us=, depth=, clean")),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<HeatMap, Box<dyn core::error::Error>> {
    worker::set_quantum(QUANTUM)?;
    let stop = Arc::new(AtomicBool::new(false));
    let heat = probe::map_delays(options.settings)?;
    let mut threads = Vec::new();
    for cpu in (0..thread::cpu_count()).map(CpuId::new) {
        for number in 0..2 {
            let (stop, kind) = (stop.clone(), if options.clean { 2 } else { (cpu.index() * 2 + number) % 3 });
            threads.push(on(cpu, "busy", move || {
                for turn in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    match kind {
                        0 => with_interrupts_masked(),
                        1 => with_preemption_held_off(),
                        _ => {}
                    }
                    // Of different lengths, so that the timer strikes at any point of a round.
                    pause(Duration::from_micros(100 + turn * 37 % 128));
                }
            })?);
        }
        let stop = stop.clone();
        threads.push(on(cpu, "awake now and then", move || {
            while !stop.load(Ordering::Relaxed) {
                sleep(Duration::from_micros(300));
            }
        })?);
    }
    sleep(options.time);
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a thread has died")?;
    }
    Ok(heat.finish())
}

/// A driver that talks to its device, say.
#[inline(never)]
fn with_interrupts_masked() {
    irq::without(|| pause(black_box(Duration::from_micros(90))));
}

/// A structure of this CPU's that must not be left in the middle.
#[inline(never)]
fn with_preemption_held_off() {
    let here = PreemptGuard::new();
    pause(black_box(Duration::from_micros(160)));
    drop(here);
}

fn show(map: &HeatMap) {
    for (cpu, counts) in map.counts.iter().enumerate() {
        let cells = counts.map(Fixed::from_int);
        let cells = isochron::kernel::wire::Cells::new(&cells);
        report::send(&Record::Row { name: NAME, unit: "count", row: cpu as u32, cells });
    }
    let (bin, last) = (map.settings.bin.as_micros(), BINS - 1);
    report::note(NAME, format_args!("bin N from N times {bin} us on; bin {last} all above"));
    let delays: u64 = map.counts.iter().flatten().sum();
    report::value("preemption_delays", "count", Fixed::from_int(delays));
    report::value("preemption_delay_longest", "ns", Fixed::from_int(map.longest.as_nanos()));
    report::value("preemption_delay_paths_lost", "count", Fixed::from_int(map.lost));
    let mut bins: Vec<(usize, CpuId)> = Vec::new();
    // The longest delays first, so the worst bins come first.
    for CallPath { bin, cpu, .. } in &map.paths {
        if bins.len() < WORST && !bins.contains(&(*bin, *cpu)) {
            bins.push((*bin, *cpu));
        }
    }
    for (bin, cpu) in bins {
        for path in map.of(cpu, bin).into_iter().take(WORST) {
            let CallPath { count, longest, .. } = path;
            let text = format!("CPU {cpu}, bin {bin}: {count} times, up to {longest}");
            report::send(&Record::Path { name: NAME, text: &text });
            path.frames.iter().for_each(|&pc| report::send(&Record::Frame { pc: pc as u64 }));
        }
    }
}
