//! Threads that die alone: by a panic, an overflow, an exception, a kill; and nothing of them is left.
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: usual
//@ run: raspi4b
//@ machines: raspi4b
//@ cpus: 4
//@ run: microvm
//@ machines: microvm
//@ cpus: 2
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

use isochron::channel;
use isochron::kernel::memory;
use isochron::kernel::trap::FaultKind;
use isochron::prelude::{park, sleep};
use isochron::sync::{Barrier, Condvar, Mutex, Semaphore, WaitGroup};
use isochron::thread::Death;
use isochron_guest_tests::dying;
use isochron_guest_tests::dying::recurse;
use isochron_guest_tests::prelude::*;
use isochron_guest_tests::registers;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        each_cause_has_its_name,
        what_memory_is_not_for_ends_one_thread,
        the_others_go_on,
        a_joiner_that_waits_is_told,
        a_detached_thread_may_die,
        a_result_that_is_there_counts,
        killed_while_it_waits,
        killed_while_it_stands_in_a_door,
        killed_while_it_runs,
        killed_while_it_yields,
        killed_before_it_has_begun,
        killed_twice_and_when_dead,
        a_kill_waits_for_the_guard,
        a_kill_waits_for_the_scope,
        deaths_on_all_cpus_at_once,
        many_deaths_leave_nothing,
    ])
}

fn small() -> Builder<'static> {
    Builder::new().name("unlucky").stack_size(16 * 1024)
}

fn end_of(body: impl FnOnce() + Send + 'static) -> Outcome<Death> {
    match small().spawn(body) {
        Ok(thread) => match thread.join() {
            Err(death) => Ok(death),
            Ok(()) => Err(Failure::Failed("the thread did not die".into())),
        },
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

fn overflow() {
    recurse(0);
}

fn read_null() {
    // SAFETY: none, on purpose: the access must be caught.
    unsafe { core::ptr::with_exposed_provenance::<u64>(core::hint::black_box(0x18)).read_volatile() };
}

static CONSTANT: u64 = 1;
static DATA: AtomicU64 = AtomicU64::new(0);

fn write(addr: usize) {
    // SAFETY: none, on purpose: the access must be caught.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(core::hint::black_box(addr)).write_volatile(1) }
}

fn call(addr: usize) {
    // SAFETY: none, on purpose: the call must be caught.
    unsafe { core::mem::transmute::<usize, extern "C" fn()>(core::hint::black_box(addr))() }
}

fn what_memory_is_not_for_ends_one_thread() -> Outcome {
    let page = |write, fetch| Death::Fault(FaultKind::Page { write, fetch });
    // A function may begin at any multiple of four.
    let text = (main as *const () as usize).next_multiple_of(8);
    for addr in [0x18, text, (&raw const CONSTANT).addr()] {
        check_eq!(end_of(move || write(addr))?, page(true, false), "a write to {addr:#x}");
    }
    let block = Box::new([0_u64; 8]);
    for addr in [0, (&raw const DATA).addr(), block.as_ptr().addr()] {
        check_eq!(end_of(move || call(addr))?, page(false, true), "a call of {addr:#x}");
    }
    Ok(())
}

fn each_cause_has_its_name() -> Outcome {
    check_eq!(end_of(|| panic!("as it should"))?, Death::Panicked);
    check_eq!(end_of(overflow)?, Death::StackOverflow);
    check_eq!(end_of(read_null)?, Death::Fault(FaultKind::Page { write: false, fetch: false }));
    check_eq!(end_of(registers::illegal_instruction)?, Death::Fault(FaultKind::IllegalInstruction));
    Ok(())
}

fn the_others_go_on() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let turns: Arc<[AtomicUsize; 8]> = Arc::default();
    let workers: Vec<_> = (0..turns.len())
        .map(|number| {
            let (stop, turns) = (stop.clone(), turns.clone());
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    turns[number].fetch_add(1, Ordering::Relaxed);
                    yield_now();
                }
            })
        })
        .collect();
    for round in 0..8 {
        end_of(if round % 2 == 0 { overflow } else { read_null })?;
        let before: Vec<_> = turns.iter().map(|turns| turns.load(Ordering::Relaxed)).collect();
        let on = || turns.iter().zip(&before).all(|(turns, &before)| turns.load(Ordering::Relaxed) > before);
        poll("each of the others has had a turn since", on)?;
    }
    stop.store(true, Ordering::Relaxed);
    workers.into_iter().for_each(joined);
    Ok(())
}

