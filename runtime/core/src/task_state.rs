//! The state of one task: that it is polled by one CPU at a time, queued once however often it is woken, and freed once.
//!
//! # One word
//! | bit | meaning |
//! | --- | --- |
//! | 0 `RUNNING` | it is being polled, or its future is being dropped |
//! | 1 `SCHEDULED` | it is in a queue or on its way to one; with `RUNNING`: it goes into one after this poll |
//! | 2 `DONE` | the future is gone; for ever |
//! | 3 `ABORTED` | its future is to be dropped instead of polled; sticky |
//! | 4 `JOINER` | the cell beside the word holds who waits for the end, and is the completer's |
//! | 5 `HANDLE` | the handle is there, and disposes of the result |
//! | 6 and up | references |
//!
//! References are counted for the handle, for each waker, and one for being `SCHEDULED` or `RUNNING`. A task with neither of
//! the two that loses its last reference, and is not done, can never be woken again: whoever drops that reference schedules it
//! once more, for its future to be dropped where futures are polled, and not in, say, an interrupt handler.
//!
//! | transition | by | what it does |
//! | --- | --- | --- |
//! | `wake` | anyone | sets `SCHEDULED`; if it was idle, counts a reference, and the caller queues it |
//! | `abort` | anyone | as `wake`, with `ABORTED` |
//! | `begin` | who took it from a queue | `SCHEDULED` to `RUNNING` |
//! | `end_poll` | the same, if it is not ready | clears `RUNNING`; the reference goes, unless it was woken meanwhile |
//! | `complete` | the same, the result in place | `RUNNING` to `DONE`; takes over the joiner |
//! | `register` | the handle | puts a joiner into the cell |
//! | `leave` | the handle | clears `HANDLE` and `JOINER`, unless it is done: then the result is the handle's |
//!
//! A waker that finds `SCHEDULED` set already writes all the same: the poll that comes must see what it wrote before.
//!
//! # Rejected
//! A word of its own for the references: a second read-modify-write at the end of each poll. A lock: wakers are called from
//! interrupt handlers.

use crate::sync::{AtomicUsize, Ordering, UnsafeCell, const_unless_loom};

const RUNNING: usize = 1 << 0;
const SCHEDULED: usize = 1 << 1;
const DONE: usize = 1 << 2;
const ABORTED: usize = 1 << 3;
const JOINER: usize = 1 << 4;
const HANDLE: usize = 1 << 5;
const REFERENCE: usize = 1 << 6;

/// See the module's documentation. `J` is who waits for the task's end.
#[derive(Debug)]
pub struct TaskState<J> {
    word: AtomicUsize,
    joiner: UnsafeCell<Option<J>>,
}

// SAFETY: the cell has one owner at a time, as `JOINER` says, and a joiner that passes from one to the other is `Send`.
unsafe impl<J: Send> Sync for TaskState<J> {}
// SAFETY: as above.
unsafe impl<J: Send> Send for TaskState<J> {}

/// What [`TaskState::begin`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Begin {
    /// Poll the future, then `end_poll` or `complete`.
    Poll,
    /// It was aborted: drop the future, then `complete`.
    Drop,
}

/// What [`TaskState::end_poll`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum EndPoll {
    /// It waits for a wake-up. From this moment another CPU may be polling it, or it may be gone: do not touch it.
    Waiting,
    /// A wake-up came during the poll: the caller, with its reference, must queue it again.
    Again,
    /// Nobody is left who could wake it: it still counts as running; drop the future, then `complete`.
    Forgotten,
}

/// What [`TaskState::complete`] says.
#[derive(Debug)]
#[must_use]
pub struct Completed<J> {
    /// Who waited, and must be woken.
    pub joiner: Option<J>,
    /// There is no handle: the result is the caller's to drop.
    pub unwanted: bool,
}

/// What [`TaskState::release`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Release {
    /// Others have references.
    Nothing,
    /// That was the last, and the future is gone: free the task.
    Free,
    /// That was the last, and the future is still there: it is aborted, scheduled, and the caller must queue it.
    Enqueue,
}

/// A task is done: nobody needs to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyDone;

impl<J> TaskState<J> {
    const_unless_loom! {
        /// The state of a new task, which the caller queues: with a reference for that, and one for its handle.
        pub const fn new() -> Self {
            Self { word: AtomicUsize::new(SCHEDULED | HANDLE | (2 * REFERENCE)), joiner: UnsafeCell::new(None) }
        }
    }

    /// Wakes the task. True: the caller, and no one else, must queue it; the reference for that is counted. From any CPU and
    /// any interrupt, with a reference of the caller's own.
    #[inline]
    #[must_use]
    pub fn wake(&self) -> bool {
        let enqueue = self.schedule(0);
        if enqueue {
            // Relaxed: a new reference comes from one that is alive, the caller's.
            self.word.fetch_add(REFERENCE, Ordering::Relaxed);
        }
        enqueue
    }

    /// As [`wake`](Self::wake), with the caller's reference: true, and it is the queue's. False, and it is still the caller's.
    #[inline]
    #[must_use]
    pub fn wake_with_reference(&self) -> bool {
        self.schedule(0)
    }

    /// Asks for the future to be dropped, and not polled any more; as [`wake`](Self::wake).
    #[must_use]
    pub fn abort(&self) -> bool {
        let enqueue = self.schedule(ABORTED);
        if enqueue {
            // Relaxed: as in `wake`.
            self.word.fetch_add(REFERENCE, Ordering::Relaxed);
        }
        enqueue
    }

