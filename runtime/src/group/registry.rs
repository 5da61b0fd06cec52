//! All groups there are, by name.
//!
//! Under a spin lock, with interrupts masked: a thread that waited for a mutex here could be set aside while it holds it.

use super::{GroupError, Inner};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicUsize, Ordering};
use isochron_core::lock_rank;
use isochron_core::spinlock::SpinLock;
use isochron_kernel::irq;

static GROUPS: SpinLock<Vec<Entry>> = SpinLock::new(lock_rank::GROUPS, Vec::new());

/// How many have been taken off the list, which puts others elsewhere.
static REMOVED: AtomicUsize = AtomicUsize::new(0);

/// A group that has not yet been taken off the list, which is the first thing done when the last reference to it goes. So,
/// under the lock, it is there.
struct Entry(NonNull<Inner>);

// SAFETY: `Inner` is shared by CPUs as it is; the pointer is only followed under the lock.
unsafe impl Send for Entry {}

impl Entry {
    fn group(&self) -> &Inner {
        // SAFETY: `remove` runs before anything of a group is dropped, under the lock that the caller has.
        unsafe { self.0.as_ref() }
    }
}

/// Adds one whose name is not there yet.
pub(super) fn add(group: &Arc<Inner>) -> Result<(), GroupError> {
    irq::without(|| {
        GROUPS.with(|groups| {
            if groups.iter().any(|other| other.group().name == group.name) {
                return Err(GroupError::NameTaken);
            }
            groups.try_reserve(1).map_err(|_| GroupError::OutOfMemory)?;
            groups.push(Entry(NonNull::from(&**group)));
            Ok(())
        })
    })
}

/// Takes one off the list that may be there.
pub(super) fn remove(group: &Inner) {
    irq::without(|| {
        GROUPS.with(|groups| {
            if let Some(at) = groups.iter().position(|other| ptr::eq(other.0.as_ptr(), group)) {
                groups.swap_remove(at);
                // Relaxed, here and below: under the lock.
                REMOVED.fetch_add(1, Ordering::Relaxed);
            }
        });
    });
}

/// The `index`th, as long as there is one; the inner `None` is one that is going.
fn get(index: usize) -> Option<Option<Arc<Inner>>> {
    irq::without(|| GROUPS.with(|groups| groups.get(index).map(|group| group.group().share())))
}

/// How many have ever been taken off the list. As long as this stays, nobody is missed by [`all`].
pub(super) fn removed() -> usize {
    irq::without(|| GROUPS.with(|_| REMOVED.load(Ordering::Relaxed)))
}

/// Whether it holds for any, at one moment. `asked` takes no lock that comes before the list's.
pub(super) fn any(mut asked: impl FnMut(&Inner) -> bool) -> bool {
    irq::without(|| GROUPS.with(|groups| groups.iter().any(|entry| asked(entry.group()))))
}

/// Those there are. One that is added or goes meanwhile may be missed, or another be given twice.
pub(super) fn all() -> impl Iterator<Item = Arc<Inner>> {
    (0..).map_while(get).flatten()
}
