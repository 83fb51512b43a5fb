//! What a `rate_limit` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Three};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    limited: Family<Three, Counter>,
    keys: Family<One, Number>,
    shared: Family<One, Counter>,
}

/// The metrics of one `rate_limit`, looked up once.
#[derive(Clone)]
pub struct RateLimitMetrics {
    processor: Arc<str>,
    limited: Family<Three, Counter>,
    keys: Number,
    shared: Counter,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            limited: r.named(
                "flamegate_rate_limited_profiles",
                "Profiles over a rate limit, by action (refused, dropped) and limit",
            ),
            keys: r.named("flamegate_rate_limit_keys", "Keys that a rate limit knows"),
            shared: r.named(
                "flamegate_rate_limit_shared",
                "Times that a key shared a bucket, because there were too many",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one rate limit, looked up once.
    pub fn rate_limit(&self, processor: &Arc<str>) -> RateLimitMetrics {
        let (families, key): (_, One) = (&self.rate_limit, [("processor", processor.clone())]);
        RateLimitMetrics {
            processor: processor.clone(),
            limited: families.limited.clone(),
            keys: families.keys.get_or_create(&key).clone(),
            shared: families.shared.get_or_create(&key).clone(),
        }
    }
}

impl RateLimitMetrics {
    /// Profiles were `refused` or `dropped`, because there was too much of something.
    pub fn limited(&self, action: &'static str, measure: &'static str, profiles: u64) {
        let key = [
            ("processor", self.processor.clone()),
            ("action", action.into()),
            ("limit", measure.into()),
        ];
        self.limited.get_or_create(&key).inc_by(profiles);
    }

    /// So many keys have buckets of their own; so many more found none, and share one.
    pub fn keys(&self, known: usize, shared: u64) {
        self.keys.set(known as u64);
        self.shared.inc_by(shared);
    }
}
