//! The metrics of a receiver that watches files.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    finished: Family<Two, Counter>,
    bytes: Family<One, Number>,
    waiting: Family<One, Number>,
    in_flight: Family<One, Number>,
}

/// The metrics of a receiver that watches files.
#[derive(Clone, Debug, Default)]
pub struct FileMetrics {
    receiver: Arc<str>,
    finished: Family<Two, Counter>,
    /// Bytes of the files taken, as they are stored.
    pub bytes: Number,
    /// Files seen that are not taken yet.
    pub waiting: Number,
    /// Files taken that no exporter is through with yet.
    pub in_flight: Number,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            finished: r.named("flamegate_files", "Files finished with, by receiver and result"),
            bytes: r.named("flamegate_file_bytes", "Bytes of the files taken, as stored"),
            waiting: r.named("flamegate_files_waiting", "Files seen and not taken yet"),
            in_flight: r.named(
                "flamegate_files_in_flight",
                "Files taken that not every exporter is through with",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one receiver that watches files, looked up once.
    pub fn files(&self, receiver: &Arc<str>) -> FileMetrics {
        let (families, key): (_, One) = (&self.files, [("receiver", receiver.clone())]);
        FileMetrics {
            receiver: receiver.clone(),
            finished: families.finished.clone(),
            bytes: families.bytes.get_or_create(&key).clone(),
            waiting: families.waiting.get_or_create(&key).clone(),
            in_flight: families.in_flight.get_or_create(&key).clone(),
        }
    }
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
