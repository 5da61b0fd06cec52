//! Folding in a process: the host tells of accesses to pages that it was asked to watch (`userfaultfd`), by `SIGBUS`.
//!
//! The pages' words lie in a table of their own, as the host's tables are its own. A page that is shut is protected from writing: so
//! it can be read where it is, and one that is only read is not touched, as far as this can tell. One that is folded has no memory;
//! the host puts contents there in one step, so that no CPU sees half of them.
//!
//! Changes of the word and of what the host does with the page are two steps, so the word is busy in between: a CPU that was slow
//! would else take the protection away from a page that has been shut anew. A process may watch its own code only, without further
//! rights; what the kernel itself reads and writes for it is not watched.

use super::record::{self, MOST, WORDS};
use super::store::{Reader, Store, StoreMemory};
use super::{Judge, worth_it};
use crate::irq::{self, IrqLock};
use crate::memory::{OutOfMemory, hosted as host};
use crate::{arch, lock_rank};
use core::ops::Range;
use core::ptr::{null_mut, with_exposed_provenance_mut, without_provenance_mut};
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use isochron_boot::layout::{PACKED_BASE, PACKED_SIZE, PAGE_SIZE};
use isochron_core::page_word::{Page, PageWord};

/// What the host's interface is made of (`linux/userfaultfd.h`).
mod api {
    pub const USER_MODE_ONLY: libc::c_long = 1;
    pub const VERSION: u64 = 0xaa;
    pub const WRITE_PROTECTION: u64 = 1 << 0;
    pub const BY_SIGBUS: u64 = 1 << 7;
    /// Missing pages, and protected ones.
    pub const WATCH: u64 = 1 << 0 | 1 << 1;
    pub const PROTECT: u64 = 1 << 0;

    pub const SET_UP: libc::c_ulong = 0xc018_aa3f;
    pub const REGISTER: libc::c_ulong = 0xc020_aa00;
    pub const COPY: libc::c_ulong = 0xc028_aa03;
    pub const WRITE_PROTECT: libc::c_ulong = 0xc018_aa06;
}

/// Records take so much at the most. Addresses only.
const ROOM: usize = 64 << 30;
/// Pages that a record's frame may be.
const FRAMES: usize = ROOM / PAGE_SIZE;

// Relaxed, all three: set by who folds first, before anything is shut, and so before a fault that needs them.
/// The host's watch; negative: there is none yet.
static WATCH: AtomicI32 = AtomicI32::new(-1);
/// Where the words of all packed pages are.
static PAGE_WORDS: AtomicUsize = AtomicUsize::new(0);
/// Where records lie; behind that, for each frame, which free one follows it.
static RECORDS: AtomicUsize = AtomicUsize::new(0);

/// The store's frames, at their addresses.
struct Memory;

impl StoreMemory for Memory {
    fn word(&self, at: usize) -> u64 {
        // SAFETY: the store asks for words of its own frames.
        unsafe { with_exposed_provenance_mut::<u64>(at).read() }
    }

    fn set(&mut self, at: usize, word: u64) {
        // SAFETY: as above; what others read of them meanwhile are other words.
        unsafe { with_exposed_provenance_mut::<u64>(at).write(word) }
    }
}

/// What is folded, and frames for more.
struct Kept {
    store: Store<Memory>,
    /// One more than the first free frame that was used before; 0 for none.
    free: u32,
    /// Frames that were ever used.
    used: usize,
}

/// Taken by faults too, off the record: whoever has it takes no other lock and touches no page that is folded.
static KEPT: IrqLock<Kept> = IrqLock::new(lock_rank::FOLDED, Kept { store: Store::new(Memory), free: 0, used: 0 });

impl Kept {
    fn next(frame: usize) -> *mut u32 {
        with_exposed_provenance_mut::<u32>(RECORDS.load(Ordering::Relaxed) + ROOM).wrapping_add(frame)
    }

    fn take_frame(&mut self) -> Option<usize> {
        let number = match self.free.checked_sub(1) {
            Some(number) => {
                // SAFETY: it is the number of a frame that was given back, and so written.
                self.free = unsafe { Self::next(number as usize).read() };
                number as usize
            }
            None if self.used < FRAMES => {
                self.used += 1;
                self.used - 1
            }
            None => return None,
        };
        host::count_in(PAGE_SIZE);
        Some(RECORDS.load(Ordering::Relaxed) + number * PAGE_SIZE)
    }

