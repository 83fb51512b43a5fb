//! What a dry run says: once a minute, what would have been kept since it was said last.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::Seldom;

const EVERY: Duration = Duration::from_secs(60);
const OUTCOMES: [&str; 6] = ["full", "at_target", "thinned", "compacted", "totals_only", "dropped"];

/// What would have become of profiles.
#[derive(Debug)]
pub(super) struct DryRun(Mutex<State>);

#[derive(Debug)]
struct State {
    seldom: Seldom,
    summary: Summary,
}

/// The sums of a minute.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    offered: f64,
    kept: f64,
    profiles: [u64; OUTCOMES.len()],
}

impl DryRun {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            seldom: Seldom::every(EVERY),
            summary: Summary::default(),
        }))
    }

    /// Of the bytes that a profile has so many would have been kept.
    pub(super) fn note(&self, outcome: &'static str, offered: f64, kept: f64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = &mut state.summary;
        summary.offered += offered;
        summary.kept += kept;
        let counts = OUTCOMES.iter().zip(&mut summary.profiles);
        for (_, count) in counts.filter(|(name, _)| **name == outcome) {
            *count += 1;
        }
    }

    /// What there is to be said, where it is time.
    pub(super) fn summary(&self) -> Option<Summary> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.seldom.happened(Instant::now())?;
        Some(std::mem::take(&mut state.summary))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.kept / self.offered.max(1.0);
        write!(f, "{percent:.1} % of {:.0} bytes", self.offered)?;
        for (outcome, count) in OUTCOMES.iter().zip(&self.profiles).filter(|(_, count)| **count > 0) {
            write!(f, ", {outcome} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_came_since_it_said_it_last() {
        let dry_run = DryRun::new();
        dry_run.note("full", 1000.0, 1000.0);
        assert_eq!(dry_run.summary().unwrap().to_string(), "100.0 % of 1000 bytes, full 1");
        dry_run.note("compacted", 3000.0, 500.0);
        dry_run.note("totals_only", 1000.0, 0.0);
        assert_eq!(dry_run.summary(), None, "a minute has not passed");
        let mut state = dry_run.0.lock().unwrap();
        let later = std::mem::take(&mut state.summary).to_string();
        assert_eq!(later, "12.5 % of 4000 bytes, compacted 1, totals_only 1");
    }
}
