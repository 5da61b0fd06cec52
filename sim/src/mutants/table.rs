//! The mutants.

/// One change to one place, which some seed must find.
#[derive(Debug)]
pub struct Mutant {
    /// What is broken, in words.
    pub name: &'static str,
    /// From the workspace's root.
    pub file: &'static str,
    /// What stands there, exactly once in the file.
    pub old: &'static str,
    /// What stands there instead.
    pub new: &'static str,
}

impl Mutant {
    /// The text with the change.
    ///
    /// # Errors
    /// If its place is not there, or more than once.
    pub fn applied(&self, text: &str) -> Result<String, String> {
        match text.matches(self.old).count() {
            1 => Ok(text.replacen(self.old, self.new, 1)),
            times => Err(format!("{}: its text is in {} {times} times, not once", self.name, self.file)),
        }
    }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a wake-up while a thread is being left is forgotten",
        file: "runtime/src/worker/switch.rs",
        old: "            if unsafe { left.as_ref() }.state.commit_park() == CommitPark::WokenMeanwhile {
                Self::this().make_runnable_cold(left);
            }",
        new: "            let _ = unsafe { left.as_ref() }.state.commit_park() == CommitPark::WokenMeanwhile;",
    },
    Mutant {
        name: "a thread that waits behind a woken one is dropped",
        file: "runtime/src/worker/wake.rs",
        old: "        if let Some(displaced) = self.queue().push_next(thread) {
            self.put_displaced(displaced);
        }",
        new: "        let _ = self.queue().push_next(thread);",
    },
    Mutant {
        name: "a thread is handed over without an interrupt to a CPU that runs",
        file: "runtime/src/worker/wake.rs",
        old: "            None if was_empty => self.poke(cpu),
",
        new: "",
    },
    Mutant {
        name: "a claimed sleeper gets no interrupt",
        file: "runtime/src/worker/wake.rs",
        old: "        if claimed.needs_interrupt {
            self.poke(CpuId::new(claimed.cpu));
        }",
        new: "        let _ = claimed.needs_interrupt;",
    },
    Mutant {
        name: "the wake IPI does not take the inbox",
        file: "runtime/src/worker/wake.rs",
        old: "        if !self.inbox.is_empty() {
            self.take_inbox();
        }",
        new: "",
    },
    Mutant {
        name: "nobody asks others to share before sleep",
        file: "runtime/src/worker/stealing.rs",
        old: "        if private > 0 && shared + private >= least && !reservation::is_taken_over(other.id) {
            // It answers by sharing and waking a sleeper: this CPU, if nobody is nearer.
            self.poke(other.id);
        }",
        new: "        let _ = private;",
    },
    Mutant {
        name: "a CPU shares nothing after a steal",
        file: "runtime/src/worker/switch.rs",
        old: "            // it came have not seen it there.
            self.share();",
        new: "            // it came have not seen it there.",
    },
    Mutant {
        name: "who exposes its threads does not look again for sleepers",
        file: "runtime/src/worker/switch.rs",
        old: "        if let Some(asleep) = self.pick_idle() {
            self.notify(asleep);
        }",
        new: "",
    },
    Mutant {
        name: "a thread that goes on before others gets no quantum",
        file: "runtime/src/worker/switch.rs",
        old: "            self.alarm.goes_on(self);
",
        new: "",
    },
    Mutant {
        name: "whoever waits with a rank is forgotten when a thief takes the normal thread whose turn it is",
        file: "runtime/src/worker/layered.rs",
        old: "None if !only_normal => continue,",
        new: "None if !only_normal => None,",
    },
    Mutant {
        name: "the sleeper has no fence",
        file: "runtime/core/src/idle_set.rs",
        old: "        // the end of this CPU's search) before its last look at the queues.
        fence(Ordering::SeqCst);",
        new: "",
    },
    Mutant {
        name: "the pusher has no fence",
        file: "runtime/core/src/idle_set.rs",
        old: "        // PUSHER'S FENCE. Partner: the sleeper's fence in `announce`. Orders the push before the loads below.
        fence(Ordering::SeqCst);",
        new: "",
    },
    Mutant {
        name: "a mutex forgets that more wait",
        file: "runtime/core/src/raw_mutex.rs",
        old: "if waiters.is_empty() { 0 } else { CONTENDED }",
        new: "0",
    },
    Mutant {
        name: "a mutex is freed without release",
        file: "runtime/core/src/raw_mutex.rs",
        old: "self.word.compare_exchange(owner, FREE, Ordering::Release, Ordering::Relaxed).is_ok()",
        new: "self.word.compare_exchange(owner, FREE, Ordering::Relaxed, Ordering::Relaxed).is_ok()",
    },
    Mutant {
        name: "the hardware is not set for a timer that is nearer",
        file: "runtime/src/worker/timers.rs",
        old: "            self.alarm.next_timer.set(deadline);
            self.alarm.set();",
        new: "            self.alarm.next_timer.set(deadline);",
    },
    Mutant {
        name: "a thread is parked before its context is saved",
        file: "runtime/src/worker/switch.rs",
        old: "        let to = match next {
            Some(next) => self.context_of::<AFTER>(next),
            None if tag == COMMIT_PARK && stays && self.stay(me) => return,
            None => self.context_of_loop(),
        };
        // SAFETY: the running thread's context is its own; the other is saved (see `next_context`). Interrupts are masked.
        let message = unsafe { arch::context::switch(me.as_ref().context.get(), to, Self::message(me, tag)) };",
        new: "        let mut message = Self::message(me, tag);
        if tag == COMMIT_PARK {
            message = 0;
            // SAFETY: it is alive.
            if unsafe { me.as_ref() }.state.commit_park() == CommitPark::WokenMeanwhile {
                self.make_runnable_cold(me);
            }
        }
        let to = match next {
            Some(next) => self.context_of::<AFTER>(next),
            None if tag == COMMIT_PARK && stays && self.stay(me) => return,
            None => self.context_of_loop(),
        };
        // SAFETY: the running thread's context is its own; the other is saved (see `next_context`). Interrupts are masked.
        let message = unsafe { arch::context::switch(me.as_ref().context.get(), to, message) };",
    },
    Mutant {
        name: "a dead thread keeps its stack",
        file: "runtime/src/worker/switch.rs",
        old: "            let left_stack = left.as_ref().leave_stack();",
        new: "            let left_stack = true;",
    },
    Mutant {
        name: "a joiner is not woken",
        file: "runtime/src/worker/joining.rs",
        old: "        enqueue_woken_with(joiner, irq::KeptMasked);
",
        new: "",
    },
    Mutant {
        name: "an executor that sleeps is not woken for a task",
        file: "runtime/src/future/executor.rs",
        old: "                let _first = self.slots[index].roused.give();
                // Its reference was counted in `sleep`.
                waiting::end(thread);",
        new: "                drop(unsafe { WaitRef::from_counted(thread) });",
    },
    Mutant {
        name: "an executor does not look again before it sleeps",
        file: "runtime/src/future/executor.rs",
        old: "        if !self.is_any_work() {
            while !self",
        new: "        {
            while !self",
    },
    Mutant {
        name: "an executor that was claimed does not wait for the claimer to know it",
        file: "runtime/src/future/executor.rs",
        old: "            while !self.slots[seat.index].roused.take() {
                worker::block_current();
            }",
        new: "            let _ = self.slots[seat.index].roused.take();",
    },
    Mutant {
        name: "an executor that waits in a poll keeps its queue",
        file: "runtime/src/future/block_on.rs",
        old: "            executor::step_aside();
",
        new: "",
    },
    Mutant {
        name: "a wake-up during a poll is forgotten",
        file: "runtime/core/src/task_state.rs",
        old: "                (word & !RUNNING, EndPoll::Again)
            } else if word / REFERENCE == 1 {",
        new: "                ((word & !(RUNNING | SCHEDULED)) - REFERENCE, EndPoll::Waiting)
            } else if word / REFERENCE == 1 {",
    },
    Mutant {
        name: "who joins a task that has died with its executor is not woken",
        file: "runtime/src/future/executor.rs",
        old: "        if let Some(joiner) = completed.joiner {
            joiner.wake();
        }
    }
    if executors",
        new: "        core::mem::forget(completed.joiner);
    }
    if executors",
    },
    Mutant {
        name: "a message to a task that has given up is lost",
        file: "runtime/src/channel/tasks.rs",
        old: "            put_back(&self.receiver.shared, message);",
        new: "            let _ = (put_back::<T>, message);",
    },
    Mutant {
        name: "a packed thread's end gives its area to nobody",
        file: "kernel/src/areas.rs",
        old: "    if !is_packed(sp) {
        // SAFETY: a packed thread's context is on its slot, or in an area; the rest is the caller's promise.
        unsafe { give(sp) }
    }",
        new: "    let _ = sp;",
    },
    Mutant {
        name: "a packed thread's slot is not given back",
        file: "runtime/src/thread/packet.rs",
        old: "            slots::give(slot, thread.cast());",
        new: "            let _ = slot;",
    },
    Mutant {
        name: "a packed thread's slot is given back while its result is in it",
        file: "runtime/src/worker/switch.rs",
        old: "                left.as_ref().release_stack();
                drop(ThreadRef::from_counted(left));",
        new: "                left.as_ref().release_stack();
                if is_packed(left) {
                    drop(ThreadRef::from_counted(left));
                }
                drop(ThreadRef::from_counted(left));",
    },
    Mutant {
        name: "nobody is told of threads that were moved to be boosted",
        file: "runtime/src/worker/layered.rs",
        old: "            moved |= !unsafe { thread.as_ref() }.stays();",
        new: "            moved &= !unsafe { thread.as_ref() }.stays();",
    },
    Mutant {
        name: "a claim is passed on by whoever makes a thread for the CPU",
        file: "runtime/src/worker/reservation.rs",
        old: "    if is_claimant(cpu.index(), from) {
        CLAIMANTS[cpu.index()].store(to.as_ptr().addr(), Ordering::Relaxed);
    }",
        new: "    let _ = from;
    CLAIMANTS[cpu.index()].store(to.as_ptr().addr(), Ordering::Relaxed);",
    },
];