    fn give_frame(&mut self, frame: usize) {
        forget_contents(frame);
        let number = (frame - RECORDS.load(Ordering::Relaxed)) / PAGE_SIZE;
        // SAFETY: one word for each frame.
        unsafe { Self::next(number).write(self.free) };
        self.free = number as u32 + 1;
        host::count_out(PAGE_SIZE);
    }

    fn remove(&mut self, place: usize, words: usize) {
        self.store.remove(place, words).iter().for_each(|frame| self.give_frame(frame));
    }
}

/// Pages that are folded, and bytes of what they are kept in.
pub(super) fn stats() -> (usize, usize) {
    let kept = KEPT.lock();
    (kept.store.records(), kept.store.frames() * PAGE_SIZE)
}

fn forget_contents(page: usize) {
    let _irq = irq::IrqGuard::new();
    // SAFETY: a page of ours, whose contents nobody needs.
    unsafe { libc::madvise(without_provenance_mut(page), PAGE_SIZE, libc::MADV_DONTNEED) };
}

fn reserve(bytes: usize) -> Option<usize> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    let _irq = irq::IrqGuard::new();
    // SAFETY: fresh addresses, where the host likes.
    let got = unsafe { libc::mmap(null_mut(), bytes, access, kind, -1, 0) };
    (got != libc::MAP_FAILED).then(|| got.expose_provenance())
}

/// Asks the host for something about the watch.
fn ask<const N: usize>(request: libc::c_ulong, words: &mut [u64; N]) -> Result<(), libc::c_int> {
    let _irq = irq::IrqGuard::new();
    // SAFETY: each request has a structure of so many words. The error number is this thread's, read right after it.
    unsafe {
        match libc::ioctl(WATCH.load(Ordering::Relaxed), request, words.as_mut_ptr()) {
            0.. => Ok(()),
            _ => Err(*libc::__errno_location()),
        }
    }
}

/// Whether there is a watch; it is made if there is none. Who folds asks, and there is one at a time.
fn is_ready() -> bool {
    if WATCH.load(Ordering::Relaxed) >= 0 {
        return true;
    }
    let words = PACKED_SIZE / PAGE_SIZE * size_of::<PageWord>();
    let Some((words, records)) = reserve(words).zip(reserve(ROOM + FRAMES * size_of::<u32>())) else { return false };
    PAGE_WORDS.store(words, Ordering::Relaxed);
    RECORDS.store(records, Ordering::Relaxed);
    let watch = {
        let _irq = irq::IrqGuard::new();
        let flags = libc::c_long::from(libc::O_CLOEXEC | libc::O_NONBLOCK) | api::USER_MODE_ONLY;
        // SAFETY: opens something.
        unsafe { libc::syscall(libc::SYS_userfaultfd, flags) }
    };
    WATCH.store(watch as i32, Ordering::Relaxed);
    let set_up = watch >= 0 && ask(api::SET_UP, &mut [api::VERSION, api::WRITE_PROTECTION | api::BY_SIGBUS, 0]).is_ok();
    if !set_up {
        log::warn!("the host does not tell of accesses to pages (userfaultfd): nothing is folded");
        WATCH.store(-1, Ordering::Relaxed);
    }
    set_up
}

/// The word of a page.
fn word_of(page: usize) -> &'static PageWord {
    let at = PAGE_WORDS.load(Ordering::Relaxed) + (page - PACKED_BASE) / PAGE_SIZE * size_of::<PageWord>();
    // SAFETY: the table has a word for each page of the window, which is zero at first: the page is there.
    unsafe { &*with_exposed_provenance_mut::<PageWord>(at) }
}

fn view(page: usize) -> *const u8 {
    with_exposed_provenance_mut::<u8>(page)
}

/// Has the host watch these pages. All of them have memory before that: one that is missing is folded.
fn watch(pages: &Range<usize>) -> bool {
    /// Linux 5.14.
    const POPULATE_READ: libc::c_int = 22;
    let populated = {
        let _irq = irq::IrqGuard::new();
        // SAFETY: pages of ours; what is in them stays.
        unsafe { libc::madvise(without_provenance_mut(pages.start), pages.len(), POPULATE_READ) == 0 }
    };
    populated && ask(api::REGISTER, &mut [pages.start as u64, pages.len() as u64, api::WATCH, 0]).is_ok()
}

fn protect(page: usize, mode: u64) -> bool {
    ask(api::WRITE_PROTECT, &mut [page as u64, PAGE_SIZE as u64, mode]).is_ok()
}

