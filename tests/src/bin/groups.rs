//! CPU groups: quotas hold, CPUs are never lost with a throttled group, and bad input is told.
//@ run: usual
//@ machines: virt, q35, hosted
//@ cpus: 1, 2, 4
//@ run: checked
//@ machines: virt, hosted
//@ cpus: 4
//@ checked: yes
#![no_std]
#![no_main]

use isochron::channel;
use isochron::group::{self, Group, GroupError, Limit};
use isochron::sync::Mutex;
use isochron::thread::{Hint, cpu_count, current_cpu, park, sleep};
use isochron_guest_tests::prelude::*;

#[isochron::main]
fn main() -> u8 {
    run(cases![
        bad_input_is_told,
        limits_are_read_from_text,
        children_are_in_the_group_of_their_maker,
        members_without_a_limit_run_as_others,
        a_quota_is_kept,
        a_quota_is_shared_by_all_cpus,
        a_child_runs_within_its_parent,
        a_throttled_thread_does_not_keep_its_cpu,
        those_behind_a_throttled_thread_run_on,
        a_yield_is_a_yield_whatever_the_groups,
        wakers_of_a_throttled_group_go_on,
        what_is_not_used_goes_back,
        debt_is_paid,
        threads_move_from_group_to_group,
        another_limit_holds_at_once,
        a_group_may_keep_its_threads,
        a_group_of_high_rank_is_throttled_too,
        who_is_lower_in_its_group_has_a_turn_too,
        groups_under_load,
    ])
}

const MS: Duration = Duration::from_millis(1);

/// What cannot be made fails the case.
trait OrFail<T> {
    fn or_fail(self) -> Outcome<T>;
}

impl<T, E: core::fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self) -> Outcome<T> {
        self.map_err(|error| Failure::Failed(format!("{error}")))
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `quota` of `period` ms.
fn limited(name: &str, quota: u64, period: u64) -> Outcome<Group> {
    group::Builder::new(name).quota(ms(quota)).period(ms(period)).create().or_fail()
}

fn on(cpu: usize) -> Builder<'static> {
    Builder::new().pinned(CpuId::new(cpu))
}

/// Threads that never give way of themselves, until they are dropped.
struct Hogs {
    stop: Arc<AtomicBool>,
    turns: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    fn new() -> Self {
        Self { stop: Arc::default(), turns: Arc::default(), threads: Vec::new() }
    }

    fn add(&mut self, builder: Builder<'_>) -> Outcome {
        let (stop, turns) = (self.stop.clone(), self.turns.clone());
        let hog = builder.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                turns.fetch_add(1, Ordering::Relaxed);
            }
        });
        self.threads.push(hog.or_fail()?);
        Ok(())
    }

    fn one(builder: Builder<'_>) -> Outcome<Self> {
        let mut hogs = Self::new();
        hogs.add(builder)?;
        Ok(hogs)
    }

    fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Whether they get on.
    fn run(&self) -> Outcome {
        let before = self.turns();
        poll("the hogs run", || self.turns() > before)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(joined);
    }
}

/// Waits until a group of this quota, whose period is far longer than any case, has used it up.
fn exhausted(group: &Group, quota: Duration) -> Outcome {
    poll("the group is throttled", || {
        let statistics = group.statistics();
        statistics.run_time >= quota && statistics.throttled == 1
    })
}

/// After its hogs have run for `time`: whether a group of 1 ms in 10 ms has kept its quota.
fn check_quota(group: &Group, hogs: Hogs, time: Duration) -> Outcome {
    let began = Instant::now();
    sleep(time);
    drop(hogs);
    let periods = began.elapsed().as_millis() / 10 + 1;
    // One more for the first and the last, which may be parts; and debt, for what a late interrupt has let run.
    poll("no more than the quota is used", || {
        let statistics = group.statistics();
        statistics.run_time <= ms(periods + 2) + statistics.debt
    })?;
    let statistics = group.statistics();
    check!(statistics.run_time > ms(5), "{statistics:?}");
    Ok(())
}

