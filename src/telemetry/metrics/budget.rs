//! What a `budget` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, OfBudget, Two};

/// The metrics of one `budget`.
#[derive(Clone)]
pub struct BudgetMetrics {
    pub(super) processor: Arc<str>,
    pub(super) profiles: Family<Two, Counter>,
    pub(super) bytes: Family<OfBudget, Counter>,
    pub(super) floor: Counter,
    pub(super) newcomers: Counter,
    pub(super) keys: Number,
}

impl BudgetMetrics {
    /// A profile was judged. Outcomes are enumerated where they arise.
    pub fn judged(&self, outcome: &'static str) {
        let key = [("processor", self.processor.clone()), ("outcome", outcome.into())];
        self.profiles.get_or_create(&key).inc();
    }

    /// How many profiles had that outcome so far.
    pub fn judged_count(&self, outcome: &'static str) -> u64 {
        let key = [("processor", self.processor.clone()), ("outcome", outcome.into())];
        self.profiles.get_or_create(&key).get()
    }

    /// Of so many bytes so many were kept, under a rule: `default` or where it stands in the configuration.
    pub fn kept(&self, rule: &Arc<str>, offered: u64, kept: u64) {
        for (edge, bytes) in [("offered", offered), ("kept", kept)] {
            let key = [
                ("processor", self.processor.clone()),
                ("rule", rule.clone()),
                ("edge", edge.into()),
            ];
            self.bytes.get_or_create(&key).inc_by(bytes);
        }
    }

    /// One passed with stacks whatever the budget.
    pub fn was_due(&self) {
        self.floor.inc();
    }

    /// One was of a key that is not known.
    pub fn was_new(&self) {
        self.newcomers.inc();
    }

    /// So many keys are known.
    pub fn keys(&self, keys: usize) {
        self.keys.set(keys as u64);
    }
}
