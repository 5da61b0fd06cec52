//! The counter: a number that grows at each point. A tick is a nanosecond.

use super::world;
use crate::machine::Machine;

/// What is known of the clock's frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Where the frequency comes from.
    pub source: &'static str,
    /// Whether the clock is known to tick evenly in every power state, and the same on all CPUs.
    pub constant: bool,
    /// How far the frequency may be off, in parts per thousand million.
    pub error_ppb: u32,
}

/// Nothing to find out.
pub fn init(_machine: &Machine) {}

/// Ticks in a second.
#[inline]
#[must_use]
pub fn frequency_hz() -> u64 {
    1_000_000_000
}

/// The counter.
#[must_use]
pub fn ticks() -> u64 {
    world::point();
    world::now()
}

/// The counter.
#[must_use]
pub fn ticks_unordered() -> u64 {
    ticks()
}

/// What is known of the clock.
#[must_use]
pub fn facts() -> Facts {
    Facts { source: "the simulation", constant: true, error_ppb: 0 }
}