fn bad_input_is_told() -> Outcome {
    let new = || group::Builder::new("bad");
    let zero = Duration::ZERO;
    check_eq!(new().quota(zero).create(), Err(GroupError::Quota(zero)));
    check_eq!(new().quota(ms(1)).period(zero).create(), Err(GroupError::Period(zero)));
    check_eq!(new().period(zero).create(), Err(GroupError::Period(zero)));
    check_eq!(new().period(Duration::from_secs(11)).create(), Err(GroupError::Period(Duration::from_secs(11))));
    check_eq!(new().quota(ms(11)).period(ms(10)).create(), Err(GroupError::QuotaAbovePeriod(ms(11), ms(10))));
    check_eq!(new().slice(zero).create(), Err(GroupError::Slice(zero)));
    check_eq!(group::find("bad"), Err(GroupError::Unknown));
    let parent = limited("parent", 10, 100)?;
    check_eq!(new().parent(&parent).quota(ms(11)).period(ms(100)).create(), Err(GroupError::AboveParent));
    check_eq!(new().parent(&parent).quota(ms(2)).period(ms(10)).create(), Err(GroupError::AboveParent));
    let child = new().parent(&parent).quota(ms(1)).period(ms(10)).create().or_fail()?;
    check_eq!(new().create(), Err(GroupError::NameTaken));
    check_eq!(parent.set_limit(Limit::new(ms(9), ms(100))), Err(GroupError::BelowChild));
    check_eq!(child.set_limit(Limit::new(ms(2), ms(10))), Err(GroupError::AboveParent));
    check_eq!(child.set_limit(Limit::new(zero, ms(10))), Err(GroupError::Quota(zero)));
    check_eq!(child.parent(), Some(parent.clone()));
    check_eq!(group::find("bad"), Ok(child.clone()));
    let dead = spawn(|| ());
    let handle = dead.thread();
    joined(dead);
    check_eq!(child.add(&handle), Err(GroupError::Ended));
    drop(child);
    check_eq!(group::find("bad"), Err(GroupError::Unknown), "nobody holds it");
    Ok(())
}

fn limits_are_read_from_text() -> Outcome {
    check_eq!("10000 100000".parse(), Ok(Limit::new(ms(10), ms(100))));
    check_eq!(" max  50000 ".parse(), Ok(Limit { quota: None, period: ms(50) }));
    for bad in ["", "1", "1 2 3", "max", "max max", "-1 100", "1e3 100", "18446744073709551615 1"] {
        check_eq!(bad.parse::<Limit>(), Err(group::BadText), "{bad}");
    }
    check_eq!(Limit::new(ms(10), ms(100)).to_string(), "10000 100000");
    check_eq!(Limit::NONE.to_string(), "max 100000");
    let group = group::Builder::new("text").limit("20000 40000".parse().or_fail()?).create().or_fail()?;
    check_eq!(group.limit().to_string(), "20000 40000");
    Ok(())
}

fn children_are_in_the_group_of_their_maker() -> Outcome {
    let group = limited("family", 50, 100)?;
    check_eq!(group::current(), None);
    let family = Builder::new().group(&group).spawn(|| {
        let child = joined(spawn(group::current));
        let other = Builder::new().ungrouped().spawn(group::current).map(joined);
        (group::current(), child, other)
    });
    let (own, child, other) = joined(family.or_fail()?);
    check_eq!((own, child), (Some(group.clone()), Some(group)));
    check_eq!(other, Ok(None));
    Ok(())
}

fn members_without_a_limit_run_as_others() -> Outcome {
    let group = group::Builder::new("free").create().or_fail()?;
    let mut hogs = Hogs::one(Builder::new().group(&group))?;
    hogs.add(Builder::new())?;
    hogs.run()?;
    drop(hogs);
    // It is charged after its handle was told of its end.
    poll("it is charged", || group.statistics().run_time > Duration::ZERO)?;
    let statistics = group.statistics();
    check_eq!((statistics.periods, statistics.throttled, statistics.throttled_time), (0, 0, Duration::ZERO));
    Ok(())
}

