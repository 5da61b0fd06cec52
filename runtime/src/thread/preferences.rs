//! Where the running thread would rather be.

use super::current_ptr;
use crate::policy::{PolicyId, Region};

/// Labels the running thread: policies that look at regions take note when it is next woken. `None` takes the label away.
#[track_caller]
pub fn set_region(region: Option<Region>) {
    // SAFETY: the running thread's block is alive.
    let me = unsafe { current_ptr().as_ref() };
    me.set_preferences(region, PolicyId::from_bits(me.policy_bits()));
}

/// The label of the running thread.
#[must_use]
#[track_caller]
pub fn region() -> Option<Region> {
    // SAFETY: the running thread's block is alive.
    unsafe { current_ptr().as_ref() }.region()
}

/// Gives the running thread a policy of its own, which is asked when it is next woken, or takes that away.
#[track_caller]
pub fn set_policy(policy: Option<PolicyId>) {
    // SAFETY: the running thread's block is alive.
    let me = unsafe { current_ptr().as_ref() };
    me.set_preferences(me.region(), policy);
}
