//! Timers set and cancelled: none of them comes due meanwhile.

use crate::rows::TIMERS;
use isochron::prelude::*;
use isochron::time::{Then, Timer};

pub fn set_and_cancel(count: Option<usize>) {
    let count = count.unwrap_or(TIMERS);
    let mut timers: Vec<_> = (0..count).map(|_| Timer::new(|_| Then::Stop)).collect();
    let start = Instant::now() + Duration::from_secs(10);
    let begin = Instant::now();
    for (n, timer) in timers.iter_mut().enumerate() {
        timer.set(start + Duration::from_micros(n as u64 * 7919 % 10_000_000));
    }
    crate::each("timer_insert", begin.elapsed(), count as u64);
    let begin = Instant::now();
    for timer in &mut timers {
        assert!(timer.cancel());
    }
    crate::each("timer_cancel", begin.elapsed(), count as u64);
}