/// Hogs on CPU 0, or on any, have 10 % together.
fn quota_of(name: &str, members: usize, builder: fn() -> Builder<'static>) -> Outcome {
    let group =
        group::Builder::new(name).quota(MS).period(ms(10)).slice(Duration::from_micros(200)).create().or_fail()?;
    let mut hogs = Hogs::new();
    for _ in 0..members {
        hogs.add(builder().group(&group))?;
    }
    check_quota(&group, hogs, ms(300))?;
    let statistics = group.statistics();
    check!(statistics.throttled > 0 && statistics.throttled <= statistics.periods, "{statistics:?}");
    check!(statistics.throttled_time > ms(50), "{statistics:?}");
    Ok(())
}

fn a_quota_is_kept() -> Outcome {
    quota_of("one", 1, || on(0))
}

fn a_quota_is_shared_by_all_cpus() -> Outcome {
    quota_of("all", 6, Builder::new)
}

fn a_child_runs_within_its_parent() -> Outcome {
    let parent = group::Builder::new("above").quota(MS).period(ms(10)).slice(Duration::from_micros(200)).create();
    let parent = parent.or_fail()?;
    // It has no limit of its own, the other one no less than the parent.
    let free = group::Builder::new("below").parent(&parent).create().or_fail()?;
    let equal = group::Builder::new("beside").parent(&parent).quota(MS).period(ms(10)).create().or_fail()?;
    let mut hogs = Hogs::new();
    for group in [&free, &equal, &parent] {
        hogs.add(Builder::new().group(group))?;
    }
    check_quota(&parent, hogs, ms(300))?;
    let time = |group: &Group| group.statistics().run_time;
    check!(time(&free) > Duration::ZERO && time(&equal) > Duration::ZERO);
    check!(time(&parent) >= time(&free) + time(&equal), "what runs below counts above");
    Ok(())
}

/// Mission B2, first failure: the worker of a throttled thread keeps its queue, and those in it wait for the period.
fn a_throttled_thread_does_not_keep_its_cpu() -> Outcome {
    let cpu = cpu_count() - 1;
    let group = group::Builder::new("long").quota(MS).period(Duration::from_secs(10)).create().or_fail()?;
    let _hog = Hogs::one(on(cpu).group(&group))?;
    let others = Hogs::one(on(cpu))?;
    exhausted(&group, MS)?;
    // For seconds from now on the group has no time. Its CPU has nobody but those that wait for it.
    others.run()?;
    let ran = group.statistics().run_time;
    for _ in 0..20 {
        others.run()?;
        let began = Instant::now();
        check_eq!(joined(on(cpu).spawn(current_cpu).or_fail()?), CpuId::new(cpu));
        check!(began.elapsed() < Duration::from_secs(2), "it waited for the group");
    }
    check_eq!(group.statistics().run_time, ran);
    group.set_limit(Limit::NONE).or_fail()
}

/// Mission B2, first failure, seen from the queue: what waited behind the throttled thread when it was throttled runs.
fn those_behind_a_throttled_thread_run_on() -> Outcome {
    let cpu = cpu_count() - 1;
    let group = group::Builder::new("front").quota(MS).period(Duration::from_secs(10)).create().or_fail()?;
    let _hog = Hogs::one(on(cpu).group(&group))?;
    // Some are of the group, and are set aside as their turn comes; the others are between them.
    let free_done = Arc::new(AtomicUsize::new(0));
    let mut members = Vec::new();
    for number in 0..40 {
        let busy = || {
            let end = Instant::now() + Duration::from_micros(200);
            while Instant::now() < end {}
        };
        if number % 2 == 0 {
            members.push(on(cpu).group(&group).spawn(busy).or_fail()?);
        } else {
            let done = free_done.clone();
            let free = move || {
                busy();
                done.fetch_add(1, Ordering::Relaxed);
            };
            on(cpu).spawn(free).or_fail()?.detach();
        }
    }
    poll("all that are in no group have run", || free_done.load(Ordering::Relaxed) == 20)?;
    // The hog at least waits for the period after.
    poll("the group is throttled", || group.statistics().throttled == 1)?;
    group.set_limit(Limit::NONE).or_fail()?;
    members.into_iter().for_each(joined);
    Ok(())
}

