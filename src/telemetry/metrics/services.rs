//! What the files of `services_dir` come to.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Metrics, Names, Number, One, Two};

/// The metrics of all of them.
#[derive(Clone)]
pub(super) struct Families {
    files: Family<Two, Number>,
    broken: Family<One, Number>,
    held: Family<Two, Counter>,
}

/// The metrics of one directory of services.
#[derive(Clone)]
pub struct ServiceFileMetrics {
    processor: Arc<str>,
    files: Family<Two, Number>,
    broken: Family<One, Number>,
    held: Family<Two, Counter>,
}

impl Families {
    pub(super) fn named(r: &mut Names) -> Self {
        Self {
            files: r.named(
                "flamegate_service_files",
                "Files of services_dir, by state (good, wrong)",
            ),
            broken: r.named(
                "flamegate_services_dir_broken",
                "1 where services_dir cannot be looked at",
            ),
            held: r.named(
                "flamegate_service_numbers_held",
                "Numbers in files of services_dir that were beyond their bounds",
            ),
        }
    }
}

impl Metrics {
    /// The metrics of one directory of services.
    pub fn service_files(&self, processor: &Arc<str>) -> ServiceFileMetrics {
        let families = &self.services;
        ServiceFileMetrics {
            processor: processor.clone(),
            files: families.files.clone(),
            broken: families.broken.clone(),
            held: families.held.clone(),
        }
    }
}

impl ServiceFileMetrics {
    /// So many files are good and so many not; or the directory cannot be looked at.
    pub fn files(&self, good: u64, wrong: u64, is_broken: bool) {
        for (state, files) in [("good", good), ("wrong", wrong)] {
            let key = [("processor", self.processor.clone()), ("state", state.into())];
            self.files.get_or_create(&key).set(files);
        }
        let key = [("processor", self.processor.clone())];
        self.broken.get_or_create(&key).set(u64::from(is_broken));
    }

    /// A number (`target_hz`, `bytes_per_s` ...) was beyond its bounds.
    pub fn held(&self, number: &'static str) {
        let key = [("processor", self.processor.clone()), ("number", number.into())];
        self.held.get_or_create(&key).inc();
    }
}
