//! Waiting at several channels: what [`select!`](crate::select) expands to.
//!
//! # Protocol
//! First a look at all arms, and a try at those that look ready, in random order: mostly one of them is. Then, with the
//! locks of *all* the channels held (in the order of their addresses), each is tried once more; if none is ready, a node
//! is queued at each, with one token for all, and the locks are let go. So nothing can become ready between the look and
//! the wait, and no two that select can miss each other. Whoever ends the wait has claimed the token: of several that
//! come at once, one wins, and the others pass on to whoever waits next. At last the nodes of the arms that lost are taken
//! out, and their messages are given back.
//!
//! # Rejected
//! *Waking whoever selects so that it tries again*: another may be faster each time, and two that meet at a rendezvous,
//! both selecting, would each find the other not ready.

mod arms;
mod syntax;

pub use arms::{RecvArm, SendArm};

use crate::Instant;
use crate::worker::channel_wait::{self, Wait};
use arms::Arm;
use isochron_kernel::irq::IrqGuard;

/// The most arms of one `select!` that wait for channels.
pub const MAX_ARMS: usize = 32;

/// How long to wait for an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Not at all.
    Now,
    /// At the most until then.
    Deadline(Instant),
    /// For as long as it takes.
    Forever,
}

/// Waits until one of `arms` is chosen, which then says so, or as long as it may.
///
/// # Panics
/// If there are more than [`MAX_ARMS`]; if it should wait for ever and no arm can ever be chosen; if it must wait where a
/// thread must not block.
#[track_caller]
pub fn run(arms: &mut [&mut dyn Arm], until: Until) {
    assert!(arms.len() <= MAX_ARMS, "a select! of more than {MAX_ARMS} channels");
    let mut looks_ready = (0..arms.len()).fold(0_u32, |set, index| set | u32::from(arms[index].may()) << index);
    while looks_ready != 0 {
        let index = channel_wait::any_of(looks_ready);
        looks_ready &= !(1 << index);
        if arms[index].attempt() {
            return;
        }
    }
    if until != Until::Now {
        wait(arms, until);
    }
}

#[track_caller]
fn wait(arms: &mut [&mut dyn Arm], until: Until) {
    if until == Until::Forever && arms.iter().all(|arm| arm.is_off()) {
        panic!("a select! with nothing to wait for");
    }
    let (wait, irq) = Wait::new(IrqGuard::new());
    let order = lock_all(arms);
    let first = channel_wait::any_of(u32::MAX) % arms.len().max(1);
    for index in (first..arms.len()).chain(0..first) {
        // SAFETY: all locks are held.
        if let Some(wake) = unsafe { arms[index].attempt_locked() }.chosen() {
            unlock_all(arms, &order);
            channel_wait::end(wake, irq);
            return;
        }
    }
    for (index, arm) in arms.iter_mut().enumerate() {
        // SAFETY: all locks are held, and the arm was tried in vain. The arms stay where they are, and those below take
        // the node out again before it goes.
        unsafe { arm.link(&wait, index as u32) };
    }
    unlock_all(arms, &order);
    let ended = match until {
        Until::Deadline(deadline) => wait.block_until(irq, deadline),
        Until::Now | Until::Forever => wait.block(irq),
    };
    for (index, arm) in arms.iter_mut().enumerate() {
        if ended == Some(index as u32) {
            arm.settle();
        } else {
            arm.forget();
        }
    }
    if ended.is_none() {
        crate::thread::die_if_doomed();
    }
}

/// The places of the arms in the order of their channels' addresses.
struct Order([u8; MAX_ARMS]);

impl Order {
    /// One arm for each channel.
    fn distinct<'a>(&'a self, arms: &'a [&mut dyn Arm]) -> impl DoubleEndedIterator<Item = &'a dyn Arm> {
        let places = &self.0[..arms.len()];
        let address = |place: u8| arms[usize::from(place)].address();
        (0..places.len())
            .filter(move |&at| at == 0 || address(places[at]) != address(places[at - 1]))
            .map(|at| &*arms[usize::from(places[at])])
    }
}

fn lock_all(arms: &[&mut dyn Arm]) -> Order {
    let mut order = Order(core::array::from_fn(|place| place as u8));
    order.0[..arms.len()].sort_unstable_by_key(|&place| arms[usize::from(place)].address());
    order.distinct(arms).for_each(|arm| arm.lock());
    order
}

fn unlock_all(arms: &[&mut dyn Arm], order: &Order) {
    // SAFETY: `lock_all` took each of them once.
    order.distinct(arms).rev().for_each(|arm| unsafe { arm.unlock() });
}
