//! A random program: what its threads share, its beginning, and what must hold at its end.

use crate::bands::{self, Bands};
use crate::channels::{self, Message, Sender, Sent};
use crate::locks::Locks;
use crate::random::Random;
use crate::{alone, child, tasks, victims};
use isochron::core_algorithms::sync::{AtomicU32, Ordering::Relaxed};
use isochron::group;
use isochron::kernel::memory;
use isochron::prelude::*;
use isochron::sync::{Inheritance, set_inheritance};
use isochron::thread::{SlotSize, Thread};
use isochron::worker;

/// The most threads that make threads of their own.
const MOST_THREADS: u32 = 40;
/// How long the last thread may take from its end to giving its memory back.
const PATIENCE: Duration = Duration::from_millis(20);

/// How long the last task may take that nobody joins.
const LONGEST_TASK: Duration = Duration::from_millis(200);

/// More than die in any program.
const MOST_DEATHS: usize = 200;
/// The most bytes of the heap that one thread leaves behind which dies, and for which all is lost that it owned.
const LEFT_BY_ONE: usize = 2_048;

/// The blocks of the last threads that died are kept, so that nobody takes another for one of them; a packed thread's slot with it.
const MOST_GRAVES: usize = 64;

/// What the threads of a program share.
pub struct Shared {
    pub locks: Locks,
    pub channels: Vec<channel::Sender<Message>>,
    pub bands: Bands,
    /// Some threads are killed, or panic.
    pub has_victims: bool,
    /// Executors too: then all tasks are mortal, and own nothing.
    pub has_mortals: bool,
    /// Some have a CPU for themselves.
    pub has_reservations: bool,
    handles: Mutex<Vec<Thread>>,
    sent: Mutex<Vec<Sent>>,
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

    /// One of them.
    pub fn a_handle(&self, random: &mut Random) -> Option<Thread> {
        let handles = self.handles.lock();
        if handles.is_empty() { None } else { Some(handles[random.below(handles.len())].clone()) }
    }

    /// Unparks one of them.
    pub fn unpark_somebody(&self, random: &mut Random) {
        if let Some(thread) = self.a_handle(random) {
            thread.unpark();
        }
    }

    /// A sender is done.
    pub fn note_sent(&self, sender: &mut Sender) {
        self.sent.lock().push(sender.sent());
    }
}

/// Runs the program of a seed and checks what must hold. `planted`: it has a bug of its own.
pub fn run(seed: u64, planted: bool) {
    bands::settle();
    victims::prepare();
    tasks::settle();
    let (before, packed) = (memory::census::in_use(), memory::packed::in_hands());
    let has_victims = run_all(seed, planted);
    victims::forget();
    bands::settle();
    tasks::settle();
    // What they owned is lost, but for their stacks.
    let (lost, graves) = if has_victims { (MOST_DEATHS * LEFT_BY_ONE, MOST_GRAVES) } else { (0, 0) };
    let slots = graves * SlotSize::Kib2.bytes();
    let is_back = |now: memory::census::Census| {
        now.stacks == before.stacks
            && (packed..=packed + slots).contains(&memory::packed::in_hands())
            && (before.heap..=before.heap + lost).contains(&now.heap)
    };
    // The last threads are over and told so; their CPUs give back what was theirs.
    let deadline = Instant::now() + PATIENCE;
    while !is_back(memory::census::in_use()) {
        assert!(
            Instant::now() < deadline,
            "memory is lost: {:?} and {} packed, and before {before:?} and {packed}",
            memory::census::in_use(),
            memory::packed::in_hands()
        );
        sleep(Duration::from_micros(100));
        // A CPU may have kept a group for a while that somebody was set aside in.
        bands::settle();
        // An executor that was killed may have died only now.
        tasks::settle();
    }
}

/// What threads that were joined have shared, and tasks, of which some were left to themselves.
fn alone(mut shared: Arc<Shared>) -> Shared {
    let deadline = Instant::now() + LONGEST_TASK;
    loop {
        match Arc::try_unwrap(shared) {
            Ok(shared) => return shared,
            Err(others) => shared = others,
        }
        assert!(Instant::now() < deadline, "a thread that was joined, or a task, still shares");
        sleep(Duration::from_micros(100));
    }
}

/// Whether some of its threads may have died.
fn run_all(seed: u64, planted: bool) -> bool {
    // Apart from the numbers by which the machine takes its turns.
    let mut random = Random::new(seed ^ 0x00c0_ffee);
    let quantum = Duration::from_micros([50, 200, 1_000, 10_000][random.below(4)]);
    worker::set_quantum(quantum).expect("a quantum that is allowed");
    set_inheritance(Inheritance {
        most_levels: [0, 4, 32, 300][random.below(4)],
        decay: Duration::from_micros([20, 500, 2_000][random.below(3)]),
    });
    let has_victims = random.once_in(3);
    let has_mortals = has_victims && random.once_in(2);
    let (channels, receivers) = channels::open(2, !has_mortals, &mut random);
    let shared = Arc::new(Shared {
        locks: Locks::new(planted),
        channels,
        bands: Bands::new(&mut random),
        has_victims,
        has_mortals,
        has_reservations: random.once_in(3),
        handles: Mutex::new(Vec::new()),
        sent: Mutex::new(Vec::new()),
        threads: AtomicU32::new(0),
        names: AtomicU32::new(0),
    });
    let result = child::run(&shared, seed, 0);
    assert_eq!(result, child::answer(seed));
    group::leave();
    // Mortal tasks are not counted among the dead.
    if has_victims && !has_mortals {
        victims::check();
    }
    alone::check();
    let shared = alone(shared);
    shared.locks.check();
    let Shared { bands, sent, channels, .. } = shared;
    drop(channels);
    receivers.check(&sent.into_inner());
    bands.check();
    has_victims
}
