//! Handing the CPU over by park and unpark.

use crate::suite::{Context, HERE};
use isochron::thread::{self, SpawnError, park};
use isochron_apps::measure::{Plan, on};

/// `handover_round`: from a call of `unpark` on a parked thread of the same CPU, through this thread's own `park`, to
/// `park`'s return after the other has done the same: a round, two switches.
///
/// Two threads bound to the primary CPU. Batches of 32 rounds; the loops of both threads are taken off.
pub fn round(context: &Context<'_>) -> Result<(), SpawnError> {
    let plan = Plan { partner_loops: 1, ..context.plan(32) };
    let me = thread::current();
    let partner = on(HERE, "handover_partner", move || {
        for _ in 0..plan.calls() {
            park();
            me.unpark();
        }
    })?;
    let other = partner.thread();
    context.time("handover_round", plan, || {
        other.unpark();
        park();
    });
    partner.join().unwrap();
    Ok(())
}
