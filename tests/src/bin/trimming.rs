//! Stacks give back what they have grown by and do not use, and lose nothing else.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ memory: 64
//@ timeout: 120
//@ run: checked
//@ machines: virt, q35
//@ cpus: 2
//@ memory: 64
//@ timeout: 240
//@ checked: yes
#![no_std]
#![no_main]

use isochron::kernel::boot::VirtAddr;
use isochron::kernel::memory;
use isochron::thread::{park, stack_range, trim_stacks};
use isochron_guest_tests::deep::{go_down_and, use_stack};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        memory_comes_back_when_stacks_are_trimmed,
        what_was_given_back_is_not_written_to,
        a_thread_that_waits_gives_back_what_it_does_not_use,
        a_thread_that_waits_far_down_keeps_what_it_needs,
        a_stack_that_was_backed_stays,
        threads_that_are_woken_meanwhile_lose_nothing,
    ])
}

const PAGE: usize = 4096;
/// What a stack has from the beginning.
const FIRST: usize = 2 * PAGE;

fn made<T>(thread: Result<JoinHandle<T>, SpawnError>) -> Outcome<JoinHandle<T>> {
    thread.map_err(|error| Failure::Failed(error.to_string()))
}

/// Whether the page at `addr` is backed; where the host does that, nobody can tell.
fn is_backed(addr: usize) -> Option<bool> {
    cfg!(isochron_bare).then(|| memory::is_mapped(VirtAddr::new(addr)))
}

fn memory_comes_back_when_stacks_are_trimmed() -> Outcome {
    const THREADS: u64 = 64;
    const DEEP: u64 = 200 << 10;
    let crowd = || -> Outcome {
        let (begun, mut threads) = (Arc::new(AtomicUsize::new(0)), Vec::new());
        for _ in 0..THREADS {
            let begun = begun.clone();
            threads.push(made(Builder::new().stack_size(256 << 10).spawn(move || {
                let right = use_stack(DEEP as usize);
                begun.fetch_add(1, Ordering::Relaxed);
                park();
                right
            }))?);
        }
        poll("all are deep", || begun.load(Ordering::Relaxed) == THREADS as usize)?;
        for thread in threads {
            thread.thread().unpark();
            check_eq!(thread.join(), Ok(true));
        }
        Ok(())
    };
    crowd()?;
    trim_stacks();
    let before = memory::stats();
    crowd()?;
    let between = memory::stats();
    check!(between.stacks >= before.stacks + THREADS * DEEP / 10 * 9, "{before:?}, then {between:?}");
    let bytes = trim_stacks() as u64;
    check!(bytes >= (THREADS - 4) * DEEP / 10 * 9, "{bytes} bytes were given back");
    // The last of a CPU's threads may have left its stack only now. What lies ready on one CPU is not taken on others.
    let ready = (thread::cpu_count() * 16 * FIRST) as u64;
    let is_back = |after: memory::MemoryStats| {
        let others = cfg!(isochron_hosted) || after.free + ready + 128 * 1024 >= before.free;
        after.stacks <= before.stacks + ready && others
    };
    poll("all is back", || {
        trim_stacks();
        is_back(memory::stats())
    })
}

