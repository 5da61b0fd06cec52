//! Ctrl-C and polite kills, as a flag that every wait looks at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP set the flag instead of ending the process at once, so that QEMU is ended first.
pub fn catch() {
    let flag = REQUESTED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // A signal that cannot be caught keeps its default meaning: the process ends, and QEMU with it (see `process`).
        let _ = signal_hook::flag::register(signal, Arc::clone(flag));
    }
}

/// Whether one has come.
#[must_use]
pub fn requested() -> bool {
    // Relaxed: the flag carries no other data.
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
