//! Policies: threads go where they say, and a bad one loses nobody.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

use isochron::policy::{self, Candidate, Nearest, Place, Policy, PolicyId, Region, SameRegionFirst};
use isochron::thread::{park, sleep};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        the_highest_score_gets_the_thread,
        woken_threads_are_placed_too,
        a_region_comes_first,
        the_shipped_default_is_like_none,
        with_equal_scores_all_run,
        a_filter_that_passes_nobody_loses_nobody,
        a_reserve_that_refuses_all_loses_nobody,
        the_next_best_is_asked,
        a_hook_that_panics_loses_nobody,
        a_hook_may_spawn,
        bad_regions_are_refused
    ])
}

fn failed(error: impl core::fmt::Display) -> Failure {
    Failure::Failed(format!("{error}"))
}

fn last() -> CpuId {
    CpuId::new(thread::cpu_count() - 1)
}

/// A number for each static policy, given once.
fn id(policy: &'static dyn Policy) -> Outcome<PolicyId> {
    PolicyId::register(policy).map_err(failed)
}

/// Runs a dozen threads that report where they began, with `policy` for all threads meanwhile.
fn under(policy: &'static dyn Policy) -> Outcome<Vec<CpuId>> {
    policy::set_default(Some(policy));
    let threads: Vec<_> = (0..12).map(|_| spawn(thread::current_cpu)).collect();
    let seen = threads.into_iter().map(|thread| thread.join().map_err(failed)).collect();
    policy::set_default(None);
    seen
}

/// All to the last CPU.
struct Last;

impl Policy for Last {
    fn score(&self, _: &Candidate, place: &Place) -> i64 {
        place.cpu.index() as i64
    }
}

fn the_highest_score_gets_the_thread() -> Outcome {
    let before = policy::statistics().placed;
    let own = id(&Last)?;
    for _ in 0..50 {
        let made = Builder::new().policy(own).spawn(|| {
            let first = thread::current_cpu();
            yield_now();
            (first, thread::current_cpu())
        });
        check_eq!(made.map_err(failed)?.join().map_err(failed)?, (last(), last()));
    }
    check!(policy::statistics().placed >= before + 50);
    Ok(())
}

fn woken_threads_are_placed_too() -> Outcome {
    let own = id(&Last)?;
    for _ in 0..20 {
        let sleeper = Builder::new().pinned(CpuId::PRIMARY).spawn(move || {
            thread::unpin();
            thread::set_policy(Some(own));
            park();
            let woken = thread::current_cpu();
            thread::set_policy(None);
            woken
        });
        let sleeper = sleeper.map_err(failed)?;
        sleep(Duration::from_millis(1));
        sleeper.thread().unpark();
        // One that was so slow that it had not parked yet has been asked about by nobody.
        let woken = sleeper.join().map_err(failed)?;
        check!(woken == last() || woken == CpuId::PRIMARY, "woken on CPU {woken}");
    }
    Ok(())
}

fn a_region_comes_first() -> Outcome {
    if thread::cpu_count() < 2 {
        ignore!("it takes 2 CPUs");
    }
    let region = Region::new(40).map_err(failed)?;
    let before = policy::region_of(last());
    policy::set_region(last(), region);
    check_eq!(policy::region_of(last()), region);
    let own = id(&SameRegionFirst)?;
    // From another region, so that the CPU that makes them is not the one that is to be idle.
    let maker = Builder::new().pinned(CpuId::PRIMARY).spawn(move || {
        let mut there = 0;
        for _ in 0..50 {
            sleep(Duration::from_micros(200));
            let made = Builder::new().policy(own).region(region).spawn(|| (thread::region(), thread::current_cpu()));
            let (label, cpu) = made.map_err(failed)?.join().map_err(failed)?;
            check_eq!(label, Some(region));
            there += u32::from(cpu == last());
        }
        Ok(there)
    });
    let there = maker.map_err(failed)?.join().map_err(failed)?;
    policy::set_region(last(), before);
    let there = there?;
    // The others are asked where that CPU does not idle, which a slow host may make it look like.
    check!(there >= 25, "only {there} of 50 threads were started in their region");
    Ok(())
}

