//! Messages there and back.

use crate::suite::{Context, HERE, THERE};
use isochron::CpuId;
use isochron::channel;
use isochron::thread::SpawnError;
use isochron_apps::measure::{Plan, on};

/// `channel_round_same_cpu`: from the call of `send` on one bounded channel to the return of `recv` from another, on
/// which a second thread of the same CPU sends back each number that it receives.
///
/// Both channels have room for one message. Batches of 16 rounds; the loops of both threads are taken off.
pub fn same_cpu(context: &Context<'_>) -> Result<(), SpawnError> {
    round(context, "channel_round_same_cpu", HERE)
}

/// `channel_round_cross_cpu`: the same with the second thread on the second CPU, which has nothing else to do and idles
/// whenever it waits, as this one does.
pub fn cross_cpu(context: &Context<'_>) -> Result<(), SpawnError> {
    round(context, "channel_round_cross_cpu", THERE)
}

fn round(context: &Context<'_>, name: &str, partners: CpuId) -> Result<(), SpawnError> {
    let plan = Plan { partner_loops: 1, ..context.plan(16) };
    let (there, received) = channel::bounded::<u64>(1);
    let (back, answers) = channel::bounded::<u64>(1);
    // It ends when `there` is dropped.
    let partner = on(partners, "channel_partner", move || {
        for number in &received {
            if back.send(number).is_err() {
                break;
            }
        }
    })?;
    let mut number = 0;
    context.time(name, plan, || {
        number += 1;
        let sent = there.send(number).is_ok();
        let answer = answers.recv();
        assert!(sent && answer == Ok(number), "a message was lost");
    });
    drop(there);
    partner.join().unwrap();
    Ok(())
}