/// Mission B2, third failure: while a group is throttled, yields do nothing.
fn a_yield_is_a_yield_whatever_the_groups() -> Outcome {
    let throttled = group::Builder::new("gone").quota(MS).period(Duration::from_secs(10)).create().or_fail()?;
    let _hog = Hogs::one(on(0).group(&throttled))?;
    let rich = group::Builder::new("rich")
        .quota(Duration::from_secs(10))
        .period(Duration::from_secs(10))
        .create()
        .or_fail()?;
    exhausted(&throttled, MS)?;
    for (group, other) in [(None, None), (None, Some(&rich)), (Some(&rich), None), (Some(&rich), Some(&rich))] {
        let (turn, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let taken = |parity: usize, group: Option<&Group>| {
            let (turn, ready) = (turn.clone(), ready.clone());
            let builder = group.map_or(on(0), |group| on(0).group(group));
            builder.spawn(move || {
                ready.fetch_add(1, Ordering::Relaxed);
                while ready.load(Ordering::Relaxed) < 2 {
                    yield_now();
                }
                let mut idle = 0;
                while turn.load(Ordering::Relaxed) < 200 && idle < 1000 {
                    if turn.load(Ordering::Relaxed) % 2 == parity {
                        turn.fetch_add(1, Ordering::Relaxed);
                        idle = 0;
                    } else {
                        idle += 1;
                    }
                    yield_now();
                }
                idle
            })
        };
        let (one, two) = (taken(0, group).or_fail()?, taken(1, other).or_fail()?);
        let idle = (joined(one), joined(two));
        check!(turn.load(Ordering::Relaxed) >= 200, "yields led nowhere: {idle:?}");
    }
    throttled.set_limit(Limit::NONE).or_fail()
}

/// Mission B2, second failure: wake-ups of a throttled group's threads are handed from CPU to CPU, and pile up.
fn wakers_of_a_throttled_group_go_on() -> Outcome {
    const MEMBERS: usize = 60;
    let group = group::Builder::new("crowd").quota(MS).period(Duration::from_secs(10)).create().or_fail()?;
    let ran = Arc::new(AtomicUsize::new(0));
    let members: Vec<_> = (0..MEMBERS)
        .map(|_| {
            let ran = ran.clone();
            let member = Builder::new().group(&group).spawn(move || {
                park();
                ran.fetch_add(1, Ordering::Relaxed);
            });
            member.or_fail()
        })
        .collect::<Outcome<_>>()?;
    let _hog = Hogs::one(Builder::new().group(&group))?;
    exhausted(&group, MS)?;
    for member in &members {
        member.thread().unpark();
        // Others come and go beside them, on every CPU, and nobody stands in their way.
        check_eq!(joined(Builder::new().spawn(|| 7).or_fail()?), 7);
    }
    for cpu in 0..cpu_count() {
        check_eq!(joined(on(cpu).spawn(|| 7).or_fail()?), 7);
    }
    sleep(ms(2));
    // They are aside, all of them, and in nobody's queue: the CPUs are at rest.
    check_eq!(ran.load(Ordering::Relaxed), 0);
    let sleeps =
        || (0..cpu_count()).map(|cpu| statistics(CpuId::new(cpu)).map_or(0, |found| found.notifies)).sum::<u64>();
    let before = sleeps();
    sleep(ms(20));
    check!(sleeps() - before < 30, "CPUs wake each other {} times for threads that none may run", sleeps() - before);
    group.set_limit(Limit::NONE).or_fail()?;
    members.into_iter().for_each(joined);
    check_eq!(ran.load(Ordering::Relaxed), MEMBERS);
    Ok(())
}

fn what_is_not_used_goes_back() -> Outcome {
    // The slice is the quota: whoever kept it would leave nothing for the others.
    let group = group::Builder::new("thrift")
        .quota(ms(500))
        .period(Duration::from_secs(10))
        .slice(ms(500))
        .create()
        .or_fail()?;
    let (tx, rx) = channel::bounded(1);
    let echo = {
        let cpu = cpu_count() - 1;
        on(cpu).group(&group).spawn(move || rx.iter().take(20).sum::<usize>()).or_fail()?
    };
    let source = on(0).group(&group).spawn(move || (0..20).all(|number| tx.send(number).is_ok())).or_fail()?;
    check!(joined(source));
    check_eq!(joined(echo), 190);
    check!(group.statistics().throttled_time < Duration::from_secs(5), "{:?}", group.statistics());
    Ok(())
}

fn debt_is_paid() -> Outcome {
    let group = group::Builder::new("debtor").quota(MS).period(ms(5)).create().or_fail()?;
    let debtor = on(0).group(&group).spawn(|| {
        {
            let _guard = PreemptGuard::new();
            let end = Instant::now() + ms(8);
            while Instant::now() < end {}
        }
        // Here it is set aside, for about 7 periods.
        let began = Instant::now();
        let end = began + ms(2);
        while Instant::now() < end {}
    });
    joined(debtor.or_fail()?);
    let statistics = group.statistics();
    check!(statistics.throttled >= 1, "{statistics:?}");
    check!(statistics.throttled_time >= ms(20), "{statistics:?}");
    Ok(())
}

fn threads_move_from_group_to_group() -> Outcome {
    let (one, two) = (limited("here", 40, 100)?, limited("there", 40, 100)?);
    // By itself.
    let itself = {
        let (one, two) = (one.clone(), two.clone());
        spawn(move || {
            one.enter();
            let first = group::current();
            two.enter();
            let second = group::current();
            group::leave();
            (first, second, group::current())
        })
    };
    check_eq!(joined(itself), (Some(one.clone()), Some(two.clone()), None));
    // By another: while it runs, and while it is parked.
    let hog = Hogs::one(Builder::new())?;
    one.add(&hog.threads[0].thread()).or_fail()?;
    poll("it is charged", || one.statistics().run_time > Duration::ZERO)?;
    two.add(&hog.threads[0].thread()).or_fail()?;
    poll("it is charged elsewhere", || two.statistics().run_time > MS)?;
    drop(hog);
    let parked = spawn(|| {
        park();
        group::current()
    });
    sleep(MS);
    one.add(&parked.thread()).or_fail()?;
    parked.thread().unpark();
    check_eq!(joined(parked), Some(one));
    Ok(())
}

fn another_limit_holds_at_once() -> Outcome {
    let group = group::Builder::new("changing").create().or_fail()?;
    let hog = Hogs::one(on(cpu_count() - 1).group(&group))?;
    hog.run()?;
    group.set_limit(Limit::new(MS, Duration::from_secs(10))).or_fail()?;
    poll("it is throttled", || group.statistics().throttled == 1)?;
    let turns = hog.turns();
    sleep(ms(5));
    check_eq!(hog.turns(), turns);
    group.set_limit(Limit::NONE).or_fail()?;
    hog.run()
}

/// Mission B4: a group whose threads stay where they are.
fn a_group_may_keep_its_threads() -> Outcome {
    let group = group::Builder::new("settled").stealing(false).create().or_fail()?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let parent = {
        let (group, seen) = (group.clone(), seen.clone());
        on(0).spawn(move || {
            let members: Vec<_> = (0..20)
                .map(|_| {
                    let seen = seen.clone();
                    let member = Builder::new().group(&group).spawn(move || {
                        for _ in 0..20 {
                            let end = Instant::now() + Duration::from_micros(20);
                            while Instant::now() < end {}
                            yield_now();
                        }
                        let cpu = current_cpu();
                        seen.lock().push(cpu);
                    });
                    member.or_fail()
                })
                .collect::<Outcome<_>>()?;
            members.into_iter().for_each(joined);
            Ok(())
        })
    };
    joined(parent.or_fail()?)?;
    let seen = seen.lock();
    check_eq!(seen.len(), 20);
    check!(seen.iter().all(|&cpu| cpu == CpuId::PRIMARY), "{:?}", *seen);
    Ok(())
}

fn a_group_of_high_rank_is_throttled_too() -> Outcome {
    let sorts =
        [("high", on(0).priority(200)), ("middle", on(0).hint(Hint::Latency)), ("low", on(0).hint(Hint::Batch))];
    for (name, builder) in sorts {
        let group = group::Builder::new(name).quota(MS).period(Duration::from_secs(10)).create().or_fail()?;
        let _hog = Hogs::one(builder.group(&group))?;
        let others = Hogs::one(on(0))?;
        exhausted(&group, MS)?;
        others.run()?;
        drop(others);
        group.set_limit(Limit::NONE).or_fail()?;
    }
    Ok(())
}

/// The one that uses all time up waits for the other. A thread in no group runs meanwhile, so the other's layer has its turns.
fn who_is_lower_in_its_group_has_a_turn_too() -> Outcome {
    let group = limited("a few turns", 1, 4)?;
    let (told, tells) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (seen, waits, gave_up) = (told.clone(), group.clone(), tells.clone());
    let high = on(0).priority(100).group(&group).spawn(move || {
        while !seen.load(Ordering::Relaxed) && waits.statistics().periods < 200 {}
        gave_up.store(true, Ordering::Relaxed);
        seen.load(Ordering::Relaxed)
    });
    let low = on(0).group(&group).spawn(move || told.store(true, Ordering::Relaxed)).or_fail()?;
    let others = on(0).ungrouped().spawn(move || {
        while !tells.load(Ordering::Relaxed) {
            sleep(Duration::from_micros(100));
        }
    });
    let was_told = joined(high.or_fail()?);
    joined(others.or_fail()?);
    joined(low);
    check!(was_told, "the lower one had no turn in {} periods", group.statistics().periods);
    Ok(())
}

/// Members of nested groups block, yield, sleep, spawn and move, all at once; all come to their end.
fn groups_under_load() -> Outcome {
    let slice = Duration::from_micros(50);
    let above = group::Builder::new("upper").quota(ms(4)).period(ms(8)).slice(slice).create().or_fail()?;
    let groups: Vec<Group> = (0..3u64)
        .map(|number| {
            let name = format!("lower {number}");
            group::Builder::new(&name)
                .parent(&above)
                .quota(Duration::from_micros(500 << number))
                .period(ms(4))
                .slice(slice)
                .create()
                .or_fail()
        })
        .collect::<Outcome<_>>()?;
    let threads: Vec<_> = (0..24usize)
        .map(|number| {
            let own = groups.clone();
            let builder = if number % 4 == 3 { Builder::new() } else { Builder::new().group(&groups[number % 3]) };
            let thread = builder.spawn(move || {
                let mut random = Random::new(number as u64 + 1);
                for _ in 0..60 {
                    match random.below(7) {
                        0 => yield_now(),
                        1 => sleep(Duration::from_micros(random.below(300) as u64)),
                        2 => joined(spawn(|| ())),
                        3 => own[random.below(3)].enter(),
                        4 => drop(thread::park_timeout(Duration::from_micros(50))),
                        _ => {
                            let end = Instant::now() + Duration::from_micros(random.below(120) as u64);
                            while Instant::now() < end {}
                        }
                    }
                }
                number
            });
            thread.or_fail()
        })
        .collect::<Outcome<_>>()?;
    check_eq!(threads.into_iter().map(joined).sum::<usize>(), 276);
    // Rounded down one by one.
    let agree = || {
        let parts = groups.iter().map(|group| group.statistics().run_time.as_nanos());
        above.statistics().run_time.as_nanos().abs_diff(parts.sum()) < 1000
    };
    // A thread tells its joiner first, and is charged for its run when it leaves its CPU.
    let end = Instant::now() + Duration::from_secs(1);
    while !agree() && Instant::now() < end {
        sleep(Duration::from_millis(1));
    }
    check!(agree(), "{:?}", above.statistics());
    Ok(())
}
