//! Boots, uses every CPU once, and ends: many times in a row.
//@ machines: virt, raspi4b, q35, microvm, pc-bios, pc-uefi, hosted
//@ cpus: 1, 2, 4, 8
//@ repeat: 20
//@ quick: no
//@ timeout: 60
#![no_std]
#![no_main]

use isochron::kernel::{arch, cpu, report};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![all_cpus_are_up, every_cpu_runs_a_thread, time_passes])
}

fn all_cpus_are_up() -> Outcome {
    check_eq!(thread::cpu_count(), report::facts().cpus_described);
    check_eq!(cpu::online().count(), thread::cpu_count());
    Ok(())
}

fn every_cpu_runs_a_thread() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        let thread = Builder::new().pinned(CpuId::new(cpu)).spawn(|| (thread::current_cpu(), arch::cpu::hardware_id()));
        let (number, hardware) = match thread {
            Ok(thread) => thread.join().unwrap(),
            Err(error) => return Err(Failure::Failed(format!("{error}"))),
        };
        check_eq!(number, CpuId::new(cpu));
        check_eq!(cpu::cpu(number).map(|found| found.description.hardware_id), Some(hardware));
    }
    Ok(())
}

fn time_passes() -> Outcome {
    let deadline = Instant::now() + Duration::from_micros(100);
    thread::sleep_until(deadline);
    check!(Instant::now() >= deadline);
    Ok(())
}
