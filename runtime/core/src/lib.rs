//! The scheduler's pure algorithms, free of any machine.
//!
//! What is here decides *who runs next* and *who must be woken*; it never switches a stack, masks an interrupt or reads
//! a clock. The crate is `no_std`, allocates nothing and knows no other crate of the workspace, so each piece can be
//! run on the host, by property tests and by a model checker.
//!
//! # Rules
//! 1. All atomics, cells, fences and spin hints come from [`sync`]. Under `cfg(loom)` the model checker takes their
//!    place and tries every interleaving and every value that a weak memory model allows.
//! 2. Every ordering stronger than relaxed names its partner in a comment. `docs/memory-ordering.md` lists them all,
//!    with the test that fails when it is weakened.
//! 3. "Owner" operations belong to one CPU, are called with interrupts masked, and cost no read-modify-write unless
//!    their documentation says so.
//! 4. CPUs are numbered from 0 and there are at most [`MAX_CPUS`].

#![cfg_attr(not(any(test, loom)), no_std)]

pub mod bandwidth;
pub mod channel;
pub mod completion;
pub mod countdown;
pub mod fifo;
pub mod gate;
pub mod histogram;
pub mod idle_set;
pub mod idle_tiers;
pub mod inbox;
pub mod injector;
pub mod last_of_two;
pub mod layers;
pub mod link;
pub mod lock_rank;
pub mod notice;
pub mod notify;
pub mod page_word;
pub mod raw_mutex;
pub mod raw_once;
pub mod raw_rwlock;
pub mod references;
pub mod roll;
pub mod run_queue;
pub mod semaphore;
pub mod spinlock;
pub mod stack_owner;
pub mod sync;
pub mod task_state;
pub mod thread_state;
pub mod timer_wheel;
pub mod trace_ring;
pub mod wait_queue;

/// The most CPUs that the sets of this crate can name: one bit each in a `u64`.
pub const MAX_CPUS: usize = 64;
