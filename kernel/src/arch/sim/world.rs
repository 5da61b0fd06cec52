//! Which CPU runs, what time it is, and chance.

use super::cpu::Does;
use super::random::Random;
use super::{context, interrupt, simulation, threads};
use crate::cpu::PerCpu;
use core::cell::Cell;
use core::ptr;

/// The most CPUs here: more show nothing new, and each halves what a seed tries of the others.
pub(super) const MAX_CPUS: usize = 8;

/// Points after which a program is said to have no end.
const MOST_POINTS: u64 = 20_000_000;
/// Virtual nanoseconds after which it is.
const MOST_TIME: u64 = 500_000_000_000;
/// When chance begins to have its way: the same for all, however long the process has run before its copy was made.
const BEGINNING: u64 = 1_000_000_000_000;
/// Points between two looks at the threads that wait.
const CHECK_EVERY: u64 = 128;

/// How chance plays, for one run. "One in": once in so many points, 0 for never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Another CPU goes on.
    switch_one_in: u64,
    /// The CPU is held for a while, and the others go on.
    hold_one_in: u64,
    /// The longest time for which one is held.
    longest_hold: u64,
    /// A kept store is let go.
    let_go_one_in: u64,
    /// The longest way of an IPI.
    longest_ipi: u64,
    /// By how much the clock goes on at a point, at the most.
    longest_step: u64,
    keeps_stores: bool,
}

impl Manner {
    const ORDERLY: Self = Self {
        switch_one_in: 0,
        hold_one_in: 0,
        longest_hold: 1,
        let_go_one_in: 1,
        longest_ipi: 1,
        longest_step: 16,
        keeps_stores: false,
    };

    /// Drawn by the seed.
    fn draw(random: &Random) -> Self {
        let of = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
        Self {
            switch_one_in: of(&[2, 3, 5, 10, 30, 100]),
            hold_one_in: of(&[0, 0, 300, 1_000, 5_000]),
            longest_hold: of(&[2_000, 20_000, 100_000]),
            let_go_one_in: of(&[2, 8, 32]),
            longest_ipi: of(&[1, 500, 5_000, 20_000]),
            longest_step: of(&[8, 32, 200]),
            keeps_stores: random.below(2) == 0,
        }
    }
}

struct World {
    running: Cell<*const PerCpu>,
    cpus: [Cell<*const PerCpu>; MAX_CPUS],
    count: Cell<usize>,
    now: Cell<u64>,
    points: Cell<u64>,
    begun: Cell<bool>,
    /// A failure is being told: nothing happens any more.
    over: Cell<bool>,
    manner: Cell<Manner>,
    random: Random,
}

// SAFETY: the process has one thread, and no signal handler looks here but one that ends it.
unsafe impl Sync for World {}

static WORLD: World = World {
    running: Cell::new(ptr::null()),
    cpus: [const { Cell::new(ptr::null()) }; MAX_CPUS],
    count: Cell::new(0),
    now: Cell::new(0),
    points: Cell::new(0),
    begun: Cell::new(false),
    over: Cell::new(false),
    manner: Cell::new(Manner::ORDERLY),
    random: Random::new(0),
};

/// The running CPU's block; null before there is one.
#[inline(always)]
pub(super) fn running() -> *const PerCpu {
    WORLD.running.get()
}

/// The same as a reference.
#[inline(always)]
pub(super) fn running_cpu() -> Option<&'static PerCpu> {
    // SAFETY: null, or a block that lives for ever.
    unsafe { running().as_ref() }
}

/// Says which CPU runs. One that is new is in the world from then on.
pub(super) fn set_running(cpu: *const PerCpu) {
    add(cpu);
    WORLD.running.set(cpu);
}

/// A CPU that is to run.
pub(super) fn add(cpu: *const PerCpu) {
    let count = WORLD.count.get();
    if !WORLD.cpus[..count].iter().any(|known| known.get() == cpu) {
        WORLD.cpus[count].set(cpu);
        WORLD.count.set(count + 1);
    }
}

/// All CPUs that were started.
pub(super) fn cpus() -> impl Iterator<Item = &'static PerCpu> {
    // SAFETY: blocks that live for ever.
    WORLD.cpus[..WORLD.count.get()].iter().filter_map(|cpu| unsafe { cpu.get().as_ref() })
}

/// The time.
#[inline(always)]
pub(super) fn now() -> u64 {
    WORLD.now.get()
}

/// How many points there were since the beginning.
pub(super) fn points() -> u64 {
    WORLD.points.get()
}

/// Whether chance has its way.
pub(super) fn has_begun() -> bool {
    WORLD.begun.get()
}

/// Whether stores are kept back.
pub(super) fn keeps_stores() -> bool {
    WORLD.manner.get().keeps_stores
}

/// From here on chance has its way. `stores`: whether they are kept back, if that is not left to the seed.
pub(super) fn begin(seed: u64, stores: Option<bool>) {
    WORLD.random.reseed(seed);
    let mut manner = Manner::draw(&WORLD.random);
    if let Some(stores) = stores {
        manner.keeps_stores = stores;
    }
    WORLD.manner.set(manner);
    WORLD.points.set(0);
    assert!(now() < BEGINNING, "the process is too old to be copied");
    WORLD.now.set(BEGINNING);
    WORLD.begun.set(true);
}

/// How chance plays.
pub(super) fn manner() -> Manner {
    WORLD.manner.get()
}

/// From here on nothing happens: a failure is being told.
pub(super) fn end() {
    WORLD.over.set(true);
}

