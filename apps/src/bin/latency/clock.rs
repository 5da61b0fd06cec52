//! Reading the clock.

use crate::suite::Context;
use isochron::Instant;
use isochron::thread::SpawnError;

/// `clock_read`: one [`Instant::now`], which is `CNTVCT_EL0` or the TSC with its barriers, from its first instruction to
/// its last.
///
/// Batches of 256. The loop is taken off. The batch's own two readings are one more reading between the two moments
/// that they tell, and that one is taken off as everywhere. Every other measure takes this cost off too.
pub fn read(context: &Context<'_>) -> Result<(), SpawnError> {
    context.time("clock_read", context.plan(256), || {
        let _ = Instant::now();
    });
    Ok(())
}