fn a_joiner_that_waits_is_told() -> Outcome {
    let (tx, rx) = channel::bounded(1);
    let dying = spawn(move || {
        let _: Result<u32, _> = rx.recv();
        panic!("told to");
    });
    let joiner = spawn(move || dying.join());
    sleep(Duration::from_millis(1));
    let _ = tx.send(1u32);
    check_eq!(joined(joiner), Err(Death::Panicked));
    let timed = spawn(|| {
        sleep(Duration::from_millis(1));
        panic!("a little later")
    });
    match timed.join_timeout(Duration::from_secs(20)) {
        Ok(end) => check_eq!(end, Err::<(), _>(Death::Panicked)),
        Err(_) => return Err(Failure::Failed("it did not end".into())),
    }
    Ok(())
}

fn a_detached_thread_may_die() -> Outcome {
    let came = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let came = came.clone();
        spawn(move || {
            came.fetch_add(1, Ordering::Relaxed);
            panic!("nobody joins me")
        })
        .detach();
    }
    poll("four threads have come", || came.load(Ordering::Relaxed) == 4)
}

fn a_result_that_is_there_counts() -> Outcome {
    let thread = spawn(|| 5);
    poll("it has ended", || thread.is_finished())?;
    thread.thread().kill();
    check_eq!(thread.join(), Ok(5));
    Ok(())
}

/// Spawns, lets it get where it should, kills, and checks.
fn kill_in(what: &str, body: impl FnOnce() + Send + 'static) -> Outcome {
    let thread = small().spawn(body).map_err(|error| Failure::Failed(error.to_string()))?;
    dying::kill_in(what, thread)
}

fn killed_while_it_waits() -> Outcome {
    let mutex = Arc::new(Mutex::new(0));
    let semaphore = Arc::new(Semaphore::new(0));
    let (group, barrier, changed) = (Arc::new(WaitGroup::new(1)), Arc::new(Barrier::new(2)), Arc::new(Condvar::new()));
    for round in 0..3 {
        kill_in("park", park)?;
        kill_in("park_timeout", || {
            let _ = thread::park_timeout(Duration::from_secs(3600));
        })?;
        kill_in("sleep", || sleep(Duration::from_secs(3600)))?;
        let held = mutex.lock();
        let other = mutex.clone();
        kill_in("lock", move || *other.lock() += 1)?;
        let other = mutex.clone();
        kill_in("lock_timeout", move || {
            let _ = other.lock_timeout(Duration::from_secs(3600)).map(|_| ());
        })?;
        drop(held);
        check_eq!(*mutex.lock(), 0);
        let (other, condvar) = (mutex.clone(), changed.clone());
        kill_in("condvar", move || drop(condvar.wait(other.lock())))?;
        check_eq!(*mutex.lock(), 0, "round {round}");
        let other = semaphore.clone();
        kill_in("acquire", move || other.acquire(1).forget())?;
        let other = group.clone();
        kill_in("wait group", move || other.wait())?;
        let other = barrier.clone();
        kill_in("barrier", move || {
            let _ = other.wait();
        })?;
        let (tx, rx) = channel::bounded::<u32>(1);
        let receiver = rx;
        kill_in("recv", move || {
            let _ = receiver.recv();
        })?;
        drop(tx);
        let (tx, rx) = channel::bounded::<u32>(1);
        kill_in("send", move || {
            for number in 0.. {
                let _ = tx.send(number);
            }
        })?;
        // It may have come to its first message, and it has left none behind when it waited with the second.
        check!(matches!((rx.try_recv().ok(), rx.try_recv().ok()), (None | Some(0), None)), "messages of a dead sender");
        kill_in("join", || {
            let _ = spawn(|| sleep(Duration::from_millis(20))).join();
        })?;
    }
    // What they waited for is as it was.
    semaphore.release(1).map_err(|_| Failure::Failed("release".into()))?;
    check!(semaphore.try_acquire(1).is_some());
    let other = barrier.clone();
    let last = spawn(move || other.wait());
    check!(barrier.wait() != joined(last));
    Ok(())
}

/// A receiver that waits alone while others have its CPU is not parked: who kills it takes it from the door of the channel's lock.
fn killed_while_it_stands_in_a_door() -> Outcome {
    let ends = Arc::new(AtomicUsize::new(0));
    let told = ends.clone();
    let here = Builder::new().pinned(CpuId::PRIMARY);
    let beside = here.clone().spawn(move || {
        while told.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
    });
    let beside = beside.map_err(|error| Failure::Failed(error.to_string()))?;
    for number in 0..10 {
        let (tx, rx) = channel::bounded::<u32>(1);
        let receiver = rx.clone();
        let waits = here.clone().spawn(move || {
            let _ = receiver.recv();
        });
        dying::kill_in("recv beside others", waits.map_err(|error| Failure::Failed(error.to_string()))?)?;
        // It stands there no more.
        check_eq!(tx.send(number), Ok(()));
        check_eq!(rx.try_recv(), Ok(number));
    }
    ends.store(1, Ordering::Relaxed);
    check!(beside.join().is_ok());
    Ok(())
}

