//! Scenarios in which memory is refused at each place that asks for it, one after the other.

use crate::census::Counters;
use crate::{Failure, Outcome, check};
use alloc::format;
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron::kernel::memory::census::Census;
use isochron::kernel::memory::shortage::{self, Extent, Supply};
use isochron::thread::{Builder, Death, JoinHandle, SpawnError};
use isochron::{Duration, group, println};

/// Why a scenario ended before its end: it was refused memory, and told so by its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It was.
    Refused,
    /// What must not be, whatever is refused.
    Wrong(&'static str),
}

/// What is done, with the number of the request that is refused.
pub type Scenario = fn(usize) -> Result<(), Cut>;

impl From<SpawnError> for Cut {
    fn from(error: SpawnError) -> Self {
        if error == SpawnError::OutOfMemory {
            Self::Refused
        } else {
            Self::Wrong("a thread was refused for another reason")
        }
    }
}

impl From<group::GroupError> for Cut {
    fn from(error: group::GroupError) -> Self {
        if error == group::GroupError::OutOfMemory {
            Self::Refused
        } else {
            Self::Wrong("a group was refused for another reason")
        }
    }
}

impl From<Death> for Cut {
    fn from(death: Death) -> Self {
        // A panic is how code ends that has no way to tell: what it says is on the console.
        if matches!(death, Death::OutOfMemory | Death::Panicked) {
            Self::Refused
        } else {
            Self::Wrong("a thread died of something else")
        }
    }
}

/// What must hold, whatever is refused.
///
/// # Errors
/// [`Cut::Wrong`].
pub fn want(held: bool, what: &'static str) -> Result<(), Cut> {
    if held { Ok(()) } else { Err(Cut::Wrong(what)) }
}

/// What came of all rounds of a scenario.
#[derive(Default)]
struct Sum {
    rounds: usize,
    told: usize,
    died: usize,
    unharmed: usize,
}

/// Runs a scenario with its first, second, third ... request refused, until it comes to its end with none refused.
///
/// # Errors
/// If it hangs, ends in a way that it must not, or keeps memory.
pub fn in_turn(scenario: Scenario, supplies: &[Supply]) -> Outcome {
    in_turn_after(scenario, supplies, || ())
}

/// As [`in_turn`]; `prepare` is done before each round.
///
/// # Errors
/// As [`in_turn`].
pub fn in_turn_after(scenario: Scenario, supplies: &[Supply], prepare: fn()) -> Outcome {
    let counters = Counters::new();
    for supply in supplies {
        for extent in [Extent::One, Extent::Rest] {
            // What is made once and stays, and pools that fill.
            round(&counters, prepare, scenario, *supply, usize::MAX, extent)?;
            let mut sum = Sum::default();
            loop {
                sum.rounds += 1;
                check!(sum.rounds < 2000, "{supply:?}: no end");
                let at = sum.rounds;
                let (end, refused, before, after) = round(&counters, prepare, scenario, *supply, at, extent)?;
                match end {
                    End::Whole if !refused => break,
                    End::Whole => sum.unharmed += 1,
                    End::Told => sum.told += 1,
                    End::Died => sum.died += 1,
                }
                // A dead thread is not unwound: what it owned is lost.
                if end != End::Died {
                    check!(after.heap <= before.heap, "{supply:?} {extent:?} {at}: {before:?}, and then {after:?}");
                    check!(after.stacks <= before.stacks, "{supply:?} {extent:?} {at}: {before:?}, and then {after:?}");
                }
            }
            println!(
                "{supply:?}, {extent:?}: {} refusals in turn: {} told by type, {} deaths, {} without harm",
                sum.rounds - 1,
                sum.told,
                sum.died,
                sum.unharmed
            );
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// It came to its end.
    Whole,
    Told,
    /// One of its threads died of it.
    Died,
}

/// Threads that a scenario knows to have died.
static DEATHS: AtomicUsize = AtomicUsize::new(0);

fn round(
    counters: &Counters,
    prepare: fn(),
    scenario: Scenario,
    supply: Supply,
    nth: usize,
    extent: Extent,
) -> Outcome<(End, bool, Census, Census)> {
    DEATHS.store(0, Ordering::Relaxed);
    prepare();
    let before = counters.take();
    let thread = Builder::new().name("scenario").stack_size(64 * 1024).spawn(move || {
        shortage::begin(supply, nth, extent);
        let end = scenario(nth.min(4000));
        shortage::end();
        end
    });
    let thread = thread.map_err(|error| Failure::Failed(format!("the scenario cannot begin: {error}")))?;
    let Ok(end) = thread.join_timeout(Duration::from_secs(10)) else {
        shortage::end();
        return Err(Failure::Failed(format!("{supply:?} {extent:?} {nth}: it hangs")));
    };
    let seen = shortage::end();
    let died = DEATHS.load(Ordering::Relaxed) > 0;
    let end = match end {
        Ok(Ok(())) if !died => End::Whole,
        Ok(Ok(()) | Err(Cut::Refused)) if died => End::Died,
        Ok(Err(Cut::Refused)) => End::Told,
        Ok(Err(Cut::Wrong(what))) => return Err(Failure::Failed(format!("{supply:?} {extent:?} {nth}: {what}"))),
        Err(Death::Panicked) => End::Died,
        other => return Err(Failure::Failed(format!("{supply:?} {extent:?} {nth}: {other:?}"))),
    };
    check!(end == End::Whole || seen.refused > 0, "{supply:?} {extent:?} {nth}: {end:?}, and nothing was refused");
    Ok((end, seen.refused > 0, before, counters.take()))
}

/// As `join`, in a scenario; a death by panic is counted.
///
/// # Errors
/// [`Cut`], for what the death means here.
pub fn end_of<T>(thread: JoinHandle<T>) -> Result<T, Cut> {
    let end = thread.join();
    if end.as_ref().err() == Some(&Death::Panicked) {
        DEATHS.fetch_add(1, Ordering::Relaxed);
    }
    end.map_err(Cut::from)
}
