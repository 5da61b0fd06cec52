//! This CPU's one-shot timer.

use super::world;
use crate::cpu::this_cpu;

/// Nothing to do: it is disarmed.
pub fn init_this_cpu() {}

/// One interrupt on this CPU at or as soon as possible after `deadline` ticks; replaces what was armed.
pub fn arm(deadline: u64) {
    this_cpu().arch.lines.set_timer(deadline.max(world::now()) + world::timer_delay());
}

/// No interrupt until the timer is armed again.
pub fn disarm() {
    this_cpu().arch.lines.set_timer(super::interrupt::NEVER);
}
