//! Model checks of trimming stacks: what a thread that is woken meanwhile writes is kept, and nobody looks at a thread that is gone.
#![cfg(loom)]

use isochron_core::link::{Link, Linked};
use isochron_core::page_word::{Page, PageWord};
use isochron_core::roll::Roll;
use isochron_core::stack_owner::{Owner, StackOwner};
use isochron_core::thread_state::{CommitPark, ParkDecision, Stillness, ThreadState, Unpark};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use loom::thread;
use std::ptr::NonNull;

/// What the word of a page in this frame is.
const fn here(frame: usize) -> u64 {
    (frame as u64) << 12 | 1
}

const SHUT_FRAME: u64 = here(0) & !1;
/// There is nothing, and the next fault takes the second frame.
const RESERVED: u64 = 1 << 8;
const NOBODYS: u64 = 77;

/// A stack pointer above the page, and one below.
const SHALLOW: usize = 2;
const DEEP: usize = 1;

/// A page of one word in the lower part of a stack, two frames for it, and the thread whose stack it is.
struct Memory {
    page: PageWord,
    frames: [AtomicU64; 2],
    inside: AtomicBool,
    owner: StackOwner,
    state: ThreadState,
    stack_end: AtomicUsize,
}

impl Memory {
    fn new(stack_end: usize) -> Arc<Self> {
        Arc::new(Self {
            page: PageWord::new(here(0)),
            frames: [AtomicU64::new(1), AtomicU64::new(2)],
            inside: AtomicBool::new(false),
            owner: StackOwner::new(),
            state: ThreadState::new(),
            stack_end: AtomicUsize::new(stack_end),
        })
    }

    /// One access of the CPU that runs the thread, repeated until it goes through.
    fn access(&self, at: impl Fn(&AtomicU64)) {
        loop {
            self.inside.store(true, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let word = self.page.look();
            if let Page::Here(word) = word
                && word != RESERVED
            {
                at(&self.frames[(word >> 12) as usize]);
                self.inside.store(false, Ordering::Release);
                return;
            }
            self.inside.store(false, Ordering::Release);
            match word {
                Page::Shut(frame) => {
                    self.page.reopen(frame, here(0));
                }
                _ => self.page.open(here(1)),
            }
        }
    }

    /// The barrier that every CPU passes: whatever access was under way is over then, and seen.
    fn all_forget(&self) {
        fence(Ordering::SeqCst);
        while self.inside.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    fn trim(&self) {
        if !self.page.shut(here(0), SHUT_FRAME) {
            return;
        }
        self.all_forget();
        let dead = match self.owner.look() {
            Owner::Nobody => true,
            Owner::Kept => false,
            Owner::Of(_) => {
                let parked = self.state.stillness() == Stillness::Parked;
                let dead = parked && self.stack_end.load(Ordering::Relaxed) == SHALLOW;
                self.owner.looked();
                dead
            }
        };
        if dead && self.page.discard(SHUT_FRAME, RESERVED) {
            // The frame is somebody else's.
            self.frames[0].store(NOBODYS, Ordering::Relaxed);
        }
    }

    /// The thread, which runs, goes deep, and waits there.
    fn go_deep_and_park(&self) {
        self.access(|word| word.store(10, Ordering::Relaxed));
        assert_eq!(self.state.begin_park(), ParkDecision::Park);
        self.stack_end.store(DEEP, Ordering::Relaxed);
        assert_eq!(self.state.commit_park(), CommitPark::Parked);
    }
}

#[test]
fn what_a_woken_thread_writes_is_kept() {
    loom::model(|| {
        let memory = Memory::new(SHALLOW);
        memory.owner.take(64);
        assert_eq!(memory.state.begin_park(), ParkDecision::Park);
        assert_eq!(memory.state.commit_park(), CommitPark::Parked);
        let runner = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                assert_eq!(memory.state.unpark(), Unpark::Enqueue);
                assert!(memory.state.set_running());
                memory.go_deep_and_park();
            })
        };
        memory.trim();
        runner.join().unwrap();
        memory.access(|word| assert_eq!(word.load(Ordering::Relaxed), 10));
    });
}

/// A thread, and the stack pointer that it saves.
struct Saved {
    state: ThreadState,
    stack_end: UnsafeCell<usize>,
}

