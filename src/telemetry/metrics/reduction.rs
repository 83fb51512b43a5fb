//! The metrics of a processor that makes profiles smaller.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    profiles: Family<Two, Counter>,
    observations: Family<Two, Counter>,
}

/// The metrics of a processor that makes profiles smaller.
#[derive(Clone, Debug, Default)]
pub struct ReductionMetrics {
    processor: Arc<str>,
    profiles: Family<Two, Counter>,
    observations: Family<Two, Counter>,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            profiles: r.named(
                "flamegate_reduction_profiles",
                "Profiles that were to be made smaller, by what came of it",
            ),
            observations: r.named(
                "flamegate_reduction_observations",
                "Observations of profiles made smaller, before and after",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one processor that makes profiles smaller.
    pub fn reduction(&self, processor: &Arc<str>) -> ReductionMetrics {
        ReductionMetrics {
            processor: processor.clone(),
            profiles: self.reduction.profiles.clone(),
            observations: self.reduction.observations.clone(),
        }
    }
}

impl ReductionMetrics {
    /// A profile was looked at. Results are enumerated where they arise.
    pub fn looked_at(&self, result: &'static str) {
        self.of(&self.profiles, "result", result).inc();
    }

    /// How often that was the result so far.
    pub fn result_count(&self, result: &'static str) -> u64 {
        self.of(&self.profiles, "result", result).get()
    }

    /// Of so many observations (counts, or rows) so many are left.
    pub fn reduced(&self, from: u64, to: u64) {
        self.of(&self.observations, "edge", "in").inc_by(from);
        self.of(&self.observations, "edge", "out").inc_by(to);
    }

    fn of(&self, family: &Family<Two, Counter>, label: &'static str, value: &'static str) -> Counter {
        let key = [("processor", self.processor.clone()), (label, value.into())];
        family.get_or_create(&key).clone()
    }
}
