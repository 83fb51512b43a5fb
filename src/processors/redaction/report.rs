//! What was removed: numbers, never the text.

use std::collections::BTreeMap;

/// What was removed: how often each rule hit on each carrier. Never the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Hits by rule and carrier.
    pub hits: BTreeMap<(&'static str, &'static str), u64>,
}

impl Report {
    pub(super) fn add(&mut self, rule: &'static str, carrier: &'static str) {
        *self.hits.entry((rule, carrier)).or_default() += 1;
    }

    /// Adds what another one says.
    pub fn merge(&mut self, other: Self) {
        for (place, hits) in other.hits {
            *self.hits.entry(place).or_default() += hits;
        }
    }

    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty()
    }
}