fn chance(one_in: u64) -> bool {
    one_in != 0 && WORLD.random.once_in(one_in)
}

/// How long an IPI is on its way.
pub(super) fn ipi_delay() -> u64 {
    WORLD.random.below(WORLD.manner.get().longest_ipi)
}

/// How much later than asked for a timer strikes.
pub(super) fn timer_delay() -> u64 {
    if WORLD.begun.get() { WORLD.random.below(1_000) } else { 0 }
}

/// Whether a weak compare-and-swap fails for no reason.
pub(super) fn weak_fails() -> bool {
    WORLD.begun.get() && WORLD.random.once_in(16)
}

/// What this CPU keeps back is let go.
#[inline]
pub(super) fn settle() {
    if let Some(cpu) = running_cpu() {
        cpu.arch.buffer.settle();
    }
}

/// A point: time passes, another CPU may go on, an interrupt may be taken.
pub(super) fn point() {
    let Some(cpu) = running_cpu().filter(|_| !WORLD.over.get()) else { return };
    pass(WORLD.manner.get().longest_step);
    if WORLD.begun.get() {
        let manner = WORLD.manner.get();
        if manner.keeps_stores {
            let_some_go(manner.let_go_one_in);
        }
        if chance(manner.hold_one_in) {
            cpu.arch.held_until.set(now() + WORLD.random.below(manner.longest_hold));
        }
        if cpu.arch.held_until.get() > now() || chance(manner.switch_one_in) {
            leave();
        }
    }
    interrupt::take();
}

/// A point at which another CPU goes on if one can.
pub(super) fn spin() {
    let Some(cpu) = running_cpu().filter(|_| !WORLD.over.get()) else { return };
    pass(64);
    let_some_go(2);
    let me = ptr::from_ref(cpu);
    if let Some(other) = pick(|other| !ptr::eq(other, me)) {
        go_on_with(other);
    }
    interrupt::take();
}

fn pass(most: u64) {
    WORLD.now.set(now() + 1 + WORLD.random.below(most));
    let points = WORLD.points.get() + 1;
    WORLD.points.set(points);
    if WORLD.begun.get() {
        if points > MOST_POINTS || now() > BEGINNING + MOST_TIME {
            simulation::fail(format_args!("the program has no end"));
        }
        if points.is_multiple_of(CHECK_EVERY) {
            threads::check();
        }
    }
}

/// The CPU is busy until `end`, or until an interrupt comes; others go on meanwhile.
pub(super) fn compute_until(end: u64) {
    let Some(cpu) = running_cpu() else { return };
    cpu.arch.does.set(Does::Computes(end));
    leave();
    cpu.arch.does.set(Does::Runs);
    point();
}

fn let_some_go(one_in: u64) {
    for cpu in cpus().filter(|cpu| !cpu.arch.buffer.is_empty()) {
        cpu.arch.buffer.let_old_go(now());
        if chance(one_in) {
            cpu.arch.buffer.let_one_go(WORLD.random.number());
        }
    }
}

/// When a CPU can go on; `u64::MAX` for never.
fn can_go_on_at(cpu: &PerCpu) -> u64 {
    let ready = match cpu.arch.does.get() {
        Does::Runs => 0,
        Does::Computes(until) => until.min(cpu.arch.lines.next()),
        Does::Sleeps(_) => cpu.arch.lines.next(),
        Does::Off | Does::Halted => u64::MAX,
    };
    ready.max(cpu.arch.held_until.get())
}

/// It sleeps, or computes and would take an interrupt, and none is on its way to it but its timer's.
fn is_at_rest(cpu: &PerCpu) -> bool {
    match cpu.arch.does.get() {
        Does::Runs => false,
        Does::Computes(_) => cpu.arch.enabled.get() && !cpu.arch.lines.has_ipi(),
        Does::Sleeps(_) => !cpu.arch.lines.has_ipi(),
        Does::Off | Does::Halted => true,
    }
}

/// One of the CPUs that can go on now and are wanted, any of them.
fn pick(wanted: impl Fn(&'static PerCpu) -> bool) -> Option<&'static PerCpu> {
    let now = now();
    let can = |cpu: &&'static PerCpu| wanted(cpu) && can_go_on_at(cpu) <= now;
    let count = cpus().filter(can).count() as u64;
    if count == 0 { None } else { cpus().filter(can).nth(WORLD.random.below(count) as usize) }
}

/// Some CPU goes on, this one or another. If none can, time passes until one can.
pub(super) fn leave() {
    loop {
        if let Some(next) = pick(|_| true) {
            return go_on_with(next);
        }
        let next = cpus().map(can_go_on_at).min().unwrap_or(u64::MAX);
        if next == u64::MAX {
            simulation::fail(format_args!("every CPU sleeps, and nothing will wake one"));
        }
        cpus().for_each(|cpu| cpu.arch.buffer.settle());
        if WORLD.begun.get() && cpus().all(is_at_rest) {
            threads::check_at_rest();
        }
        WORLD.now.set(next);
    }
}

fn go_on_with(next: &'static PerCpu) {
    let Some(me) = running_cpu() else { return };
    if ptr::eq(me, next) {
        return;
    }
    WORLD.running.set(next);
    // SAFETY: this CPU's context is saved here, and goes on only by this function, on some other CPU's behalf; the next
    // one's was saved here too, or prepared when it was started. No interrupt comes but at points, on the CPU that runs.
    unsafe { context::switch(me.arch.context.get().cast(), next.arch.context.get().cast(), 0) };
}
