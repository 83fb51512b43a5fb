//! What an exporter `recent` counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    batches: Family<One, Number>,
    bytes: Family<One, Number>,
    left_out: Family<Two, Counter>,
}

/// The metrics of one `recent`.
#[derive(Clone, Debug)]
pub struct RecentMetrics {
    exporter: Arc<str>,
    bytes: Number,
    batches: Number,
    left_out: Family<Two, Counter>,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            batches: r.named("flamegate_recent_batches", "Batches kept to be looked at"),
            bytes: r.named("flamegate_recent_bytes", "Memory of the batches kept to be looked at"),
            left_out: r.named(
                "flamegate_recent_left_out",
                "Batches not kept to be looked at, or not any more, by reason",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one `recent`, looked up once.
    pub fn recent(&self, exporter: &Arc<str>) -> RecentMetrics {
        let (families, key): (_, One) = (&self.recent, [("exporter", exporter.clone())]);
        RecentMetrics {
            exporter: exporter.clone(),
            batches: families.batches.get_or_create(&key).clone(),
            bytes: families.bytes.get_or_create(&key).clone(),
            left_out: families.left_out.clone(),
        }
    }
}

impl RecentMetrics {
    /// So many batches are kept, in so many bytes.
    pub fn kept(&self, batches: usize, bytes: usize) {
        self.batches.set(batches as u64);
        self.bytes.set(bytes as u64);
    }

    /// So many batches are not kept, or not any more. Reasons are enumerated where they arise.
    pub fn left_out(&self, reason: &'static str, batches: u64) {
        let key = [("exporter", self.exporter.clone()), ("reason", reason.into())];
        self.left_out.get_or_create(&key).inc_by(batches);
    }
}
