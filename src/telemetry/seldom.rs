//! What happens often and is said seldom.

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
        self.untold += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < self.every) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
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
}
