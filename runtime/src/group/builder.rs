//! Making a group.

use super::inner::Kin;
use super::limit::{DEFAULT_PERIOD, Limit};
use super::memory::Memory;
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
    memory: Option<usize>,
    confined: bool,
}

impl<'a> Builder<'a> {
    /// A group of this name, which no other has: no limit, no group above it.
    pub const fn new(name: &'a str) -> Self {
        let limit = Limit { quota: None, period: DEFAULT_PERIOD };
        Self { name, limit, parent: None, slice: DEFAULT_SLICE, stealing: true, memory: None, confined: false }
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

    /// How much memory its threads may have together, in bytes: see the module's documentation.
    pub const fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// When it is ended, all blocks of the heap that its threads have taken are given back, whoever has them. Without effect on
    /// a group without a [`memory_limit`](Self::memory_limit) of its own.
    ///
    /// # Safety
    /// From the moment on at which the last of its threads has ended, nothing outside of it uses a block that a thread took while
    /// it was in the group, or in one below that has no limit of its own, unless it was taken in [`outside`](super::outside). So
    /// nothing of the kind is in a static, in the result of a thread, in a message to a thread of another group, in a timer, an
    /// interval, a task, a policy, a probe or a trace session that a member made, or in the hands of a thread that has left the
    /// group; and no member is in `block_on` when the group ends.
    pub const unsafe fn confined(mut self) -> Self {
        self.confined = true;
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
        // Whoever makes it, it is not of that one's memory: others may find it by name.
        super::outside(|| self.create_here())
    }

    fn create_here(self) -> Result<Group, GroupError> {
        self.limit.check()?;
        if let Some(bytes) = self.memory {
            super::memory::check(bytes)?;
            super::ender::make()?;
        }
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
        let memory = Memory::new(self.memory, self.confined, parent.as_deref());
        let kin = Kin { name, parent, memory, cpus: shares };
        let new = |itself: &_| Inner::new(Weak::clone(itself), kin, self.limit, slice, self.stealing);
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