/// Shuts those of the pages, all in one block, that `judge` would fold. How many they were.
pub(super) fn shut(pages: Range<usize>, judge: Judge) -> usize {
    if !is_ready() {
        return 0;
    }
    let (mut count, mut watched) = (0, false);
    for page in pages.clone().step_by(PAGE_SIZE) {
        let word = word_of(page);
        // SAFETY: a page of packed slots.
        if word.look() != Page::Here(0) || unsafe { judge(page, view(page)) }.is_none() {
            continue;
        }
        watched = watched || watch(&pages);
        if !watched {
            break;
        }
        if word.shut(0, 0) && !protect(page, api::PROTECT) {
            // Nobody faults on it, so nobody else opens it.
            word.reopen(0, 0);
            break;
        }
        count += 1;
    }
    count
}

/// The host had every CPU forget the pages when it protected them.
pub(super) const fn settle() -> bool {
    true
}

/// Folds those of the pages that are shut, and that `judge` still would fold. How many they were.
pub(super) fn fold(pages: Range<usize>, judge: Judge) -> Result<usize, OutOfMemory> {
    let mut buffer = [0; MOST];
    let mut count = 0;
    for page in pages.step_by(PAGE_SIZE) {
        let word = word_of(page);
        if word.look() != Page::Shut(0) {
            continue;
        }
        // SAFETY: a page of packed slots, which nobody can change without opening it.
        let live = unsafe { judge(page, view(page)) };
        let words = live.map(|live| {
            // SAFETY: as above; the words are read one by one, as others may write them.
            let word = |at| unsafe { view(page).cast::<u64>().add(at).read_volatile() };
            record::encode(word, &live, &mut buffer)
        });
        let Some(words) = words.filter(|words| worth_it(*words)) else {
            reopen(page, word);
            continue;
        };
        let Some(place) = keep(&buffer[..words]) else {
            reopen(page, word);
            return Err(OutOfMemory);
        };
        // Nobody waits for a CPU that has gone to do something else.
        let folded = irq::without(|| {
            let held = word.hold(0);
            if held {
                forget_contents(page);
                word.settle(place as u64);
            }
            held
        });
        if folded {
            count += 1;
            host::count_out(PAGE_SIZE);
        } else {
            KEPT.lock().remove(place, words);
        }
    }
    Ok(count)
}

fn keep(record: &[u64]) -> Option<usize> {
    let mut kept = KEPT.lock();
    let frame = if kept.store.needs_frame(record.len()) { kept.take_frame()? } else { 0 };
    Some(kept.store.put(record, frame))
}

/// Takes the protection from a page that is shut, unless somebody else does.
fn reopen(page: usize, word: &PageWord) {
    irq::without(|| {
        if word.hold(0) {
            let done = protect(page, 0);
            assert!(done, "the host does not take the protection from a page");
            word.open(0);
        }
    });
}

/// Unfolds the page at `addr`, if it is folded or shut, for an access that is then tried again. False: it is none that is watched.
///
/// In the handler of a signal that the access caused.
pub(crate) fn unfold(addr: usize) -> bool {
    let is_watched = WATCH.load(Ordering::Relaxed) >= 0 && (PACKED_BASE..PACKED_BASE + PACKED_SIZE).contains(&addr);
    if !is_watched {
        return false;
    }
    let page = addr & !(PAGE_SIZE - 1);
    let word = word_of(page);
    match word.look() {
        // Another CPU was faster, or is about to be done.
        Page::Here(_) => {}
        Page::Busy => arch::cpu::spin_hint(),
        Page::Shut(_) => reopen(page, word),
        Page::Folded(place) => {
            if word.claim(place) {
                unfold_from(page, place as usize);
                word.open(0);
            }
        }
    }
    true
}

fn unfold_from(page: usize, place: usize) {
    let mut contents = [0_u64; WORDS];
    let mut reader = Reader::new(&Memory, place);
    let words = record::decode(|| reader.read(), |at, word| contents[at] = word);
    KEPT.lock_off_record().remove(place, words);
    loop {
        let source = contents.as_ptr().expose_provenance() as u64;
        match ask(api::COPY, &mut [page as u64, source, PAGE_SIZE as u64, 0, 0]) {
            Ok(()) => break,
            Err(libc::EAGAIN) => {}
            Err(error) => panic!("the host does not put a page in place: error {error}"),
        }
    }
    host::count_in(PAGE_SIZE);
}
