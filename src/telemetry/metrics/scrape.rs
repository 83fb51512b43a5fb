//! The metrics of one receiver that fetches profiles.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, Two};

/// The metrics of one receiver that fetches profiles.
#[derive(Clone, Debug, Default)]
pub struct ScrapeMetrics {
    pub(super) receiver: Arc<str>,
    pub(super) scrapes: Family<Two, Counter>,
    pub(super) deltas: Family<Two, Counter>,
    pub(super) counters: Number,
}

impl ScrapeMetrics {
    /// Something came of a profile that was to be fetched. Results are enumerated where they arise.
    pub fn scraped(&self, result: &'static str) {
        self.of(&self.scrapes, result).inc();
    }

    /// How often that was so far.
    pub fn scraped_count(&self, result: &'static str) -> u64 {
        self.of(&self.scrapes, result).get()
    }

    /// Counters were compared with those of the scrape before.
    pub fn compared(&self, result: &'static str) {
        self.of(&self.deltas, result).inc();
    }

    /// The memory in which counters are kept for the next comparison changed.
    pub fn counters(&self, from: usize, to: usize) {
        self.counters.change(from, to);
    }

    /// That memory.
    pub fn counters_bytes(&self) -> u64 {
        self.counters.get()
    }

    fn of(&self, family: &Family<Two, Counter>, result: &'static str) -> Counter {
        let key = [("receiver", self.receiver.clone()), ("result", result.into())];
        family.get_or_create(&key).clone()
    }
}