    #[inline(always)]
    fn schedule(&self, flags: usize) -> bool {
        // Release: partner is `begin`: the poll that follows sees what the waker wrote. What the poll before wrote comes to the
        // next one by the same word: every change between them is a read-modify-write.
        self.word.fetch_or(SCHEDULED | flags, Ordering::Release) & (SCHEDULED | RUNNING | DONE) == 0
    }

    /// The CPU that took it from a queue, with the queue's reference, is about to poll it.
    #[inline]
    pub fn begin(&self) -> Begin {
        // `SCHEDULED` is set, and nobody else clears it; `RUNNING` is not, and nobody else sets it.
        // Acquire: partners are `schedule` and `end_poll`.
        let before = self.word.fetch_sub(SCHEDULED - RUNNING, Ordering::Acquire);
        debug_assert_eq!(before & (SCHEDULED | RUNNING | DONE), SCHEDULED, "a task is polled on two CPUs");
        if before & ABORTED == 0 { Begin::Poll } else { Begin::Drop }
    }

    /// The future was polled, and is not ready.
    #[inline]
    pub fn end_poll(&self) -> EndPoll {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (next, end) = if word & SCHEDULED != 0 {
                (word & !RUNNING, EndPoll::Again)
            } else if word / REFERENCE == 1 {
                // Only who has a reference can make another: this cannot change any more.
                return EndPoll::Forgotten;
            } else {
                ((word & !RUNNING) - REFERENCE, EndPoll::Waiting)
            };
            // Release: partner is the next `begin`: what this poll wrote.
            match self.word.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return end,
                Err(now) => word = now,
            }
        }
    }

    /// The future is gone and the result, if there is one, in place. The caller keeps its reference.
    #[inline]
    pub fn complete(&self) -> Completed<J> {
        // The one is set, the other is not, and nobody else touches either.
        // Release: partners are the loads of `DONE` in `is_done`, `register` and `leave`: the result.
        // Acquire: partner is the release in `register`: the joiner.
        let before = self.word.fetch_xor(RUNNING | DONE, Ordering::AcqRel);
        debug_assert_eq!(before & (RUNNING | DONE), RUNNING, "a task ends twice");
        let joiner = if before & JOINER == 0 {
            None
        } else {
            // SAFETY: with `JOINER` set when it is done, the cell is the completer's for good.
            self.joiner.with_mut(|joiner| unsafe { (*joiner).take() })
        };
        Completed { joiner, unwanted: before & HANDLE == 0 }
    }

    /// Whether the task has ended; then its result is seen.
    #[inline]
    pub fn is_done(&self) -> bool {
        // Acquire: partner is `complete`.
        self.word.load(Ordering::Acquire) & DONE != 0
    }

    /// Leaves `joiner` to be handed out by [`complete`](Self::complete), in place of the one before. For the handle alone.
    ///
    /// # Errors
    /// [`AlreadyDone`]: then nobody is woken, and the result is seen.
    pub fn register(&self, joiner: J) -> Result<(), AlreadyDone> {
        // The cell must be the handle's while that writes to it.
        self.change_joiner(|word| word & !JOINER)?;
        // SAFETY: without `JOINER` the cell is the handle's.
        self.joiner.with_mut(|cell| unsafe { *cell = Some(joiner) });
        self.change_joiner(|word| word | JOINER)
    }

    fn change_joiner(&self, change: impl Fn(usize) -> usize) -> Result<(), AlreadyDone> {
        // Acquire: partner is `complete`.
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word & DONE != 0 {
                return Err(AlreadyDone);
            }
            // Release on success: partner is `complete`, which takes the joiner.
            // Acquire on failure: partner is `complete`: the result.
            match self.word.compare_exchange_weak(word, change(word), Ordering::Release, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// The handle leaves, its reference not included. True: the task is done, and the result is the handle's to drop.
    #[must_use]
    pub fn leave(&self) -> bool {
        let left = self.change_joiner(|word| word & !(JOINER | HANDLE));
        if left.is_ok() {
            // SAFETY: without `JOINER` and before it is done the cell was the handle's, and whoever completes it finds no
            // `JOINER`. The handle's reference keeps it where it is.
            drop(self.joiner.with_mut(|joiner| unsafe { (*joiner).take() }));
        }
        left.is_err()
    }

    /// Counts one more reference, for a caller that has one.
    #[inline]
    pub fn count(&self) {
        // Relaxed: a new reference comes from one that is alive.
        self.word.fetch_add(REFERENCE, Ordering::Relaxed);
    }

    /// Gives a reference back.
    #[inline]
    pub fn release(&self) -> Release {
        // Release: partner is the load below, in whoever gives back the last.
        let before = self.word.fetch_sub(REFERENCE, Ordering::Release);
        if before / REFERENCE != 1 {
            return Release::Nothing;
        }
        // Acquire: partner is the release of every other reference: all uses of the task come before its end.
        if self.word.load(Ordering::Acquire) & DONE != 0 {
            return Release::Free;
        }
        // Nobody else knows it: neither running nor scheduled, or it would have a reference for that.
        self.word.store(SCHEDULED | ABORTED | REFERENCE, Ordering::Relaxed);
        Release::Enqueue
    }
}

impl<J> Default for TaskState<J> {
    fn default() -> Self {
        Self::new()
    }
}
