//! Members of a group: time for those who run, a place for those whose group has none left.
//!
//! Members wait in `layered.rs`'s lists, and nowhere else. A run as a member begins when one is taken out of them
//! ([`Worker::admit`]) and ends when it leaves its CPU by whatever way ([`Worker::stop_member`]). That all these ways lead past
//! here costs others nothing: the flag that makes every pop and yield look at the lists is up while a member runs. The clock
//! is read at both ends, and the timer is set to the end of its slice.
//!
//! Who is high in a group may use its time up before those below it have a turn, period after period. The rule of the layers does
//! not see that: they have their turns, and in them others run. So who was refused time [`PATIENCE`] times waits among those who
//! had it, until it has run.
//!
//! A thread is off its CPU when it is set aside, in no queue of this one or another, and so in nobody's way: the switch that
//! takes it off goes to the next thread first, and only then, on that one's stack, finds it a place.

use super::Worker;
use crate::group::Inner;
use crate::group::refill::Refills;
use crate::kernel::arch;
use crate::thread::control::{Thread, ThreadPtr};
use crate::trace::points;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;
use isochron_core::bandwidth::{Aside, Take};
use isochron_core::layers::{PATIENCE, Rank};
use isochron_kernel::cpu::CpuId;
use isochron_kernel::memory::account;

/// The budget of a member whose groups have no limit.
const UNLIMITED: u64 = u64::MAX;

/// The member that runs on a CPU, and what it may use up.
pub(super) struct Running {
    /// Its group, which the thread keeps alive and does not change as long as it stands here.
    group: Cell<Option<NonNull<Inner>>>,
    /// Since when its time is not charged yet, in ticks.
    since: Cell<u64>,
    /// How much it had then, in ticks.
    budget: Cell<u64>,
}

/// What becomes of the time that a member has not used up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It stays on the CPU, whose queue the thread goes back to.
    Kept,
    /// Whoever wants it may have it.
    GivenBack,
}

impl Running {
    pub const fn new() -> Self {
        Self { group: Cell::new(None), since: Cell::new(0), budget: Cell::new(0) }
    }

    /// Whether a member runs.
    pub fn is_running(&self) -> bool {
        self.group.get().is_some()
    }

    fn group(&self) -> Option<&Inner> {
        // SAFETY: a member runs, and its thread holds a counted reference until after `stop_member`.
        self.group.get().map(|group| unsafe { group.as_ref() })
    }
}

impl Worker {
    /// Whether `thread`, which was taken out of the lists of CPU `from`, may run here. If so, its run begins. If not, it is
    /// set aside.
    pub(super) fn admit(&self, thread: ThreadPtr, from: CpuId) -> bool {
        // SAFETY: it was queued, so it is alive, and this CPU holds it now.
        let it = unsafe { thread.as_ref() };
        // SAFETY: as above.
        unsafe { it.change_group() };
        // SAFETY: as above; the group is not changed below.
        let Some(group) = (unsafe { it.membership().group() }) else { return true };
        loop {
            let now = arch::clock::ticks_unordered();
            match self.reserve(group, from, now) {
                Ok(budget) => {
                    self.begin_member(it, group, now, budget, self.switches.get().wrapping_add(1));
                    return true;
                }
                Err(lacking) => {
                    // Before it is another CPU's.
                    Self::note_refusal(it, lacking);
                    if self.set_aside(lacking, thread, from, now) {
                        return false;
                    }
                    // It has time again.
                }
            }
        }
    }

    /// The running thread goes on. False: its group has no time, and it must leave.
    pub(super) fn resume(&self, me: ThreadPtr) -> bool {
        // SAFETY: the running thread's block is alive, and this CPU holds it; its group is not changed below.
        let it = unsafe { me.as_ref() };
        // SAFETY: as above.
        let Some(group) = (unsafe { it.membership().group() }) else { return true };
        let now = arch::clock::ticks_unordered();
        match self.reserve(group, self.id, now) {
            Ok(budget) => {
                self.begin_member(it, group, now, budget, self.switches.get());
                true
            }
            Err(_) => false,
        }
    }

