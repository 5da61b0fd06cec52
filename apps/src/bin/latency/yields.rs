//! Yielding.

use crate::suite::{Context, HERE};
use core::hint::black_box;
use isochron::thread::{SpawnError, yield_now};
use isochron_apps::measure::{Plan, on};

/// `yield_alone`: one call of [`yield_now`] while its CPU has nobody else to run, from call to return.
///
/// Batches of 128 on the primary CPU.
pub fn alone(context: &Context<'_>) -> Result<(), SpawnError> {
    context.time("yield_alone", context.plan(128), yield_now);
    Ok(())
}

/// `yield_switch`: from a call of [`yield_now`] in one thread to its return in another on the same CPU: one way.
///
/// Two threads bound to the primary CPU yield in turn. Batches of 64 there and back, which are 128 switches. The loops of both threads are
/// taken off.
pub fn switch(context: &Context<'_>) -> Result<(), SpawnError> {
    let plan = Plan { events: 2, partner_loops: 1, ..context.plan(64) };
    // It gets its first turn at the first yield below, and one for each that follows.
    let partner = on(HERE, "yield_partner", move || {
        for _ in 0..plan.calls() {
            yield_now();
            black_box(());
        }
    })?;
    context.time("yield_switch", plan, yield_now);
    partner.join().unwrap();
    Ok(())
}
