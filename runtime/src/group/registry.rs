//! All groups there are, by name.
//!
//! Under a spin lock, with interrupts masked: a thread that waited for a mutex here could be set aside while it holds it.

use super::{GroupError, Inner};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::irq;

static GROUPS: SpinLock<Vec<Weak<Inner>>> = SpinLock::new(lock_rank::GROUPS, Vec::new());

/// Adds one whose name is not there yet.
pub(super) fn add(group: &Arc<Inner>) -> Result<(), GroupError> {
    irq::without(|| {
        GROUPS.with(|groups| {
            groups.retain(|group| group.strong_count() > 0);
            if groups.iter().filter_map(Weak::upgrade).any(|other| other.name == group.name) {
                return Err(GroupError::NameTaken);
            }
            groups.try_reserve(1).map_err(|_| GroupError::OutOfMemory)?;
            groups.push(Arc::downgrade(group));
            Ok(())
        })
    })
}

/// The `index`th, as long as there is one; the inner `None` is one that is gone.
fn get(index: usize) -> Option<Option<Arc<Inner>>> {
    irq::without(|| GROUPS.with(|groups| groups.get(index).map(Weak::upgrade)))
}

/// Those there are. One that is added or goes meanwhile may be missed, or another be given twice.
pub(super) fn all() -> impl Iterator<Item = Arc<Inner>> {
    (0..).map_while(get).flatten()
}
