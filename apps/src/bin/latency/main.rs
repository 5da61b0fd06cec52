//! The latency suite: what scheduling, waking and messages cost, and how quiet a core is.
//!
//! Arguments: `[NAME]... [samples=N] [noise_ms=N] [litmus=N] [list]`. `docs/measuring.md` tells how to read the figures;
//! what each measure times, from which event to which, stands above its code.
#![no_std]
#![no_main]

mod barriers;
mod channels;
mod clock;
mod cross_cpu;
mod hand_over;
mod idle;
mod lines;
mod litmus;
mod local;
mod noise;
mod spawning;
mod suite;
mod timers;
mod yields;

use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, Record, exit};
use isochron::prelude::*;
use isochron_apps::measure::Overhead;
use isochron_apps::options::Options;
use suite::{Context, MEASURES, Measure};

#[isochron::main]
fn main() -> u8 {
    let names: Vec<&'static str> = MEASURES.iter().map(|measure| measure.name).collect();
    let options = match Options::parse(isochron::args(), &names) {
        Ok(options) => options,
        Err(error) => {
            println!("latency: {error}");
            return 2;
        }
    };
    if options.list {
        MEASURES.iter().for_each(|measure| println!("{:28} {}", measure.name, measure.about));
        return exit::PASSED;
    }
    match run(&options) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("latency: {error}");
            exit::FAILED
        }
    }
}

/// Runs what was asked for. All that needs one CPU only happens on the primary, in this very thread.
fn run(options: &Options<'_>) -> Result<(), thread::SpawnError> {
    thread::pin_to(CpuId::PRIMARY)?;
    let context = Context { options, overhead: Overhead::measure(), cpus: thread::cpu_count() };
    let chosen: Vec<&Measure> = MEASURES.iter().filter(|measure| options.wants(measure.name)).collect();
    let progress = |done: usize, text| {
        report::send(&Record::Progress { done: done as u32, total: chosen.len() as u32, text });
    };
    report::value("overhead_loop", "ns", Fixed::from_ratio(context.overhead.loops(1_000_000), 1_000_000_000));
    for (done, measure) in chosen.iter().enumerate() {
        progress(done, measure.name);
        if context.cpus < measure.cpus {
            let (needs, up) = (measure.cpus, context.cpus);
            report::note(measure.name, format_args!("skipped: it needs {needs} CPUs, and {up} is up"));
        } else {
            (measure.run)(&context)?;
        }
    }
    progress(chosen.len(), "done");
    Ok(())
}
