//! The ways in which a thread comes to run, each as often as it is asked for.

use crate::walk::{BEGIN, END};
use core::sync::atomic::{AtomicU64, Ordering};
use isochron::kernel::arch::cpu::spin_hint;
use isochron::kernel::topology::{self, Distance};
use isochron::policy::Region;
use isochron::prelude::*;
use isochron::thread::{Builder, Thread, pin_to, unpin};
use isochron::{trace, worker};
use isochron_apps::measure::{Line, on, pause};

use crate::Failed;

/// One way.
pub struct Scene {
    pub name: &'static str,
    /// It begins with a timer's deadline, not with a waker.
    pub by_timer: bool,
    run: fn(u64) -> Result<Vec<u64>, Failed>,
    least_cpus: usize,
    far: bool,
}

const fn scene(name: &'static str, run: fn(u64) -> Result<Vec<u64>, Failed>) -> Scene {
    Scene { name, by_timer: false, run, least_cpus: 1, far: false }
}

/// All of them.
pub const SCENES: [Scene; 8] = [
    scene("next", next),
    scene("own", own),
    scene("shared", shared),
    Scene { by_timer: true, ..scene("timer", |count| sleeper(count, false)) },
    Scene { by_timer: true, ..scene("timer_hog", |count| sleeper(count, true)) },
    Scene { least_cpus: 2, ..scene("handed", handed) },
    Scene { least_cpus: 2, ..scene("stolen_near", |count| stolen(count, false)) },
    Scene { least_cpus: 2, far: true, ..scene("stolen_far", |count| stolen(count, true)) },
];

impl Scene {
    /// Whether this machine has what it takes.
    pub fn is_possible(&self) -> bool {
        thread::cpu_count() >= self.least_cpus && (!self.far || other(true).is_some())
    }

    /// Has so many wake-ups happen; how long each took, in ticks.
    pub fn run(&self, count: u64) -> Result<Vec<u64>, Failed> {
        (self.run)(count)
    }
}

/// The nearest CPU that is not the first and is (`far`) of another node, or is not.
fn other(far: bool) -> Option<CpuId> {
    let others = (1..thread::cpu_count()).map(CpuId::new);
    let distance = |cpu: &CpuId| topology::distance(CpuId::PRIMARY, *cpu);
    others.filter(|cpu| (distance(cpu) == Distance::Far) == far).min_by_key(distance)
}

/// Long enough for a CPU with nothing to do to be asleep.
const ASLEEP: Duration = Duration::from_micros(10);

/// When the wake-up under way began and ended, in ticks.
#[derive(Default)]
struct Times {
    begin: Line<AtomicU64>,
    end: Line<AtomicU64>,
}

impl Times {
    fn begin(&self, target: &Thread) {
        trace::mark(target.id() << 1 | BEGIN);
        self.begin.0.store(Instant::now_unordered().ticks(), Ordering::Relaxed);
    }

    /// In the thread that was woken. Release: whoever reads the end reads the beginning too.
    fn end(&self) {
        let now = Instant::now_unordered().ticks();
        trace::mark(END);
        self.end.0.store(now, Ordering::Release);
    }

    /// How long it took, once it is over.
    fn take(&self) -> u64 {
        let end = self.end.0.swap(0, Ordering::Acquire);
        end.saturating_sub(self.begin.0.load(Ordering::Relaxed))
    }
}

fn died<E>(_: E) -> &'static str {
    "a thread has died"
}

/// A thread that is woken `count` times, and wakes its waker each time.
fn target(builder: Builder, count: u64, times: &Arc<Times>, waker: Thread) -> Result<JoinHandle<()>, Failed> {
    let times = times.clone();
    let made = builder.name("woken").spawn(move || {
        for _ in 0..count {
            park();
            times.end();
            waker.unpark();
        }
    })?;
    Ok(made)
}

/// The waker's side of it, in a thread bound to the first CPU: `wake` is called with the beginning noted.
fn waker(
    count: u64,
    make: impl FnOnce(&Arc<Times>) -> Result<JoinHandle<()>, Failed> + Send + 'static,
    idle: Duration,
    mut before: impl FnMut() + Send + 'static,
    mut after: impl FnMut() + Send + 'static,
) -> Result<Vec<u64>, Failed> {
    let run = move || -> Result<Vec<u64>, String> {
        let times = Arc::new(Times::default());
        let made = make(&times).map_err(|error| error.to_string())?;
        let woken = made.thread();
        // It has parked when this goes on.
        sleep(Duration::from_micros(100));
        let mut took = Vec::with_capacity(count as usize);
        for _ in 0..count {
            if idle > Duration::ZERO {
                sleep(idle);
            }
            before();
            times.begin(&woken);
            woken.unpark();
            after();
            park();
            took.push(times.take());
        }
        made.join().map_err(died)?;
        Ok(took)
    };
    Ok(on(CpuId::PRIMARY, "waker", run)?.join().map_err(died)??)
}

