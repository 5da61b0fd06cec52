//! Two hundred thousand packed threads at once, in 512 MiB.
//@ sanitizer: no
//@ machines: virt, q35, hosted
//@ cpus: 1, 4
//@ memory: 512
#![no_std]
#![no_main]

use isochron::kernel::memory;
use isochron::prelude::park;
use isochron::thread::SlotSize;
use isochron_guest_tests::prelude::*;

const THREADS: usize = 200_000;

#[isochron::main]
fn main() -> u8 {
    run(cases![all_are_woken_once_and_the_next_find_their_slots])
}

fn all_are_woken_once_and_the_next_find_their_slots() -> Outcome {
    let (begun, woken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut before = None;
    for round in 1..=2 {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (begun, woken) = (begun.clone(), woken.clone());
                Builder::new().spawn_packed(SlotSize::Kib1, move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    park();
                    woken.fetch_add(1, Ordering::Relaxed);
                    number
                })
            })
            .collect::<Result<_, _>>()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        poll("all have begun", || begun.load(Ordering::Relaxed) == round * THREADS)?;
        check_eq!(woken.load(Ordering::Relaxed), (round - 1) * THREADS);
        check!(threads.iter().all(|thread| !thread.is_finished()));
        threads.iter().for_each(|thread| thread.thread().unpark());
        for (number, thread) in threads.into_iter().enumerate() {
            check_eq!(thread.join(), Ok(number));
        }
        check_eq!(woken.load(Ordering::Relaxed), round * THREADS);
        let mapped = memory::stats().packed;
        check!(mapped < 1060 * THREADS as u64, "{mapped} bytes");
        // What lies in other CPUs' stocks is not found by this one.
        check!(before.is_none_or(|before| mapped <= before + (2 << 20)), "{before:?} bytes before, {mapped} now");
        before = Some(mapped);
    }
    Ok(())
}
