//! Folding on bare metal: the pages' words are their entries in the tables, and the contents lie in frames.

use super::record::{self, MOST, WORDS};
use super::store::{Reader, Store, StoreMemory};
use super::{Judge, worth_it};
use crate::arch;
use crate::irq::{self, IrqLock};
use crate::lock_rank;
use crate::memory::frames::{self, BLOCK_SIZE};
use crate::memory::page_table::{BLOCK_LEVEL, ENTRIES, Entry, Leaf, PAGE_LEVEL};
use crate::memory::{OutOfMemory, space};
use crate::smp;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use isochron_boot::layout::{PACKED_BASE, PACKED_SIZE, PAGE_SIZE, direct_map};
use isochron_boot::{PhysAddr, VirtAddr};
use isochron_core::page_word::{Page, PageWord};

/// Frames of the store, by their physical addresses.
struct DirectMap;

impl DirectMap {
    fn at(at: usize) -> *mut u64 {
        direct_map(PhysAddr::new(at)).as_mut_ptr()
    }
}

impl StoreMemory for DirectMap {
    fn word(&self, at: usize) -> u64 {
        // SAFETY: the store asks for words of its own frames, which the direct map shows.
        unsafe { Self::at(at).read() }
    }

    fn set(&mut self, at: usize, word: u64) {
        // SAFETY: as above; what others read of them meanwhile are other words.
        unsafe { Self::at(at).write(word) }
    }
}

/// What is folded, and frames that are set aside for unfolding.
struct Kept {
    store: Store<DirectMap>,
    /// The first of them, each with the address of the next in its first word; 0 for none.
    spare: usize,
    spares: usize,
}

/// Taken by faults too, off the record: whoever has it takes no other lock and touches no page that is folded.
static KEPT: IrqLock<Kept> =
    IrqLock::new(lock_rank::FOLDED, Kept { store: Store::new(DirectMap), spare: 0, spares: 0 });

impl Kept {
    /// So many frames are set aside while there is something to unfold: some for code that must not fail, and more the more there is.
    fn wanted(&self) -> usize {
        let records = self.store.records();
        records.min(16 + records / 16)
    }

    fn put_spare(&mut self, frame: usize) {
        DirectMap.set(frame, self.spare as u64);
        self.spare = frame;
        self.spares += 1;
    }

    /// One of them, for a fault. Code that can be interrupted leaves a half to code that must not fail.
    fn spare_for_a_fault(&mut self, unmasked: bool) -> Option<usize> {
        if unmasked && self.spares <= self.wanted() / 2 { None } else { self.take_spare() }
    }

    fn take_spare(&mut self) -> Option<usize> {
        let frame = self.spare;
        if frame == 0 {
            return None;
        }
        self.spare = DirectMap.word(frame) as usize;
        self.spares -= 1;
        Some(frame)
    }
}

/// Pages that are folded, and bytes of what they are kept in, with the frames that are set aside.
pub(super) fn stats() -> (usize, usize) {
    let kept = KEPT.lock();
    (kept.store.records(), (kept.store.frames() + kept.spares) * PAGE_SIZE)
}

const fn leaf(frame: PhysAddr) -> u64 {
    frame.as_u64()
}

fn encoded(frame: u64) -> u64 {
    arch::paging::encode_leaf(PhysAddr::new(frame as usize), PAGE_LEVEL, Leaf::Data)
}

/// The contents of a frame, for who may find them changing.
fn view(frame: PhysAddr) -> *const u8 {
    direct_map(frame).as_mut_ptr::<u8>()
}

