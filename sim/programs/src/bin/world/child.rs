//! What one thread of a random program does.

use crate::channels::Sender;
use crate::program::Shared;
use crate::random::Random;
use isochron::core_algorithms::sync::{AtomicU32, Ordering};
use isochron::kernel::arch::simulation;
use isochron::prelude::*;
use isochron::thread::{Builder, Hint, MAX_PRIORITY, cpu_count, pin_to, set_hint, set_priority, unpin};

/// How deep threads that threads have made make threads.
const DEPTH: u32 = 3;
/// The longest sleep.
const LONGEST_SLEEP_NS: u64 = 50_000;

/// Looks at the clock so often: each look is a point.
pub fn work(looks: u64) {
    for _ in 0..looks {
        let _ = Instant::now();
    }
}

fn a_cpu(random: &mut Random) -> CpuId {
    CpuId::new(random.below(cpu_count()))
}

fn a_hint(random: &mut Random) -> Hint {
    [Hint::Batch, Hint::Normal, Hint::Network, Hint::Latency][random.below(4)]
}

/// With a place and a rank, now and then.
pub fn somewhere<'a>(builder: Builder<'a>, random: &mut Random) -> Builder<'a> {
    let builder = if random.once_in(4) { builder.pinned(a_cpu(random)) } else { builder };
    match random.below(8) {
        0 => builder.hint(a_hint(random)),
        1 => builder.priority(random.within(0..u64::from(MAX_PRIORITY) + 1) as u32),
        _ => builder,
    }
}

/// What a child is to answer.
pub const fn answer(seed: u64) -> u64 {
    seed.rotate_left(17) ^ 0x5eed
}

/// A thread that this one has made and not joined yet.
struct Made {
    handle: JoinHandle<u64>,
    seed: u64,
}

impl Made {
    fn join(self, random: &mut Random) {
        let result = if random.once_in(4) {
            match self.handle.join_timeout(Duration::from_nanos(random.within(0..100_000))) {
                Ok(result) => result,
                Err(handle) => handle.join(),
            }
        } else {
            self.handle.join()
        };
        assert_eq!(result.expect("a child has an end"), answer(self.seed), "another thread's result");
    }
}

/// The thread itself.
pub fn run(shared: &Arc<Shared>, seed: u64, depth: u32) -> u64 {
    let mut random = Random::new(seed);
    let mut made = Vec::new();
    let mut sender = random.once_in(2).then(|| shared.sender(&mut random));
    shared.add_handle(thread::current());
    // The first one is to have company.
    let first = if depth == 0 { random.within(2..8) } else { 0 };
    for _ in 0..first {
        made.push(make(shared, &mut random, depth + 1));
    }
    for _ in 0..random.within(1..24) {
        match random.below(23) {
            0..2 => work(random.within(0..60)),
            2 => simulation::compute(random.within(0..300_000)),
            3..5 => yield_now(),
            5..8 if depth < DEPTH && shared.may_make_one_more() => made.push(make(shared, &mut random, depth + 1)),
            8 => sleep(Duration::from_nanos(random.within(0..LONGEST_SLEEP_NS))),
            9 => _ = thread::park_timeout(Duration::from_nanos(random.within(0..LONGEST_SLEEP_NS))),
            10 => shared.unpark_somebody(&mut random),
            11 => pin_to(a_cpu(&mut random)).expect("the CPU runs"),
            12 => unpin(),
            13 => set_hint(a_hint(&mut random)),
            14 if random.once_in(2) => set_priority(random.within(0..256) as u32).expect("it is a priority"),
            15 => shared.locks.mutex(&mut random),
            16 => shared.locks.shared(&mut random),
            17 => shared.locks.semaphore(&mut random),
            18 => shared.locks.condition(&mut random),
            19 => fork(&mut random),
            22 if random.once_in(3) => wait_busily(&mut random),
            20 if random.once_in(3) => shared.locks.once(&mut random),
            _ => match &mut sender {
                Some((_, sender)) => sender.send(&mut random),
                None if !made.is_empty() => {
                    let at = random.below(made.len());
                    made.swap_remove(at).join(&mut random);
                }
                None => work(3),
            },
        }
    }
    if let Some(sender) = sender {
        shared.note_sent(sender);
    }
    for child in made {
        child.join(&mut random);
    }
    answer(seed)
}

/// Makes a child, which perhaps waits for a sign of this thread's, and then gives that.
fn make(shared: &Arc<Shared>, random: &mut Random, depth: u32) -> Made {
    let seed = random.number();
    let builder = somewhere(Builder::new(), random);
    let sign = random.once_in(2).then(|| Arc::new(AtomicU32::new(0)));
    let (theirs, shared) = (sign.clone(), Arc::clone(shared));
    let handle = builder.spawn(move || {
        // Acquire: partner is the store below.
        while theirs.as_ref().is_some_and(|sign| sign.load(Ordering::Acquire) == 0) {
            thread::park();
        }
        run(&shared, seed, depth)
    });
    let handle = handle.expect("a thread can be made");
    if let Some(sign) = sign {
        match random.below(3) {
            0 => {}
            1 => work(random.within(0..40)),
            _ => yield_now(),
        }
        // Release: partner is the load above.
        sign.store(1, Ordering::Release);
        handle.thread().unpark();
    }
    Made { handle, seed }
}

/// Waits, without giving way, for a thread that may have to run on this very CPU: only preemption helps.
fn wait_busily(random: &mut Random) {
    let done = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&done);
    let builder = Builder::new().pinned(a_cpu(random));
    // Release: partner is the load below.
    let other = builder.spawn(move || theirs.store(1, Ordering::Release)).expect("a thread can be made");
    // Acquire: partner is the store above.
    while done.load(Ordering::Acquire) == 0 {
        simulation::compute(20_000);
    }
    other.join().expect("it has an end");
}

fn fork(random: &mut Random) {
    fn sum(from: u64, to: u64) -> u64 {
        if to - from <= 2 {
            work(to - from);
            return (from..to).sum();
        }
        let middle = from.midpoint(to);
        let (a, b) = fork::join(|| sum(from, middle), || sum(middle, to));
        a + b
    }
    let to = random.within(1..20);
    assert_eq!(sum(0, to), to * (to - 1) / 2, "a fork's sum");
}

impl Shared {
    fn sender(&self, random: &mut Random) -> (usize, Sender) {
        let channel = random.below(self.channels.len());
        (channel, Sender::new(self.channels[channel].clone(), self.next_name()))
    }
}