fn here() -> Builder<'static> {
    Builder::new().pinned(CpuId::PRIMARY)
}

fn next(count: u64) -> Result<Vec<u64>, Failed> {
    let make = move |times: &Arc<Times>| target(here(), count, times, thread::current());
    waker(count, make, Duration::ZERO, || (), || ())
}

/// A second thread is woken right after the first, and takes its place.
fn own(count: u64) -> Result<Vec<u64>, Failed> {
    let second = here().name("second").spawn(move || (0..count).for_each(|_| park()))?;
    let woken = second.thread();
    let make = move |times: &Arc<Times>| target(here(), count, times, thread::current());
    let took = waker(count, make, Duration::ZERO, || (), move || woken.unpark())?;
    second.join().map_err(died)?;
    Ok(took)
}

/// Through the node's list. The other CPUs do not take part.
fn shared(count: u64) -> Result<Vec<u64>, Failed> {
    let label = Region::new(0)?;
    let alone = Alone::all()?;
    worker::set_one_queue(true);
    let make = move |times: &Arc<Times>| target(Builder::new().region(label), count, times, thread::current());
    let took = waker(count, make, Duration::ZERO, || (), || ());
    worker::set_one_queue(false);
    drop(alone);
    took
}

/// A thread bound to a CPU that sleeps.
fn handed(count: u64) -> Result<Vec<u64>, Failed> {
    let there = other(false).or(other(true)).ok_or("it takes two CPUs")?;
    let make = move |times: &Arc<Times>| target(Builder::new().pinned(there), count, times, thread::current());
    waker(count, make, ASLEEP, || (), || ())
}

/// A thread that sleeps until a deadline; `beside` a thread that never blocks.
fn sleeper(count: u64, beside: bool) -> Result<Vec<u64>, Failed> {
    let stop = Arc::new(Line(AtomicU64::new(u64::from(!beside))));
    let seen = stop.clone();
    let hog = on(CpuId::PRIMARY, "hog", move || {
        while seen.0.load(Ordering::Relaxed) == 0 {
            core::hint::spin_loop();
        }
    })?;
    let sleeping = on(CpuId::PRIMARY, "sleeper", move || {
        let mut took = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let deadline = Instant::now() + Duration::from_micros(20);
            sleep_until(deadline);
            let now = Instant::now_unordered();
            trace::mark(END);
            took.push(now.ticks().saturating_sub(deadline.ticks()));
        }
        took
    })?;
    let took = sleeping.join().map_err(died);
    stop.0.store(1, Ordering::Relaxed);
    hog.join().map_err(died)?;
    Ok(took?)
}

/// A thread that is at home on a CPU which goes on with its waker; the one other CPU that may steals it.
fn stolen(count: u64, far: bool) -> Result<Vec<u64>, Failed> {
    let thief = other(far).ok_or("there is no such CPU")?;
    let _alone = Alone::but(thief)?;
    let run = move || -> Result<Vec<u64>, String> {
        let (times, waker) = (Arc::new(Times::default()), thread::current());
        let end = times.clone();
        let made = here()
            .name("woken")
            .spawn(move || {
                for _ in 0..count {
                    // Home again.
                    if pin_to(CpuId::PRIMARY).is_err() {
                        return;
                    }
                    unpin();
                    waker.unpark();
                    park();
                    end.end();
                }
            })
            .map_err(|error| error.to_string())?;
        let woken = made.thread();
        let mut took = Vec::with_capacity(count as usize);
        for _ in 0..count {
            park();
            // It has woken this one and then parked, on this CPU; the thief falls asleep.
            pause(ASLEEP);
            times.begin(&woken);
            woken.unpark();
            while times.end.0.load(Ordering::Acquire) == 0 {
                spin_hint();
            }
            took.push(times.take());
        }
        made.join().map_err(died)?;
        Ok(took)
    };
    Ok(on(CpuId::PRIMARY, "waker", run)?.join().map_err(died)??)
}

/// CPUs that do not steal and are not stolen from, until it is dropped.
struct Alone(Vec<CpuId>);

impl Alone {
    /// All but the first.
    fn all() -> Result<Self, Failed> {
        Self::without(|_| true)
    }

    /// All but the first and `thief`.
    fn but(thief: CpuId) -> Result<Self, Failed> {
        Self::without(|cpu| cpu != thief)
    }

    fn without(choose: impl Fn(CpuId) -> bool) -> Result<Self, Failed> {
        let cpus: Vec<_> = (1..thread::cpu_count()).map(CpuId::new).filter(|&cpu| choose(cpu)).collect();
        for &cpu in &cpus {
            worker::set_stealing(cpu, false)?;
        }
        Ok(Self(cpus))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        for &cpu in &self.0 {
            // It was there when it was switched off.
            let _ = worker::set_stealing(cpu, true);
        }
    }
}