    /// At the turn of `it`, `lacking` has no time.
    fn note_refusal(it: &Thread, lacking: &Inner) {
        // A member has some.
        let Ok(extras) = it.extras_of_its_own() else { return };
        let count = extras.in_vain.get().saturating_add(1);
        extras.in_vain.set(count);
        if count >= PATIENCE {
            // Relaxed: a hint, whose writers are of the same group.
            let served = Rank::from_bits(lacking.served.load(Ordering::Relaxed));
            extras.lent_rank.set(extras.lent_rank.get().max(served));
        }
    }

    /// `it` has time of `group`, and of those above it.
    fn note_service(it: &Thread, group: &Inner) {
        if it.extras().in_vain.get() != 0
            && let Ok(extras) = it.extras_of_its_own()
        {
            extras.in_vain.set(0);
            extras.lent_rank.set(Rank::BATCH);
        }
        let rank = it.rank().to_bits();
        for level in group.chain() {
            // A look first: other CPUs look there too.
            if level.served.load(Ordering::Relaxed) != rank {
                level.served.store(rank, Ordering::Relaxed);
            }
        }
    }

    fn begin_member(&self, it: &Thread, group: &Inner, now: u64, budget: u64, switches: u32) {
        Self::charge_memory(it, group);
        Self::note_service(it, group);
        self.grouped.group.set(Some(NonNull::from(group)));
        self.grouped.since.set(now);
        self.grouped.budget.set(budget);
        self.queue().set_outside(true);
        if budget != UNLIMITED {
            self.alarm.end_within(switches, now, budget);
        }
        // Where one runs, one more may: those who were set aside come back one by one.
        for level in group.chain() {
            if let Some(thread) = level.bandwidth.fetch_one(now) {
                self.fetch_back(thread);
            }
        }
    }

    /// What `it` takes from now on here is charged to its group.
    fn charge_memory(it: &Thread, group: &Inner) {
        let account = if it.extras().is_outside.get() { ptr::null() } else { group.account() };
        // SAFETY: the thread keeps its group, and that the account, until its run is over, which sets none.
        unsafe { account::set_current(account) };
    }

    /// What the running thread takes is charged to its group again, if it is in one. Interrupts are masked.
    pub(crate) fn charge_to_its_group(me: &Thread) {
        // SAFETY: it runs here, and its group is not changed.
        if let Some(group) = unsafe { me.membership().group() } {
            Self::charge_memory(me, group);
        }
    }

    /// The run of the member that runs here, if one does, is over.
    pub(crate) fn stop_member(&self, rest: Rest) {
        if self.grouped.is_running() {
            self.stop_running_member(rest);
        }
    }

    #[cold]
    fn stop_running_member(&self, rest: Rest) {
        let now = arch::clock::ticks_unordered();
        let budget = self.charge(now);
        let Some(group) = self.grouped.group() else { return };
        if budget != UNLIMITED && budget > 0 {
            match rest {
                Rest::Kept => group.rest(self.id).leave(budget),
                Rest::GivenBack => self.give_back(group.chain(), budget, now),
            }
        }
        self.grouped.group.set(None);
        // SAFETY: none lives for ever.
        unsafe { account::set_current(ptr::null()) };
    }

    /// Charges what the member has run up to `now`. What is left of its budget.
    fn charge(&self, now: u64) -> u64 {
        let running = &self.grouped;
        let Some(group) = running.group() else { return 0 };
        let used = now.saturating_sub(running.since.replace(now));
        group.count_run(self.id, used);
        let budget = running.budget.get();
        if budget == UNLIMITED {
            return budget;
        }
        if used > budget {
            group.chain().for_each(|group| group.bandwidth.owe(used - budget));
        }
        let left = budget.saturating_sub(used);
        running.budget.set(left);
        left
    }

    /// At a moment when the running member's budget may be used up: whether it may go on, with a new slice if need be. True if
    /// the running thread is in no group.
    pub(super) fn renew_budget(&self) -> bool {
        let Some(group) = self.grouped.group() else { return true };
        let now = arch::clock::ticks_unordered();
        if self.charge(now) > 0 {
            return true;
        }
        match self.reserve(group, self.id, now) {
            Ok(budget) => {
                self.grouped.budget.set(budget);
                true
            }
            Err(_) => false,
        }
    }

