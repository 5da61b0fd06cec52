//! What each CPU counts of its own preemptions.

use super::ProbeError;
use super::heat::{BINS, CallPath, DEEPEST, HeatMap, HeatSettings};
use crate::Duration;
use crate::sync::Mutex;
use crate::worker::Worker;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use isochron_kernel::clock::{ns_to_ticks, ticks_to_ns};
use isochron_kernel::cpu::{self, CpuId};
use isochron_kernel::{arch, backtrace, smp};

/// Call paths that are kept for each CPU.
const PATHS: usize = 64;

/// A CPU's own: touched with interrupts masked.
pub(crate) struct Delay {
    /// Where delays are counted, if they are.
    book: AtomicPtr<Book>,
    /// The moment for which the timer was set whose handler is at work; 0 for none.
    timer: Cell<u64>,
    /// Since when the running thread is to be taken off; 0 if it is not, as far as is known.
    since: Cell<u64>,
}

/// What one CPU has found.
struct Book(UnsafeCell<Pages>);

struct Pages {
    settings: HeatSettings,
    threshold: u64,
    bin: u64,
    counts: [u64; BINS],
    longest: u64,
    paths: [Page; PATHS],
    lost: u64,
}

/// A call path.
#[derive(Clone, Copy)]
struct Page {
    bin: usize,
    count: u64,
    longest: u64,
    depth: usize,
    frames: [usize; DEEPEST],
}

impl Delay {
    pub const fn new() -> Self {
        Self { book: AtomicPtr::new(ptr::null_mut()), timer: Cell::new(0), since: Cell::new(0) }
    }

    /// The handler of a timer that was set to `due` begins; or (0) has ended.
    #[inline(always)]
    pub fn timer(&self, due: u64) {
        self.timer.set(due);
    }

    /// The running thread is to be taken off its CPU.
    #[inline(always)]
    pub fn begin(&self) {
        // The look is for those who pay for it: nobody counts, mostly.
        if !self.book.load(Ordering::Relaxed).is_null() {
            let due = self.timer.get();
            self.since.set(if due == 0 { arch::clock::ticks_unordered() } else { due });
        }
    }

    /// It is taken off.
    #[inline(always)]
    pub fn end(&self) {
        // Acquire: partner is the release in `hang`.
        let book = self.book.load(Ordering::Acquire);
        // SAFETY: a book that hangs here is freed only after every CPU has taken an interrupt since it was taken down.
        if let Some(book) = unsafe { book.as_ref() } {
            self.note(book);
        }
    }

    #[cold]
    #[inline(never)]
    fn note(&self, book: &Book) {
        let since = self.since.replace(0);
        if since == 0 {
            return;
        }
        let delay = arch::clock::ticks_unordered().saturating_sub(since);
        // SAFETY: the book is this CPU's, and interrupts are masked.
        let pages = unsafe { &mut *book.0.get() };
        let bin = usize::try_from(delay / pages.bin).map_or(BINS - 1, |bin| bin.min(BINS - 1));
        pages.counts[bin] += 1;
        pages.longest = pages.longest.max(delay);
        if delay >= pages.threshold {
            let mut page = Page { bin, count: 1, longest: delay, depth: 0, frames: [0; DEEPEST] };
            let deepest = pages.settings.depth;
            backtrace::walk(arch::cpu::frame_pointer(), &mut |pc| {
                if page.depth < deepest {
                    page.frames[page.depth] = pc;
                    page.depth += 1;
                }
            });
            pages.keep(page);
        }
    }
}

impl Pages {
    /// Counts a call path; without room, in place of the one with the shortest delay.
    fn keep(&mut self, page: Page) {
        let same = |known: &&mut Page| known.count > 0 && known.bin == page.bin && known.frames == page.frames;
        if let Some(known) = self.paths.iter_mut().find(same) {
            known.count += 1;
            known.longest = known.longest.max(page.longest);
            return;
        }
        if let Some(least) = self.paths.iter_mut().min_by_key(|known| (known.count > 0, known.longest)) {
            if least.count == 0 || least.longest < page.longest {
                self.lost += least.count;
                *least = page;
            } else {
                self.lost += 1;
            }
        }
    }
}

/// The books of the counting that is under way.
static BOOKS: Mutex<Vec<(CpuId, Held)>> = Mutex::new(Vec::new());

/// A book that a CPU may be writing.
struct Held(NonNull<Book>);

// SAFETY: a book may be read on any CPU once its own has given it up; the pointer stands for a box.
unsafe impl Send for Held {}

fn hang(cpu: CpuId, book: *mut Book) {
    if let Some(worker) = Worker::of(cpu) {
        // Release: partner is the load in `end`.
        worker.trace.delay.book.store(book, Ordering::Release);
    }
}

pub(super) fn start(settings: HeatSettings) -> Result<(), ProbeError> {
    let mut books = BOOKS.lock();
    if !books.is_empty() {
        return Err(ProbeError::Busy);
    }
    books.try_reserve(cpu::online_count()).map_err(|_| ProbeError::OutOfMemory)?;
    let empty = Page { bin: 0, count: 0, longest: 0, depth: 0, frames: [0; DEEPEST] };
    for cpu in cpu::online() {
        let pages = Pages {
            settings,
            threshold: ns_to_ticks(settings.threshold.as_nanos()),
            bin: ns_to_ticks(settings.bin.as_nanos()).max(1),
            counts: [0; BINS],
            longest: 0,
            paths: [empty; PATHS],
            lost: 0,
        };
        let book = NonNull::from(Box::leak(Box::new(Book(UnsafeCell::new(pages)))));
        books.push((cpu.id, Held(book)));
        hang(cpu.id, book.as_ptr());
    }
    Ok(())
}

/// Takes all books down. Those that no CPU can be writing any more.
fn take_down() -> Vec<(CpuId, Box<Book>)> {
    let mut books = BOOKS.lock();
    for (cpu, _) in &*books {
        hang(*cpu, ptr::null_mut());
    }
    // Notes are taken with interrupts masked, so whoever has answered an interrupt since has done with its book.
    let all_answered = smp::system_wide_barrier().is_ok();
    let taken = books.drain(..).filter(|_| all_answered);
    // SAFETY: leaked in `start`, and no CPU has it any more.
    taken.map(|(cpu, book)| (cpu, unsafe { Box::from_raw(book.0.as_ptr()) })).collect()
}

pub(super) fn end() -> HeatMap {
    let time = |ticks| Duration::from_nanos(ticks_to_ns(ticks));
    let books = take_down();
    let mut map = HeatMap {
        settings: HeatSettings::default(),
        counts: Vec::new(),
        longest: Duration::ZERO,
        paths: Vec::new(),
        lost: 0,
    };
    for (cpu, book) in books {
        let pages = book.0.into_inner();
        map.settings = pages.settings;
        map.counts.push(pages.counts);
        map.lost += pages.lost;
        map.longest = map.longest.max(time(pages.longest));
        map.paths.extend(pages.paths.iter().filter(|page| page.count > 0).map(|page| CallPath {
            cpu,
            bin: page.bin,
            count: page.count,
            longest: time(page.longest),
            frames: page.frames[..page.depth].to_vec(),
        }));
    }
    map.paths.sort_by_key(|path| core::cmp::Reverse(path.longest));
    map
}

pub(super) fn stop() {
    drop(take_down());
}