fn the_shipped_default_is_like_none() -> Outcome {
    check_eq!(under(&Nearest)?.len(), 12);
    Ok(())
}

struct Ties;

impl Policy for Ties {}

fn with_equal_scores_all_run() -> Outcome {
    check_eq!(under(&Ties)?.len(), 12);
    Ok(())
}

struct Nobody;

impl Policy for Nobody {
    fn filter(&self, _: &Candidate, _: &Place) -> bool {
        false
    }
}

fn a_filter_that_passes_nobody_loses_nobody() -> Outcome {
    let before = policy::statistics().none_passed;
    check_eq!(under(&Nobody)?.len(), 12);
    check!(policy::statistics().none_passed >= before + 12);
    Ok(())
}

struct Refuses;

impl Policy for Refuses {
    fn reserve(&self, _: &Candidate, _: &Place) -> bool {
        false
    }
}

fn a_reserve_that_refuses_all_loses_nobody() -> Outcome {
    let before = policy::statistics().all_refused;
    check_eq!(under(&Refuses)?.len(), 12);
    check!(policy::statistics().all_refused >= before + 12);
    Ok(())
}

/// Likes the last CPU best and never takes it.
struct Choosy;

impl Policy for Choosy {
    fn score(&self, _: &Candidate, place: &Place) -> i64 {
        place.cpu.index() as i64
    }

    fn reserve(&self, _: &Candidate, place: &Place) -> bool {
        place.cpu.index() + 1 != thread::cpu_count()
    }
}

fn the_next_best_is_asked() -> Outcome {
    let own = id(&Choosy)?;
    let made = Builder::new().policy(own).spawn(thread::current_cpu);
    let cpu = made.map_err(failed)?.join().map_err(failed)?;
    check_eq!(cpu.index(), thread::cpu_count().saturating_sub(2));
    Ok(())
}

struct Panics;

impl Policy for Panics {
    fn score(&self, _: &Candidate, _: &Place) -> i64 {
        panic!("a policy's hook")
    }
}

/// Who wakes dies of it; who was to be woken runs.
fn a_hook_that_panics_loses_nobody() -> Outcome {
    let own = id(&Panics)?;
    let before = policy::statistics().died;
    let sleeper = spawn(move || {
        thread::set_policy(Some(own));
        park();
        thread::set_policy(None);
        7
    });
    sleep(Duration::from_millis(2));
    let woken = sleeper.thread();
    let waker = spawn(move || woken.unpark());
    let died = waker.join().is_err();
    check_eq!(sleeper.join().map_err(failed)?, 7);
    // If the sleeper had not parked yet, nobody was asked.
    check_eq!(died, policy::statistics().died > before);
    // Made by one that dies of it.
    let maker = spawn(move || Builder::new().policy(own).spawn(|| ()).map(JoinHandle::detach));
    check!(maker.join().is_err());
    check!(policy::statistics().died > before);
    Ok(())
}

static SPAWNED: AtomicUsize = AtomicUsize::new(0);

struct Spawns;

impl Policy for Spawns {
    fn reserve(&self, _: &Candidate, _: &Place) -> bool {
        spawn(|| SPAWNED.fetch_add(1, Ordering::Relaxed)).detach();
        true
    }
}

fn a_hook_may_spawn() -> Outcome {
    check_eq!(under(&Spawns)?.len(), 12);
    poll("what the hooks spawned has run", || SPAWNED.load(Ordering::Relaxed) >= 12)
}

fn bad_regions_are_refused() -> Outcome {
    check_eq!(Region::new(62), Err(policy::BadRegion(62)));
    check!(Region::new(61).is_ok());
    Ok(())
}