fn killed_while_it_runs() -> Outcome {
    for _ in 0..3 {
        kill_in("a loop", || {
            loop {
                core::hint::spin_loop();
            }
        })?;
        kill_in("a loop that locks", || {
            let mutex = Mutex::new(0u64);
            loop {
                *mutex.lock() += 1;
            }
        })?;
    }
    Ok(())
}

fn killed_while_it_yields() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let other = spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            yield_now();
        }
    });
    for _ in 0..3 {
        kill_in("a loop that yields", || {
            loop {
                yield_now();
            }
        })?;
    }
    stop.store(true, Ordering::Relaxed);
    joined(other);
    Ok(())
}

fn killed_before_it_has_begun() -> Outcome {
    let begun = Arc::new(AtomicBool::new(false));
    let thread = {
        let _guard = PreemptGuard::new();
        let begun = begun.clone();
        let thread = Builder::new().pinned(thread::current_cpu()).spawn(move || {
            begun.store(true, Ordering::Relaxed);
            park();
        });
        let thread = thread.map_err(|error| Failure::Failed(error.to_string()))?;
        thread.thread().kill();
        thread
    };
    check_eq!(thread.join(), Err(Death::Killed));
    Ok(())
}

fn killed_twice_and_when_dead() -> Outcome {
    let thread = spawn(park);
    let handle = thread.thread();
    handle.kill();
    handle.kill();
    check_eq!(thread.join(), Err(Death::Killed));
    handle.kill();
    handle.unpark();
    let panicked = spawn(|| panic!("before it could be killed"));
    let handle = panicked.thread();
    check_eq!(panicked.join(), Err::<(), _>(Death::Panicked));
    handle.kill();
    let suicide = spawn(|| {
        thread::current().kill();
        7
    });
    check_eq!(suicide.join(), Err(Death::Killed));
    Ok(())
}

fn a_kill_waits_for_the_guard() -> Outcome {
    let (held, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (his_held, his_done) = (held.clone(), done.clone());
    let thread = spawn(move || {
        let guard = PreemptGuard::new();
        his_held.store(true, Ordering::Relaxed);
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(3) {
            core::hint::spin_loop();
        }
        his_done.store(true, Ordering::Relaxed);
        drop(guard);
        park();
    });
    poll("it holds preemption off", || held.load(Ordering::Relaxed))?;
    thread.thread().kill();
    check_eq!(thread.join(), Err(Death::Killed));
    check!(done.load(Ordering::Relaxed), "it was killed while it held preemption off");
    Ok(())
}

fn a_kill_waits_for_the_scope() -> Outcome {
    let after = Arc::new(AtomicUsize::new(0));
    let his = after.clone();
    let thread = spawn(move || {
        let seen = AtomicUsize::new(0);
        isochron::fork::scope(|scope| {
            scope.spawn(|| {
                sleep(Duration::from_millis(3));
                seen.store(1, Ordering::Relaxed);
            });
        });
        his.store(1 + seen.load(Ordering::Relaxed), Ordering::Relaxed);
        park();
    });
    sleep(Duration::from_millis(1));
    thread.thread().kill();
    check_eq!(thread.join(), Err(Death::Killed));
    check!(after.load(Ordering::Relaxed) != 1, "it left the scope before its thread had ended");
    Ok(())
}

fn deaths_on_all_cpus_at_once() -> Outcome {
    let threads: Vec<_> = (0..thread::cpu_count() * 2)
        .map(|number| {
            let dying = Builder::new().pinned(CpuId::new(number % thread::cpu_count()));
            dying.stack_size(16 * 1024).spawn(if number % 3 == 0 { overflow } else { read_null })
        })
        .collect();
    for thread in threads {
        check!(thread.map_err(|error| Failure::Failed(error.to_string()))?.join().is_err());
    }
    Ok(())
}

fn many_deaths_leave_nothing() -> Outcome {
    let turn = |number: usize| -> Outcome {
        let thread = small().spawn(move || match number % 3 {
            0 => park(),
            1 => loop {
                yield_now();
            },
            _ => loop {
                core::hint::spin_loop();
            },
        });
        let thread = thread.map_err(|error| Failure::Failed(error.to_string()))?;
        thread.thread().kill();
        check_eq!(thread.join(), Err(Death::Killed));
        Ok(())
    };
    for number in 0..100 {
        turn(number)?;
    }
    let before = memory::stats();
    for number in 0..1000 {
        turn(number)?;
    }
    let after = memory::stats();
    // What moves between the stocks of the CPUs: 15 stacks each, and as many blocks.
    let stocks = thread::cpu_count() as u64 * 16 * 16 * 1024;
    check!(after.stacks <= before.stacks + stocks, "bytes of stacks: {} and {}", before.stacks, after.stacks);
    check!(after.free + 2 * stocks >= before.free, "free memory: {} and {}", before.free, after.free);
    Ok(())
}
