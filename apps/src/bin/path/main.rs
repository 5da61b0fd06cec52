//! Where the time of a wake-up goes, step by step, by where the thread came from: `path [wakeups=N]`.
//!
//! 100,000 wake-ups unless told otherwise, in equal parts:
//!
//! | scene | the thread that is woken |
//! | --- | --- |
//! | `next` | goes into the next slot of the CPU that wakes it, and runs when the waker parks |
//! | `own` | waits in that CPU's own queue; another goes before it |
//! | `shared` | waits in the node's list (`worker::set_one_queue`), from which that CPU takes it |
//! | `timer` | sleeps until a deadline, on a CPU that idles |
//! | `timer_hog` | the same, on a CPU where another thread runs, which is preempted |
//! | `handed` | is bound to another CPU, which sleeps: its inbox, and an interrupt |
//! | `stolen_near` | waits on a CPU that goes on with something else; one of the same node, asleep, is told and steals it |
//! | `stolen_far` | the same with another node (`--numa 2`) |
//!
//! Each scene has the results `path_SCENE_STEP` and `path_SCENE`, the whole, of which the steps are the parts:
//!
//! | step | from | to |
//! | --- | --- | --- |
//! | `irq` | the moment for which the timer was set | the beginning of its handler |
//! | `wake` | that, or `unpark` is called | the park is ended |
//! | `place` | | a queue is chosen |
//! | `notify` | | it is in the queue, an idle CPU is found, and the interrupt is sent |
//! | `ipi` | | its handler begins |
//! | `wait` | | the CPU that will run it is free: its idling has ended, or the thread before leaves |
//! | `pick` | | the thread is found and chosen |
//! | `switch` | | its registers and stack are in use |
//! | `resume` | | the thread's own code goes on |
//!
//! The steps are read from the trace rings, and each ends with one record, whose cost is in it: `path_record` says how much
//! that is. `path_SCENE_plain` is the whole once more with nothing recorded, by the program's own two readings of the clock.
//! ARM64's counter ticks every 16 ns on QEMU's Cortex-A72; with `--qemu-arg "-cpu cortex-a72,cntfrq=1000000000"` it counts
//! single instructions under `--deterministic`.
//@ trace: yes
#![no_std]
#![no_main]

mod scenes;
mod walk;

use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::prelude::*;
use isochron::trace::{self, Classes, Session, Settings};
use isochron_apps::arguments::number;
use isochron_apps::measure::{Recorder, on, picoseconds};
use scenes::{SCENES, Scene};
use walk::{STEPS, Walker};

const WAKE_UPS: u64 = 100_000;
/// Wake-ups between two looks at the rings.
const BATCH: u64 = 500;
/// What is recorded of them.
fn classes() -> Classes {
    Classes::SWITCHES | Classes::ARRIVALS | Classes::WAKES | Classes::INTERRUPTS | Classes::IDLE | Classes::MARKS
}

type Failed = Box<dyn core::error::Error>;

#[isochron::main]
fn main() -> u8 {
    let mut wake_ups = WAKE_UPS;
    for word in isochron::args() {
        let given = word.strip_prefix("wakeups=").map(|value| number("wakeups=", value, 1, 100_000_000));
        wake_ups = match given {
            Some(Ok(given)) => given,
            Some(Err(error)) => return bad(&error.to_string()),
            None => return bad(&format!("`{word}` means nothing here: say path wakeups=N")),
        };
    }
    match run(wake_ups) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("path: {error}");
            exit::FAILED
        }
    }
}

fn bad(error: &str) -> u8 {
    println!("path: {error}");
    2
}

fn run(wake_ups: u64) -> Result<(), Failed> {
    let mut session = trace::start(&Settings { classes: Classes::NONE, ..Settings::default() })?;
    record_cost(&mut session)?;
    let (there, absent): (Vec<&Scene>, Vec<&Scene>) = SCENES.iter().partition(|scene| scene.is_possible());
    let each = wake_ups.div_ceil(there.len() as u64);
    let mut bars = Vec::new();
    for (index, scene) in there.iter().enumerate() {
        report::send(&isochron::kernel::wire::Record::Progress {
            done: index as u32,
            total: there.len() as u32,
            text: scene.name,
        });
        bars.push((scene.name, measure(&mut session, scene, each)?));
    }
    for scene in absent {
        report::note(&format!("path_{}", scene.name), format_args!("not on this machine"));
    }
    draw(&bars);
    Ok(())
}

