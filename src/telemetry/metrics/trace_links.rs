//! What a `trace_links` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Three};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    samples: Family<Three, Counter>,
}

/// The metrics of one `trace_links`.
#[derive(Clone, Debug)]
pub struct TraceLinksMetrics {
    processor: Arc<str>,
    dialects: Vec<Arc<str>>,
    samples: Family<Three, Counter>,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            samples: r.named(
                "flamegate_trace_links_samples",
                "Samples whose labels have trace or span ids, by dialect and what came of it",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one processor that makes links of ids in these dialects.
    pub fn trace_links<'a>(&self, processor: &Arc<str>, dialects: impl Iterator<Item = &'a str>) -> TraceLinksMetrics {
        TraceLinksMetrics {
            processor: processor.clone(),
            dialects: dialects.map(Arc::from).collect(),
            samples: self.trace_links.samples.clone(),
        }
    }
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
