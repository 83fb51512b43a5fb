//! The metrics of one exporter for one kind of data.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::{Amount, Number};

/// The metrics of one exporter. It counts profiles, and samples beside them; or spans, which are both. What waits, and what is
/// sent in bytes, is counted under one name for all that it sends.
#[derive(Clone)]
pub struct ExporterMetrics {
    /// Profiles, or spans, offered to it.
    pub accepted: Number,
    /// Profiles, or spans, delivered.
    pub sent: Number,
    /// Samples delivered; nobody sees this of spans.
    pub sent_samples: Number,
    /// Bytes delivered, as sent.
    pub sent_bytes: Number,
    /// Samples, or spans, given up.
    pub send_failed: Number,
    /// Samples, or spans, that found no room in its queue.
    pub enqueue_failed: Number,
    /// Requests waiting.
    pub queue_size: Number,
    /// Requests that may wait.
    pub queue_capacity: Number,
    /// Bytes waiting or on their way.
    pub queue_bytes: Number,
    /// Requests on their way.
    pub in_flight_requests: Number,
    /// Profiles, or spans, waiting or on their way.
    pub in_flight: Number,
    /// Attempts repeated.
    pub retries: Counter,
    pub(super) age: Histogram,
}

impl ExporterMetrics {
    /// Something arrived at the backend, so long after it came.
    pub fn delivered(&self, amount: Amount, age: Duration) {
        self.sent.add(amount.profiles);
        self.sent_samples.add(amount.samples);
        self.sent_bytes.add(amount.bytes);
        self.age.observe(age.as_secs_f64());
    }
}