// SAFETY: the stack pointer is handed over by the protocol under test.
unsafe impl Sync for Saved {}
// SAFETY: as above.
unsafe impl Send for Saved {}

#[test]
fn what_is_read_of_a_parked_thread_is_what_it_saved() {
    loom::model(|| {
        let saved = Arc::new(Saved { state: ThreadState::new(), stack_end: UnsafeCell::new(SHALLOW) });
        let runner = {
            let saved = Arc::clone(&saved);
            thread::spawn(move || {
                assert_eq!(saved.state.begin_park(), ParkDecision::Park);
                // SAFETY: nobody reads it before it is parked.
                saved.stack_end.with_mut(|end| unsafe { *end = DEEP });
                assert_eq!(saved.state.commit_park(), CommitPark::Parked);
            })
        };
        // It may be a moment before.
        for _ in 0..2 {
            if saved.state.stillness() == Stillness::Parked {
                // SAFETY: nobody wakes it.
                saved.stack_end.with(|end| assert_eq!(unsafe { *end }, DEEP));
                break;
            }
            thread::yield_now();
        }
        runner.join().unwrap();
    });
}

#[test]
fn who_begins_on_a_stack_that_is_trimmed_keeps_what_it_writes() {
    loom::model(|| {
        let memory = Memory::new(SHALLOW);
        let runner = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                memory.owner.take(64);
                memory.go_deep_and_park();
            })
        };
        memory.trim();
        runner.join().unwrap();
        memory.access(|word| assert_eq!(word.load(Ordering::Relaxed), 10));
    });
}

/// A stack whose owner has a block.
struct Owned {
    owner: StackOwner,
    block: UnsafeCell<u32>,
}

// SAFETY: the block is handed over by the protocol under test.
unsafe impl Sync for Owned {}
// SAFETY: as above.
unsafe impl Send for Owned {}

#[test]
fn who_looks_at_a_thread_sees_it_alive() {
    loom::model(|| {
        let stack = Arc::new(Owned { owner: StackOwner::new(), block: UnsafeCell::new(0) });
        let thread = {
            let stack = Arc::clone(&stack);
            thread::spawn(move || {
                // SAFETY: nobody knows it yet.
                stack.block.with_mut(|block| unsafe { *block = 1 });
                stack.owner.take(64);
                stack.owner.leave();
                // SAFETY: it is freed.
                stack.block.with_mut(|block| unsafe { *block = 2 });
            })
        };
        // It may be a moment before.
        for _ in 0..2 {
            if stack.owner.look() == Owner::Of(64) {
                // SAFETY: it stays meanwhile.
                stack.block.with(|block| assert_eq!(unsafe { *block }, 1));
                thread::yield_now();
                // SAFETY: as above.
                stack.block.with(|block| assert_eq!(unsafe { *block }, 1));
                stack.owner.looked();
                break;
            }
            thread::yield_now();
        }
        thread.join().unwrap();
        assert_eq!(stack.owner.look(), Owner::Nobody);
    });
}

struct Node {
    link: Link<Self>,
    content: UnsafeCell<u32>,
}

// SAFETY: the content is written before the node is on the roll, and read after that.
unsafe impl Sync for Node {}

// SAFETY: the link is a field.
unsafe impl Linked for Node {
    unsafe fn link(node: NonNull<Self>) -> NonNull<Link<Self>> {
        // SAFETY: the node is alive.
        unsafe { NonNull::new_unchecked(&raw mut (*node.as_ptr()).link) }
    }
}

#[test]
fn who_goes_through_a_roll_sees_whole_nodes() {
    loom::model(|| {
        let roll = Arc::new(Roll::<Node>::new());
        let enter = |roll: &Roll<Node>| {
            let node = Box::leak(Box::new(Node { link: Link::new(), content: UnsafeCell::new(0) }));
            // SAFETY: nobody else has it yet.
            node.content.with_mut(|content| unsafe { *content = 5 });
            // SAFETY: it is leaked, and new.
            unsafe { roll.enter(NonNull::from(node)) };
        };
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let roll = Arc::clone(&roll);
                thread::spawn(move || enter(&roll))
            })
            .collect();
        // SAFETY: written before.
        let sum = || roll.iter().map(|node| node.content.with(|content| unsafe { *content })).sum::<u32>();
        assert!(sum().is_multiple_of(5));
        thread::yield_now();
        assert!(sum().is_multiple_of(5));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(sum(), 10);
    });
}
