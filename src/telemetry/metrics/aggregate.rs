//! What an `aggregate` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    profiles: Family<Two, Counter>,
    closed: Family<Two, Counter>,
    held_profiles: Family<One, Number>,
    held_bytes: Family<One, Number>,
}

/// The metrics of one `aggregate`, looked up once.
#[derive(Clone)]
pub struct AggregateMetrics {
    processor: Arc<str>,
    profiles: Family<Two, Counter>,
    closed: Family<Two, Counter>,
    held_profiles: Number,
    held_bytes: Number,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            profiles: r.named(
                "flamegate_aggregate_profiles",
                "Profiles that were to become fewer: taken, made of them, or passed on at once, and why",
            ),
            closed: r.named(
                "flamegate_aggregate_closed",
                "Times that what was held of a resource went on, by reason",
            ),
            held_profiles: r.named(
                "flamegate_aggregate_held_profiles",
                "Profiles, as received, that are held back now",
            ),
            held_bytes: r.named("flamegate_aggregate_held_bytes", "Memory that is held back now"),
        }
    }
}

impl Metrics {
    /// The metrics of one `aggregate`, looked up once.
    pub fn aggregate(&self, processor: &Arc<str>) -> AggregateMetrics {
        let (families, key): (_, One) = (&self.aggregate, [("processor", processor.clone())]);
        AggregateMetrics {
            processor: processor.clone(),
            profiles: families.profiles.clone(),
            closed: families.closed.clone(),
            held_profiles: families.held_profiles.get_or_create(&key).clone(),
            held_bytes: families.held_bytes.get_or_create(&key).clone(),
        }
    }
}

impl AggregateMetrics {
    /// So many profiles were `taken` into others, went on at once, or were `made` of others. Results are enumerated where they arise.
    pub fn profiles(&self, result: &'static str, profiles: u64) {
        self.of(&self.profiles, "result", result).inc_by(profiles);
    }

    /// How many that were so far.
    pub fn profiles_count(&self, result: &'static str) -> u64 {
        self.of(&self.profiles, "result", result).get()
    }

    /// What was held of a resource went on, for this reason.
    pub fn closed(&self, why: &'static str) {
        self.of(&self.closed, "reason", why).inc();
    }

    /// How often for that reason so far.
    pub fn closed_count(&self, why: &'static str) -> u64 {
        self.of(&self.closed, "reason", why).get()
    }

    /// Profiles as received that are held now.
    pub fn held_profiles(&self) -> &Number {
        &self.held_profiles
    }

    /// Bytes that are held now.
    pub fn held_bytes(&self) -> &Number {
        &self.held_bytes
    }

    fn of(&self, family: &Family<Two, Counter>, label: &'static str, value: &'static str) -> Counter {
        let key = [("processor", self.processor.clone()), (label, value.into())];
        family.get_or_create(&key).clone()
    }
}
