//! What happens often and is said seldom.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts what happens, and tells when it is to be said: the first time, and then at most once in so long a time.
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// At most one line in so long a time.
    pub const fn every(every: Duration) -> Self {
        Self {
            every,
            told: None,
            untold: 0,
        }
    }

    /// It happened. Where that is to be said, how often it did since it was said last.
    pub fn happened(&mut self, now: Instant) -> Option<u64> {
        self.happened_to(1, now)
    }

    /// The same, to several at once.
    fn happened_to(&mut self, several: u64, now: Instant) -> Option<u64> {
        self.untold += several;
        if self.told.is_some_and(|told| now.duration_since(told) < self.every) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The same for each of a few reasons.
#[derive(Debug)]
pub struct SeldomEach {
    every: Duration,
    reasons: Mutex<BTreeMap<&'static str, Seldom>>,
}

impl SeldomEach {
    /// At most one line of a reason in so long a time.
    pub const fn every(every: Duration) -> Self {
        Self {
            every,
            reasons: Mutex::new(BTreeMap::new()),
        }
    }

    /// It happened to so many for a reason. Where that is to be said, to how many since it was said last.
    pub fn happened(&self, reason: &'static str, several: u64) -> Option<u64> {
        let mut known = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let seldom = known.entry(reason).or_insert(Seldom::every(self.every));
        seldom.happened_to(several, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_is_said_and_what_came_since_is_counted() {
        let every = Duration::from_secs(60);
        let (mut seldom, start) = (Seldom::every(every), Instant::now());
        assert_eq!(seldom.happened(start), Some(1));
        assert_eq!(seldom.happened(start + Duration::from_secs(1)), None);
        assert_eq!(seldom.happened(start + Duration::from_secs(59)), None);
        assert_eq!(seldom.happened(start + every), Some(3));
    }

    #[test]
    fn one_reason_does_not_hide_another() {
        let seldom = SeldomEach::every(Duration::from_secs(60));
        assert_eq!(seldom.happened("full", 5), Some(5));
        assert_eq!(seldom.happened("full", 5), None);
        assert_eq!(seldom.happened("dead", 2), Some(2));
        let hasty = SeldomEach::every(Duration::ZERO);
        assert_eq!(
            (hasty.happened("full", 5), hasty.happened("full", 7)),
            (Some(5), Some(7))
        );
    }
}
