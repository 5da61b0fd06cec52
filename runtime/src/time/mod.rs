//! Periods, and timers that call a function.
//!
//! Sleeping and time-outs are where the waiting is: [`thread::sleep`](crate::thread::sleep), `recv_timeout`, `lock_timeout`
//! and their like.

mod interval;
mod timer;

pub use crate::thread::{sleep, sleep_until};
pub use crate::{Duration, Instant};
pub use interval::{Interval, Missed, Tick, ZeroPeriod};
pub use timer::{Then, Timer};
