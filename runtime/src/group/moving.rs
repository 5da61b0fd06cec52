//! Moving threads from group to group.
//!
//! The running thread moves itself. Another one is told to, and then every CPU is made to switch once, so that the one that
//! runs it, if one does, takes note.

use super::{Group, GroupError, Inner};
use crate::Duration;
use crate::thread::{self, Builder, MAX_PRIORITY, Thread, current_ptr};
use crate::worker::Worker;
use alloc::sync::Arc;
use isochron_core::thread_state::State;
use isochron_kernel::cpu;

/// How often a thread is looked at that has not moved yet.
const PAUSE: Duration = Duration::from_millis(1);

/// Takes the running thread out of its group.
#[track_caller]
pub fn leave() {
    move_current(None);
}

impl Group {
    /// Moves the running thread into the group.
    ///
    /// # Panics
    /// If there is no memory to note it.
    #[track_caller]
    pub fn enter(&self) {
        move_current(Some(self.inner().clone()));
    }

    /// Moves `thread` into the group; when this returns, it has moved, or does when it is next woken.
    ///
    /// Every CPU is interrupted for this.
    ///
    /// # Errors
    /// [`GroupError::Ended`], [`GroupError::OutOfMemory`].
    #[track_caller]
    pub fn add(&self, thread: &Thread) -> Result<(), GroupError> {
        let block = thread.block();
        if core::ptr::eq(block, current_ptr().as_ptr()) {
            self.enter();
            return Ok(());
        }
        let membership = &block.extras_of_its_own().map_err(|_| GroupError::OutOfMemory)?.membership;
        membership.want(Some(self.inner().clone()));
        loop {
            block.has_news();
            match block.state.state() {
                _ if !membership.is_wanted() => return Ok(()),
                State::Exited => {
                    membership.want_nothing();
                    return Err(GroupError::Ended);
                }
                // Whoever wakes it queues it, and then it moves.
                State::Parked => return Ok(()),
                _ => {}
            }
            switch_everywhere()?;
            if membership.is_wanted() {
                // It waits for its turn somewhere.
                thread::sleep(PAUSE);
            }
        }
    }
}

#[track_caller]
fn move_current(group: Option<Arc<Inner>>) {
    let me = current_ptr();
    // SAFETY: the running thread's block is alive.
    let block = unsafe { me.as_ref() };
    if group.is_none() && !block.membership().is_member() && !block.membership().is_wanted() {
        return;
    }
    let extras = block.extras_of_its_own().expect("no memory to note a group");
    extras.membership.want(group);
    block.has_news();
    Worker::requeue_current();
}

/// Makes every CPU switch, also one that is given to a thread alone, by a thread that goes before all others.
pub(super) fn switch_everywhere() -> Result<(), GroupError> {
    for cpu in cpu::online() {
        let made = Builder::new()
            .name("groups")
            .bound_even_if_reserved(cpu.id)
            .priority(MAX_PRIORITY)
            .ungrouped()
            .spawn(|| ());
        // Not joined dead: it does nothing.
        let _ = made.map_err(|_| GroupError::OutOfMemory)?.join();
    }
    Ok(())
}
