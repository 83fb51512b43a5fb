//! What a `trace_links` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::OfTraceLinks;

/// The metrics of one `trace_links`.
#[derive(Clone, Debug)]
pub struct TraceLinksMetrics {
    pub(super) processor: Arc<str>,
    pub(super) dialects: Vec<Arc<str>>,
    pub(super) samples: Family<OfTraceLinks, Counter>,
}

impl TraceLinksMetrics {
    /// So many samples with ids of the dialect of this number came to that. Results are enumerated where they arise.
    pub fn samples(&self, dialect: usize, result: &'static str, samples: u64) {
        let Some(dialect) = self.dialects.get(dialect) else {
            return;
        };
        let key = [
            ("processor", self.processor.clone()),
            ("dialect", dialect.clone()),
            ("result", result.into()),
        ];
        self.samples.get_or_create(&key).inc_by(samples);
    }
}
