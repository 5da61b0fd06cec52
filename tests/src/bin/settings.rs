//! The same short look at many kinds of machine: CPU models, interrupt controllers, little memory, many CPUs.
//@ run: gicv2
//@ machines: virt
//@ qemu: -machine virt,gic-version=2
//@ run: cortex_a53
//@ machines: virt
//@ qemu: -cpu cortex-a53
//@ run: cortex_a76
//@ machines: virt
//@ qemu: -cpu cortex-a76
//@ run: neoverse_n1
//@ machines: virt
//@ qemu: -cpu neoverse-n1
//@ run: max
//@ machines: virt
//@ qemu: -cpu max
//@ run: el2
//@ machines: virt
//@ qemu: -machine virt,virtualization=on
//@ run: el3
//@ machines: virt
//@ qemu: -machine virt,virtualization=on,secure=on
//@ run: tcg_single
//@ machines: virt, q35
//@ qemu: -accel tcg,thread=single
//@ run: small
//@ machines: virt, q35, microvm
//@ memory: 64
//@ run: large
//@ machines: virt, q35
//@ memory: 3072
//@ run: many_cpus
//@ machines: virt, q35, microvm
//@ cpus: 16
//@ run: all_cpus
//@ machines: virt, q35, microvm
//@ cpus: 64
//@ memory: 512
//@ timeout: 240
//@ quick: no
//@ run: nodes
//@ machines: virt, q35
//@ numa: 2
//@ run: old_pc
//@ machines: q35
//@ qemu: -cpu qemu64
//@ run: x2apic
//@ machines: q35, microvm
//@ qemu: -cpu max,+x2apic
//@ run: xapic
//@ machines: q35, microvm
//@ qemu: -cpu max,-x2apic
//@ run: no_deadline_timer
//@ machines: q35, microvm
//@ qemu: -cpu max,-tsc-deadline
//@ run: no_hpet
//@ machines: q35
//@ qemu: -machine q35,hpet=off
//@ run: seldom_used_cores
//@ machines: virt, q35, raspi4b, microvm
//@ cores: 2
//@ args: cpus=2
//@ run: lse
//@ machines: virt
//@ lse: yes
//@ qemu: -cpu max
//@ run: lse_lacking
//@ machines: virt
//@ lse: yes
//@ qemu: -cpu cortex-a72
//@ expect: exit 1
//@ says: uses LSE atomics, which this CPU does not have
#![no_std]
#![no_main]

use isochron::kernel::{cpu, memory, report};
use isochron::thread::sleep;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        as_many_cpus_as_there_should_be,
        bound_and_free_threads_run,
        cpus_that_are_not_used_are_refused,
        sleeps_are_not_early,
        every_cpu_preempts,
        every_cpu_is_interrupted,
        memory_is_found,
        floats_work,
    ])
}

fn as_many_cpus_as_there_should_be() -> Outcome {
    let told = isochron::args().find_map(|word| word.strip_prefix("cpus=")).and_then(|number| number.parse().ok());
    check_eq!(thread::cpu_count(), told.unwrap_or(report::facts().cpus_described));
    check_eq!(cpu::online().count(), thread::cpu_count());
    Ok(())
}

fn on<T: Send + 'static>(cpu: usize, body: impl FnOnce() -> T + Send + 'static) -> Outcome<JoinHandle<T>> {
    Builder::new().pinned(CpuId::new(cpu)).spawn(body).map_err(|error| Failure::Failed(format!("CPU {cpu}: {error}")))
}

fn bound_and_free_threads_run() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        check_eq!(on(cpu, thread::current_cpu)?.join().unwrap(), CpuId::new(cpu));
    }
    let free: Vec<_> = (0..200u64).map(|number| spawn(move || number)).collect();
    check_eq!(free.into_iter().map(joined).sum::<u64>(), 19_900);
    Ok(())
}

fn cpus_that_are_not_used_are_refused() -> Outcome {
    for cpu in thread::cpu_count()..64 {
        let cpu = CpuId::new(cpu);
        check_eq!(Builder::new().pinned(cpu).spawn(|| ()).err(), Some(SpawnError::NoSuchCpu(cpu)));
    }
    Ok(())
}

fn sleeps_are_not_early() -> Outcome {
    let threads: Vec<_> = (0..thread::cpu_count())
        .map(|cpu| {
            on(cpu, || {
                (0..20).all(|turn| {
                    let deadline = Instant::now() + Duration::from_micros(turn * 100);
                    thread::sleep_until(deadline);
                    Instant::now() >= deadline
                })
            })
        })
        .collect::<Outcome<_>>()?;
    for thread in threads {
        check!(thread.join().unwrap(), "a sleeper was early");
    }
    Ok(())
}

/// On every CPU two threads that hold all registers and never give way are preempted, and keep their registers.
fn every_cpu_preempts() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        let stop = Arc::new(AtomicU64::new(0));
        let holders: Vec<_> = (0..2)
            .map(|seed| {
                let stop = stop.clone();
                on(cpu, move || registers::hold(seed + cpu as u64, &stop))
            })
            .collect::<Outcome<_>>()?;
        let count = || statistics(CpuId::new(cpu)).map(|found| found.preemptions).unwrap_or_default();
        let before = count();
        let seen = poll("threads are preempted on every CPU", || count() >= before + 4);
        stop.store(1, Ordering::Relaxed);
        for holder in holders {
            let damaged = holder.join().unwrap();
            check!(damaged.is_empty(), "CPU {cpu}: {damaged:?}");
        }
        seen?;
    }
    Ok(())
}

fn every_cpu_is_interrupted() -> Outcome {
    for cpu in 0..thread::cpu_count() {
        let before = statistics(CpuId::new(cpu)).map(|found| found.interrupts);
        on(cpu, || sleep(Duration::from_micros(500)))?.join().unwrap();
        let after = statistics(CpuId::new(cpu)).map(|found| found.interrupts);
        check!(after > before, "CPU {cpu}: {before:?} and {after:?} interrupts");
    }
    Ok(())
}

fn memory_is_found() -> Outcome {
    let stats = memory::stats();
    // What firmware keeps for itself is little.
    check!(stats.total > 48 << 20, "{stats:?}");
    check!(stats.free > stats.total / 2, "{stats:?}");
    let block = core::hint::black_box(vec![1u8; 16 << 20]);
    check!(block.iter().all(|&byte| byte == 1));
    Ok(())
}

fn floats_work() -> Outcome {
    check_eq!(core::hint::black_box(7.5) % core::hint::black_box(2.0), 1.5);
    check_eq!(core::hint::black_box(1.0f64) / 3.0, f64::from_bits(0x3fd5_5555_5555_5555));
    Ok(())
}
