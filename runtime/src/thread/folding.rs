//! Folding packed threads that wait: what it is about them that matters, and when it is done.
//!
//! A packed thread that is parked needs its block, its red zone, and its stack from where its context was saved up: some 500 bytes
//! of 1024, of which many are zeroes and addresses. So the pages of slots whose threads all wait are kept as records of that, and
//! their memory goes back (`isochron_kernel::memory::folding`, which has the protocol).
//!
//! # Rejected
//! *Folding threads one by one*: four of them share a page, which is gone only when all four are. *A time stamp at each park*, to know
//! which have waited long: two instructions for every park, of which most never matter; taking their pages away and looking later
//! which of them have come back tells the same. *A thread that folds by itself*: how long is long, and whether memory or the first
//! access after that matters more, the program knows.

use super::control::Thread;
use super::packed::{self, ZONE, ZONE_OFFSET};
use super::{PreemptGuard, current_ptr, sleep};
use crate::Duration;
use crate::kernel::arch::context::Context;
use crate::sync::Mutex;
use core::cell::UnsafeCell;
use core::ops::Range;
use isochron_core::thread_state::Stillness;
use isochron_kernel::boot::layout::PAGE_SIZE;
use isochron_kernel::memory::OutOfMemory;
pub use isochron_kernel::memory::folding::folded;
use isochron_kernel::memory::folding::{Folder, Live, blocks};
use isochron_kernel::memory::packed::SlotSize;

/// One at a time.
static FOLDER: Mutex<()> = Mutex::new(());

/// So many bytes of pages are looked at in one go, without a preemption: of those that are to be shut, and of those that are to be
/// folded, which takes longer.
const SHUT_AT_ONCE: usize = 64 * PAGE_SIZE;
const FOLD_AT_ONCE: usize = 16 * PAGE_SIZE;

/// Folds packed threads that have been left alone for `older_than`: keeps what matters of them, and gives their pages back. How
/// many bytes of pages it was; what is kept of them, [`folded`] tells.
///
/// They are what they were: whoever wakes a folded thread, or touches what it has on its stack, finds it at its place. The first
/// access to a page that is folded takes some 11,000 instructions and a page of memory; all the threads in it are unfolded by
/// that. If there is no memory, whoever touches it ends with [`Death::OutOfMemory`](super::Death::OutOfMemory).
///
/// A page (4 threads of 1 KiB, 2 of 2 KiB) is folded if none of its threads runs or is about to and one waits at least. With an
/// `older_than` of some time, all of them are made to fault for so long, once; those that nobody has touched after that are folded.
/// With zero, all that wait are.
///
/// It takes some 14,000 instructions for each page, 16 pages at a time without being preempted. On x86-64 every other CPU is
/// interrupted once. Who calls it while another thread does waits for that one.
///
/// ```ignore
/// // What has waited for a second can wait a little longer when it is woken.
/// let bytes = isochron::thread::fold_parked(Duration::from_secs(1));
/// ```
///
/// # Panics
/// Outside a thread, in a packed thread (it takes more stack than there is), and with interrupts masked.
pub fn fold_parked(older_than: Duration) -> usize {
    assert!(!packed::is_packed(current_ptr()), "a packed thread has no room to fold others");
    if !FIT {
        return 0;
    }
    let _alone = FOLDER.lock();
    // SAFETY: whoever has the lock is the one; who died with it is not at work any more.
    let mut folder = unsafe { Folder::new() };
    let shut: usize = in_parts(SHUT_AT_ONCE).map(|part| shut(&mut folder, part)).sum();
    if shut == 0 {
        return 0;
    }
    if older_than > Duration::ZERO {
        sleep(older_than);
    }
    if !folder.settle() {
        return 0;
    }
    let mut pages = 0;
    for part in in_parts(FOLD_AT_ONCE) {
        match fold(&mut folder, part) {
            Ok(count) => pages += count,
            Err(OutOfMemory) => break,
        }
    }
    pages * PAGE_SIZE
}

/// The memory of packed slots, in parts of so many bytes.
fn in_parts(bytes: usize) -> impl Iterator<Item = Range<usize>> {
    blocks().flat_map(move |block| block.clone().step_by(bytes).map(move |start| start..(start + bytes).min(block.end)))
}

fn shut(folder: &mut Folder, part: Range<usize>) -> usize {
    let _stays = PreemptGuard::new();
    folder.shut(part, what_matters)
}

fn fold(folder: &mut Folder, part: Range<usize>) -> Result<usize, OutOfMemory> {
    let _stays = PreemptGuard::new();
    // SAFETY: `fold_parked` settles before.
    unsafe { folder.fold(part, what_matters) }
}

/// What matters of a page of packed slots; `None` if one of its threads moves, or none waits.
///
/// Slots that nobody has, and of which this cannot tell, are kept whole, as are those of threads that have ended and whose results
/// nobody has fetched.
///
/// # Safety
/// The view shows a page of packed slots, and others may be writing there.
unsafe fn what_matters(page: usize, view: *const u8) -> Option<Live> {
    let slot = SlotSize::at(page).bytes();
    let (mut live, mut waits) = (Live::none(), false);
    for at in (0..PAGE_SIZE).step_by(slot) {
        // SAFETY: a slot in the page.
        let thread = unsafe { view.add(at).cast::<Thread>() };
        // SAFETY: a state is made of atomics, which may hold anything.
        match unsafe { &(*thread).state }.stillness() {
            Stillness::Moving => return None,
            Stillness::Handed | Stillness::Ended => live.keep(at..at + slot),
            Stillness::Parked => {
                waits = true;
                // SAFETY: as above.
                let context = unsafe { UnsafeCell::raw_get(&raw const (*thread).context) };
                // SAFETY: as above.
                let end = unsafe { Context::stack_end_of(context) };
                let body = at + ZONE_OFFSET + ZONE;
                match end.checked_sub(page).filter(|end| (body..=at + slot).contains(end)) {
                    Some(end) => {
                        live.keep(at..body);
                        live.keep(end..at + slot);
                    }
                    // Nothing that ever ran.
                    None => live.keep(at..at + slot),
                }
            }
        }
    }
    waits.then_some(live)
}

/// Whether slots are smaller than pages; with a sanitizer, which puts something around each variable, they are not.
const FIT: bool = PAGE_SIZE.is_multiple_of(SlotSize::Kib2.bytes());
