//! Bytes against a limit, and the levels on the way there.

/// The most levels that can be asked for.
pub const MAX_LEVELS: usize = 8;

/// There is no room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// What an account has taken, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes that are charged to it now.
    pub used: usize,
    /// The most bytes that ever were.
    pub peak: usize,
    /// Bytes that it may have.
    pub limit: usize,
    /// Requests that were refused because of this limit.
    pub refused: u64,
}

/// A part of the limit that usage has risen to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached {
    /// Per cent of the limit.
    pub percent: u8,
    /// How things stood when it was asked.
    pub usage: Usage,
}

/// The books of one account.
#[derive(Debug)]
pub struct Ledger {
    usage: Usage,
    /// Per cent of the limit, rising; `levels` of them.
    percents: [u8; MAX_LEVELS],
    levels: usize,
    /// How many of them usage is at or above.
    level: usize,
    /// The highest that it has risen to, and nobody was told.
    risen: Option<usize>,
}

impl Ledger {
    /// Nothing is charged; `limit` bytes may be.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        let usage = Usage { used: 0, peak: 0, limit, refused: 0 };
        Self { usage, percents: [0; MAX_LEVELS], levels: 0, level: 0, risen: None }
    }

    /// How things stand.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// Charges `bytes`. True: a level was reached, and somebody should be told.
    ///
    /// # Errors
    /// [`Refused`]: nothing is charged.
    pub fn charge(&mut self, bytes: usize) -> Result<bool, Refused> {
        let used = self.usage.used.checked_add(bytes).filter(|&used| used <= self.usage.limit);
        let Some(used) = used else {
            self.usage.refused += 1;
            return Err(Refused);
        };
        self.usage.used = used;
        self.usage.peak = self.usage.peak.max(used);
        Ok(self.look())
    }

    /// Takes a charge back.
    ///
    /// # Panics
    /// If more is given back than was charged.
    pub const fn discharge(&mut self, bytes: usize) {
        self.usage.used = self.usage.used.checked_sub(bytes).expect("more is given back than was charged");
        while self.level > 0 && self.usage.used < self.bytes_of(self.level - 1) {
            self.level -= 1;
        }
    }

    /// Sets the limit. What is charged already stays, even if it is more. True: a level was reached.
    pub fn set_limit(&mut self, limit: usize) -> bool {
        self.usage.limit = limit;
        self.level = 0;
        self.look()
    }

    /// Sets the levels, in per cent of the limit. Those that usage is above already count as reached. True if there is one.
    pub fn set_levels(&mut self, percents: &[u8]) -> bool {
        self.levels = percents.len().min(MAX_LEVELS);
        self.percents[..self.levels].copy_from_slice(&percents[..self.levels]);
        self.percents[..self.levels].sort_unstable();
        self.level = 0;
        self.risen = None;
        self.look()
    }

    /// What somebody should be told: the highest level that was reached since this was last asked. It is told once, until usage
    /// has been below it again.
    pub fn take_reached(&mut self) -> Option<Reached> {
        let level = self.risen.take()?;
        Some(Reached { percent: self.percents[level], usage: self.usage })
    }

    /// Whether usage has risen to a level that it was below before.
    fn look(&mut self) -> bool {
        let mut found = false;
        while self.level < self.levels && self.usage.used >= self.bytes_of(self.level) {
            self.risen = self.risen.max(Some(self.level));
            self.level += 1;
            found = true;
        }
        found
    }

    /// Where a level begins; never at 0.
    const fn bytes_of(&self, level: usize) -> usize {
        let percent = self.percents[level] as usize;
        let (whole, rest) = (self.usage.limit / 100, self.usage.limit % 100);
        let bytes = whole * percent + rest * percent / 100;
        if bytes == 0 { 1 } else { bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_limit_is_kept_to_the_byte() {
        let mut ledger = Ledger::new(100);
        assert_eq!((ledger.charge(60), ledger.charge(41), ledger.charge(40)), (Ok(false), Err(Refused), Ok(false)));
        assert_eq!(ledger.charge(usize::MAX), Err(Refused));
        ledger.discharge(70);
        assert_eq!(ledger.usage(), Usage { used: 30, peak: 100, limit: 100, refused: 2 });
        ledger.set_limit(20);
        assert_eq!((ledger.charge(0), ledger.usage().used), (Err(Refused), 30));
    }

    #[test]
    fn a_level_is_told_once_until_it_was_left() {
        let mut ledger = Ledger::new(1000);
        assert!(!ledger.set_levels(&[95, 50, 80]));
        assert_eq!((ledger.charge(499), ledger.charge(1), ledger.charge(100)), (Ok(false), Ok(true), Ok(false)));
        let told = |ledger: &mut Ledger| ledger.take_reached().map(|reached| reached.percent);
        assert_eq!((told(&mut ledger), told(&mut ledger)), (Some(50), None));
        // Two at once: the higher one.
        assert_eq!(ledger.charge(400), Ok(true));
        assert_eq!(told(&mut ledger), Some(95));
        ledger.discharge(201);
        assert_eq!((ledger.charge(1), told(&mut ledger)), (Ok(true), Some(80)));
        ledger.discharge(799);
        assert_eq!((ledger.charge(900), told(&mut ledger)), (Ok(true), Some(80)));
        // What was reached before anybody asked for it.
        assert!(ledger.set_levels(&[10]));
        assert_eq!(told(&mut ledger), Some(10));
        // Another limit, another part of it.
        assert!(ledger.set_limit(5000));
        assert!(!ledger.set_limit(50_000));
    }

    proptest! {
        #[test]
        fn as_a_plain_sum(limit in 0_usize..1000, steps in prop::collection::vec((any::<bool>(), 0_usize..300), 0..60)) {
            let mut ledger = Ledger::new(limit);
            ledger.set_levels(&[50, 100]);
            let (mut held, mut peak, mut refused) = (Vec::new(), 0, 0);
            for (take, bytes) in steps {
                let used: usize = held.iter().sum();
                if take {
                    let fits = used + bytes <= limit;
                    prop_assert_eq!(ledger.charge(bytes).is_ok(), fits);
                    if fits { held.push(bytes) } else { refused += 1 }
                    peak = peak.max(held.iter().sum());
                } else if let Some(bytes) = held.pop() {
                    ledger.discharge(bytes);
                }
                let used = held.iter().sum();
                prop_assert_eq!(ledger.usage(), Usage { used, peak, limit, refused });
            }
        }
    }
}
