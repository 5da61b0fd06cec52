//! Making a group.

use super::limit::{DEFAULT_PERIOD, Limit};
use super::{Group, GroupError, Inner, registry};
use crate::Duration;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use isochron_kernel::clock::ns_to_ticks;
use isochron_kernel::cpu;

/// How much of its group's quota a CPU takes at once, unless [`Builder::slice`] says otherwise.
pub const DEFAULT_SLICE: Duration = Duration::from_millis(5);

/// The shortest slice: each ends with an interrupt.
pub const SHORTEST_SLICE: Duration = Duration::from_micros(5);

/// Says how a group is to be made.
#[derive(Clone, Debug)]
#[must_use = "no group is made until `create`"]
pub struct Builder<'a> {
    name: &'a str,
    limit: Limit,
    parent: Option<&'a Group>,
    slice: Duration,
    stealing: bool,
}

impl<'a> Builder<'a> {
    /// A group of this name, which no other has: no limit, no group above it.
    pub const fn new(name: &'a str) -> Self {
        let limit = Limit { quota: None, period: DEFAULT_PERIOD };
        Self { name, limit, parent: None, slice: DEFAULT_SLICE, stealing: true }
    }

    /// How much CPU time its threads may have together in each period.
    pub const fn quota(mut self, quota: Duration) -> Self {
        self.limit.quota = Some(quota);
        self
    }

    /// How long a period is.
    pub const fn period(mut self, period: Duration) -> Self {
        self.limit.period = period;
        self
    }

    /// Quota and period in one.
    pub const fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// The group above it, whose quota it shares with others below.
    pub const fn parent(mut self, parent: &'a Group) -> Self {
        self.parent = Some(parent);
        self
    }

    /// How much of the quota a CPU takes at once. Less spreads a small quota over more CPUs, at an interrupt for each.
    pub const fn slice(mut self, slice: Duration) -> Self {
        self.slice = slice;
        self
    }

    /// Whether other CPUs may take its threads from the one whose queue they are in.
    pub const fn stealing(mut self, stealing: bool) -> Self {
        self.stealing = stealing;
        self
    }

    /// Makes the group.
    ///
    /// # Errors
    /// See [`GroupError`].
    ///
    /// # Panics
    /// If there is no memory for the group's own block.
    pub fn create(self) -> Result<Group, GroupError> {
        self.limit.check()?;
        if self.slice < SHORTEST_SLICE {
            return Err(GroupError::Slice(self.slice));
        }
        let parent = self.parent.map(|parent| parent.inner().clone());
        check_parent(parent.as_deref(), self.limit)?;
        let mut name = alloc::string::String::new();
        name.try_reserve_exact(self.name.len()).map_err(|_| GroupError::OutOfMemory)?;
        name.push_str(self.name);
        let slice = ns_to_ticks(self.slice.as_nanos()).max(1);
        let name: Box<str> = name.into_boxed_str();
        let cpus = cpu::online().map(|cpu| cpu.id.index() + 1).max().unwrap_or(1);
        let shares = Inner::shares(cpus).map_err(|_| GroupError::OutOfMemory)?;
        let new = |itself: &_| Inner::new(Weak::clone(itself), name, parent, self.limit, slice, self.stealing, shares);
        let inner = Arc::new_cyclic(new);
        registry::add(&inner)?;
        Ok(Group { inner })
    }
}

/// No limit may be above that of a group above.
pub(super) fn check_parent(parent: Option<&Inner>, limit: Limit) -> Result<(), GroupError> {
    let mut above = parent.into_iter().flat_map(Inner::chain);
    if above.all(|group| limit.is_within(group.limit())) { Ok(()) } else { Err(GroupError::AboveParent) }
}