    /// Sets the timer to the end of the running member's budget, if it has one.
    pub(super) fn watch_budget(&self) {
        let (running, budget) = (&self.grouped, self.grouped.budget.get());
        if running.is_running() && budget != UNLIMITED {
            self.alarm.end_within(self.switches.get(), running.since.get(), budget);
        }
    }

    /// Time for a member of `group` that waited on CPU `from`: what is left of a slice there, or a new slice. The group that
    /// has none, otherwise.
    fn reserve<'g>(&self, group: &'g Inner, from: CpuId, now: u64) -> Result<u64, &'g Inner> {
        let kept = group.rest(from).take();
        if kept > 0 {
            return Ok(kept);
        }
        // Relaxed: a plain setting.
        let mut budget = UNLIMITED;
        let most = group.slice.load(Ordering::Relaxed);
        for (depth, level) in group.chain().enumerate() {
            let granted = match level.bandwidth.take(budget.min(most), now) {
                Take::Unlimited => continue,
                Take::Granted(granted) => granted,
                Take::Out => 0,
            };
            if budget != UNLIMITED && granted < budget {
                // Those below have given more than this one can.
                self.give_back(group.chain().take(depth), budget - granted, now);
            }
            if granted == 0 {
                return Err(level);
            }
            budget = granted;
        }
        Ok(budget)
    }

    /// Gives `ticks` back to each of `groups`.
    fn give_back<'g>(&self, groups: impl Iterator<Item = &'g Inner>, ticks: u64, now: u64) {
        for group in groups {
            if let Some(released) = group.bandwidth.give_back(ticks, now) {
                self.fetch_back(released);
            }
        }
    }

    /// Sets `thread`, which was on CPU `from`, aside, because `lacking` has no time. False if it has.
    fn set_aside(&self, lacking: &Inner, thread: ThreadPtr, from: CpuId, now: u64) -> bool {
        // SAFETY: a runnable thread is alive, and this CPU holds it.
        let it = unsafe { thread.as_ref() };
        it.set_home(from);
        it.state.is_set_aside();
        // Once it is aside, another CPU may bring it back, and it may be the last of its group.
        let (mut kept, word) = (None, points::group_word(&lacking.name));
        // SAFETY: as above; it is in no list, and stays alive until it has run again.
        match unsafe { lacking.bandwidth.set_aside(thread, now, || kept = lacking.share()) } {
            Aside::NotOut => {
                it.state.is_fetched_back();
                false
            }
            Aside::First(next) => {
                points::throttled(thread, word);
                if let Some(group) = kept {
                    self.refills.come_at(group, next);
                }
                true
            }
            Aside::Behind => {
                points::throttled(thread, word);
                true
            }
        }
    }

    /// What this CPU keeps to fetch back those who were set aside.
    pub(crate) fn refills(&self) -> &Refills {
        &self.refills
    }

    /// Sets a thread that is about to be queued aside, if one of its groups has no time. Moves it to the group that it is to be
    /// in before.
    pub(super) fn set_aside_if_throttled(&self, thread: ThreadPtr) -> bool {
        // SAFETY: a runnable thread is alive, and this CPU holds it.
        let it = unsafe { thread.as_ref() };
        // SAFETY: as above, and it does not run.
        unsafe { it.change_group() };
        // SAFETY: as above; the group is not changed below.
        let Some(group) = (unsafe { it.membership().group() }) else { return false };
        if !group.rest(self.id).is_empty() {
            return false;
        }
        let now = arch::clock::ticks_unordered();
        group.chain().any(|level| self.set_aside(level, thread, self.id, now))
    }

    /// Puts a thread that was set aside back where it was.
    pub(crate) fn fetch_back(&self, thread: ThreadPtr) {
        // SAFETY: who was set aside is alive, and is this CPU's now.
        let it = unsafe { thread.as_ref() };
        it.state.is_fetched_back();
        let cpu = it.pinned().unwrap_or(it.home());
        if cpu == self.id {
            self.make_runnable_cold(thread);
        } else {
            self.hand_over(thread, cpu);
        }
    }

    /// Whether other CPUs may take it, as far as its group is concerned.
    pub(super) fn may_be_stolen(thread: &Thread) -> bool {
        // SAFETY: this CPU holds the thread.
        unsafe { thread.membership().group() }.is_none_or(Inner::may_be_stolen)
    }
}
