//! Threads that measure.

use isochron::CpuId;
use isochron::thread::{Builder, JoinHandle, SpawnError};

/// Runs `closure` in a thread that is bound to `cpu`.
///
/// # Errors
/// As [`Builder::spawn`].
pub fn on<F, T>(cpu: CpuId, name: &str, closure: F) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().name(name).pinned(cpu).spawn(closure)
}
