//! How much of what each row does: the same for all.

/// Switches of `switch`.
pub const SWITCHES: u64 = 2_000_000;
/// Threads of `switch_many`, and how often each runs.
pub const MANY: usize = 200_000;
/// See [`MANY`].
pub const MANY_TURNS: u64 = 5;
/// Threads of `spawn_join`, one after another.
pub const SPAWN_JOIN: u64 = 200_000;
/// Threads of `spawn_many`, alive at once.
pub const SPAWN_MANY: u64 = 1_000_000;
/// Rounds of `channel_round` and `cross_core_round`: a message there and one back.
pub const ROUNDS: u64 = 200_000;
/// Messages of the throughput rows, all senders together.
pub const MESSAGES: u64 = 2_000_000;
/// Messages that a channel of the throughput rows holds.
pub const CAPACITY: usize = 1024;
/// Leaves of `skynet`: 10 to a node.
pub const LEAVES: u64 = 1_000_000;
/// Of `fork_join`.
pub const FIB: u32 = 30;
/// Threads of `wake_many`, all parked.
pub const WAKE_MANY: usize = 1_000_000;
/// Threads or futures of `memory`.
pub const PARKED: usize = 200_000;
/// Timers of `timers`.
pub const TIMERS: usize = 1_000_000;
/// Sleeps of `sleep_late` and `hogs_late`.
pub const SLEEPS: usize = 1000;
/// Locks and unlocks of `mutex_2`, of both threads together.
pub const LOCKS: u64 = 2_000_000;

/// The sum of the numbers of the leaves of `skynet`.
pub const SKYNET_SUM: u64 = LEAVES * (LEAVES - 1) / 2;
/// `fib(FIB)`.
pub const FIB_RESULT: u64 = 832_040;

/// Shuffles, the same each time.
pub fn shuffle(order: &mut [usize]) {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for last in (1..order.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        order.swap(last, (seed % (last as u64 + 1)) as usize);
    }
}

/// What the receivers of the throughput rows have summed up when all messages of `senders` have come through.
pub const fn sum_through(senders: u64) -> u64 {
    let each = MESSAGES / senders;
    senders * (each * (each - 1) / 2)
}