/// Threads that go deep on all CPUs, with others that trim, and with what was given back in other hands.
fn what_was_given_back_is_not_written_to() -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let workers = (0..2 * thread::cpu_count()).map(|number| {
        let stop = stop.clone();
        made(Builder::new().pinned(CpuId::new(number / 2)).spawn(move || {
            let mut rounds = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let deep = Builder::new()
                    .stack_size(256 << 10)
                    .spawn(move || use_stack((20 + rounds as usize % 7 * 30) << 10));
                assert_eq!(deep.map(JoinHandle::join), Ok(Ok(true)), "round {rounds}");
                rounds += 1;
            }
            rounds
        }))
    });
    let workers = workers.collect::<Outcome<Vec<_>>>()?;
    for round in 0..60u8 {
        trim_stacks();
        #[cfg(isochron_bare)]
        let frames: Vec<_> = (0..200).map_while(|_| memory::frames::alloc()).collect();
        #[cfg(isochron_bare)]
        let page = |frame| isochron::kernel::boot::layout::direct_map(frame).as_mut_ptr::<[u8; PAGE]>();
        #[cfg(isochron_bare)]
        for frame in &frames {
            // SAFETY: a frame of ours, which the direct map shows.
            unsafe { page(*frame).write([round; PAGE]) };
        }
        thread::sleep(Duration::from_micros(500));
        #[cfg(isochron_bare)]
        for frame in frames {
            // SAFETY: as above.
            check!(unsafe { (*page(frame)).iter().all(|byte| *byte == round) }, "round {round}: somebody wrote there");
            memory::frames::free(frame);
        }
        core::hint::black_box(round);
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        check!(worker.join().unwrap() > 0);
    }
    Ok(())
}

/// Gives back what there is to give back; also of threads that have just ended, and are about to leave their stacks.
fn trim_all() -> Outcome {
    poll("there is nothing to give back", || {
        thread::sleep(Duration::from_millis(1));
        trim_stacks() == 0
    })
}

/// How a thread waits until it is told to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    /// Parked.
    Park,
    /// Where whoever ends the wait takes it over.
    Receive,
}

/// Threads that each go `deep` into their stacks, come up again to `from`, wait there, and go as deep again.
struct Crowd {
    threads: Vec<(isochron::channel::Sender<()>, JoinHandle<bool>)>,
}

impl Crowd {
    fn new(count: usize, wait: Wait, from: usize, deep: usize) -> Outcome<Self> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let threads = (0..count).map(|number| {
            let waiting = waiting.clone();
            let (sender, receiver) = isochron::channel::bounded::<()>(1);
            let body = move || {
                let right = use_stack(deep);
                let at_it = || {
                    waiting.fetch_add(1, Ordering::Relaxed);
                    match wait {
                        Wait::Park => park(),
                        Wait::Receive => receiver.recv().unwrap_or_default(),
                    }
                };
                let kept = go_down_and(stack_range().end, from, number as u64, &at_it);
                right && kept && use_stack(deep)
            };
            Ok((sender, made(Builder::new().stack_size(256 << 10).spawn(body))?))
        });
        let threads = threads.collect::<Outcome<Vec<_>>>()?;
        poll("all wait", || waiting.load(Ordering::Relaxed) == count)?;
        // For the last of them to be away from its stack.
        thread::sleep(Duration::from_millis(2));
        Ok(Self { threads })
    }

    fn go_on(self) -> Outcome {
        for (sender, thread) in self.threads {
            thread.thread().unpark();
            let _ = sender.send(());
            check_eq!(thread.join(), Ok(true));
        }
        Ok(())
    }
}

fn a_thread_that_waits_gives_back_what_it_does_not_use() -> Outcome {
    const THREADS: usize = 24;
    const DEEP: usize = 200 << 10;
    for (wait, from) in [(Wait::Park, 0), (Wait::Receive, 0), (Wait::Park, 60 << 10), (Wait::Receive, 60 << 10)] {
        trim_all()?;
        let before = memory::stats();
        let crowd = Crowd::new(THREADS, wait, from, DEEP)?;
        let grown = memory::stats().stacks - before.stacks;
        check!(grown >= (THREADS * DEEP / 10 * 9) as u64, "{wait:?} from {from}: grown by {grown}");
        let bytes = trim_stacks();
        // But for the page that follows, and what frames reach further down.
        check!(bytes >= THREADS * (DEEP - from - 6 * PAGE), "{wait:?} from {from}: {bytes} bytes were given back");
        let after = memory::stats();
        check!(after.stacks + bytes as u64 <= before.stacks + grown + 64 * 1024, "{before:?}, then {after:?}");
        check!(cfg!(isochron_hosted) || after.free + (THREADS * (from + 8 * PAGE)) as u64 >= before.free, "{after:?}");
        check!(trim_stacks() < 64 * 1024, "there was more");
        crowd.go_on()?;
    }
    Ok(())
}