/// Shuts those of the pages, all in one block, that `judge` would fold. How many they were.
pub(super) fn shut(pages: Range<usize>, judge: Judge) -> usize {
    let mut count = 0;
    for page in pages.step_by(PAGE_SIZE) {
        let Some((entry, level)) = space::entry_of(VirtAddr::new(page)) else { break };
        let raw = entry.load(Ordering::Relaxed);
        let Entry::Leaf(found) = arch::paging::decode(raw, level) else { continue };
        let frame = found.offset(if level == PAGE_LEVEL { 0 } else { page % BLOCK_SIZE });
        // SAFETY: the page is mapped there, and what is of it in the direct map stays mapped.
        if unsafe { judge(page, view(frame)) }.is_none() {
            continue;
        }
        let entry = match level {
            PAGE_LEVEL => entry,
            BLOCK_LEVEL => match split(entry, found, page) {
                Some(entry) => entry,
                None => break,
            },
            _ => break,
        };
        if PageWord::of(entry).shut(encoded(leaf(frame)), leaf(frame)) {
            count += 1;
            if arch::paging::INVALIDATES_EVERYWHERE {
                arch::paging::invalidate(VirtAddr::new(page));
            }
        }
    }
    count
}

/// Maps the block that `entry` maps by pages. The entry of `page`; `None` if there is no memory for the table.
fn split(entry: &AtomicU64, block: PhysAddr, page: usize) -> Option<&'static AtomicU64> {
    let frame = frames::alloc()?;
    let table = space::new_table(frame);
    for (nth, entry) in table.iter().enumerate() {
        // Relaxed: the table is linked by a release, or behind a barrier.
        entry.store(encoded(leaf(block.offset(nth * PAGE_SIZE))), Ordering::Relaxed);
    }
    irq::without(|| arch::paging::split(entry, frame, VirtAddr::new(page)));
    Some(&table[page / PAGE_SIZE % ENTRIES])
}

/// Has every CPU forget the pages that were shut. False: one does not answer. Interrupts are on.
pub(super) fn settle() -> bool {
    arch::paging::INVALIDATES_EVERYWHERE || smp::forget_translations().is_ok()
}

/// Folds those of the pages that are shut, and that `judge` still would fold. How many they were.
pub(super) fn fold(pages: Range<usize>, judge: Judge) -> Result<usize, OutOfMemory> {
    let mut buffer = [0; MOST];
    let (mut count, mut further) = (0, None);
    let mut result = Ok(());
    for page in pages.step_by(PAGE_SIZE) {
        let Some((entry, PAGE_LEVEL)) = space::entry_of(VirtAddr::new(page)) else { continue };
        let word = PageWord::of(entry);
        let Page::Shut(frame) = word.look() else { continue };
        let contents = view(PhysAddr::new(frame as usize));
        // SAFETY: the page's frame, which is its own while it is shut; if it is opened meanwhile, what is found is thrown away.
        let live = unsafe { judge(page, contents) };
        let words = live.map(|live| {
            // SAFETY: as above; the words are read one by one, as others may write them.
            let word = |at| unsafe { contents.cast::<u64>().add(at).read_volatile() };
            record::encode(word, &live, &mut buffer)
        });
        let Some(words) = words.filter(|words| worth_it(*words)) else {
            word.reopen(frame, encoded(frame));
            arch::paging::publish();
            continue;
        };
        let Some(place) = keep(&buffer[..words], &mut further) else {
            word.reopen(frame, encoded(frame));
            arch::paging::publish();
            result = Err(OutOfMemory);
            break;
        };
        if word.fold(frame, place as u64) {
            count += 1;
            let old = further.replace(PhysAddr::new(frame as usize));
            old.into_iter().for_each(set_aside);
        } else {
            let freed = KEPT.lock().store.remove(place, words);
            freed.iter().for_each(|frame| frames::free(PhysAddr::new(frame)));
        }
    }
    further.into_iter().for_each(set_aside);
    result.map(|()| count)
}

