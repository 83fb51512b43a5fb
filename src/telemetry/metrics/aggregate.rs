//! What an `aggregate` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, Two};

/// The metrics of one `aggregate`, looked up once.
#[derive(Clone)]
pub struct AggregateMetrics {
    pub(super) processor: Arc<str>,
    pub(super) profiles: Family<Two, Counter>,
    pub(super) closed: Family<Two, Counter>,
    pub(super) held_profiles: Number,
    pub(super) held_bytes: Number,
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
