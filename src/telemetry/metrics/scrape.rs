//! The metrics of one receiver that fetches profiles.

use std::sync::{Arc, PoisonError, Weak};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::super::targets::Targets;
use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    scrapes: Family<Two, Counter>,
    targets: Family<Two, Number>,
    deltas: Family<Two, Counter>,
    counters: Family<One, Number>,
}

/// The metrics of one receiver that fetches profiles.
#[derive(Clone, Debug, Default)]
pub struct ScrapeMetrics {
    receiver: Arc<str>,
    scrapes: Family<Two, Counter>,
    deltas: Family<Two, Counter>,
    counters: Number,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            scrapes: r.named("flamegate_scrapes", "Profiles that were to be fetched, by result"),
            targets: r.named("flamegate_scrape_targets", "Targets by how they fare"),
            deltas: r.named(
                "flamegate_scrape_deltas",
                "Profiles of counters compared with the one before, by result",
            ),
            counters: r.named(
                "flamegate_scrape_counters_bytes",
                "Memory in which counters are kept for the next comparison",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one receiver that fetches profiles, looked up once.
    pub fn scrape(&self, receiver: &Arc<str>) -> ScrapeMetrics {
        let (families, key): (_, One) = (&self.scrape, [("receiver", receiver.clone())]);
        ScrapeMetrics {
            receiver: receiver.clone(),
            scrapes: families.scrapes.clone(),
            deltas: families.deltas.clone(),
            counters: families.counters.get_or_create(&key).clone(),
        }
    }

    /// A list for the targets of one receiver; it is shown until it is dropped.
    pub fn targets(&self, receiver: &Arc<str>) -> Arc<Targets> {
        let count = |health: &'static str| {
            let key = [("receiver", receiver.clone()), ("health", health.into())];
            self.scrape.targets.get_or_create(&key).clone()
        };
        let targets = Targets::counting(["new", "up", "down", "left_out"].map(count));
        let targets = Arc::new(targets);
        let mut known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, targets)| targets.strong_count() > 0);
        known.push((receiver.clone(), Arc::downgrade(&targets)));
        targets
    }

    /// The lists of all receivers that have one.
    pub fn all_targets(&self) -> Vec<(Arc<str>, Arc<Targets>)> {
        let known = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = |(receiver, targets): &(Arc<str>, Weak<Targets>)| Some((receiver.clone(), targets.upgrade()?));
        known.iter().filter_map(alive).collect()
    }
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