/// Runs one scene; the means of its steps, in ps.
fn measure(session: &mut Session, scene: &Scene, wake_ups: u64) -> Result<[u64; STEPS.len()], Failed> {
    let mut walker = Walker::new(scene.by_timer);
    let mut plain = Recorder::new();
    // One that came before its thread had parked went through no queue, and another is made in its place.
    let mut tried = 0;
    while walker.whole.count() < wake_ups && tried < 2 * wake_ups {
        let now = (wake_ups - walker.whole.count()).min(BATCH);
        tried += now;
        session.set_classes(classes());
        let batch = scene.run(now);
        session.set_classes(Classes::NONE);
        batch?;
        let mut entries = Vec::new();
        session.drain(|entry| entries.push(entry));
        walker.take(entries);
    }
    for whole in scene.run((wake_ups / 8).clamp(1, 2000))? {
        plain.record(picoseconds(whole));
    }
    let dropped = session.dropped();
    if walker.whole.count() != wake_ups || dropped > 0 {
        let count = walker.whole.count();
        return Err(format!("{}: {count} of {wake_ups} wake-ups seen, {dropped} records lost", scene.name).into());
    }
    let means = walker.means();
    for (recorder, step) in walker.steps.into_iter().zip(STEPS) {
        if recorder.count() > 0 {
            figures(recorder, &format!("path_{}_{step}", scene.name));
        }
    }
    figures(walker.whole, &format!("path_{}", scene.name));
    figures(plain, &format!("path_{}_plain", scene.name));
    Ok(means)
}

/// Sends a distribution without its histogram: there are too many here for a picture each.
fn figures(mut recorder: Recorder, name: &str) {
    use isochron::kernel::wire::Record;
    recorder.emit(name, &mut |record| {
        if matches!(record, Record::Distribution { .. }) {
            report::send(record);
        }
    });
}

/// `path_record`: what a point takes longer when it records than when its class is off, the mean of many in a row.
fn record_cost(session: &mut Session) -> Result<(), Failed> {
    const MARKS: u64 = 10_000;
    let took = || {
        let marks = on(CpuId::PRIMARY, "marks", || {
            let begin = Instant::now();
            (0..MARKS).for_each(trace::mark);
            Instant::now().ticks() - begin.ticks()
        });
        marks?.join().map_err(|_| Failed::from("the thread that marks has died"))
    };
    let off = took()?;
    session.set_classes(Classes::MARKS);
    let with = took();
    session.set_classes(Classes::NONE);
    session.drain(|_| ());
    let ps = picoseconds(with?.saturating_sub(off));
    report::value("path_record", "ns", Fixed::from_ratio(ps, 1000 * MARKS));
    Ok(())
}

/// Cells of the longest bar.
const WIDTH: u64 = 72;

/// The scenes as bars, to one scale: each step a letter as often as its mean is long.
fn draw(bars: &[(&str, [u64; STEPS.len()])]) {
    const LETTERS: [char; STEPS.len()] = ['q', 'w', 'p', 'n', 'i', '.', 'k', 's', 'r'];
    let longest = bars.iter().map(|(_, means)| means.iter().sum()).max().unwrap_or(1).max(1);
    println!("\nwhere the time of a wake-up goes, means:");
    for (name, means) in bars {
        let mut bar = String::new();
        let mut until = 0;
        for (mean, letter) in means.iter().zip(LETTERS) {
            until += mean;
            // The ends are rounded, not the lengths: so the bar is as long as the whole.
            let end = (until * WIDTH + longest / 2) / longest;
            while (bar.len() as u64) < end {
                bar.push(letter);
            }
        }
        println!("{name:12} {:>6} ns |{bar}|", until / 1000);
    }
    let legend: Vec<_> = LETTERS.iter().zip(STEPS).map(|(letter, step)| format!("{letter} {step}")).collect();
    println!("{}", legend.join("  "));
}
