//! What a `rate_limit` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, OfRateLimit};

/// The metrics of one `rate_limit`, looked up once.
#[derive(Clone)]
pub struct RateLimitMetrics {
    pub(super) processor: Arc<str>,
    pub(super) limited: Family<OfRateLimit, Counter>,
    pub(super) keys: Number,
    pub(super) shared: Counter,
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
