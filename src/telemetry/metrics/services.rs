//! What the files of `services_dir` come to.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::{Number, One, Two};

/// The metrics of one directory of services.
#[derive(Clone)]
pub struct ServiceFileMetrics {
    pub(super) processor: Arc<str>,
    pub(super) files: Family<Two, Number>,
    pub(super) broken: Family<One, Number>,
    pub(super) held: Family<Two, Counter>,
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
