//! Runs random programs on the simulated machine, one for each seed: `world from=A to=B [step=S] [failures=N] [stores=on|off] [trace] [planted]`.
//!
//! The machine boots once. Each seed runs in a copy of the process, so it finds the world as it was, and a failure is
//! that seed's alone. Lines for the host program begin with `sim:`.
#![no_std]
#![no_main]

mod alone;
mod bands;
mod channels;
mod child;
mod forks;
mod locks;
mod moments;
mod mortals;
mod program;
mod random;
mod streams;
mod tasks;
mod victims;

use isochron::kernel::arch::simulation::{self, End};
use isochron::prelude::*;

/// Seeds after which a word is said about how far it is.
const WORD_EVERY: u64 = 100;

struct Options {
    from: u64,
    to: u64,
    step: u64,
    failures: u64,
    stores: Option<bool>,
    trace: bool,
    planted: bool,
}

fn options() -> Option<Options> {
    let mut options =
        Options { from: 0, to: 1, step: 1, failures: u64::MAX, stores: None, trace: false, planted: false };
    for word in isochron::args() {
        match word.split_once('=') {
            Some(("from", number)) => options.from = number.parse().ok()?,
            Some(("to", number)) => options.to = number.parse().ok()?,
            Some(("step", number)) => options.step = number.parse().ok().filter(|step| *step > 0)?,
            Some(("failures", number)) => options.failures = number.parse().ok()?,
            Some(("stores", "on")) => options.stores = Some(true),
            Some(("stores", "off")) => options.stores = Some(false),
            None if word == "trace" => options.trace = true,
            None if word == "planted" => options.planted = true,
            _ => return None,
        }
    }
    Some(options)
}

#[isochron::main]
fn main() -> u8 {
    let Some(Options { from, to, step, failures, stores, trace, planted }) = options() else {
        println!("sim: usage: world from=A to=B [step=S] [failures=N] [stores=on|off] [trace] [planted]");
        return 2;
    };
    let (mut done, mut failed) = (0, 0);
    for seed in (from..to).step_by(step as usize) {
        println!("sim: begin {seed}");
        let end = simulation::in_a_copy(trace, || {
            simulation::begin(seed, stores);
            program::run(seed, planted);
            0
        });
        done += 1;
        if end != End::Code(0) {
            println!("sim: seed {seed} failed: {end:?}");
            failed += 1;
        }
        if failed == failures {
            break;
        }
        if done % WORD_EVERY == 0 {
            println!("sim: done {done}");
        }
    }
    println!("sim: end {done} {failed}");
    u8::from(failed > 0)
}
