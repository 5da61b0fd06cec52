//! Running the cases of a kernel in order, with a watchdog beside them.

use crate::{Failure, Outcome};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron::Duration;
use isochron::kernel::report;
use isochron::kernel::wire::{self, Record, exit};
use isochron::thread::{self, Builder};

/// How long a case may take before the watchdog ends the machine. Far above what any takes on a slow host, and below the
/// host's own patience.
pub const CASE_LIMIT: Duration = Duration::from_secs(30);

/// One case: its name and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, snake_case.
    pub name: &'static str,
    /// What it does.
    pub run: fn() -> Outcome,
}

/// A table of cases from a list of functions: `cases![first, second]`.
#[macro_export]
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        &[$($crate::Case { name: stringify!($case), run: $case }),+]
    };
}

/// What the watchdog keeps an eye on: 1 + the number of the case that runs; 0 when all is done.
type Watched = Arc<AtomicUsize>;

/// Runs `cases` in order, tells the host of each, and gives the code for the machine's end.
#[must_use]
pub fn run(cases: &'static [Case]) -> u8 {
    report::send(&Record::TestPlan { count: cases.len() as u32 });
    let watched = Watched::new(AtomicUsize::new(1));
    let watchdog = {
        let watched = watched.clone();
        let made = Builder::new().name("watchdog").spawn(move || watch(&watched, cases));
        match made {
            Ok(watchdog) => watchdog,
            Err(error) => panic!("the watchdog cannot be made: {error}"),
        }
    };
    let mut all_passed = true;
    for (index, case) in cases.iter().enumerate() {
        watched.store(index + 1, Ordering::Relaxed);
        watchdog.thread().unpark();
        // The watchdog falls asleep again now, not in the middle of the case.
        thread::yield_now();
        report::send(&Record::TestBegin { name: case.name });
        let outcome = (case.run)();
        let (outcome, text) = match &outcome {
            Ok(()) => (wire::Outcome::Passed, ""),
            Err(Failure::Ignored(why)) => (wire::Outcome::Ignored, why.as_str()),
            Err(Failure::Failed(why)) => {
                all_passed = false;
                (wire::Outcome::Failed, why.as_str())
            }
        };
        report::send(&Record::TestEnd { name: case.name, outcome, text });
    }
    watched.store(0, Ordering::Relaxed);
    watchdog.thread().unpark();
    all_passed &= watchdog.join().is_ok();
    if all_passed { exit::PASSED } else { exit::FAILED }
}

/// The watchdog: asleep for as long as a case may take, woken by the next one. It allocates nothing, because the heap
/// may be empty or its lock held when it is needed.
fn watch(watched: &Watched, cases: &'static [Case]) {
    loop {
        let before = watched.load(Ordering::Relaxed);
        if before == 0 {
            return;
        }
        let woken = thread::park_timeout(CASE_LIMIT);
        if !woken && watched.load(Ordering::Relaxed) == before {
            let name = cases[before - 1].name;
            let text = "the watchdog found it still running at its time limit: it hangs, or a thread starves";
            report::send(&Record::TestEnd { name, outcome: wire::Outcome::Failed, text });
            isochron::exit(exit::FAILED);
        }
    }
}
