//! A random program: what its threads share, its beginning, and what must hold at its end.

use crate::channels::{self, Message, Sender};
use crate::child;
use crate::locks::Locks;
use crate::random::Random;
use isochron::core_algorithms::sync::{AtomicU32, Ordering::Relaxed};
use isochron::kernel::memory;
use isochron::prelude::*;
use isochron::thread::Thread;
use isochron::worker;

/// The most threads that make threads of their own.
const MOST_THREADS: u32 = 40;
/// How long the last thread may take from its end to giving its memory back.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the threads of a program share.
pub struct Shared {
    pub locks: Locks,
    pub channels: Vec<channel::Sender<Message>>,
    handles: Mutex<Vec<Thread>>,
    sent: Mutex<Vec<(usize, u32, u32)>>,
    threads: AtomicU32,
    names: AtomicU32,
}

impl Shared {
    /// Whether there may be another thread; then it is counted.
    pub fn may_make_one_more(&self) -> bool {
        self.threads.fetch_add(1, Relaxed) < MOST_THREADS
    }

    /// A name that no sender has.
    pub fn next_name(&self) -> u32 {
        self.names.fetch_add(1, Relaxed)
    }

    /// A thread that others may unpark for no reason.
    pub fn add_handle(&self, thread: Thread) {
        self.handles.lock().push(thread);
    }

    /// Unparks one of them.
    pub fn unpark_somebody(&self, random: &mut Random) {
        let handles = self.handles.lock();
        if !handles.is_empty() {
            let thread = handles[random.below(handles.len())].clone();
            drop(handles);
            thread.unpark();
        }
    }

    /// A sender is done.
    pub fn note_sent(&self, (channel, sender): (usize, Sender)) {
        self.sent.lock().push((channel, sender.name, sender.sent()));
    }
}

/// Runs the program of a seed and checks what must hold. `planted`: it has a bug of its own.
pub fn run(seed: u64, planted: bool) {
    let before = memory::in_use();
    run_all(seed, planted);
    // The last threads are over and told so; their CPUs give back what was theirs.
    let deadline = Instant::now() + PATIENCE;
    while memory::in_use() != before {
        assert!(Instant::now() < deadline, "memory is lost: {:?}, and before {before:?}", memory::in_use());
        sleep(Duration::from_micros(100));
    }
}

fn run_all(seed: u64, planted: bool) {
    // Apart from the numbers by which the machine takes its turns.
    let mut random = Random::new(seed ^ 0x00c0_ffee);
    let quantum = Duration::from_micros([50, 200, 1_000, 10_000][random.below(4)]);
    worker::set_quantum(quantum).expect("a quantum that is allowed");
    let (channels, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| channels::open(&mut random)).unzip();
    let shared = Arc::new(Shared {
        locks: Locks::new(planted),
        channels,
        handles: Mutex::new(Vec::new()),
        sent: Mutex::new(Vec::new()),
        threads: AtomicU32::new(0),
        names: AtomicU32::new(0),
    });
    let result = child::run(&shared, seed, 0);
    assert_eq!(result, child::answer(seed));
    shared.locks.check();
    let sent = core::mem::take(&mut *shared.sent.lock());
    let Ok(shared) = Arc::try_unwrap(shared) else { panic!("a thread that was joined still shares") };
    drop(shared);
    for (index, receivers) in receivers.into_iter().enumerate() {
        receivers.check(sent.iter().filter(|sent| sent.0 == index).map(|sent| (sent.1, sent.2)).collect());
    }
}
