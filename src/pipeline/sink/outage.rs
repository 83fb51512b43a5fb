//! What the log says of a backend that does not take what it is sent: the first failure, now and then that it goes on, and its end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::telemetry::Seldom;

/// At most one line of failures in so long a time.
const EVERY: Duration = Duration::from_secs(60);

/// Whether a backend takes what it is sent.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Attempts that failed.
    failures: Seldom,
    /// The log says that attempts fail, and nothing has arrived since.
    is_open: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            failures: Seldom::every(EVERY),
            is_open: false,
        }
    }
}

impl Outage {
    /// An attempt failed. Where that is to be said, how many did since it was said last.
    pub(super) fn failed(&self, now: Instant) -> Option<u64> {
        let mut state = self.state();
        let failures = state.failures.happened(now.into_std())?;
        state.is_open = true;
        Some(failures)
    }

    /// An attempt succeeded. Whether that is to be said: once, and only after failures were.
    pub(super) fn recovered(&self) -> bool {
        std::mem::take(&mut self.state().is_open)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_told_and_then_one_line_a_minute_and_recovery_once() {
        let (outage, start) = (Outage::default(), Instant::now());
        assert!(!outage.recovered(), "nothing was wrong");
        assert_eq!(outage.failed(start), Some(1));
        assert_eq!(outage.failed(start + Duration::from_secs(1)), None);
        assert_eq!(outage.failed(start + Duration::from_secs(59)), None);
        assert_eq!(outage.failed(start + EVERY), Some(3), "those not told are counted");
        assert!(outage.recovered());
        assert!(!outage.recovered());
    }

    #[test]
    fn a_backend_that_comes_and_goes_does_not_fill_the_log() {
        let (outage, start) = (Outage::default(), Instant::now());
        assert_eq!(outage.failed(start), Some(1));
        assert!(outage.recovered());
        assert_eq!(outage.failed(start + Duration::from_secs(1)), None);
        assert!(!outage.recovered(), "its failure was not told either");
        assert_eq!(outage.failed(start + EVERY), Some(2));
    }
}
