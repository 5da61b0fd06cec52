//! CPU groups: what their threads ran is within their quotas, however they nest, block and move. That all run again is seen by
//! their ends.

use crate::random::Random;
use isochron::group::{self, Group, Limit};
use isochron::prelude::*;
use isochron::thread::Thread;

/// By how much more than it took and owes a group may have run: what is rounded.
const ROUNDED: Duration = Duration::from_micros(1);

/// How long the end of the last thread may take.
const PATIENCE: Duration = Duration::from_millis(2);
/// The most groups of a program.
const MOST: u64 = 4;

/// Before memory is counted: the list of all groups has its room, and what it knows of those that are gone is always the same.
pub fn settle() {
    let groups: Vec<_> = (0..=2 * MOST).map(|number| group::Builder::new(&format!("none {number}")).create()).collect();
    assert!(groups.iter().all(Result::is_ok), "groups can be made");
    drop(groups);
    drop(group::Builder::new("none").create());
}

/// The groups of a program; none in most.
pub struct Bands {
    groups: Vec<Group>,
    begun: Instant,
    /// Each was given a full quota besides those of its periods.
    changes: Mutex<u64>,
}

/// A quota and a period, the same part of the time as all others of the program, so that they nest in any way.
fn a_limit(random: &mut Random, percent: u64) -> Limit {
    let period = random.within(100..1_500) * 1_000;
    Limit::new(Duration::from_nanos(period / 100 * percent), Duration::from_nanos(period))
}

impl Bands {
    /// Some, or none.
    pub fn new(random: &mut Random) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        if random.once_in(3) {
            let percent = [15, 40, 80][random.below(3)];
            for number in 0..random.within(1..MOST + 1) {
                let name = format!("band {number}");
                // Far longer than an interrupt takes here.
                let slice = Duration::from_micros([40, 100, 300][random.below(3)]);
                let builder = group::Builder::new(&name).slice(slice).stealing(!random.once_in(4));
                let builder = if random.once_in(5) { builder } else { builder.limit(a_limit(random, percent)) };
                let made = match groups.get(random.below(groups.len() + 1)) {
                    Some(parent) => builder.parent(parent).create(),
                    None => builder.create(),
                };
                groups.push(made.expect("a group can be made"));
            }
        }
        Self { groups, begun: Instant::now(), changes: Mutex::new(0) }
    }

    /// One of them, if there are any.
    pub fn any(&self, random: &mut Random) -> Option<&Group> {
        if self.groups.is_empty() { None } else { Some(&self.groups[random.below(self.groups.len())]) }
    }

    /// Moves the running thread, or the one given, from group to group.
    pub fn change(&self, random: &mut Random, other: Option<Thread>) {
        let Some(group) = self.any(random) else { return };
        match (random.below(6), other) {
            (0, _) => group::leave(),
            (1, Some(other)) => match group.add(&other) {
                Ok(()) | Err(group::GroupError::Ended) => {}
                Err(error) => panic!("a thread cannot be moved: {error}"),
            },
            (2, _) if random.once_in(3) => {
                *self.changes.lock() += 1;
                let limit = group.limit();
                group.set_limit(limit).expect("it has that limit");
            }
            _ => {
                group.enter();
                if random.once_in(2) {
                    group::leave();
                }
            }
        }
    }

    /// Nobody is left in them.
    pub fn check(self) {
        let changes = *self.changes.lock();
        for group in &self.groups {
            let Limit { quota: Some(quota), period } = group.limit() else { continue };
            // The first one began with the first work, the last one has begun, and what was taken in the one before may be
            // given back and taken in both.
            let periods = self.begun.elapsed().as_nanos() / period.as_nanos() + 3 + changes;
            // A thread is charged after its handle was told of its end.
            let deadline = Instant::now() + PATIENCE;
            loop {
                let found = group.statistics();
                let most = quota.as_nanos() * periods + (found.debt + ROUNDED).as_nanos();
                if found.run_time.as_nanos() <= most {
                    break;
                }
                assert!(
                    Instant::now() < deadline,
                    "{group:?} ({}) ran for more than {most} ns: {found:?}",
                    group.limit()
                );
                sleep(Duration::from_micros(100));
            }
        }
    }
}
