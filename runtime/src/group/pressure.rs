//! Telling a program that a group's memory runs short: by a thread of its own, in no group, which sleeps mostly.
//!
//! Whoever takes the memory only wakes it. So the function may do whatever threads do, and it is a little late: more may have
//! been taken meanwhile, or the limit be reached.

use super::memory::outside;
use super::{Group, GroupError};
use crate::thread::{Builder, park};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use isochron_kernel::memory::account::{Account, MAX_LEVELS};

/// What is told of a group's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// The level that was reached, in per cent of the limit; 100 if it is over.
    pub percent: u8,
    /// Bytes that were charged to it when the function was called.
    pub used: usize,
    /// Bytes that it may have.
    pub limit: usize,
    /// One of its threads was refused memory and could not cope, or [`Group::end`] was called: the group is at its end, and this
    /// is the last that is told.
    pub over: bool,
}

impl Group {
    /// Has `told` called whenever its memory rises to one of the levels, in per cent of its limit, and at its end. A level is told
    /// once, until usage has been below it; of several that are reached at once, the highest.
    ///
    /// The function runs in a thread of its own that is in no group, one call at a time. If it panics, nothing more is told.
    ///
    /// ```ignore
    /// cache.on_pressure(&[50, 80, 95], move |pressure| shrink(&entries, pressure.percent))?;
    /// ```
    ///
    /// # Errors
    /// [`GroupError::NoMemoryLimit`] if it was made without a limit, [`GroupError::Levels`] for more than eight levels or any that
    /// is not from 1 to 100, [`GroupError::Watched`] if there is a function already, [`GroupError::OutOfMemory`].
    ///
    /// # Panics
    /// If there is no memory for what wakes the thread.
    pub fn on_pressure<F>(&self, percents: &[u8], told: F) -> Result<(), GroupError>
    where
        F: FnMut(Pressure) + Send + 'static,
    {
        if percents.len() > MAX_LEVELS || !percents.iter().all(|percent| (1..=100).contains(percent)) {
            return Err(GroupError::Levels);
        }
        let account = &self.own_memory()?.account;
        let watched = Arc::downgrade(account);
        let watcher = Builder::new().name("memory pressure").ungrouped().spawn(move || watch(&watched, told));
        let watcher = watcher.map_err(|_| GroupError::OutOfMemory)?.thread();
        let bell = watcher.clone();
        if account.watch(percents, outside(|| Box::new(move || bell.unpark()))) {
            Ok(())
        } else {
            watcher.kill();
            Err(GroupError::Watched)
        }
    }
}

fn watch(watched: &Weak<Account>, mut told: impl FnMut(Pressure)) {
    while let Some(account) = watched.upgrade() {
        if let Some(reached) = account.take_reached() {
            let usage = account.usage();
            drop(account);
            crate::trace::points::pressure(reached.percent);
            told(Pressure { percent: reached.percent, used: usage.used, limit: usage.limit, over: false });
            continue;
        }
        if account.has_ended() {
            let (usage, is_over) = (account.usage(), account.was_ended());
            drop(account);
            if is_over {
                told(Pressure { percent: 100, used: usage.used, limit: usage.limit, over: true });
            }
            return;
        }
        drop(account);
        park();
    }
}
