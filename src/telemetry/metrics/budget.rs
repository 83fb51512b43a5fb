//! What a `budget` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Three, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    profiles: Family<Two, Counter>,
    bytes: Family<Three, Counter>,
    floor: Family<One, Counter>,
    newcomers: Family<One, Counter>,
    keys: Family<One, Number>,
}

/// The metrics of one `budget`.
#[derive(Clone)]
pub struct BudgetMetrics {
    processor: Arc<str>,
    profiles: Family<Two, Counter>,
    bytes: Family<Three, Counter>,
    floor: Counter,
    newcomers: Counter,
    keys: Number,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            profiles: r.named(
                "flamegate_budget_profiles",
                "Profiles that a budget judged, by what became of them",
            ),
            bytes: r.named(
                "flamegate_budget_bytes",
                "Bytes of profiles, as OTLP without compression, that a budget was offered and kept, by rule",
            ),
            floor: r.named(
                "flamegate_budget_floor",
                "Profiles that passed with stacks whatever the budget",
            ),
            newcomers: r.named(
                "flamegate_budget_newcomers",
                "Profiles of keys that were not known, which share a budget",
            ),
            keys: r.named("flamegate_budget_keys", "Keys that a budget knows"),
        }
    }
}

impl Metrics {
    /// The metrics of one budget. Rules are named by where they stand in the configuration.
    pub fn budget(&self, processor: &Arc<str>) -> BudgetMetrics {
        let (families, key): (_, One) = (&self.budget, [("processor", processor.clone())]);
        BudgetMetrics {
            processor: processor.clone(),
            profiles: families.profiles.clone(),
            bytes: families.bytes.clone(),
            floor: families.floor.get_or_create(&key).clone(),
            newcomers: families.newcomers.get_or_create(&key).clone(),
            keys: families.keys.get_or_create(&key).clone(),
        }
    }
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