/// Puts a record into the store, which may need a further frame: that is taken from `further`, or else fetched.
fn keep(record: &[u64], further: &mut Option<PhysAddr>) -> Option<usize> {
    loop {
        {
            let mut kept = KEPT.lock();
            let needs = kept.store.needs_frame(record.len());
            let frame = if needs { further.take() } else { None };
            if needs == frame.is_some() {
                return Some(kept.store.put(record, frame.map_or(0, PhysAddr::as_usize)));
            }
        }
        *further = Some(frames::alloc().or_else(|| KEPT.lock().take_spare().map(PhysAddr::new))?);
    }
}

/// A frame that is left over is kept for unfolding, if there are too few, or goes back.
fn set_aside(frame: PhysAddr) {
    let too_many = {
        let mut kept = KEPT.lock();
        let enough = kept.spares >= kept.wanted();
        if !enough {
            kept.put_spare(frame.as_usize());
        }
        enough
    };
    if too_many {
        frames::free(frame);
    }
}

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfolding {
    /// The page is there, or will be in a moment.
    There,
    /// It is folded, and there is no memory for it.
    NoMemory,
    /// It is none that is ever folded.
    Elsewhere,
}

/// Whether the page at `addr` is folded.
#[must_use]
pub(crate) fn is_folded(addr: usize) -> bool {
    entry_of_page(addr).is_some_and(|entry| matches!(PageWord::of(entry).look(), Page::Folded(_)))
}

fn is_inside(addr: usize) -> bool {
    (PACKED_BASE..PACKED_BASE + PACKED_SIZE).contains(&addr)
}

fn entry_of_page(addr: usize) -> Option<&'static AtomicU64> {
    let (entry, level) = is_inside(addr).then(|| space::entry_of(VirtAddr::new(addr)))??;
    (level == PAGE_LEVEL).then_some(entry)
}

/// Unfolds the page at `addr`, if it is folded or shut, for an access that is then tried again. Interrupts are masked;
/// `unmasked`: they were not when the page was touched.
pub(crate) fn unfold(addr: usize, unmasked: bool) -> Unfolding {
    if !is_inside(addr) {
        return Unfolding::Elsewhere;
    }
    let Some((entry, level)) = space::entry_of(VirtAddr::new(addr)) else { return Unfolding::Elsewhere };
    let word = PageWord::of(entry);
    match word.look() {
        Page::Here(raw) if matches!(arch::paging::decode(raw, level), Entry::Empty) => return Unfolding::Elsewhere,
        // Another CPU was faster, or is about to be done. Of a block: it is being split.
        Page::Here(_) | Page::Busy => {}
        Page::Shut(frame) => {
            word.reopen(frame, encoded(frame));
        }
        Page::Folded(place) => return unfold_from(word, place, unmasked),
    }
    arch::paging::publish();
    Unfolding::There
}

fn unfold_from(word: &PageWord, place: u64, unmasked: bool) -> Unfolding {
    let frame =
        frames::for_a_fault(unmasked).or_else(|| KEPT.lock_off_record().spare_for_a_fault(unmasked).map(PhysAddr::new));
    let Some(frame) = frame else { return Unfolding::NoMemory };
    if !word.claim(place) {
        frames::back_from_a_fault(frame, unmasked);
        return Unfolding::There;
    }
    let contents = direct_map(frame).as_mut_ptr::<u64>();
    let mut reader = Reader::new(&DirectMap, place as usize);
    // SAFETY: a frame that nobody else has, and words that are in it.
    let words = unsafe {
        contents.write_bytes(0, WORDS);
        record::decode(|| reader.read(), |at, word| contents.add(at).write(word))
    };
    word.open(encoded(leaf(frame)));
    arch::paging::publish();
    let (freed, spare) = {
        let mut kept = KEPT.lock_off_record();
        let freed = kept.store.remove(place as usize, words);
        let spare = if kept.spares > kept.wanted() { kept.take_spare() } else { None };
        (freed, spare)
    };
    freed.iter().chain(spare).for_each(|frame| frames::back_from_a_fault(PhysAddr::new(frame), unmasked));
    Unfolding::There
}
