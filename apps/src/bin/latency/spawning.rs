//! Making threads.

use crate::suite::{Context, HERE};
use isochron::thread::{Builder, SpawnError};
use isochron_apps::measure::batches;

/// `spawn_join`: from the call of `spawn` to the return of `join`, for a thread that returns at once, on the same CPU.
///
/// Its stack (the default size) comes from the CPU's pool and goes back there: the warm-up fills the pool. Batches of 8,
/// one thread after the other.
pub fn spawn_join(context: &Context<'_>) -> Result<(), SpawnError> {
    // An error leaves one batch without threads; it is returned, and nothing is reported.
    let mut failed = None;
    let recorder = batches(&context.overhead, context.plan(8), || match Builder::new().pinned(HERE).spawn(|| ()) {
        Ok(handle) => handle.join().unwrap(),
        Err(error) => failed = Some(error),
    });
    if let Some(error) = failed {
        return Err(error);
    }
    recorder.send("spawn_join");
    Ok(())
}