fn a_thread_that_waits_far_down_keeps_what_it_needs() -> Outcome {
    const THREADS: usize = 8;
    const DEEP: usize = 200 << 10;
    trim_all()?;
    let crowd = Crowd::new(THREADS, Wait::Park, DEEP - (8 << 10), DEEP)?;
    let bytes = trim_stacks();
    check!(bytes <= THREADS * 4 * PAGE, "{bytes} bytes of what is in use were given back");
    crowd.go_on()
}

fn a_stack_that_was_backed_stays() -> Outcome {
    trim_all()?;
    let begun = Arc::new(AtomicBool::new(false));
    let its = begun.clone();
    let backed = made(Builder::new().stack_size(256 << 10).spawn(move || {
        let right = use_stack(100 << 10);
        check!(thread::back_stack().is_ok() && right);
        its.store(true, Ordering::Relaxed);
        park();
        check!(is_backed(stack_range().start) != Some(false), "it was given back");
        Ok(())
    }))?;
    poll("it waits", || begun.load(Ordering::Relaxed))?;
    thread::sleep(Duration::from_millis(2));
    let bytes = trim_stacks();
    check!(bytes < 64 * 1024, "{bytes} bytes were given back");
    backed.thread().unpark();
    joined(backed)?;
    if cfg!(isochron_bare) {
        // As soon as it is nobody's.
        poll("it is back", || trim_stacks() >= 200 << 10)?;
    }
    Ok(())
}

/// Threads on all CPUs that wait for a moment at changing depths, in both ways, while others trim all the time.
fn threads_that_are_woken_meanwhile_lose_nothing() -> Outcome {
    const ROUNDS: usize = 400;
    let stop = Arc::new(AtomicBool::new(false));
    let its = stop.clone();
    let trimmer = spawn(move || {
        let mut bytes = 0;
        while !its.load(Ordering::Relaxed) {
            bytes += trim_stacks();
            yield_now();
        }
        bytes
    });
    let pairs = (0..2 * thread::cpu_count()).map(|pair| {
        let (to, from_it) = isochron::channel::bounded::<usize>(1);
        let (back, from_other) = isochron::channel::bounded::<usize>(1);
        let mut depth = pair * 7919;
        let first = made(Builder::new().stack_size(256 << 10).spawn(move || {
            let mut right = true;
            for round in 0..ROUNDS {
                depth = (depth * 31 + round * 7) % (180 << 10);
                let exchange = || {
                    let _ = to.send(round);
                    assert_eq!(from_other.recv(), Ok(round + 1));
                };
                right &= go_down_and(stack_range().end, depth, round as u64, &exchange);
            }
            right
        }))?;
        let second = made(Builder::new().stack_size(256 << 10).spawn(move || {
            let mut right = true;
            for round in 0..ROUNDS {
                let depth = (round * 4099 + pair) % (150 << 10);
                let answer = || {
                    thread::park_timeout(Duration::from_micros(round as u64 % 5 * 20));
                    let got = from_it.recv();
                    assert_eq!(got, Ok(round));
                    let _ = back.send(round + 1);
                };
                right &= go_down_and(stack_range().end, depth, round as u64 + 9, &answer);
            }
            right
        }))?;
        Ok([first, second])
    });
    for thread in pairs.collect::<Outcome<Vec<_>>>()?.into_iter().flatten() {
        check_eq!(thread.join(), Ok(true));
    }
    stop.store(true, Ordering::Relaxed);
    let bytes = joined(trimmer);
    check!(bytes > 0, "nothing was given back meanwhile");
    Ok(())
}
