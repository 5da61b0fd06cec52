//! Model checks of folding: nothing that is written to a page is lost, whoever comes by meanwhile.
#![cfg(loom)]

use isochron_core::page_word::{Page, PageWord};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use loom::thread;

/// What the word of a page in this frame is.
const fn here(frame: usize) -> u64 {
    (frame as u64) << 12 | 1
}

const fn frame_of(word: u64) -> usize {
    (word >> 12) as usize
}

const NOBODYS: u64 = 77;
/// Where the one record is.
const PLACE: u64 = 8;

/// A page of one word, two frames for it, and room for one record.
struct Memory {
    page: PageWord,
    frames: [AtomicU64; 2],
    record: UnsafeCell<u64>,
    /// The CPU that uses the page is in the middle of an access.
    inside: AtomicBool,
}

// SAFETY: the record is handed over by the protocol under test.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    fn new(content: u64) -> Arc<Self> {
        Arc::new(Self {
            page: PageWord::new(here(0)),
            frames: [AtomicU64::new(content), AtomicU64::new(NOBODYS)],
            record: UnsafeCell::new(0),
            inside: AtomicBool::new(false),
        })
    }

    /// One access of the CPU that has a place in `inside`, repeated until it goes through.
    fn access(&self, at: impl Fn(&AtomicU64)) {
        loop {
            self.inside.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if let Page::Here(word) = self.page.look() {
                at(&self.frames[frame_of(word)]);
                self.inside.store(false, Ordering::Release);
                return;
            }
            self.inside.store(false, Ordering::Release);
            self.fault();
        }
    }

    fn fault(&self) {
        match self.page.look() {
            Page::Here(_) => {}
            Page::Shut(frame) => {
                self.page.reopen(frame, here(frame_of(frame)));
            }
            Page::Folded(place) => {
                assert_eq!(place, PLACE);
                if self.page.claim(place) {
                    // SAFETY: the claim is for one.
                    let content = self.record.with(|record| unsafe { *record });
                    self.frames[1].store(content, Ordering::Relaxed);
                    self.page.open(here(1));
                }
            }
            Page::Busy => thread::yield_now(),
        }
    }

    /// What makes the CPU that uses the page forget it: whatever access was under way is over then, and seen.
    fn all_forget(&self) {
        fence(Ordering::SeqCst);
        while self.inside.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    /// Whether it came to that.
    fn fold(&self, held: bool) -> bool {
        if !self.page.shut(here(0), here(0) & !1) {
            return false;
        }
        self.all_forget();
        let content = self.frames[0].load(Ordering::Relaxed);
        // SAFETY: nobody reads it before it is handed over.
        self.record.with_mut(|record| unsafe { *record = content });
        let folded = if held { self.page.hold(here(0) & !1) } else { self.page.fold(here(0) & !1, PLACE) };
        if folded {
            // The frame is somebody else's.
            self.frames[0].store(NOBODYS, Ordering::Relaxed);
        }
        if folded && held {
            self.page.settle(PLACE);
        }
        folded
    }
}

fn writes_are_kept(held: bool) {
    loom::model(move || {
        let memory = Memory::new(1);
        let writer = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                for written in [10, 100] {
                    memory.access(|word| word.store(word.load(Ordering::Relaxed) + written, Ordering::Relaxed));
                }
            })
        };
        memory.fold(held);
        writer.join().unwrap();
        memory.access(|word| assert_eq!(word.load(Ordering::Relaxed), 111));
    });
}

#[test]
fn what_is_written_while_a_page_is_folded_is_kept() {
    writes_are_kept(false);
}

#[test]
fn what_is_written_while_a_page_is_held_is_kept() {
    writes_are_kept(true);
}

#[test]
fn two_that_fault_unfold_once() {
    loom::model(|| {
        let memory = Memory::new(5);
        assert!(memory.fold(false));
        let faulter = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || memory.access(|word| assert_eq!(word.load(Ordering::Relaxed), 5)))
        };
        // As another CPU, which never had the page.
        loop {
            match memory.page.look() {
                Page::Here(word) => break assert_eq!(memory.frames[frame_of(word)].load(Ordering::Relaxed), 5),
                _ => memory.fault(),
            }
        }
        faulter.join().unwrap();
    });
}

#[test]
fn who_claims_a_page_sees_its_record() {
    loom::model(|| {
        let memory = Memory::new(5);
        let other = {
            let memory = Arc::clone(&memory);
            // It may know the place from an earlier look, when another record lay there.
            thread::spawn(move || {
                if memory.page.claim(PLACE) {
                    // SAFETY: the claim is for one.
                    assert_eq!(memory.record.with(|record| unsafe { *record }), 5);
                }
            })
        };
        assert!(memory.fold(false));
        other.join().unwrap();
    });
}
