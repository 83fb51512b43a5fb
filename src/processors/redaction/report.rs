//! What was removed: numbers, never the text.

use std::collections::{BTreeMap, BTreeSet};

use crate::telemetry::audit::MOST_FINGERPRINTS;

/// What was removed: how often each rule hit on each carrier. Never the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hits by rule and carrier.
    pub hits: BTreeMap<(&'static str, &'static str), u64>,
    /// Fingerprints of secrets by rule and carrier, where the audit trail asks for them.
    pub marks: BTreeMap<(&'static str, &'static str), BTreeSet<String>>,
}

impl Report {
    pub(super) fn add(&mut self, rule: &'static str, carrier: &'static str) {
        *self.hits.entry((rule, carrier)).or_default() += 1;
    }

    pub(super) fn mark(&mut self, rule: &'static str, carrier: &'static str, mark: String) {
        let marks = self.marks.entry((rule, carrier)).or_default();
        if marks.len() < MOST_FINGERPRINTS {
            marks.insert(mark);
        }
    }

    /// Adds what another one says.
    pub fn merge(&mut self, other: Self) {
        for (place, hits) in other.hits {
            *self.hits.entry(place).or_default() += hits;
        }
        for (place, marks) in other.marks {
            self.marks.entry(place).or_default().extend(marks);
        }
    }

    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }
}
