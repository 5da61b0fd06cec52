//! Keeps threads near their data: `regions [THREADS]`.
//!
//! Half of the threads belong to the region of the first CPU, half to that of the last (two NUMA nodes with `--numa 2`,
//! otherwise the CPUs are parted in two). Each sleeps and wakes a few hundred times; how often it wakes in its region is told
//! without a policy, and with `SameRegionFirst`.
#![no_std]
#![no_main]

use isochron::kernel::report;
use isochron::kernel::wire::{Fixed, exit};
use isochron::policy::{self, Policy, Region, SameRegionFirst};
use isochron::prelude::*;
use isochron_apps::arguments::number;

const DEFAULT_THREADS: u64 = 8;
const WAKE_UPS: u64 = 300;

#[isochron::main]
fn main() -> u8 {
    let threads = match isochron::args().next().map(|word| number("the number of threads", word, 1, 1000)) {
        None => DEFAULT_THREADS,
        Some(Ok(threads)) => threads,
        Some(Err(error)) => {
            println!("regions: {error}");
            return 2;
        }
    };
    let count = thread::cpu_count();
    let (Ok(low), Ok(high)) = (Region::new(0), Region::new(1)) else { return exit::FAILED };
    if policy::region_of(CpuId::PRIMARY) == policy::region_of(CpuId::new(count - 1)) {
        (0..count).for_each(|cpu| policy::set_region(CpuId::new(cpu), if cpu * 2 < count { low } else { high }));
    }
    let ends = [CpuId::PRIMARY, CpuId::new(count - 1)].map(policy::region_of);
    let policies: [(&str, &str, Option<&'static dyn Policy>); 2] = [
        ("without a policy", "regions_at_home_default", None),
        ("with SameRegionFirst", "regions_at_home_same_region_first", Some(&SameRegionFirst)),
    ];
    for (what, name, policy) in policies {
        policy::set_default(policy);
        let (at_home, all) = run(threads, ends);
        policy::set_default(None);
        println!("{what}: {at_home} of {all} wake-ups in the thread's region");
        report::value(name, "per_mille", Fixed::from_int(at_home * 1000 / all.max(1)));
    }
    exit::PASSED
}

/// How many wake-ups were in the threads' own regions, and how many there were.
fn run(threads: u64, regions: [Region; 2]) -> (u64, u64) {
    let (to_main, rounds) = channel::bounded::<u64>(16);
    let workers: Vec<_> = (0..threads)
        .map(|number| {
            let region = regions[number as usize % 2];
            let to_main = to_main.clone();
            let (wake, woken) = channel::bounded::<()>(1);
            let worker = thread::Builder::new().region(region).spawn(move || {
                let mut at_home = 0;
                while woken.recv().is_ok() {
                    at_home += u64::from(policy::region_of(thread::current_cpu()) == region);
                    if to_main.send(number).is_err() {
                        break;
                    }
                }
                at_home
            });
            (worker, wake)
        })
        .collect();
    let wake = |number: u64| workers.get(number as usize).is_some_and(|(_, wake)| wake.send(()).is_ok());
    let mut sent = (0..threads).filter(|&number| wake(number)).count() as u64;
    for _ in 0..threads * WAKE_UPS {
        let Ok(number) = rounds.recv() else { break };
        sent += u64::from(wake(number));
    }
    let mut at_home = 0;
    for (worker, wake) in workers {
        drop(wake);
        at_home += worker.map_or(0, |worker| {
            // It may be about to answer once more.
            while rounds.try_recv().is_ok() {}
            worker.join().unwrap_or(0)
        });
    }
    (at_home, sent)
}
