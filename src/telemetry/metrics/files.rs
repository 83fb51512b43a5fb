//! The metrics of a receiver that watches files.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, Two};

/// The metrics of a receiver that watches files.
#[derive(Clone, Debug, Default)]
pub struct FileMetrics {
    pub(super) receiver: Arc<str>,
    pub(super) finished: Family<Two, Counter>,
    /// Bytes of the files taken, as they are stored.
    pub bytes: Number,
    /// Files seen that are not taken yet.
    pub waiting: Number,
    /// Files taken that no exporter is through with yet.
    pub in_flight: Number,
}

impl FileMetrics {
    /// A file is finished with. The results are enumerated where they arise.
    pub fn finished(&self, result: &'static str) {
        self.finished_by(result).inc();
    }

    /// How many files ended so.
    pub fn finished_count(&self, result: &'static str) -> u64 {
        self.finished_by(result).get()
    }

    fn finished_by(&self, result: &'static str) -> Counter {
        let key = [("receiver", self.receiver.clone()), ("result", result.into())];
        self.finished.get_or_create(&key).clone()
    }
}
