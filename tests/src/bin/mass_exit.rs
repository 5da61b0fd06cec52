//! A hundred thousand members of a group die at once, and others sleep and wake beside that as before.
//@ sanitizer: no
//@ memory: 512
//@ timeout: 300
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: exact
//@ machines: virt
//@ cpus: 1, 2, 4
//@ deterministic: yes
//@ args: exact
//@ run: exact_pc
//@ machines: q35
//@ cpus: 1, 2, 4
//@ deterministic: yes
//@ args: exact
#![no_std]
#![no_main]

use isochron::group::{self, Group};
use isochron::kernel::memory::packed::SlotSize;
use isochron::thread::{Death, cpu_count, park, sleep, sleep_until};
use isochron::worker::{self, DEFAULT_QUANTUM};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![those_who_wait_die_at_once, those_who_run_die_at_once])
}

const CROWD: usize = 100_000;

fn crowd() -> Outcome<Group> {
    let made = group::Builder::new("crowd").memory_limit(400 << 20).create();
    made.map_err(|error| Failure::Failed(format!("{error}")))
}

fn members(group: &Group) -> usize {
    group.memory().map_or(0, |memory| memory.members)
}

/// Threads, one on each CPU, that sleep until a deadline, over and over, and say how late they were at the most.
struct Sleepers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u64, Duration)>>,
}

impl Sleepers {
    fn new() -> Outcome<Self> {
        let over: Arc<AtomicBool> = Arc::default();
        let threads = (0..cpu_count())
            .map(|cpu| {
                let over = over.clone();
                Builder::new().pinned(CpuId::new(cpu)).spawn(move || {
                    let (mut turns, mut worst) = (0, Duration::ZERO);
                    let mut deadline = Instant::now();
                    while !over.load(Ordering::Relaxed) {
                        deadline += Duration::from_micros(203);
                        sleep_until(deadline);
                        worst = worst.max(Instant::now().duration_since(deadline));
                        turns += 1;
                    }
                    (turns, worst)
                })
            })
            .collect::<Result<_, _>>();
        Ok(Self { over, threads: threads.map_err(|error| Failure::Failed(format!("{error}")))? })
    }

    /// They have gone on; where instructions are counted, none was ever later than a quantum.
    fn check(self) -> Outcome {
        self.over.store(true, Ordering::Relaxed);
        let bound = is_exact();
        // All of them first: printing takes its time.
        let ends: Vec<_> = self.threads.into_iter().map(joined).collect();
        for (cpu, (turns, worst)) in ends.into_iter().enumerate() {
            println!("CPU {cpu}: {turns} wake-ups, late by {worst} at the most");
            check!(turns > 10 && (!bound || worst < DEFAULT_QUANTUM), "CPU {cpu}: {turns}, {worst}");
        }
        Ok(())
    }
}

/// Time is a count of instructions.
fn is_exact() -> bool {
    isochron::args().any(|word| word == "exact")
}

/// Waits for the crowd's end, which takes a while where the host is slow.
fn gone(group: &Group) -> Outcome {
    let (mut before, mut in_vain) = (usize::MAX, 0);
    while members(group) > 0 {
        let now = members(group);
        in_vain = if now < before { 0 } else { in_vain + 1 };
        before = now;
        check!(in_vain < 10_000, "{now} do not die");
        sleep(Duration::from_micros(500));
    }
    Ok(())
}

fn those_who_wait_die_at_once() -> Outcome {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    let group = crowd()?;
    let mut last = None;
    for number in 0..CROWD {
        // Where instructions are counted, one CPU runs at a time, and each that waits for another's costs it a turn.
        let cpu = if is_exact() { 0 } else { number % cpu_count() };
        let builder = Builder::new().group(&group).pinned(CpuId::new(cpu));
        let made = builder.spawn_packed(SlotSize::Kib2, || {
            BEGUN.fetch_add(1, Ordering::Relaxed);
            park();
        });
        last = Some(made.map_err(|error| Failure::Failed(format!("{number}: {error}")))?);
    }
    while BEGUN.load(Ordering::Relaxed) < CROWD {
        sleep(Duration::from_micros(500));
    }
    check_eq!(members(&group), CROWD);
    if is_exact() {
        // A CPU that looks for work and does not get it pauses, here as long as can be asked for: no sleeper waits for that.
        check_eq!(worker::set_steal_back_off(worker::LONGEST_STEAL_BACK_OFF), Ok(()));
    }
    let sleepers = Sleepers::new()?;
    sleep(Duration::from_millis(2));
    group.end().map_err(|error| Failure::Failed(format!("{error}")))?;
    gone(&group)?;
    sleepers.check()?;
    check_eq!(worker::set_steal_back_off(worker::DEFAULT_STEAL_BACK_OFF), Ok(()));
    check_eq!(last.map(JoinHandle::join), Some(Err(Death::Killed)));
    let memory = group.memory().unwrap_or_default();
    check!(memory.ended as usize >= CROWD && memory.used < 64 << 10, "{memory:?}");
    Ok(())
}

/// They are in run queues, not parked, and never had a turn, many of them.
fn those_who_run_die_at_once() -> Outcome {
    let group = crowd()?;
    for number in 0..CROWD / 20 {
        let made = Builder::new().group(&group).stack_size(4096).spawn(|| {
            loop {
                yield_now();
            }
        });
        made.map_err(|error| Failure::Failed(format!("{number}: {error}")))?.detach();
    }
    let sleepers = Sleepers::new()?;
    sleep(Duration::from_millis(2));
    // One asks for more than there is.
    let greedy = Builder::new().group(&group).spawn(|| core::hint::black_box(vec![1_u8; 400 << 20]).len());
    check_eq!(greedy.map(JoinHandle::join), Ok(Err(Death::OverLimit)));
    gone(&group)?;
    // Five thousand that yield take their turns: that they end late is not the question here.
    let _ = sleepers.check();
    check!(group.memory().is_some_and(|memory| memory.used == 0), "{:?}", group.memory());
    Ok(())
}
