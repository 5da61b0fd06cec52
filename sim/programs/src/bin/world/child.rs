//! What one thread of a random program does.

use crate::channels::Sender;
use crate::program::Shared;
use crate::random::Random;
use crate::tasks::{self, Doing};
use crate::{alone, forks, moments, mortals, victims};
use isochron::core_algorithms::sync::{AtomicU32, Ordering};
use isochron::kernel::arch::simulation;
use isochron::prelude::*;
use isochron::sync::system_wide_barrier;
use isochron::thread::{
    Builder, Hint, MAX_PRIORITY, PreemptGuard, SlotSize, SpawnError, cpu_count, pin_to, set_hint, set_priority, unpin,
};

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

pub fn a_cpu(random: &mut Random) -> CpuId {
    CpuId::new(random.below(cpu_count()))
}

pub fn a_hint(random: &mut Random) -> Hint {
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

/// Makes a thread, packed or not, with a place and a rank now and then. Where somebody has that place for itself, another.
pub fn start<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    random: &mut Random,
    body: impl Fn() -> F,
) -> JoinHandle<T> {
    let packed = random.once_in(3);
    let spawn = |builder: Builder<'_>| {
        if packed { builder.spawn_packed(SlotSize::Kib2, body()) } else { builder.spawn(body()) }
    };
    match spawn(somewhere(Builder::new(), random)) {
        Err(SpawnError::Reserved(_)) => spawn(Builder::new()),
        made => made,
    }
    .expect("a thread can be made")
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
    let (mut made, mut doing) = (Vec::new(), Vec::new());
    let mut senders = random.once_in(2).then(|| (shared.sender(&mut random), shared.sender(&mut random)));
    shared.add_handle(thread::current());
    // The first one is to have company.
    let first = if depth == 0 { random.within(2..8) } else { 0 };
    for _ in 0..first {
        made.push(make(shared, &mut random, depth + 1));
    }
    let life = random.within(1..24);
    for _ in 0..life {
        match random.below(41) {
            0..2 => work(random.within(0..60)),
            2 => simulation::compute(random.within(0..300_000)),
            3..5 => yield_now(),
            5..8 if depth < DEPTH && shared.may_make_one_more() => made.push(make(shared, &mut random, depth + 1)),
            8 => sleep(Duration::from_nanos(random.within(0..LONGEST_SLEEP_NS))),
            9 => _ = thread::park_timeout(Duration::from_nanos(random.within(0..LONGEST_SLEEP_NS))),
            10 => shared.unpark_somebody(&mut random),
            11 => bind(&mut random),
            12 => unpin(),
            13 => set_hint(a_hint(&mut random)),
            14 if random.once_in(2) => set_priority(random.within(0..256) as u32).expect("it is a priority"),
            15 => shared.locks.mutex(&mut random),
            16 => shared.locks.shared(&mut random),
            17 => shared.locks.semaphore(&mut random),
            18 => shared.locks.condition(&mut random),
            19 => forks::fork(&mut random),
            20 if random.once_in(3) => shared.locks.once(&mut random),
            21 => forks::scope(&shared.locks, &mut random),
            22 if random.once_in(3) => wait_busily(&mut random),
            23 => shared.locks.barging(&mut random),
            24 => shared.locks.chain(&mut random),
            25 => moments::call_again_and_again(&mut random),
            26 => moments::take_back(&mut random),
            27 => moments::tick(&mut random),
            28 => {
                let other = shared.a_handle(&mut random);
                shared.bands.change(&mut random, other);
            }
            29 if shared.has_victims => victims::murder(&mut random),
            30 if shared.has_victims => victims::inherit(&mut random),
            31 if shared.has_reservations && shared.has_victims && random.once_in(2) => {
                alone::lose_one(a_cpu(&mut random), &mut random);
            }
            31 if shared.has_reservations => alone::have_one(a_cpu(&mut random), &mut random),
            32 => {
                let _guard = PreemptGuard::new();
                work(random.within(0..20));
            }
            33 if random.once_in(4) => system_wide_barrier(),
            34 => tasks::block(&mut random, !shared.has_mortals),
            35..37 if shared.has_mortals => mortals::meet_one(&mut random),
            35..38 if !shared.has_mortals && shared.may_make_one_more() => {
                doing.push(Doing::new(shared, &mut random, depth + 1));
            }
            38..40 if !doing.is_empty() => {
                let at = random.below(doing.len());
                doing.swap_remove(at).end(&mut random);
            }
            _ => match &mut senders {
                Some((one, other)) if random.once_in(2) => one.send_either(other, &mut random),
                Some((one, _)) => one.send(&mut random),
                None if !made.is_empty() => {
                    let at = random.below(made.len());
                    made.swap_remove(at).join(&mut random);
                }
                None => work(3),
            },
        }
    }
    if let Some((mut one, mut other)) = senders {
        shared.note_sent(&mut one);
        shared.note_sent(&mut other);
    }
    for task in doing {
        task.end(&mut random);
    }
    for child in made {
        child.join(&mut random);
    }
    answer(seed)
}

/// Makes a child, which perhaps waits for a sign of this thread's, and then gives that.
fn make(shared: &Arc<Shared>, random: &mut Random, depth: u32) -> Made {
    let seed = random.number();
    let sign = random.once_in(2).then(|| Arc::new(AtomicU32::new(0)));
    let group = shared.bands.any(random).filter(|_| random.once_in(3)).cloned();
    let handle = start(random, || {
        let (theirs, shared, group) = (sign.clone(), Arc::clone(shared), group.clone());
        move || {
            if let Some(group) = group {
                group.enter();
            }
            // Acquire: partner is the store below.
            while theirs.as_ref().is_some_and(|sign| sign.load(Ordering::Acquire) == 0) {
                thread::park();
            }
            run(&shared, seed, depth)
        }
    });
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
    // Release: partner is the load below.
    let other = Builder::new().pinned(a_cpu(random)).spawn(move || theirs.store(1, Ordering::Release));
    let other = match other {
        Ok(other) => other,
        Err(SpawnError::Reserved(_)) => return,
        Err(error) => panic!("a thread cannot be made: {error}"),
    };
    // Acquire: partner is the store above.
    while done.load(Ordering::Acquire) == 0 {
        simulation::compute(20_000);
    }
    other.join().expect("it has an end");
}

fn bind(random: &mut Random) {
    match pin_to(a_cpu(random)) {
        Ok(()) | Err(SpawnError::Reserved(_)) => {}
        Err(error) => panic!("a thread cannot be bound: {error}"),
    }
}

impl Shared {
    /// A sender of one of the channels.
    pub fn sender(&self, random: &mut Random) -> Sender {
        Sender::new(self.channels[random.below(self.channels.len())].clone(), self.next_name())
    }
}
