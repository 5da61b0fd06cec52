//! Three faults that a trace's report is to lead to: `run planted --cpus 4 --trace FILE`, then `trace FILE`.
//!
//! * `hoarder`, a batch thread, holds the mutex `LEDGER` for long while `clerk` waits for it;
//! * `spinner`, which goes first by its priority, never gives way on CPU 1, where `sleeper` is pinned and sleeps and wakes;
//! * `flooder` makes two hundred threads on CPU 2, from which nobody may steal, while CPU 3 has nothing to do.
//!
//! Each is alone in its part of the time, so that it can be told from the others.
//@ trace: yes
#![no_std]
#![no_main]

use core::hint::black_box;
use isochron::kernel::wire::exit;
use isochron::prelude::*;
use isochron::thread::{Builder, Hint, SpawnError};
use isochron::trace::Label;
use isochron::worker::set_stealing;

/// The mutex.
static LEDGER: Mutex<u64> = Mutex::new(0);
static BOOKING: Label = Label::new("booking");
static FLOOD: Label = Label::new("threads of the flood that have ended");

const LONG: Duration = Duration::from_millis(20);
const CROWD: u64 = 200;

#[isochron::main]
fn main() -> u8 {
    if thread::cpu_count() < 4 {
        println!("planted: it takes 4 CPUs");
        return 2;
    }
    let made = lock_held().and_then(|()| never_yields()).and_then(|()| flooded());
    match made {
        Ok(()) => exit::PASSED,
        Err(error) => {
            println!("planted: {error}");
            exit::FAILED
        }
    }
}

/// Computes for so long.
fn compute(time: Duration) {
    let start = Instant::now();
    let mut steps = 0_u64;
    while start.elapsed() < time {
        steps = black_box(steps + 1);
    }
}

fn named(name: &str) -> Builder<'_> {
    Builder::new().name(name)
}

fn lock_held() -> Result<(), SpawnError> {
    let hoarder = named("hoarder").pinned(CpuId::new(0)).hint(Hint::Batch).spawn(|| {
        let mut ledger = LEDGER.lock();
        let _span = BOOKING.span();
        compute(LONG);
        *ledger += 1;
    })?;
    sleep(Duration::from_millis(1));
    let clerk = named("clerk").pinned(CpuId::new(1)).spawn(|| *LEDGER.lock() += 1)?;
    let _ = (hoarder.join(), clerk.join());
    Ok(())
}

fn never_yields() -> Result<(), SpawnError> {
    let cpu = CpuId::new(1);
    let sleeper = named("sleeper").pinned(cpu).spawn(|| {
        for _ in 0..4 {
            sleep(Duration::from_millis(1));
        }
    })?;
    sleep(Duration::from_millis(2));
    let spinner = named("spinner").pinned(cpu).priority(200).spawn(|| compute(LONG))?;
    let _ = (spinner.join(), sleeper.join());
    Ok(())
}

fn flooded() -> Result<(), SpawnError> {
    let cpu = CpuId::new(2);
    if set_stealing(cpu, false).is_err() {
        return Ok(());
    }
    let flooder = named("flooder").pinned(cpu).spawn(move || {
        let one = || Builder::new().pinned(cpu).spawn(|| compute(Duration::from_micros(100)));
        let crowd: Result<Vec<_>, _> = (0..CROWD).map(|_| one()).collect();
        for (ended, handle) in (1..).zip(crowd.into_iter().flatten()) {
            let _ = handle.join();
            FLOOD.count(ended);
        }
    })?;
    let _ = flooder.join();
    let _ = set_stealing(cpu, true);
    Ok(())
}
