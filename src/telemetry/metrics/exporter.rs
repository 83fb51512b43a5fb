//! The metrics of one exporter.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::{Amount, Number};

/// The metrics of one exporter.
#[derive(Clone)]
pub struct ExporterMetrics {
    /// Profiles offered to it.
    pub accepted: Number,
    /// Profiles delivered.
    pub sent_profiles: Number,
    /// Samples delivered.
    pub sent_samples: Number,
    /// Bytes delivered, as sent.
    pub sent_bytes: Number,
    /// Samples given up.
    pub send_failed: Number,
    /// Samples that found no room in its queue.
    pub enqueue_failed: Number,
    /// Requests waiting.
    pub queue_size: Number,
    /// Requests that may wait.
    pub queue_capacity: Number,
    /// Bytes waiting or on their way.
    pub queue_bytes: Number,
    /// Requests on their way.
    pub in_flight_requests: Number,
    /// Profiles waiting or on their way.
    pub in_flight_profiles: Number,
    /// Attempts repeated.
    pub retries: Counter,
    pub(super) age: Histogram,
}

impl ExporterMetrics {
    /// Something arrived at the backend, so long after it came.
    pub fn delivered(&self, amount: Amount, age: Duration) {
        self.sent_profiles.add(amount.profiles);
        self.sent_samples.add(amount.samples);
        self.sent_bytes.add(amount.bytes);
        self.age.observe(age.as_secs_f64());
    }
}
