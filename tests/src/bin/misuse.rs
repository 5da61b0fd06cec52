//! What is asked for wrongly is a typed error, or ends the thread that asked, alone.
//@ sanitizer: no
//@ machines: virt, q35, hosted
//@ cpus: 1, 4
//@ memory: 64
#![no_std]
#![no_main]

use isochron::channel;
use isochron::kernel::memory;
use isochron::prelude::{park, sleep, sleep_until};
use isochron::sync::Mutex;
use isochron::thread::Death;
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        priority_256,
        a_cpu_that_is_not_there,
        a_stack_of_no_size,
        join_on_oneself,
        a_lock_taken_twice,
        send_on_a_closed_channel,
        a_deadline_in_the_past,
        ten_million_spawns,
    ])
}

fn death_of(body: impl FnOnce() + Send + 'static) -> Result<(), Death> {
    spawn(body).join()
}

fn priority_256() -> Outcome {
    check_eq!(Builder::new().priority(256).spawn(|| ()).err(), Some(SpawnError::Priority(256)));
    check_eq!(thread::set_priority(256), Err(SpawnError::Priority(256)));
    check!(Builder::new().priority(255).spawn(|| ()).is_ok());
    Ok(())
}

fn a_cpu_that_is_not_there() -> Outcome {
    let none = CpuId::new(63);
    check_eq!(Builder::new().pinned(none).spawn(|| ()).err(), Some(SpawnError::NoSuchCpu(none)));
    check_eq!(thread::pin_to(none), Err(SpawnError::NoSuchCpu(none)));
    // A number that no CPU can have does not even name one.
    check_eq!(death_of(|| drop(format!("{}", CpuId::new(64)))), Err(Death::Panicked));
    Ok(())
}

fn a_stack_of_no_size() -> Outcome {
    for size in [0, 4095, (1 << 30) + 1, usize::MAX] {
        check_eq!(Builder::new().stack_size(size).spawn(|| ()).err(), Some(SpawnError::StackSize(size)));
    }
    Ok(())
}

fn join_on_oneself() -> Outcome {
    let own: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::new(Mutex::new(None));
    let his = own.clone();
    let thread = spawn(move || {
        park();
        let myself = his.lock().take();
        if let Some(myself) = myself {
            let _ = myself.join();
        }
        loop {
            park();
        }
    });
    let handle = thread.thread();
    *own.lock() = Some(thread);
    handle.unpark();
    // Its handle dies with it. That it came to join itself is seen by what it took; that it did not wait, by its state.
    poll("it took its handle", || own.lock().is_none())?;
    poll("it has died", || handle.is_finished())
}

fn a_lock_taken_twice() -> Outcome {
    let mutex = Arc::new(Mutex::new(0));
    let his = mutex.clone();
    check_eq!(
        death_of(move || {
            let _first = his.lock();
            drop(his.lock());
        }),
        Err(Death::Panicked)
    );
    check!(mutex.try_lock().is_some(), "it is lost with the thread");
    check!(mutex.is_orphaned());
    Ok(())
}

fn send_on_a_closed_channel() -> Outcome {
    let (tx, rx) = channel::bounded(1);
    drop(rx);
    check_eq!(tx.send(7).map_err(|error| error.0), Err(7));
    let (tx, rx) = channel::bounded::<u32>(1);
    drop(tx);
    check!(rx.recv().is_err());
    Ok(())
}

fn a_deadline_in_the_past() -> Outcome {
    let before = Instant::now();
    sleep(Duration::from_millis(1));
    sleep_until(before);
    sleep(Duration::ZERO);
    check!(!thread::park_timeout(Duration::ZERO));
    let mutex = Arc::new(Mutex::new(()));
    let his = mutex.clone();
    let _held = mutex.lock();
    check!(joined(spawn(move || his.lock_timeout(Duration::ZERO).is_err())));
    Ok(())
}

/// As many as there is memory for; all is there again afterwards.
fn ten_million_spawns() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let round = || -> Outcome<usize> {
        stop.store(false, Ordering::Relaxed);
        let mut threads = Vec::new();
        let mut refused = None;
        while threads.len() < 10_000_000 {
            let stop = stop.clone();
            let made = Builder::new().stack_size(16 * 1024).spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    park();
                }
            });
            if threads.try_reserve(1).is_err() {
                refused = Some(SpawnError::OutOfMemory);
                break;
            }
            match made {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        check_eq!(refused, Some(SpawnError::OutOfMemory));
        stop.store(true, Ordering::Relaxed);
        let many = threads.len();
        for thread in threads {
            thread.thread().unpark();
            // One that found no stack when it was to begin has ended for that reason.
            check!(matches!(thread.join(), Ok(()) | Err(Death::OutOfMemory)));
        }
        Ok(many)
    };
    let first = round()?;
    let before = memory::stats();
    let second = round()?;
    let after = memory::stats();
    check!(first > 100, "{first} threads");
    check!(second >= first / 10 * 9, "{first} threads the first time, {second} the second");
    check!(after.stacks <= before.stacks + before.stacks / 10, "{} and {} of stacks", before.stacks, after.stacks);
    Ok(())
}
